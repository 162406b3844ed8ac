"""A material's barrier: the bottleneck of the easiest way through, with its interval."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.records import MaterialResult
from pathways.hops import HopSettings
from screen.ranking import rank_material
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
    assert ranking.em_low_ev[0] == pytest.approx(0.0)
    assert ranking.em_high_ev[0] == pytest.approx(0.4)


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
    assert all(value in em_ev for value in finite)
    for low, value, high in zip(ranking.em_low_ev, ranking.em_ev, ranking.em_high_ev, strict=True):
        assert low <= value <= high
    # Any truth inside all hops' intervals gives a barrier inside the material's interval.
    shifts = data.draw(st.lists(st.floats(-0.2, 0.2), min_size=count, max_size=count))
    truth = rank_material(
        with_barriers(olivine, [e + s for e, s in zip(em_ev, shifts, strict=True)])
    )
    for low, value, high in zip(ranking.em_low_ev, truth.em_ev, ranking.em_high_ev, strict=True):
        assert low - 1e-9 <= value <= high + 1e-9
