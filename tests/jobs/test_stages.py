"""The stages alone: every failure a row with stage and reason, batches cut down to the culprit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jobs.records import BOTH, Candidate
from jobs.settings import RunSettings
from jobs.stages import (
    Refusal,
    assemble,
    batches,
    one_line,
    pass_through,
    prepare,
    reason_of,
    score,
)
from models.graph import BandGraph, GraphSettings
from models.predict import Prediction
from pathways.hops import HopSettings
from pathways.supercell import BandSettings
from pathways.types import Crystal, PathwayError

SETTINGS = RunSettings(engine="inline")
GRAPHS = GraphSettings()


@pytest.fixture(scope="module")
def graphs(candidates: list[Candidate]) -> list[BandGraph]:
    found: list[BandGraph] = []
    for candidate in candidates:
        found += prepare(candidate, SETTINGS, GRAPHS)[1]
    return found


def test_prepare_gives_one_graph_per_ready_hop_with_its_cost(candidates: list[Candidate]) -> None:
    for candidate in candidates:
        prepared, built = prepare(candidate, SETTINGS, GRAPHS)
        assert prepared.network is not None
        assert not prepared.failures
        assert [ready.index for ready in prepared.ready] == list(range(len(prepared.network.hops)))
        assert [ready.cost for ready in prepared.ready] == [graph.cost for graph in built]
        for ready in prepared.ready:
            assert abs(round(np.linalg.det(np.reshape(ready.supercell, (3, 3))))) >= 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lattice": np.full((3, 3), np.nan)}, "non_finite"),
        ({"lattice": np.zeros((3, 3))}, "singular_cell"),
        ({"numbers": np.array([12, 8])}, "no_mobile_ion"),
    ],
)
def test_a_bad_crystal_is_one_row_of_the_check(change: dict[str, Any], reason: str) -> None:
    crystal = Crystal(np.eye(3) * 4.2, np.array([3, 8]), np.array([[0.0] * 3, [0.5] * 3]))
    candidate = Candidate("bad", "Li", replace(crystal, **change))
    prepared, built = prepare(candidate, SETTINGS, GRAPHS)
    (failure,) = prepared.failures
    assert (failure.stage, failure.reason) == ("check", reason)
    assert (prepared.network, prepared.ready, built) == (None, (), [])


def test_garbage_instead_of_a_crystal_is_one_row() -> None:
    candidate = Candidate("garbage", "Li", None)  # type: ignore[arg-type]
    prepared, _ = prepare(candidate, SETTINGS, GRAPHS)
    (failure,) = prepared.failures
    assert failure.stage == "check"
    assert failure.reason
    assert failure.detail


def test_a_hop_limit_that_leaves_none_is_a_row_of_the_hops(candidates: list[Candidate]) -> None:
    settings = replace(SETTINGS, hops=HopSettings(cutoff_a=1.0))
    prepared, _ = prepare(candidates[0], settings, GRAPHS)
    (failure,) = prepared.failures
    assert (failure.stage, failure.hop_id) == ("hops", "")


def test_a_band_that_cannot_be_built_costs_that_hop_only(candidates: list[Candidate]) -> None:
    settings = replace(SETTINGS, band=BandSettings(max_atoms=10))
    prepared, built = prepare(candidates[0], settings, GRAPHS)
    assert prepared.network is not None
    assert not built
    assert {failure.stage for failure in prepared.failures} == {"band"}
    assert [failure.hop_id for failure in prepared.failures] == [
        hop.id_in("LiCoO2") for hop in prepared.network.hops
    ]


def test_a_graph_that_cannot_be_built_costs_that_hop_only(candidates: list[Candidate]) -> None:
    prepared, built = prepare(candidates[0], SETTINGS, None)  # type: ignore[arg-type]
    assert prepared.network is not None
    assert not built
    assert len(prepared.failures) == len(prepared.network.hops)
    assert {failure.stage for failure in prepared.failures} == {"graph"}
    assert {failure.reason for failure in prepared.failures} == {"attribute_error"}


@pytest.mark.parametrize(
    ("asked", "own", "expected"),
    [
        ("auto", ("vacancy",), ("vacancy",)),
        ("auto", BOTH, BOTH),
        ("vacancy", BOTH, ("vacancy",)),
        ("dilute", ("vacancy",), ("dilute",)),
        ("both", ("vacancy",), BOTH),
    ],
)
def test_hops_are_prepared_by_each_mechanism(
    candidates: list[Candidate], asked: Any, own: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    candidate = replace(candidates[0], mechanisms=own)
    prepared, built = prepare(candidate, replace(SETTINGS, mechanism=asked), GRAPHS)
    plain, _ = prepare(candidates[0], SETTINGS, GRAPHS)
    assert prepared.network is not None
    assert plain.network is not None
    each = len(plain.network.hops)
    assert [hop.mechanism for hop in prepared.network.hops] == [
        mechanism for mechanism in expected for _ in range(each)
    ]
    assert len({hop.key for hop in prepared.network.hops}) == len(built) == each * len(expected)
    assert not prepared.failures


def test_the_mechanism_asked_for_is_part_of_a_campaigns_identity() -> None:
    choices: tuple[Any, ...] = ("auto", "vacancy", "dilute", "both")
    sciences = [str(RunSettings(mechanism=choice).science()) for choice in choices]
    assert len(set(sciences)) == len(choices)
    with pytest.raises(ValueError, match="mechanism is 'interstitial'"):
        RunSettings(mechanism="interstitial")  # type: ignore[arg-type]


def test_an_unknown_mechanism_of_a_candidate_is_one_row(candidates: list[Candidate]) -> None:
    candidate = replace(candidates[0], mechanisms=("exchange",))
    (failure,) = prepare(candidate, SETTINGS, GRAPHS)[0].failures
    assert (failure.stage, failure.reason) == ("hops", "unknown_mechanism")


def test_a_result_falls_into_its_mechanisms(candidates: list[Candidate]) -> None:
    candidate = replace(candidates[2], mechanisms=BOTH)
    prepared, built = prepare(candidate, SETTINGS, GRAPHS)
    each = len(built) // 2
    good = Prediction(0.4, 0.1, 0.2, 0.6, 0.9, 1.0)
    answers: list[Prediction | Refusal] = [good for _ in built]
    answers[each] = Refusal("non_finite", "no number")
    parts = assemble(candidate, prepared, answers).by_mechanism()
    assert tuple(parts) == BOTH
    for mechanism, part in parts.items():
        assert part.network is not None
        assert len(part.network.hops) == each
        assert {hop.mechanism for hop in part.network.hops} == {mechanism}
        assert {scored.hop.mechanism for scored in part.hops} == {mechanism}
    assert [len(part.hops) for part in parts.values()] == [each, each - 1]
    assert [len(part.failures) for part in parts.values()] == [0, 1]


def test_a_refused_crystal_has_no_mechanism(broken: Candidate) -> None:
    assert assemble(broken, prepare(broken, SETTINGS, GRAPHS)[0], []).by_mechanism() == {}


def test_score_of_a_batch_equals_score_of_each(
    graphs: list[BandGraph], predictors: Callable[..., Any]
) -> None:
    predictor = predictors()()
    assert score(predictor, graphs) == [score(predictor, [graph])[0] for graph in graphs]


@pytest.mark.parametrize(
    ("poison", "reason"),
    [("raise", "zero_division_error"), ("nan", "non_finite"), ("memory", "out_of_memory")],
)
@pytest.mark.parametrize("at", [0, 2, -1])
def test_score_refuses_only_the_culprit(
    graphs: list[BandGraph], predictors: Callable[..., Any], poison: str, reason: str, at: int
) -> None:
    good = score(predictors()(), graphs)
    culprit = good[at]
    assert isinstance(culprit, Prediction)
    answers = score(predictors(poison=poison, poison_ev=culprit.em_ev)(), graphs)
    assert len(answers) == len(good)
    for before, after in zip(good, answers, strict=True):
        assert isinstance(before, Prediction)
        if before.em_ev == culprit.em_ev:
            assert isinstance(after, Refusal)
            assert after.reason == reason
            assert "\n" not in after.detail
        else:
            assert after == before


@pytest.mark.parametrize("fits", [1, 2, 3])
def test_score_halves_until_the_device_can_hold_it(
    graphs: list[BandGraph], predictors: Callable[..., Any], fits: int
) -> None:
    assert score(predictors(max_graphs=fits)(), graphs) == score(predictors()(), graphs)


def test_score_of_a_model_that_counts_wrongly_is_refused(graphs: list[BandGraph]) -> None:
    class Short:
        graph_settings = GRAPHS

        def predict(self, graphs: Any) -> list[Prediction]:
            return []

    assert {
        answer.reason for answer in score(Short(), graphs[:3]) if isinstance(answer, Refusal)
    } == {"value_error"}


def test_interrupts_are_not_failures(graphs: list[BandGraph]) -> None:
    class Interrupted:
        graph_settings = GRAPHS

        def predict(self, graphs: Any) -> list[Prediction]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(Interrupted(), graphs)


def test_assemble_puts_answers_with_their_hops(candidates: list[Candidate]) -> None:
    prepared, built = prepare(candidates[2], SETTINGS, GRAPHS)
    good = Prediction(0.4, 0.1, 0.2, 0.6, 0.9, 1.0)
    answers: list[Prediction | Refusal] = [good for _ in built]
    answers[1] = Refusal("non_finite", "no number")
    result = assemble(candidates[2], prepared, answers)
    assert prepared.network is not None
    ids = [hop.id_in("LiFePO4") for hop in prepared.network.hops]
    assert [hop.hop_id for hop in result.hops] == ids[:1] + ids[2:]
    (failure,) = result.failures
    assert (failure.hop_id, failure.stage, failure.reason) == (ids[1], "model", "non_finite")


def test_pass_through_keeps_the_failure(broken: Candidate) -> None:
    (failure,) = prepare(broken, SETTINGS, GRAPHS)[0].failures
    result = pass_through(failure)
    assert (result.candidate, result.failures) == (None, (failure,))


@pytest.mark.parametrize(
    ("costs", "limit", "expected"),
    [
        ([], 5, []),
        ([9], 5, [[0]]),
        ([2, 3, 1], 5, [[0, 1], [2]]),
        ([9, 1, 9, 1], 5, [[0], [1], [2], [3]]),
        ([1] * 5, 2, [[0, 1], [2, 3], [4]]),
    ],
)
def test_batches_are_bounded_by_cost(
    costs: list[int], limit: int, expected: list[list[int]]
) -> None:
    assert [list(batch) for batch in batches(costs, limit)] == expected


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PathwayError("overlapping_atoms", "two atoms"), "overlapping_atoms"),
        (np.linalg.LinAlgError("singular"), "lin_alg_error"),
        (OSError("gone"), "os_error"),
        (RuntimeError("CUDA out of memory. Tried"), "out_of_memory"),
        (MemoryError(), "memory_error"),
    ],
)
def test_reason_codes(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_one_line_is_one_line_and_never_empty() -> None:
    assert one_line(ValueError("a\n  b\tc")) == "a b c"
    assert one_line(MemoryError()) == "MemoryError"
    assert one_line(PathwayError("code", "what was found")) == "what was found"
    assert len(one_line(ValueError("x" * 5000))) == 300
