"""A material's barrier: the bottleneck of the easiest way through, with its interval."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.records import MaterialResult
from models.barrier import TARGET_OFFSET_EV
from pathways.diffusion import em_limit_ev, log10_diffusivity_cm2_s
from pathways.hops import HopSettings
from pathways.percolation import percolation_barriers
from screen.ranking import (
    HOST_CORRELATION,
    N_DRAWS,
    OFFSET_EV,
    draw_barriers_ev,
    rank_material,
)
from tests.screen.conftest import make_result, prediction

LONG = HopSettings(cutoff_a=6.0)


@pytest.fixture(scope="module")
def olivine() -> MaterialResult:
    """LiFePO4 with hops up to 6 Å: the chain along b first, then what links the chains."""
    return make_result("LiFePO4", settings=LONG)


def with_barriers(result: MaterialResult, em_ev: list[float]) -> MaterialResult:
    hops = tuple(
        replace(scored, prediction=prediction(value))
        for scored, value in zip(result.hops, em_ev, strict=True)
    )
    return replace(result, hops=hops)


def test_olivine_is_limited_by_its_chain(olivine: MaterialResult) -> None:
    em_ev = [0.2] + [1.0 + 0.1 * i for i in range(len(olivine.hops) - 1)]
    ranking = rank_material(with_barriers(olivine, em_ev))
    assert ranking.em_ev[0] == 0.2
    assert ranking.em_ev[1] >= 1.0
    assert ranking.limiting_hop_id == olivine.hops[0].hop_id
    assert ranking.em_low_ev[0] == pytest.approx(0.0, abs=0.003)
    assert ranking.em_high_ev[0] == pytest.approx(0.4, abs=0.003)


def test_layered_crystal_percolates_in_its_layer() -> None:
    result = make_result("LiCoO2", settings=HopSettings(cutoff_a=3.0))
    ranking = rank_material(result)
    assert ranking.dimension == 2
    assert ranking.em_ev[0] == ranking.em_ev[1]
    assert math.isnan(ranking.em_ev[2])


def test_no_hop_no_way(olivine: MaterialResult) -> None:
    ranking = rank_material(replace(olivine, hops=()))
    assert ranking.dimension == 0
    assert ranking.limiting_hop_id is None
    assert np.isnan([*ranking.em_ev, *ranking.em_low_ev, *ranking.em_high_ev]).all()
    assert np.isnan([ranking.p_good_1d, *ranking.log10_d_cm2_s, ranking.max_particle_nm]).all()
    assert ranking.passages[0].directions is None


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_bounds_hold_whatever_the_barriers(olivine: MaterialResult, data: st.DataObject) -> None:
    count = len(olivine.hops)
    em_ev = data.draw(
        st.lists(st.floats(0, 8, allow_subnormal=False), min_size=count, max_size=count)
    )
    ranking = rank_material(with_barriers(olivine, em_ev))
    finite = [value for value in ranking.em_ev if math.isfinite(value)]
    assert finite == sorted(finite)
    assert ranking.dimension == len(finite) == 3
    assert ranking.dimension_at_065 == sum(value <= 0.65 for value in finite)
    assert all(value in em_ev for value in finite)
    for low, value, high in zip(ranking.em_low_ev, ranking.em_ev, ranking.em_high_ev, strict=True):
        assert low <= value <= high
    assert 0.0 <= ranking.p_good_1d <= 1.0
    for passage, value in zip(ranking.passages, ranking.em_ev, strict=True):
        assert passage.hop_ids is not None
        assert passage.limiting_hop_id in passage.hop_ids
        by_id = {s.hop_id: e for s, e in zip(olivine.hops, em_ev, strict=True)}
        assert max(by_id[hop_id] for hop_id in passage.hop_ids) == value
    d, d_low, d_high = ranking.log10_d_cm2_s
    assert d_low <= d <= d_high


def test_a_single_hop_has_its_own_interval() -> None:
    result = make_result("MgO", [0.6])
    ranking = rank_material(result)
    assert ranking.em_low_ev == pytest.approx((0.4,) * 3, abs=0.003)
    assert ranking.em_high_ev == pytest.approx((0.8,) * 3, abs=0.003)
    chance = NormalDist().cdf(1.645 * math.log(0.75 / 0.7) / math.log(0.9 / 0.7))
    assert ranking.p_good_1d == pytest.approx(chance, abs=0.005)
    assert rank_material(result) == ranking  # drawn alike every time


def test_many_ways_through_are_better_than_one(olivine: MaterialResult) -> None:
    """Each of the hops leads through by itself, all as good as the first."""
    n = len(olivine.hops)
    one = rank_material(with_barriers(olivine, [0.6] + [3.0] * (n - 1)))
    many = rank_material(with_barriers(olivine, [0.6] * n))
    assert many.em_ev[0] == one.em_ev[0] == 0.6
    assert many.em_low_ev[0] <= one.em_low_ev[0]
    assert many.em_high_ev[0] < one.em_high_ev[0]
    assert many.p_good_1d > one.p_good_1d


@pytest.mark.parametrize("name", ["LiFePO4", "LiCoO2", "MgAl2O4"])
def test_nine_truths_in_ten_lie_in_the_interval(name: str) -> None:
    """Truths of the very distribution that predictions claim, drawn by other means."""
    result = make_result(name, settings=LONG)
    n = len(result.hops)
    ranking = rank_material(result)
    rng = np.random.default_rng(7)
    inside = np.zeros(3)
    for _ in range(400):
        shared, own = rng.standard_normal(), rng.standard_normal(n)
        scores = math.sqrt(HOST_CORRELATION) * shared + math.sqrt(1 - HOST_CORRELATION) * own
        truth = []
        for scored, score in zip(result.hops, scores, strict=True):
            p = scored.prediction
            low, middle, high = (math.log(e + 0.1) for e in (p.em_low_ev, p.em_ev, p.em_high_ev))
            width = middle - low if score < 0 else high - middle
            truth.append(max(0.0, math.exp(middle + score * width / 1.645) - 0.1))
        found = np.array(percolation_barriers([s.hop.orbit for s in result.hops], truth))
        inside += (found >= np.array(ranking.em_low_ev) - 1e-9) & (
            found <= np.array(ranking.em_high_ev) + 1e-9
        )
    assert np.all(inside / 400 >= 0.85)
    assert np.all(inside / 400 <= 0.96)


def test_errors_of_one_host_go_together() -> None:
    hops = make_result("LiFePO4", settings=LONG).hops * 10
    drawn = draw_barriers_ev(hops)
    assert drawn.shape == (N_DRAWS, len(hops))
    u = np.log(drawn + OFFSET_EV)
    correlation = np.corrcoef(u.T)[np.triu_indices(len(hops), k=1)]
    assert correlation.mean() == pytest.approx(HOST_CORRELATION, abs=0.06)
    fewer = draw_barriers_ev(hops[:3])
    assert np.array_equal(fewer, drawn[:, :3])
    assert OFFSET_EV == TARGET_OFFSET_EV


def test_without_an_interval_the_barrier_stands_alone() -> None:
    result = make_result("MgO", [0.6])
    (scored,) = result.hops
    bare = replace(scored.prediction, em_low_ev=math.nan, em_high_ev=math.nan)
    ranking = rank_material(replace(result, hops=(replace(scored, prediction=bare),)))
    assert ranking.em_low_ev == ranking.em_high_ev == pytest.approx((0.6,) * 3)
    assert ranking.p_good_1d == 1.0


@pytest.mark.parametrize(
    ("name", "directions", "plane"),
    [
        ("LiFePO4", ("[010]", "[001],[010]", "[001],[010],[100]"), "(100)"),
        ("MgO", ("[011],[101],[110]",) * 3, None),
    ],
)
def test_directions_are_those_of_the_conventional_cell(
    name: str, directions: tuple[str, str, str], plane: str | None
) -> None:
    ranking = rank_material(make_result(name, settings=LONG))
    assert tuple(passage.directions for passage in ranking.passages) == directions
    assert ranking.passages[1].plane == plane


def test_in_a_layered_crystal_two_directions_are_in_the_layer() -> None:
    """Which two of the three that symmetry makes alike is not said."""
    ranking = rank_material(make_result("LiCoO2", settings=LONG))
    first, second, third = (str(passage.directions) for passage in ranking.passages)
    assert first == second
    assert set(first.split(",")) < {"[100]", "[010]", "[110]", "[1-10]"}
    assert len(third.split(",")) == 3
    assert ranking.passages[1].plane == "(001)"


def test_rates_are_those_of_the_limiting_hop(olivine: MaterialResult) -> None:
    n = len(olivine.hops)
    ranking = rank_material(with_barriers(olivine, [0.5] + [3.0] * (n - 1)))
    length_a = olivine.hops[0].hop.length_a
    assert ranking.log10_d_cm2_s[0] == pytest.approx(log10_diffusivity_cm2_s(0.5, length_a))
    assert ranking.log10_d_cm2_s[2] == pytest.approx(
        log10_diffusivity_cm2_s(ranking.em_low_ev[0], length_a)
    )
    assert em_limit_ev(ranking.max_particle_nm, length_a) == pytest.approx(0.5)
