"""What a barrier is worth computing, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from pathways.band import build_band
from pathways.hops import enumerate_hops
from pathways.mechanisms import with_mechanisms
from pathways.neighbours import perpendicular_widths
from pathways.supercell import BandSettings
from screen.acquisition import (
    Barriers,
    expected_improvement,
    lowest,
    neb_cell,
    node_hours,
    uncertainty,
)
from screen.pareto import pareto_front
from tests.small_crystals import crystal_of

LEVELS = ndtri((np.arange(400_000) + 0.5) / 400_000)


def barriers(*rows: tuple[float, float, float]) -> Barriers:
    """From low end, barrier, high end, eV."""
    low, em, high = np.array(rows, dtype=float).T
    return Barriers(em, low, high)


def drawn_ev(low_ev: float, em_ev: float, high_ev: float) -> Any:
    """Barriers by evenly spaced probabilities, as the intervals of the ranking mean them."""
    low, middle, high = np.log(np.array([low_ev, em_ev, high_ev]) + 0.1)
    width = np.where(LEVELS < 0, middle - low, high - middle) / ndtri(0.95)
    return np.maximum(np.exp(middle + width * LEVELS) - 0.1, 0.0)


@pytest.mark.parametrize("threshold_ev", [0.2, 0.65])
@pytest.mark.parametrize(
    "row", [(0.3, 0.5, 0.7), (0.4, 1.0, 1.2), (0.0, 0.05, 4.0), (0.0, 0.6, 9.0), (0.6, 0.65, 0.66)]
)
def test_scores_are_those_of_the_drawn_barriers(
    row: tuple[float, float, float], threshold_ev: float
) -> None:
    one, drawn = barriers(row), drawn_ev(*row)
    improvement = np.maximum(threshold_ev - drawn, 0).mean()
    assert expected_improvement(one, threshold_ev)[0] == pytest.approx(improvement, abs=2e-5)
    chance = (drawn <= threshold_ev).mean()
    assert one.chance_below(threshold_ev)[0] == pytest.approx(chance, abs=2e-5)


def test_ends_of_the_interval_are_its_quantiles() -> None:
    one = barriers((0.2, 0.5, 1.5))
    chances = [one.chance_below(ev)[0] for ev in (0.2, 0.5, 1.5)]
    assert chances == pytest.approx([0.05, 0.5, 0.95])


def test_a_certain_barrier_improves_by_what_it_lies_below() -> None:
    certain = barriers((0.4, 0.4, 0.4), (0.9, 0.9, 0.9), (np.nan, 0.4, np.nan))
    assert expected_improvement(certain, 0.65) == pytest.approx([0.25, 0.0, 0.25])
    assert uncertainty(certain, 0.65).tolist() == [0, 0, 0]
    assert certain.chance_below(0.65).tolist() == [1, 0, 1]


def test_what_is_wide_may_improve_though_it_is_predicted_bad() -> None:
    found = expected_improvement(barriers((0.7, 0.8, 0.9), (0.1, 0.8, 3.0)), 0.65)
    assert found[0] < 0.01 < found[1]


def test_uncertainty_is_largest_at_the_threshold_and_grows_with_the_spread() -> None:
    u = np.log(0.75)
    rows = []
    for middle, sigma in ((u, 0.3), (u + 0.5, 0.3), (u, 0.6), (u - 0.5, 0.3)):
        half = sigma * ndtri(0.95)
        rows.append(tuple(np.exp([middle - half, middle, middle + half]) - 0.1))
    at, above, wider, below = uncertainty(barriers(*rows), 0.65)
    assert at == pytest.approx(0.3)
    assert wider == pytest.approx(0.6)
    assert [above, below] == pytest.approx([0.3 * np.exp(-((0.5 / 0.3) ** 2) / 2)] * 2)


def test_lowest_barrier_is_best() -> None:
    assert lowest(barriers((0.1, 0.2, 0.3), (0.1, 0.9, 1.0))).argmax() == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0, 1e3), min_size=3, max_size=3).map(sorted),
    st.floats(0.01, 5),
)
def test_scores_are_numbers_whatever_the_interval(row: list[float], threshold_ev: float) -> None:
    one = barriers((row[0], row[1], row[2]))
    improvement = expected_improvement(one, threshold_ev)[0]
    assert 0 <= improvement <= threshold_ev * (1 + 1e-9)
    assert improvement >= (threshold_ev - row[1]) / 2 - 1e-6  # the lower half alone brings that
    assert 0 <= uncertainty(one, threshold_ev)[0] < 10
    assert 0 <= one.chance_below(threshold_ev)[0] <= 1


def test_cost_counts_both_ends_and_grows_with_the_atoms() -> None:
    assert node_hours(100, 5, 2.0) == 14.0
    assert node_hours(200, 5, 2.0) == pytest.approx(14.0 * 2**2.5)


@pytest.mark.parametrize("name", ["LiCoO2", "MgAl2O4", "LiFePO4", "MgO"])
def test_cell_of_a_calculation_is_wide_and_its_atoms_are_counted(name: str) -> None:
    network = with_mechanisms(enumerate_hops(crystal_of(name), name[:2]), ("vacancy", "dilute"))
    for hop in network.hops:
        cell = neb_cell(network.crystal, hop.ion, hop.mechanism, hop.length_a)
        how = BandSettings(max_atoms=10_000, supercell=cell.supercell)
        band = build_band(network.crystal, hop, how)
        assert cell.atoms == len(band.host_numbers) + 1
        assert perpendicular_widths(band.lattice).min() >= max(10.0, 2 * hop.length_a) - 1e-6


KNOWN = st.none() | st.integers(0, 3).map(float)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "ion": st.sampled_from(["Li", "Mg"]),
            "em_1d_ev": st.integers(0, 3).map(float),
            "energy_above_hull_ev": KNOWN,
            "voltage_v": KNOWN,
            "capacity_mah_g": KNOWN,
        }
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_front_holds_what_no_other_of_its_ion_beats(rows: list[dict[str, Any]]) -> None:
    def costs(row: dict[str, Any]) -> list[float]:
        hull, *gains = (
            row[name] for name in ("energy_above_hull_ev", "voltage_v", "capacity_mah_g")
        )
        worst = float("inf")
        return [
            row["em_1d_ev"],
            worst if hull is None else hull,
            *(worst if gain is None else -gain for gain in gains),
        ]

    def beats(one: dict[str, Any], other: dict[str, Any]) -> bool:
        pairs = list(zip(costs(one), costs(other), strict=True))
        return (
            one["ion"] == other["ion"]
            and all(a <= b for a, b in pairs)
            and pairs != [(b, b) for _, b in pairs]
        )

    expected = [not any(beats(one, row) for one in rows) for row in rows]
    assert pareto_front(rows, 1) == expected
