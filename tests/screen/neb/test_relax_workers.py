"""``screen neb relax``: a hop that fails costs itself alone, here and in Ray's workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from screen.neb_relax.relaxing import Plan, plan_relaxations
from tests.screen.neb.relax_shortlist import ase_folder, relax_apart, result_of, write_hops

GIB = 2**30


def failure_of(shortlist: Path, number: int) -> dict[str, str]:
    found = json.loads((ase_folder(shortlist, number) / "neb_failure.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("accident", "reason"), [("memory", "memory_error"), ("nan", "no_number")])
def test_a_calculator_that_fails_costs_one_hop(tmp_path: Path, accident: str, reason: str) -> None:
    shortlist = write_hops(tmp_path, 8, 5)
    unlucky = json.dumps({"accident": accident, "most": 40})
    words = ["--engine", "inline", "--arguments", unlucky, "--fmax", "0.2", "--json"]
    ran = relax_apart(shortlist, *words)
    assert ran.returncode == 0, ran.stderr
    assert failure_of(shortlist, 1)["reason"] == reason
    failed, done = json.loads(ran.stdout)
    assert failed["failure"]["reason"] == reason
    assert failed["em_forward_ev"] is None
    assert done["converged"]


def test_two_workers_share_the_hops_and_one_that_dies_is_replaced(tmp_path: Path) -> None:
    shortlist = write_hops(tmp_path, 5, 8, 5)
    seen = tmp_path / "seen"
    seen.mkdir()
    deadly = json.dumps({"accident": "kill", "most": 40})
    words = ["--engine", "ray", "--num-cpus", "2", "--arguments", deadly, "--fmax", "0.2"]
    ran = relax_apart(shortlist, *words, SEEN_IN=str(seen))
    assert ran.returncode == 0, ran.stderr
    assert failure_of(shortlist, 2)["reason"] == "killed_worker"
    assert "killed_worker" in ran.stdout
    one, other = result_of(shortlist, 1), result_of(shortlist, 3)
    assert one["converged"]
    assert one["em_forward_ev"] == pytest.approx(other["em_forward_ev"], abs=1e-6)
    threads = {path.read_text() for path in seen.iterdir()}
    assert len(list(seen.iterdir())) >= 2
    assert threads == {"1"}  # two workers on two CPUs


def test_a_calculator_that_cannot_be_made_on_a_worker_is_one_line(tmp_path: Path) -> None:
    shortlist = write_hops(tmp_path, 5)
    words = ["--engine", "ray", "--num-cpus", "1", "--arguments", '{"no_such_argument": 1}']
    ran = relax_apart(shortlist, *words)
    assert ran.returncode == 1
    *_, last = ran.stderr.splitlines()
    assert last.startswith("error: --calculator accidents:Unlucky: cannot be made (")
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("n_hops", "cpus", "gpus", "memory_gib", "plan"),
    [
        (3, 2, 0, 23, Plan(2, 1, 0.0)),
        (1, 8, 0, 64, Plan(1, 8, 0.0)),
        (100, 16, 0, 12, Plan(4, 4, 0.0)),  # memory is for four
        (100, 3, 0, 2, Plan(1, 3, 0.0)),
        (100, 16, 2, 128, Plan(2, 8, 1.0)),
        (100, 16, 0.5, 128, Plan(1, 16, 0.5)),
    ],
)
def test_workers_never_have_more_threads_than_there_are_cpus(
    n_hops: int, cpus: int, gpus: float, memory_gib: int, plan: Plan
) -> None:
    found = plan_relaxations(n_hops, cpus, gpus, memory_gib * GIB)
    assert found == plan
    assert found.workers * found.threads <= cpus
    assert found.device == ("cuda" if gpus else "cpu")
