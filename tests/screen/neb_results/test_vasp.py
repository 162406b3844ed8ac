"""``screen neb read`` on what VASP leaves."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.geometry import find_mic
from ase.io import read

from screen.cli import main
from tests.screen.neb_results.conftest import (
    AddCalculation,
    ReadBack,
    fill_vasp,
    hop_of,
    outcar,
    rows,
    vasprun,
)

ENERGIES_EV = (-100.0, -99.8, -99.5, -99.7, -99.9)


@pytest.fixture
def folder(add_calculation: AddCalculation) -> Path:
    """A finished band with a climbing image, its ends relaxed elsewhere."""
    made = add_calculation("LiCoO2", "vasp", "--images", "3", "--profile", "vtst")
    fill_vasp(made, ENERGIES_EV)
    return made


def test_a_finished_band_is_read_both_ways(folder: Path, read_back: ReadBack, db: Path) -> None:
    done = read_back(folder.parent.parent)
    assert (done.code, done.refused) == (0, [])
    [one] = done.barriers
    assert (one["hop_id"], one["method"], one["functional"]) == (hop_of("LiCoO2"), "vasp", "PBE")
    assert (one["em_forward_ev"], one["em_reverse_ev"]) == pytest.approx((0.5, 0.4))
    assert (one["converged"], one["state"], one["hubbard_u"]) == (True, "new", None)
    assert one["source"] == f"{folder.parent.name}/vasp"
    [profile] = rows(db, "profiles")
    assert profile["energies_ev"] == pytest.approx([0.0, 0.2, 0.5, 0.3, 0.1])
    images = [read(folder / "neb" / f"{index:02d}" / "POSCAR") for index in range(5)]
    steps_a = [
        np.linalg.norm(find_mic(b.positions - a.positions, a.cell)[1])
        for a, b in itertools.pairwise(images)
    ]
    assert profile["path_a"] == pytest.approx([0.0, *np.cumsum(steps_a)], abs=1e-4)
    [row] = rows(db)
    again = read_back(folder.parent)
    assert [one["state"] for one in again.barriers] == ["unchanged"]
    assert rows(db) == [row]  # its time, too


def test_people_get_a_table_and_a_line_for_each_that_is_missing(
    folder: Path, db: Path, add_calculation: AddCalculation, capsys: pytest.CaptureFixture[str]
) -> None:
    add_calculation("LiFePO4", "vasp", "--images", "3")
    capsys.readouterr()
    assert main(["neb", "read", str(folder.parent.parent), "--db", str(db)]) == 0
    said = capsys.readouterr()
    heading, line = said.out.splitlines()
    assert heading.split()[0] == "state"
    assert {"new", hop_of("LiCoO2"), "0.500", "0.400", "PBE", "yes"} <= set(line.split())
    [note] = said.err.splitlines()
    assert "001_LiFePO4/vasp: not_run: no OUTCAR" in note


def test_a_later_run_takes_the_place_of_an_earlier_one(
    folder: Path, read_back: ReadBack, db: Path
) -> None:
    fill_vasp(folder, ENERGIES_EV, relaxed=False)
    first = read_back(folder)
    assert [one["converged"] for one in first.barriers] == [False]
    assert any("not converged" in note for note in first.barriers[0]["notes"])
    fill_vasp(folder, (-100.0, -99.8, -99.4, -99.7, -99.9))
    assert [one["state"] for one in read_back(folder).barriers] == ["changed"]
    [row] = rows(db)
    assert row["converged"]
    assert row["em_forward_ev"] == pytest.approx(0.6)


def test_without_a_climbing_image_the_saddle_is_the_splines(
    add_calculation: AddCalculation, read_back: ReadBack
) -> None:
    folder = add_calculation("LiCoO2", "vasp", "--images", "2", "--linear")
    fill_vasp(folder, (-10.0, -9.7, -9.7, -10.0))
    [one] = read_back(folder).barriers
    # A clamped cubic through 0, 0.3, 0.3, 0 at even steps is highest in the middle.
    from scipy.interpolate import CubicSpline

    top = float(CubicSpline([0, 1, 2, 3], [0, 0.3, 0.3, 0], bc_type="clamped")(1.5))
    assert top > 0.33
    assert one["em_forward_ev"] == pytest.approx(top, abs=1e-4)
    assert one["em_forward_ev"] == pytest.approx(one["em_reverse_ev"])


def test_packed_outputs_and_ends_in_the_band(folder: Path, read_back: ReadBack) -> None:
    for name, index in (("start", "00"), ("end", "04")):
        shutil.move(folder / "endpoints" / name / "OUTCAR", folder / "neb" / index / "OUTCAR")
    plain = folder / "neb" / "02" / "OUTCAR"
    (plain.parent / "OUTCAR.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read_back(folder).barriers[0]["em_forward_ev"] == pytest.approx(0.5)


def test_a_vasprun_stands_for_an_outcar(folder: Path, read_back: ReadBack) -> None:
    path = folder / "neb" / "02" / "vasprun.xml"
    (path.parent / "OUTCAR").unlink()
    symbols = ["Li"] * json.loads((folder / "meta.json").read_text())["n_atoms"]
    path.write_text(vasprun(-99.5, symbols))
    [one] = read_back(folder).barriers
    assert (one["em_forward_ev"], one["converged"]) == (pytest.approx(0.5), True)
    path.write_text(vasprun(-99.5, symbols, gga="PS"))
    assert read_back(folder).reasons == ["mixed_functional"]
    path.write_text(vasprun(-99.5, symbols)[:-100])
    assert read_back(folder).reasons == ["unreadable"]


def drop_an_end(folder: Path) -> None:
    (folder / "endpoints/end/OUTCAR").unlink()


def drop_an_image(folder: Path) -> None:
    (folder / "neb/02/OUTCAR").unlink()


def drop_an_image_folder(folder: Path) -> None:
    shutil.rmtree(folder / "neb/02")


def cut(folder: Path) -> None:
    path = folder / "neb/02/OUTCAR"
    path.write_text(path.read_text().partition(" General timing")[0])


def spoil(folder: Path) -> None:
    (folder / "neb/02/OUTCAR").write_text("General timing and accounting\n")


def another_functional_in_one(folder: Path) -> None:
    path = folder / "neb/02/OUTCAR"
    path.write_text(path.read_text().replace("GGA     =    PE", "GGA     =    PS"))


def another_functional(folder: Path) -> None:
    fill_vasp(folder, ENERGIES_EV, gga="PS")


def a_hubbard_u(folder: Path) -> None:
    for path in folder.rglob("OUTCAR"):
        path.write_text(" LDA+U is selected, type is set to LDAUTYPE =  2\n" + path.read_text())


def other_atoms(folder: Path) -> None:
    (folder / "neb/01/OUTCAR").write_text(outcar(-99.8, 7))


def no_saddle(folder: Path) -> None:
    fill_vasp(folder, (-100.0, -99.9, -99.8, -99.7, -99.6))


def no_outputs(folder: Path) -> None:
    for path in folder.rglob("OUTCAR"):
        path.unlink()


def not_json(folder: Path) -> None:
    (folder / "meta.json").write_text("{")


def no_meta(folder: Path) -> None:
    (folder / "meta.json").unlink()


def unknown_hop(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"hop_id": "nowhere:0-1:0,0,0"}))


DEFECTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "endpoints/end": (drop_an_end, "missing_output"),
    "neb/02": (drop_an_image, "missing_output"),
    "4 image folders": (drop_an_image_folder, "other_images"),
    "neb/02/OUTCAR: VASP did not": (cut, "unfinished"),
    "neb/02/OUTCAR cannot be read": (spoil, "unreadable"),
    "PBE and PBEsol": (another_functional_in_one, "mixed_functional"),
    "say PBEsol, meta.json says PBE": (another_functional, "mixed_functional"),
    "say PBE+U, meta.json says PBE": (a_hubbard_u, "mixed_functional"),
    "atoms": (other_atoms, "other_atoms"),
    "relax the ends": (no_saddle, "no_saddle"),
    "submit job.sh": (no_outputs, "not_run"),
    "copy it from": (not_json, "bad_meta"),
    "without meta.json": (no_meta, "no_meta"),
    "nowhere:0-1:0,0,0": (unknown_hop, "unknown_hop"),
}


@pytest.mark.parametrize("said", DEFECTS)
def test_what_cannot_be_taken_is_named_and_the_rest_goes_in(
    folder: Path, add_calculation: AddCalculation, read_back: ReadBack, said: str
) -> None:
    change, reason = DEFECTS[said]
    change(folder)
    sound = add_calculation("LiFePO4", "vasp", "--images", "3", "--profile", "vtst")
    fill_vasp(sound, ENERGIES_EV)
    done = read_back(folder.parent.parent)
    assert done.code == 0
    assert [one["hop_id"] for one in done.barriers] == [hop_of("LiFePO4")]
    assert done.reasons == [reason]
    assert said in done.refused[0]["detail"]
    assert folder.parent.name in done.refused[0]["place"]
