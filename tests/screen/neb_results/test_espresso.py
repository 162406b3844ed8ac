"""``screen neb read`` on what neb.x leaves."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.screen.neb_results.conftest import AddCalculation, ReadBack, hop_of, rows

H3 = Path(__file__).parent / "h3"
"""What neb.x 6.7 left of ``NEB_IN`` with five images, of which the middle one climbs."""
H3_META = {
    "n_atoms": 3,
    "elements": ["H"],
    "ion": "H",
    "moving_atom": 0,
    "length_a": 1.592,
}
PATH_A = 2.78293609
"""Length of its path."""
PSEUDO = Path("/usr/share/espresso/pseudo/H.pbe-kjpaw.UPF")
NEB_IN = """\
BEGIN
BEGIN_PATH_INPUT
&PATH
 string_method='neb', nstep_path=40, num_of_images=3, opt_scheme='broyden', ds=1.0,
 k_max=0.3, k_min=0.2, path_thr=0.05
/
END_PATH_INPUT
BEGIN_ENGINE_INPUT
&CONTROL
 prefix='neb', outdir='./out', pseudo_dir='PLACE'
/
&SYSTEM
 ibrav=0, nat=3, ntyp=1, ecutwfc=20.0, ecutrho=100.0, nosym=.true., occupations='smearing',
 degauss=0.003, nspin=2, starting_magnetization(1)=0.5
/
&ELECTRONS
 conv_thr=1.d-6, mixing_beta=0.3
/
ATOMIC_SPECIES
H 1.0 H.pbe-kjpaw.UPF
K_POINTS gamma
CELL_PARAMETERS bohr
12 0 0
0 5 0
0 0 5
BEGIN_POSITIONS
FIRST_IMAGE
ATOMIC_POSITIONS bohr
H -4.56670009 0 0 1 0 0
H 0.0 0 0 0 0 0
H 1.55776676 0 0 1 0 0
LAST_IMAGE
ATOMIC_POSITIONS bohr
H -1.55776676 0 0
H 0.0 0 0
H 4.56670009 0 0
END_POSITIONS
END_ENGINE_INPUT
END
"""
"""An H atom that leaves one H for another: seconds."""
# As neb.x 6.7 wrote them, of five images.
PROFILE = """\
      0.0000000000      0.0000000000      0.0169496377
      0.2767330481      0.0803814877      0.0471966957
      0.4999968027      0.1894117698      0.0096450050
      0.7232635408      0.0803682793      0.0471914527
      1.0000000000     -0.0000014315      0.0169511877
"""
PATH = """\
RESTART INFORMATION
      20
      20
       0
NUMBER OF IMAGES
   5
ENERGIES, POSITIONS AND GRADIENTS
Image:    1
"""
OUTPUT = "     Program NEB v.6.7MaX starts\n     neb: convergence achieved in  20 iterations\n"


@pytest.fixture
def folder(add_calculation: AddCalculation) -> Path:
    made = add_calculation("LiCoO2", "qe", "--images", "3")
    for name, text in (("neb.dat", PROFILE), ("neb.path", PATH), ("neb.out", OUTPUT)):
        (made / name).write_text(text)
    return made


def test_a_profile_is_read_both_ways(folder: Path, read_back: ReadBack) -> None:
    [one] = read_back(folder).barriers
    assert (one["hop_id"], one["method"], one["functional"]) == (hop_of("LiCoO2"), "qe", "PBE")
    assert one["em_forward_ev"] == pytest.approx(0.1894117698)
    assert one["em_reverse_ev"] == pytest.approx(0.1894132013)
    assert one["converged"]


def test_convergence_is_what_the_last_run_said_else_the_errors(
    folder: Path, read_back: ReadBack
) -> None:
    def converged() -> bool:
        return bool(read_back(folder).barriers[0]["converged"])

    (folder / "neb.out").write_text(OUTPUT + "     Program NEB v.6.7MaX starts\n")
    assert not converged()
    (folder / "neb.out").unlink()
    assert converged()
    text = (folder / "neb.in").read_text()
    (folder / "neb.in").write_text(text.replace("path_thr = 0.05", "path_thr = 2.d-2"))
    assert not converged()


def change_meta(folder: Path, **changes: object) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | changes))


@pytest.fixture
def h3(add_calculation: AddCalculation) -> Path:
    """The real run in the place of a written band's."""
    made = add_calculation("LiFePO4", "qe", "--images", "3")
    change_meta(made, **H3_META)
    for path in H3.iterdir():
        shutil.copy(path, made)
    return made


