"""What every engine promises, on real crystals: one suite, both engines."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from jobs.parallel import mapped
from jobs.pipeline import run
from jobs.records import Candidate, Failure, MaterialResult, Progress
from jobs.session import Resources
from jobs.settings import RunSettings
from jobs.stages import GraphPredictor, PredictorFactory
from models.checkpoint import list_models
from pathways.hops import HopSettings

Predictors = Callable[..., PredictorFactory]
PATIENCE_S = 120.0
"""Nothing takes long, but machines that run tests can be busy."""
SMALL: dict[str, Any] = {"batch_cost": 60_000, "chunk": 2, "num_cpus": 1, "num_gpus": 0}


@pytest.fixture
def inline() -> RunSettings:
    return RunSettings(engine="inline", **SMALL)


@pytest.fixture(params=["inline", "ray"])
def settings(request: pytest.FixtureRequest) -> RunSettings:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return RunSettings(engine=request.param, **SMALL)


class Store:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.batches: list[list[MaterialResult]] = []

    def __call__(self, batch: list[MaterialResult]) -> None:
        self.batches.append(batch)

    @property
    def results(self) -> dict[str, MaterialResult]:
        everything = [result for batch in self.batches for result in batch]
        assert len({result.material_id for result in everything}) == len(everything)
        return {result.material_id: result for result in everything}


def barriers(store: Store) -> dict[str, float]:
    return {
        hop.hop_id: hop.prediction.em_ev for result in store.results.values() for hop in result.hops
    }


def rows(store: Store) -> set[Failure]:
    return {failure for result in store.results.values() for failure in result.failures}


def unread(name: str) -> Failure:
    return Failure(name, "source", "bad_cif", "no atoms in the file")


@pytest.fixture(scope="module")
def expected(candidates: list[Candidate], predictors: Predictors) -> dict[str, float]:
    """Barriers by hop id, from the inline engine."""
    store = Store()
    run(candidates, store, RunSettings(engine="inline", num_gpus=0), None, predictors())
    assert len(store.results) == len(candidates)
    assert not rows(store)
    return barriers(store)


def check_whole(result: MaterialResult, candidate: Candidate) -> None:
    """A material is handed over with all its hops or not at all."""
    assert result.candidate is candidate  # with its info, which workers never see
    assert result.ion == candidate.ion
    assert result.network is not None
    assert len(result.hops) + len(result.failures) == len(result.network.hops)
    assert all(len(hop.supercell) == 9 for hop in result.hops)


def test_every_hop_once_and_every_failure_one_row(
    settings: RunSettings,
    candidates: list[Candidate],
    broken: Candidate,
    expected: dict[str, float],
    predictors: Predictors,
) -> None:
    settings = replace(settings, num_cpus=2)
    hop_id, em_ev = sorted(expected.items())[3]
    store = Store()
    seen: list[Progress] = []
    progress = run(
        [unread("first"), *candidates, broken, unread("last")],
        store,
        settings,
        seen.append,
        predictors(poison="raise", poison_ev=em_ev),
    )
    assert barriers(store) == {key: em for key, em in expected.items() if key != hop_id}
    assert {(row.material_id, row.hop_id, row.stage, row.reason) for row in rows(store)} == {
        ("first", "", "source", "bad_cif"),
        ("last", "", "source", "bad_cif"),
        ("overlap", "", "check", "overlapping_atoms"),
        (hop_id.partition(":")[0], hop_id, "model", "zero_division_error"),
    }
    for candidate in candidates:
        check_whole(store.results[candidate.material_id], candidate)
    assert store.results["first"].candidate is None
    assert store.results["overlap"].network is None
    assert progress.candidates == progress.written == len(candidates) + 3
    assert (progress.hops, progress.predictions) == (len(expected), len(expected) - 1)
    assert progress.failures == 4
    assert seen[-1].written == progress.written
    assert all(earlier.written <= later.written for earlier, later in pairwise(seen))


@pytest.mark.parametrize(("poison", "reason"), [("nan", "non_finite"), ("memory", "out_of_memory")])
def test_one_graph_that_the_model_cannot_do_is_one_row(
    inline: RunSettings,
    candidates: list[Candidate],
    expected: dict[str, float],
    predictors: Predictors,
    poison: str,
    reason: str,
) -> None:
    hop_id, em_ev = sorted(expected.items())[3]
    store = Store()
    run(candidates, store, inline, None, predictors(poison=poison, poison_ev=em_ev))
    (row,) = rows(store)
    assert (row.hop_id, row.stage, row.reason) == (hop_id, "model", reason)
    assert barriers(store) == {key: em for key, em in expected.items() if key != hop_id}


def test_source_of_failures_alone_ends_at_once(
    settings: RunSettings, predictors: Predictors
) -> None:
    store = Store()
    progress = run((unread(str(n)) for n in range(150)), store, settings, None, predictors())
    assert progress.candidates == progress.written == progress.failures == 150
    assert [len(batch) for batch in store.batches] == [64, 64, 22]


def test_write_error_comes_out_and_write_is_not_called_again(
    settings: RunSettings, candidates: list[Candidate], predictors: Predictors
) -> None:
    calls = []

    def full(batch: list[MaterialResult]) -> None:
        calls.append(batch)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(candidates, full, settings, None, predictors())
    assert len(calls) == 1


def test_source_error_comes_out_after_all_that_came_before_is_written(
    settings: RunSettings,
    candidates: list[Candidate],
    expected: dict[str, float],
    predictors: Predictors,
) -> None:
    error = ConnectionError("the server went away")

    def source() -> Iterator[Candidate | Failure]:
        yield unread("first")
        yield from candidates
        raise error

    store = Store()
    with pytest.raises(ConnectionError) as raised:
        run(source(), store, settings, None, predictors())
    assert raised.value is error
    assert barriers(store) == expected
    assert len(store.results) == len(candidates) + 1


def test_source_error_before_the_first_candidate_starts_nothing(
    settings: RunSettings, predictors: Predictors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source() -> Iterator[Candidate | Failure]:
        yield unread("first")
        raise ConnectionError("the server went away")

    monkeypatch.delattr("jobs.ray_engine.ray_session")
    store = Store()
    with pytest.raises(ConnectionError):
        run(source(), store, settings, None, predictors())
    assert set(store.results) == {"first"}


def test_source_that_waits_holds_up_nothing(
    settings: RunSettings, candidates: list[Candidate], predictors: Predictors
) -> None:
    store, first_page_written = Store(), threading.Event()

    def source() -> Iterator[Candidate | Failure]:
        yield from candidates[3:]
        assert first_page_written.wait(PATIENCE_S)
        yield unread("next")
        yield from candidates[:3]

    def write(batch: list[MaterialResult]) -> None:
        store(batch)
        if len(store.results) == len(candidates[3:]):
            first_page_written.set()

    run(source(), write, settings, None, predictors())
    assert len(store.results) == len(candidates) + 1


def test_candidates_that_rays_workers_make_come_out_alike(
    cluster: Resources,
    settings: RunSettings,
    candidates: list[Candidate],
    expected: dict[str, float],
    predictors: Predictors,
) -> None:
    def source() -> Iterator[Candidate]:
        for page in mapped(lambda page: page[::-1], [candidates[:2], candidates[2:5], []]):
            yield from page
        yield candidates[5]

    store = Store()
    run(source(), store, settings, None, predictors())
    assert barriers(store) == expected


def many(candidates: list[Candidate], count: int) -> Iterator[Candidate]:
    """The same crystals again and again, the larger ones less often."""
    for number in range(count):
        base = candidates[number % len(candidates) if number % 10 == 0 else 3]
        yield Candidate(f"{base.material_id}-{number}", base.ion, base.crystal)


@pytest.mark.parametrize("count", [0, 30])
def test_interrupt_writes_what_is_finished_and_does_not_wait_for_the_source(
    settings: RunSettings, candidates: list[Candidate], predictors: Predictors, count: int
) -> None:
    store, written, go_on = Store(), threading.Event(), threading.Event()
    sent_at = 0.0

    def source() -> Iterator[Candidate]:
        nonlocal sent_at
        yield from many(candidates, count)
        assert not count or written.wait(PATIENCE_S)
        sent_at = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)
        assert go_on.wait(PATIENCE_S)
        raise AssertionError("nobody asked")

    def write(batch: list[MaterialResult]) -> None:
        store(batch)
        written.set()

    with pytest.raises(KeyboardInterrupt):
        run(source(), write, settings, None, predictors())
    assert time.monotonic() - sent_at < 10
    go_on.set()
    assert bool(store.results) == bool(count)
    for result in store.results.values():
        assert result.candidate is not None
        check_whole(result, result.candidate)


def test_predictor_that_cannot_be_made_says_why(
    inline: RunSettings, candidates: list[Candidate]
) -> None:
    def factory() -> GraphPredictor:
        raise ValueError("the weights are of another model")

    with pytest.raises(ValueError, match="weights are of another model"):
        run(candidates, Store(), inline, None, factory)


def test_source_is_pulled_only_as_far_as_work_goes(
    settings: RunSettings,
    candidates: list[Candidate],
    predictors: Predictors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobs.source.AHEAD", 16)
    settings = replace(settings, hops=HopSettings(max_hops=1))
    taken, finished, ahead = 0, 0, []

    def source() -> Iterator[Candidate]:
        nonlocal taken
        for candidate in many(candidates, 150):
            taken += 1
            ahead.append(taken - finished)
            yield candidate

    def write(batch: list[MaterialResult]) -> None:
        nonlocal finished
        finished += len(batch)

    assert run(source(), write, settings, None, predictors()).written == 150
    # 64 that are finished and wait for each other, and what the workers of each kind may hold.
    assert max(ahead) < 16 + 64 + 40


def test_the_shipped_model_gives_the_same_on_both_engines(
    cluster: Resources, candidates: list[Candidate]
) -> None:
    if not any(model.name == "model3" for model in list_models()):
        pytest.skip("model3 is not in models/weights")
    settings = RunSettings(num_gpus=0, num_cpus=1, hops=HopSettings(max_hops=1))
    candidates = candidates[2:]
    ray_store, inline_store = Store(), Store()
    run(candidates, ray_store, settings)
    run(candidates, inline_store, replace(settings, engine="inline"))
    assert not rows(ray_store)
    assert barriers(ray_store) == pytest.approx(barriers(inline_store), abs=1e-6)
    assert len(barriers(ray_store)) >= len(candidates)
