"""``screen neb write --code vasp``: what pymatgen reads back is what was meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp import Incar, Kpoints, Poscar

from pathways.neighbours import perpendicular_widths
from screen.cli import main
from screen.neb.images import NebImages
from tests.screen.neb.conftest import AddHop, images_of

RELAXATION = {"EDIFFG", "IBRION", "IMAGES", "SPRING", "POTIM", "ICHAIN", "IOPT", "LCLIMB"}


def write(shortlist: Path, *options: str, code: str = "vasp") -> int:
    return main(["neb", "write", str(shortlist), "--code", code, *options])


def close(read: Structure, expected: Structure) -> bool:
    """The same atoms in the same order and place, without wrapping, within 1e-6 Å."""
    return (
        read.species == expected.species
        and np.allclose(read.lattice.matrix, expected.lattice.matrix, rtol=0, atol=1e-6)
        and np.allclose(read.cart_coords, expected.cart_coords, rtol=0, atol=1e-6)
    )


def test_reads_back_as_the_images(shortlist: Path) -> None:
    assert write(shortlist) == 0
    for folder in sorted(shortlist.iterdir()):
        images = images_of(folder)
        written = [
            Poscar.from_file(folder / "vasp" / "neb" / f"{index:02d}" / "POSCAR").structure
            for index in range(7)
        ]
        assert all(map(close, written, images.structures))
        for name, index in (("start", 0), ("end", -1)):
            end = Poscar.from_file(folder / "vasp" / "endpoints" / name / "POSCAR").structure
            assert close(end, images.structures[index])


def test_cells_are_wide_and_hold_what_the_mechanism_leaves(shortlist: Path) -> None:
    vacancy, dilute = (images_of(folder) for folder in sorted(shortlist.iterdir()))
    for images in (vacancy, dilute):
        assert perpendicular_widths(images.lattice).min() >= 10 - 1e-6
    cells = round(np.linalg.det(np.reshape(vacancy.supercell, (3, 3))))
    assert (vacancy.symbols.count("Li"), vacancy.symbols.count("Co")) == (cells - 1, cells)
    assert (dilute.symbols.count("Mg"), dilute.symbols.count("O")) == (1, 88)


def test_only_the_ion_goes_far_and_no_atom_jumps(shortlist: Path) -> None:
    for folder in sorted(shortlist.iterdir()):
        images = images_of(folder)
        way_a = np.linalg.norm((images.frac[-1] - images.frac[0]) @ images.lattice, axis=1)
        assert way_a.argmax() == images.mover
        assert images.symbols[images.mover] == images.listed.hop.ion
        assert way_a[images.mover] == pytest.approx(images.listed.hop.length_a, abs=1e-6)
        assert np.delete(way_a, images.mover).max() < 1e-9
        steps_a = np.linalg.norm(np.diff(images.frac, axis=0) @ images.lattice, axis=2)
        assert steps_a.max() < 1.5


def test_linear_moves_nothing_else(add_hop: AddHop) -> None:
    images = images_of(add_hop("LiFePO4"), linear=True, images=3)
    moves = np.ptp(images.frac, axis=0).max(axis=1)
    assert np.flatnonzero(moves > 1e-9).tolist() == [images.mover]
    steps = np.diff(images.frac[:, images.mover], axis=0)
    assert np.allclose(steps, steps[0], atol=1e-12)


def test_electrons_are_treated_alike_in_ends_and_band(shortlist: Path) -> None:
    assert write(shortlist, "--profile", "vtst") == 0
    for folder in sorted(shortlist.iterdir()):
        incars = [
            Incar.from_file(folder / "vasp" / place / "INCAR")
            for place in ("endpoints/start", "endpoints/end", "neb")
        ]
        start, end, band = ({k: v for k, v in i.items() if k not in RELAXATION} for i in incars)
        assert start == end == band
        assert (start["ISMEAR"], start["ISIF"], start["ENCUT"]) == (0, 2, 520)
        grids = [Kpoints.from_file(path) for path in (folder / "vasp").rglob("KPOINTS")]
        assert len(grids) == 10
        assert len({grid.kpts[0] for grid in grids}) == 1


def incars_of(folder: Path) -> tuple[Incar, Incar]:
    return (
        Incar.from_file(folder / "vasp" / "endpoints" / "start" / "INCAR"),
        Incar.from_file(folder / "vasp" / "neb" / "INCAR"),
    )


def test_profiles(add_hop: AddHop) -> None:
    folder = add_hop("MgMn2O4")
    assert write(folder.parent) == 0
    plain = incars_of(folder)[1]
    assert (plain["IMAGES"], plain["SPRING"], plain["IBRION"]) == (5, -5, 1)
    assert not {"LCLIMB", "IOPT", "ICHAIN"} & set(plain)
    assert write(folder.parent, "--profile", "vtst", "--overwrite") == 0
    vtst = incars_of(folder)[1]
    assert [vtst[key] for key in ("LCLIMB", "ICHAIN", "IOPT", "IBRION", "POTIM")] == [
        True, 0, 1, 3, 0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("functional", "said"),
    [
        ("PBE", {"GGA": "Pe"}),
        ("PBE+U", {"LDAU": True, "LDAUU": [0, 3.9, 0], "GGA": "Pe"}),
        ("R2SCAN", {"METAGGA": "R2scan", "ENCUT": 680}),
        ("SCAN", {"METAGGA": "Scan", "ENCUT": 680}),
    ],
)
def test_functional_is_written_and_recorded(
    add_hop: AddHop, functional: str, said: dict[str, object]
) -> None:
    folder = add_hop("MgMn2O4")
    assert write(folder.parent, "--functional", functional) == 0
    for incar in incars_of(folder):
        assert said.items() <= dict(incar).items()
        assert ("LDAU" in incar) == (functional == "PBE+U")
        assert "KSPACING" not in incar
    meta = json.loads((folder / "vasp" / "meta.json").read_text())
    assert meta["functional"] == functional
    assert meta["hubbard_u_ev"] == ({"Mn": 3.9} if functional == "PBE+U" else {})
    assert meta["magmom_mub"] == {"Mg": 0.6, "Mn": 5, "O": 0.6}


def test_a_sulfide_has_no_u_and_is_not_said_to(add_hop: AddHop) -> None:
    folder = add_hop("LiTiS2")
    assert write(folder.parent, "--functional", "PBE+U") == 0
    assert not any(key.startswith("LDA") for incar in incars_of(folder) for key in incar)
    meta = json.loads((folder / "vasp" / "meta.json").read_text())
    assert (meta["functional"], meta["hubbard_u_ev"]) == ("PBE", {})


def test_moments_can_be_told(add_hop: AddHop) -> None:
    folder = add_hop("MgMn2O4")
    assert write(folder.parent, "--magmom", "Mn=3.5", "--magmom", "O=0") == 0
    symbols = Poscar.from_file(folder / "vasp" / "neb" / "00" / "POSCAR").structure.species
    wanted = [{"Mg": 0.6, "Mn": 3.5, "O": 0}[element.symbol] for element in symbols]
    assert [incar["MAGMOM"] for incar in incars_of(folder)] == [wanted, wanted]
    assert write(folder.parent, "--magmom", "Mn") == 2
    assert write(folder.parent, "--magmom", "Xx=1") == 2


@pytest.mark.parametrize(("mechanism", "more"), [("vacancy", 2), ("dilute", -2)])
def test_background_charge_leaves_out_the_ion(add_hop: AddHop, mechanism: str, more: int) -> None:
    """A host that misses Mg2+ keeps its two electrons; one that takes it in gets none."""
    folder = add_hop("MgMn2O4", mechanism)
    assert write(folder.parent, "--charge", "background") == 0
    valence = {"Mg": 8, "Mn": 13, "O": 6}  # of Mg_pv, Mn_pv and O
    neutral = sum(valence[symbol] for symbol in images_of(folder).symbols)
    assert {incar["NELECT"] for incar in incars_of(folder)} == {neutral + more}
    meta = json.loads((folder / "vasp" / "meta.json").read_text())
    assert (meta["cell_charge_e"], meta["n_electrons_neutral"]) == (-more, neutral)


def test_no_potcar_but_its_names(add_hop: AddHop) -> None:
    folder = add_hop("LiFePO4")
    assert write(folder.parent) == 0
    assert not list(folder.rglob("POTCAR"))
    specs = {path.read_text() for path in folder.rglob("POTCAR.spec")}
    assert specs == {"Li_sv\nFe_pv\nP\nO\n"}
    first = (folder / "vasp" / "neb" / "00" / "POSCAR").read_text().splitlines()
    assert first[5].split() == ["Li", "Fe", "P", "O"]
    assert subprocess.run(["bash", "-n", folder / "vasp" / "job.sh"], check=False).returncode == 0
    stopped = subprocess.run(
        ["bash", folder / "vasp" / "job.sh"], check=False, capture_output=True, text=True
    )
    assert stopped.returncode == 1
    assert "endpoints/start/POTCAR is missing" in stopped.stderr


def test_the_job_relaxes_the_ends_then_the_band_and_goes_on(add_hop: AddHop) -> None:
    """With a stand-in for VASP that needs two runs at one end."""
    folder = add_hop("LiTiS2")
    assert write(folder.parent, "--images", "1") == 0
    target = folder / "vasp"
    stand_in = target / "stand_in.sh"
    stand_in.write_text(
        'pwd >> "$(dirname "$0")/ran"\n'
        "[ ! -f POSCAR ] || cp POSCAR CONTCAR\n"
        'if [ "$(basename $PWD)" != end ] || [ -f OUTCAR ]\n'
        "then echo reached required accuracy > OUTCAR; else touch OUTCAR; fi\n"
    )
    for place in ("endpoints/start", "endpoints/end", "neb"):
        (target / place / "POTCAR").touch()

    def submit() -> int:
        return subprocess.run(
            ["bash", "job.sh"],
            check=False,
            cwd=target,
            env={**os.environ, "VASP_COMMAND": f"bash {stand_in}"},
        ).returncode

    def ran() -> list[str]:
        return [Path(line).name for line in (target / "ran").read_text().splitlines()]

    assert submit() == 1
    assert ran() == ["start", "end"]
    assert submit() == 0
    assert ran() == ["start", "end", "end", "neb"]
    assert all((target / "neb" / place / "OUTCAR").exists() for place in ("00", "02"))
    assert submit() == 0
    assert ran() == ["start", "end", "end", "neb", "neb"]


def relax(images: NebImages, folder: Path, shift_a: dict[int, np.ndarray]) -> None:
    """What VASP leaves of the two ends, some atoms moved."""
    for name, index in (("start", 0), ("end", -1)):
        moved = images.structures[index].copy()
        for atom, by in shift_a.items():
            moved.translate_sites([atom], by * (1 if index == 0 else -1), frac_coords=False)
        poscar = Poscar(moved)
        (folder / "endpoints" / name / "CONTCAR").write_text(poscar.get_str(significant_figures=14))


def test_images_follow_the_relaxed_ends(add_hop: AddHop) -> None:
    folder = add_hop("LiFePO4")
    assert write(folder.parent, "--images", "3") == 0
    images, target = images_of(folder, images=3), folder / "vasp"
    by = np.array([0.05, -0.03, 0.02])
    relax(images, target, {7: by})
    for _ in range(2):  # a second run changes nothing
        subprocess.run([sys.executable, target / "follow_ends.py"], check=True)
        for index, share in enumerate((1, 0.5, 0, -0.5, -1)):
            place = target / "neb" / f"{index:02d}" / "POSCAR"
            moved = Poscar.from_file(place).structure.cart_coords
            gap = moved - images.structures[index].cart_coords
            assert np.allclose(gap[7], share * by, atol=1e-8)
            assert np.allclose(np.delete(gap, 7, axis=0), 0, atol=1e-8)


def test_ends_that_fall_together_are_named(add_hop: AddHop) -> None:
    folder = add_hop("LiFePO4")
    assert write(folder.parent) == 0
    images, target = images_of(folder), folder / "vasp"
    half = (images.frac[-1] - images.frac[0])[images.mover] @ images.lattice / 2
    relax(images, target, {images.mover: half * 0.9})
    found = subprocess.run(
        [sys.executable, target / "follow_ends.py"], check=False, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert "an end is no minimum" in found.stderr
    (target / "endpoints" / "end" / "CONTCAR").unlink()
    found = subprocess.run(
        [sys.executable, target / "follow_ends.py"], check=False, capture_output=True, text=True
    )
    assert "relax the ends first" in found.stderr