def test_images_give_the_path_and_the_profile_is_stored(
    h3: Path, read_back: ReadBack, db: Path
) -> None:
    [one] = read_back(h3).barriers
    table = np.loadtxt(H3 / "neb.dat")
    profile = one["profile"]
    assert profile["energies_ev"] == pytest.approx(table[:, 1], abs=1e-9)
    # neb.x gives each image's share of the path that its images make up.
    assert profile["path_a"] == pytest.approx(table[:, 0] * PATH_A, abs=1e-5)
    assert (profile["intermediate_minima"], one["converged"]) == (0, True)
    [stored] = rows(db, "profiles")
    assert stored["hop_id"] == hop_of("LiFePO4")
    for name, value in profile.items():
        assert stored[name] == value
    assert stored["highest_segment_ev"] == pytest.approx(one["em_forward_ev"])
    assert [again["state"] for again in read_back(h3).barriers] == ["unchanged"]


def test_images_and_output_alone_are_enough(h3: Path, read_back: ReadBack) -> None:
    [whole] = read_back(h3).barriers
    (h3 / "neb.dat").unlink()
    [one] = read_back(h3).barriers
    for name in ("em_forward_ev", "em_reverse_ev"):
        assert one[name] == pytest.approx(whole[name], abs=2e-7)  # the output has fewer digits
    assert one["profile"]["path_a"] == whole["profile"]["path_a"]
    (h3 / "neb.axsf").unlink()
    assert read_back(h3).reasons == ["unfinished"]


def test_without_images_the_output_tells_how_long_the_path_is(
    h3: Path, read_back: ReadBack
) -> None:
    (h3 / "neb.axsf").unlink()
    [one] = read_back(h3).barriers
    assert one["profile"]["path_a"][-1] == pytest.approx(PATH_A, abs=1e-3)
    (h3 / "neb.out").unlink()
    [one] = read_back(h3).barriers
    assert one["profile"]["path_a"] is None


def two_atoms(folder: Path) -> None:
    change_meta(folder, n_atoms=2)


def other_elements(folder: Path) -> None:
    change_meta(folder, elements=["Li", "O"])


def longer_hop(folder: Path) -> None:
    change_meta(folder, length_a=3.1)


def other_ion(folder: Path) -> None:
    change_meta(folder, moving_atom=1)


def fewer_in_axsf(folder: Path) -> None:
    head, *images = (folder / "neb.axsf").read_text().split(" PRIMCOORD")
    head = head.replace("ANIMSTEPS   5", "ANIMSTEPS   4")
    (folder / "neb.axsf").write_text(" PRIMCOORD".join([head, *images[:-1]]))


