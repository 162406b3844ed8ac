"""``screen neb read`` on what the written ASE program leaves, run for real."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.screen.conftest import environment
from tests.screen.neb_results.conftest import AddCalculation, ReadBack, hop_of, rows

ATOMS = {"sigma": 1.5, "epsilon": 0.05, "rc": 4.0}


def run(folder: Path, steps: int) -> int:
    words = [sys.executable, str(folder / "run_neb.py"), "--arguments", json.dumps(ATOMS)]
    return subprocess.run(
        [*words, "--calculator", "ase.calculators.lj:LennardJones", "--steps", str(steps)],
        check=False,
        capture_output=True,
        env=environment(),
    ).returncode


@pytest.fixture
def folder(add_calculation: AddCalculation) -> Path:
    return add_calculation("LiCoO2", "ase", "--images", "3")


def test_a_run_is_read_before_while_and_after(folder: Path, read_back: ReadBack, db: Path) -> None:
    before = read_back(folder)
    assert (before.code, before.reasons) == (3, ["not_run"])
    assert "none of 1 results" in before.err
    assert run(folder, 3) == 1
    assert read_back(folder).reasons == ["unfinished"]
    assert rows(db) == []
    assert run(folder, 100) == 0
    [whole] = read_back(folder).barriers
    assert (whole["hop_id"], whole["method"]) == (
        hop_of("LiCoO2"),
        "ase:ase.calculators.lj:LennardJones",
    )
    assert (whole["converged"], whole["functional"], whole["state"]) == (True, None, "new")
    said = json.loads((folder / "neb_result.json").read_text())
    assert whole["em_forward_ev"] == pytest.approx(said["em_forward_ev"])
    assert whole["em_reverse_ev"] == pytest.approx(said["em_reverse_ev"])
    assert whole["em_forward_ev"] > 0.5
    assert whole["profile"]["energies_ev"] == pytest.approx(said["energies_ev"])
    assert whole["profile"]["path_a"] == pytest.approx(said["path_a"])
    assert whole["profile"]["path_a"][-1] > 1.0


def result(folder: Path, **changes: Any) -> Path:
    document = {
        "hop_id": hop_of("LiCoO2"),
        "energies_ev": [0.0, 0.2, 0.5, 0.3, 0.1],
        "converged": True,
        "calculator": "m:C",
    }
    (folder / "neb_result.json").write_text(json.dumps(document | changes))
    return folder


def test_a_result_alone_names_its_hop(folder: Path, tmp_path: Path, read_back: ReadBack) -> None:
    lone = tmp_path / "lone"
    lone.mkdir()
    [one] = read_back(result(lone)).barriers
    assert (one["em_forward_ev"], one["em_reverse_ev"]) == pytest.approx((0.5, 0.4))
    assert read_back(result(lone, hop_id=None)).reasons == ["no_meta"]


def test_ends_that_became_one_are_stored_without_a_barrier(
    folder: Path, read_back: ReadBack, db: Path
) -> None:
    because = "the ends are 0.10 Å apart after relaxation: an end is no minimum"
    changes = {"collapsed": True, "collapsed_because": because, "energies_ev": []}
    [one] = read_back(result(folder, converged=False, **changes)).barriers
    assert one["notes"] == [f"collapsed: {because}; stored without a barrier"]
    [stored] = rows(db)
    assert (stored["em_forward_ev"], stored["converged"]) == (None, False)
    [stored] = rows(db, "profiles")
    assert (stored["note"], stored["energies_ev"]) == (f"collapsed: {because}", None)
    [one] = read_back(result(folder)).barriers  # run again, from better ends
    assert one["state"] == "changed"
    assert [row["note"] for row in rows(db, "profiles")] == [None]


def test_a_band_that_did_not_converge_is_stored_as_such(
    folder: Path, read_back: ReadBack, db: Path
) -> None:
    energies_ev = [0.0, 0.2, 0.5, -0.1, 0.1]
    [one] = read_back(result(folder, converged=False, energies_ev=energies_ev)).barriers
    assert [row["converged"] for row in rows(db)] == [False]
    below, unconverged = one["notes"]
    assert "below both ends" in below
    assert "not converged" in unconverged


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hop_id": "LiCoO2:0-0:9,9,9"}, "other_hop"),
        ({"energies_ev": [0.0, 0.5, 0.1]}, "other_images"),
        ({"energies_ev": [0.0, 0.1, 0.2, 0.3, 0.5]}, "no_saddle"),
        ({"energies_ev": [0.0, 0.2, float("nan"), 0.2, 0.1]}, "no_energies"),
        ({"energies_ev": None}, "unreadable"),
    ],
)
def test_results_that_do_not_fit(
    folder: Path, read_back: ReadBack, changes: dict[str, object], reason: str
) -> None:
    done = read_back(result(folder, **changes))
    assert (done.code, done.reasons) == (3, [reason])


def test_two_results_under_one_name_are_not_mixed(
    folder: Path, tmp_path: Path, read_back: ReadBack, db: Path
) -> None:
    result(folder)
    copy = tmp_path / "second" / folder.parent.name / "ase"
    shutil.copytree(folder, copy)
    both = read_back(folder, copy)
    assert (len(both.barriers), both.refused) == (1, [])  # the same once more
    result(copy, energies_ev=[0.0, 0.2, 0.7, 0.3, 0.1])
    assert read_back(folder, copy).reasons == ["twice"]
    assert rows(db)[0]["em_forward_ev"] == pytest.approx(0.5)


@pytest.mark.parametrize(("pull", "converged"), [(0.01, True), (0.3, False), (None, None)])
def test_a_trajectory_of_ones_own_is_read(
    folder: Path, read_back: ReadBack, pull: float | None, converged: bool | None
) -> None:
    """Two steps of a band; the last one counts."""
    import numpy as np
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import read, write

    frames = []
    for energies_ev in ([0.0, 1.2, 1.5, 1.3, 0.1], [0.0, 0.2, 0.5, 0.3, 0.1]):
        images = read(folder / "neb.extxyz", index=":")
        for image, energy in zip(images, energies_ev, strict=True):
            forces = np.zeros((len(image), 3))
            forces[-1, 0] = pull or 0.0
            known = {"energy": energy} | ({"forces": forces} if pull else {})
            image.calc = SinglePointCalculator(image, **known)
        frames += images
    write(folder / "neb.traj", frames)
    [one] = read_back(folder).barriers
    assert one["method"].startswith("ase:")
    assert (one["em_forward_ev"], one["em_reverse_ev"]) == pytest.approx((0.5, 0.4))
    assert one["converged"] is converged
    assert 2.8 < one["profile"]["path_a"][-1] < 4.0


def test_trajectories_of_something_else_are_named(folder: Path, read_back: ReadBack) -> None:
    from ase.io import read, write

    images = read(folder / "neb.extxyz", index=":")
    (folder / "neb.traj").write_text("nothing")
    assert read_back(folder).reasons == ["unreadable"]
    write(folder / "neb.traj", images)
    assert read_back(folder).reasons == ["no_energies"]
    write(folder / "neb.traj", images[:-1])
    assert read_back(folder).reasons == ["other_images"]
    write(folder / "neb.traj", [image[1:] for image in images])
    assert read_back(folder).reasons == ["other_atoms"]
