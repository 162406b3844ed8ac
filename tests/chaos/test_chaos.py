"""A few of the rounds and the quicker faults of ``python -m tests.chaos``, with every test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.__main__ import FAULTS
from tests.chaos.campaigns import Campaign, catalogued, content, differences, duplicates, from_files
from tests.chaos.fault import Scene, play
from tests.chaos.kills import Kills, Whole, undisturbed
from tests.chaos.processes import Ended

QUICK = ("full-disk", "flipped-weights", "nan-weights")
"""The others take longer, or are tested where what they break is."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Of a short name, since the paths of Ray's sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def small() -> Campaign:
    return catalogued(6)


@pytest.fixture(scope="module")
def whole(small: Campaign, folder: Path) -> Whole:
    return undisturbed(small, "inline", folder / "undisturbed")


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_ends_in_rows_or_one_line_and_the_run_goes_on(
    name: str, small: Campaign, whole: Whole, folder: Path
) -> None:
    outcome = play(name, FAULTS[name], Scene(folder / name, small, whole.content))
    if outcome.skipped:
        pytest.skip(outcome.ended)
    assert outcome.violations == []


def test_killed_runs_end_with_the_same_tables(folder: Path) -> None:
    own = folder / "inline"
    own.mkdir()
    kills = Kills([from_files(own, copies=6)], ["inline"], own)
    (outcome,) = kills.play(1, seed=5)
    assert outcome.violations == []


@pytest.mark.slow
def test_a_killed_driver_on_ray_leaves_nothing_running_and_loses_nothing(folder: Path) -> None:
    own = folder / "ray"
    own.mkdir()
    kills = Kills([catalogued(5)], ["ray"], own)
    (outcome,) = kills.play(1, seed=3)
    assert outcome.violations == []


def test_what_is_lost_or_twice_or_other_is_found(whole: Whole, folder: Path) -> None:
    """The comparison itself: a matrix that holds everything says nothing."""
    key, row = next(iter(whole.content["predictions"].items()))
    without = dict(whole.content["predictions"])
    del without[key]
    lost = {**whole.content, "predictions": without}
    changed = {**lost, "predictions": {**without, key: {**row, "em_ev": row["em_ev"] + 0.01}}}
    assert differences(lost, whole.content) == [f"predictions lacks {key}"]
    assert differences(whole.content, lost) == [f"predictions has {key} besides"]
    (said,) = differences(changed, whole.content)
    assert "em_ev" in said
    assert differences(whole.content, whole.content) == []
    assert duplicates(folder / "undisturbed" / "whole.duckdb") == []
    assert content(folder / "undisturbed" / "whole.duckdb") == whole.content


def test_an_end_is_judged() -> None:
    good = Ended(1, "", "note: x\nerror: y\n", 1.0)
    assert good.complaints([1]) == []
    assert len(good.complaints([0])) == 1
    assert (
        len(replace(good, err="Traceback (most recent call last)\nerror: y").complaints([1])) == 1
    )
    assert len(replace(good, err="error: y\nerror: z").complaints([1])) == 1