def torn_axsf(folder: Path) -> None:
    text = (folder / "neb.axsf").read_text()
    (folder / "neb.axsf").write_text(text[: len(text) // 2])


def changing_atoms(folder: Path) -> None:
    text = (folder / "neb.axsf").read_text()
    (folder / "neb.axsf").write_text(text[:-200] + text[-200:].replace(" H ", " He "))


OTHER_BANDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "3 atoms in neb.axsf, meta.json says 2": (two_atoms, "other_atoms"),
    "in the order H in neb.axsf, meta.json says Li-O": (other_elements, "other_atoms"),
    "goes 1.59 Å in neb.axsf, meta.json says 3.10": (longer_hop, "other_hop"),
    "the ion (atom 2) 0.00 Å": (other_ion, "other_hop"),
    "5 images in neb.dat, 4 in neb.axsf": (fewer_in_axsf, "other_images"),
    "not what neb.x writes": (torn_axsf, "unreadable"),
    "different atoms": (changing_atoms, "other_atoms"),
}


@pytest.mark.parametrize("said", OTHER_BANDS)
def test_images_of_another_band_are_refused(h3: Path, read_back: ReadBack, said: str) -> None:
    change, reason = OTHER_BANDS[said]
    change(h3)
    done = read_back(h3)
    assert done.reasons == [reason]
    assert said in done.refused[0]["detail"]


def cut_short(folder: Path) -> None:
    (folder / "neb.path").write_text(PATH.replace("20\n      20\n       0", "0\n 20\n  3"))


def pw_output(functional: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        place = folder / "out" / "neb_2"
        place.mkdir(parents=True)
        (place / "PW.out").write_text(f"     Exchange-correlation= {functional}\n")

    return write


def fewer_images(folder: Path) -> None:
    (folder / "neb.dat").write_text("\n".join(PROFILE.splitlines()[1:]))


def other_path(folder: Path) -> None:
    (folder / "neb.path").write_text(PATH.replace("   5\n", "   7\n"))


def no_profile(folder: Path) -> None:
    (folder / "neb.dat").unlink()


def no_numbers(folder: Path) -> None:
    (folder / "neb.dat").write_text("0.0 ********** 0.1\n")


DEFECTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut short at image 3": (cut_short, "unfinished"),
    "say LDA, meta.json says PBE": (pw_output("SLA  PZ   NOGX NOGC"), "mixed_functional"),
    "4 images in neb.dat": (fewer_images, "other_images"),
    "7 in neb.path": (other_path, "other_images"),
    "submit job.sh again": (no_profile, "unfinished"),
    "three numbers": (no_numbers, "unreadable"),
}


@pytest.mark.parametrize("said", DEFECTS)
def test_what_cannot_be_taken_is_named(folder: Path, read_back: ReadBack, said: str) -> None:
    change, reason = DEFECTS[said]
    change(folder)
    done = read_back(folder)
    assert (done.code, done.reasons) == (3, [reason])
    assert said in done.refused[0]["detail"]


def test_the_functional_that_was_written_is_taken(folder: Path, read_back: ReadBack) -> None:
    pw_output("SLA  PW   PBX  PBC")(folder)
    assert read_back(folder).refused == []


@pytest.mark.skipif(
    shutil.which("neb.x") is None or not PSEUDO.exists(),
    reason="neb.x and its example pseudopotentials are not installed (Debian: quantum-espresso, "
    "quantum-espresso-data)",
)
def test_the_real_code(add_calculation: AddCalculation, read_back: ReadBack) -> None:
    """A run of neb.x in the place of a written band's."""
    folder = add_calculation("LiFePO4", "qe", "--images", "1")
    change_meta(folder, **H3_META)
    (folder / "neb.in").write_text(NEB_IN.replace("PLACE", str(PSEUDO.parent)))
    with (folder / "neb.out").open("w") as output:
        subprocess.run(["neb.x", "-inp", "neb.in"], cwd=folder, stdout=output, check=True)
    done = read_back(folder)
    assert done.refused == []
    [one] = done.barriers
    assert (one["converged"], one["functional"]) == (True, "PBE")
    said = float((folder / "neb.dat").read_text().splitlines()[1].split()[1])
    assert one["em_forward_ev"] == pytest.approx(said)
    assert one["em_reverse_ev"] == pytest.approx(said, abs=1e-4)
    assert said > 0.1
    assert one["profile"]["path_a"][-1] == pytest.approx(5.218 * 0.529177, abs=0.02)
