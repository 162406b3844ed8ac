"""``screen neb write --code qe``: inputs that neb.x and pw.x take as they were meant."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from pymatgen.core import Lattice

from screen.cli import main
from tests.screen.neb.conftest import AddHop, images_of, shortest_hop, write_band
from tests.small_crystals import FACTS

BOHR_A = 0.529177210903
PSEUDOS = Path("/usr/share/espresso/pseudo")
real_code = pytest.mark.skipif(
    shutil.which("neb.x") is None or not (PSEUDOS / "As.pz-bhs.UPF").exists(),
    reason="neb.x and its example pseudopotentials are not installed (Debian: quantum-espresso, "
    "quantum-espresso-data)",
)


def write(shortlist: Path, *options: str) -> int:
    return main(["neb", "write", str(shortlist), "--code", "qe", *options])


def positions_a(text: str) -> list[tuple[list[str], np.ndarray]]:
    """Symbols and places of each ATOMIC_POSITIONS card."""
    found = []
    for card in text.split("ATOMIC_POSITIONS angstrom\n")[1:]:
        rows = [line.split() for line in card.splitlines()]
        atoms = [row for row in rows if len(row) == 4]
        found.append(([row[0] for row in atoms], np.array([row[1:] for row in atoms], dtype=float)))
    return found


def settings_of(text: str) -> dict[str, str]:
    """Every ``key = value`` of the namelists."""
    pairs = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    return {key.strip(): value.strip() for key, value in pairs}


def test_positions_are_the_images(shortlist: Path) -> None:
    assert write(shortlist) == 0
    for folder in sorted(shortlist.iterdir()):
        images = images_of(folder)
        text = (folder / "qe" / "neb.in").read_text()
        cards = positions_a(text)
        assert len(cards) == 7
        for (symbols, places), frac in zip(cards, images.frac, strict=True):
            assert symbols == images.symbols
            assert np.allclose(places, frac @ images.lattice, rtol=0, atol=1e-6)
        said = settings_of(text)
        assert (said["num_of_images"], said["nat"]) == ("7", str(len(images.numbers)))


def test_blocks_stand_in_their_order(add_hop: AddHop) -> None:
    folder = add_hop("LiFePO4")
    assert write(folder.parent, "--images", "2") == 0
    lines = (folder / "qe" / "neb.in").read_text().splitlines()
    words = [line for line in lines if (line.isupper() and "_" in line) or line in ("BEGIN", "END")]
    assert words == [
        "BEGIN",
        "BEGIN_PATH_INPUT",
        "END_PATH_INPUT",
        "BEGIN_ENGINE_INPUT",
        "ATOMIC_SPECIES",
        "BEGIN_POSITIONS",
        "FIRST_IMAGE",
        "INTERMEDIATE_IMAGE",
        "INTERMEDIATE_IMAGE",
        "LAST_IMAGE",
        "END_POSITIONS",
        "END_ENGINE_INPUT",
        "END",
    ]
    assert [line for line in lines if line.startswith("&")] == [
        "&PATH",
        "&CONTROL",
        "&SYSTEM",
        "&ELECTRONS",
    ]


def test_ase_reads_the_ends(add_hop: AddHop) -> None:
    folder = add_hop("LiFePO4")
    assert write(folder.parent) == 0
    images = images_of(folder)
    for name, index in (("start", 0), ("end", -1)):
        atoms = read(folder / "qe" / f"{name}.in", format="espresso-in")
        assert atoms.get_chemical_symbols() == images.symbols
        assert np.allclose(atoms.cell.array, images.lattice, rtol=0, atol=1e-6)
        assert np.allclose(atoms.positions, images.frac[index] @ images.lattice, atol=1e-6)


def test_charge_spin_and_cutoffs_are_said(add_hop: AddHop) -> None:
    folder = add_hop("LiFePO4")
    options = ["--charge", "background", "--ecutwfc", "50", "--ecutrho", "400"]
    assert write(folder.parent, *options) == 0
    said = settings_of((folder / "qe" / "neb.in").read_text())
    assert (said["tot_charge"], said["nspin"]) == ("-1", "2")
    assert said["starting_magnetization(2)"] == "0.5"
    assert (said["ecutwfc"], said["ecutrho"]) == ("50", "400")
    meta = json.loads((folder / "qe" / "meta.json").read_text())
    assert meta["cell_charge_e"] == -1
    assert meta["starting_magnetization"] == {"Fe": 0.5}


def test_pseudopotentials_are_found_by_element(
    add_hop: AddHop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, pseudos = add_hop("LiCoO2"), tmp_path / "pseudos"
    pseudos.mkdir()
    names = ["Li_ONCV.upf", "co_pbe_v1.2.uspp.UPF", "O.pbe-n.UPF", "C.pbe-n.UPF", "Os.UPF"]
    for name in names:
        (pseudos / name).touch()
    assert write(folder.parent, "--pseudo-dir", str(pseudos)) == 0
    meta = json.loads((folder / "qe" / "meta.json").read_text())
    assert meta["pseudopotentials"] == dict(zip(["Li", "Co", "O"], names, strict=False))
    (pseudos / "O.pbe-kjpaw.UPF").touch()
    assert write(folder.parent, "--pseudo-dir", str(pseudos), "--overwrite") == 1
    assert "no_pseudopotential: O.pbe-kjpaw.UPF, O.pbe-n.UPF" in capsys.readouterr().err


@pytest.mark.parametrize("functional", ["PBE+U", "R2SCAN"])
def test_what_means_something_else_here_is_refused(
    add_hop: AddHop, capsys: pytest.CaptureFixture[str], functional: str
) -> None:
    folder = add_hop("LiCoO2")
    assert write(folder.parent, "--functional", functional) == 2
    assert "expected PBE or SCAN" in capsys.readouterr().err


@pytest.fixture
def arsenide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Inputs of a hop in AlAs, whose pseudopotentials are the smallest of the examples."""
    facts = ("F-43m", Lattice.cubic(5.66), ["Al", "As"], [[0, 0, 0], [0.25] * 3])
    monkeypatch.setitem(FACTS, "AlAs", facts)
    crystal, hop = shortest_hop("AlAs")
    folder, pseudos = tmp_path / "shortlist" / "001_AlAs", tmp_path / "pseudos"
    write_band(folder, hop.id_in("AlAs"), crystal, hop)
    pseudos.mkdir()
    for name in ("Al.pz-vbc.UPF", "As.pz-bhs.UPF"):
        (pseudos / name).symlink_to(PSEUDOS / name)
    options = ["--images", "2", "--min-width", "5", "--linear", "--pseudo-dir", str(pseudos)]
    assert write(folder.parent, *options, "--ecutwfc", "6", "--ecutrho", "24") == 0
    return folder / "qe"


def said_by(command: list[str], folder: Path, until: str) -> Iterator[str]:
    """Lines of a program up to one that holds ``until``, where it is ended."""
    with subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        assert running.stdout is not None
        try:
            for line in running.stdout:
                yield line
                if until in line:
                    return
        finally:
            running.kill()


@real_code
def test_neb_x_takes_the_input(arsenide: Path) -> None:
    """It finds all images, a path of the hop's length, and starts on the first."""
    lines = list(said_by(["neb.x", "-inp", "neb.in"], arsenide, "iteration   1"))
    assert "iteration   1" in lines[-1]
    said = settings_of("".join(lines))
    length_a = float(said["initial path length"].split()[0]) * BOHR_A
    assert length_a == pytest.approx(5.66 / 2**0.5, abs=2e-4)
    assert (said["num_of_images"], said["string_method"]) == ("4", "neb")
    assert (said["CI_scheme"], said["opt_scheme"], said["first_last_opt"]) == (
        "auto",
        "broyden",
        "T",
    )


@real_code
def test_pw_x_starts_on_an_end(arsenide: Path) -> None:
    lines = list(said_by(["pw.x", "-in", "end.in"], arsenide, "Self-consistent Calculation"))
    assert "Self-consistent Calculation" in lines[-1]
    said = settings_of("".join(lines))
    [(symbols, _)] = positions_a((arsenide / "end.in").read_text())
    assert int(said["number of atoms/cell"]) == len(symbols)
