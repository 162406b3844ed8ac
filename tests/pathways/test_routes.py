"""The cheapest ways through: real walks, along real directions, over no more than they must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathways.hops import HopSettings, enumerate_hops
from pathways.percolation import percolation_barriers
from pathways.routes import Percolation, percolate
from pathways.types import HopNetwork, IntArray
from tests.pathways.crystals import KNOWN
from tests.pathways.test_percolation import N_SITES, dimension_on_a_torus, orbits

CELL = np.array([[3.0, 0, 0], [0.5, 4.0, 0], [0.3, 1.0, 5.0]])
barriers = st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.9]), min_size=4, max_size=4)
Groups = list[list[tuple[int, ...]]]


def check(found: Percolation, arrays: list[IntArray], em_ev: np.ndarray, n_sites: int) -> None:
    """What must hold of any network, whatever way the search takes."""
    assert found.em_ev == pytest.approx(percolation_barriers(arrays, em_ev), nan_ok=True)
    for dimension, route in enumerate(found.routes, start=1):
        assert route.dimension == dimension == len(route.walks)
        assert route.em_ev == max(em_ev[list(route.hops)]) == em_ev[route.bottleneck]
        assert route.bottleneck in route.hops
        assert dimension_on_a_torus(np.concatenate([arrays[h] for h in route.hops]), n_sites) >= (
            dimension
        )
        for walk in route.walks:
            there = np.zeros(3, dtype=int)
            site = walk.steps[0][1]
            for hop, i, j, *image in walk.steps:
                assert hop in route.hops
                edge, back = (i, j, *image), (j, i, *(-n for n in image))
                assert {edge, back} & set(map(tuple, arrays[hop].tolist()))
                assert i == site
                site, there = j, there + image
            assert site == walk.steps[0][1]
            assert tuple(there.tolist()) == walk.vector
        assert np.linalg.matrix_rank(np.array([walk.vector for walk in route.walks])) == dimension
        allowed = [a for a, e in zip(arrays, em_ev, strict=True) if e <= route.em_ev]
        rank = dimension_on_a_torus(np.concatenate(allowed), n_sites)
        assert len(route.directions) == rank
        assert (route.plane is not None) == (rank == 2)
        basis = np.array(route.directions, dtype=float)
        for walk in route.walks:  # whole numbers of the directions
            counts = np.array(walk.vector) @ np.linalg.pinv(basis)
            assert np.allclose(counts, np.rint(counts))
            assert np.allclose(counts @ basis, walk.vector)
            assert route.plane is None or np.dot(route.plane, walk.vector) == 0


@settings(max_examples=60, deadline=None)
@given(orbits, barriers)
def test_routes_of_random_networks(groups: Groups, em_ev: list[float]) -> None:
    arrays = [np.array(group) for group in groups]
    values = np.array(em_ev[: len(arrays)])
    check(percolate(arrays, values, CELL), arrays, values, N_SITES)


@settings(max_examples=60, deadline=None)
@given(orbits, barriers, st.data())
def test_other_cells_for_the_same_sites(
    groups: Groups, em_ev: list[float], data: st.DataObject
) -> None:
    """Sites under other numbers, and named in another cell, are the same crystal."""
    order = data.draw(st.permutations(range(N_SITES)))
    home = np.array(
        data.draw(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=3, max_size=3))
    )
    arrays = [np.array(group) for group in groups]
    moved = [
        np.column_stack(
            [
                np.array(order)[a[:, 0]],
                np.array(order)[a[:, 1]],
                a[:, 2:] + home[a[:, 0]] - home[a[:, 1]],
            ]
        )
        for a in arrays
    ]
    values = np.array(em_ev[: len(arrays)])
    one, other = percolate(arrays, values, CELL), percolate(moved, values, CELL)
    assert one.em_ev == pytest.approx(other.em_ev, nan_ok=True)
    assert [len(r.directions) for r in one.routes] == [len(r.directions) for r in other.routes]


def network_of(name: str, reach_a: float | None = None) -> HopNetwork:
    return enumerate_hops(KNOWN[name].crystal(), KNOWN[name].ion, HopSettings(cutoff_a=reach_a))


@pytest.mark.parametrize("name", KNOWN)
def test_routes_of_known_crystals(name: str) -> None:
    network = network_of(name)
    arrays = [hop.orbit for hop in network.hops]
    n_sites = 1 + max(int(a[:, :2].max()) for a in arrays)
    for values in (
        np.array([hop.length_a for hop in network.hops]),
        np.random.default_rng(1).permutation(len(arrays)) / 10 + 0.1,
    ):
        check(percolate(arrays, values, network.crystal.lattice), arrays, values, n_sites)


def test_olivine_runs_along_its_channel() -> None:
    network = network_of("LiFePO4 olivine", 6.0)
    found = percolate(
        [hop.orbit for hop in network.hops],
        [hop.length_a for hop in network.hops],
        network.crystal.lattice,
    )
    chain, sheet, _ = found.routes
    assert chain.directions == ((0, 1, 0),)
    assert chain.hops == (0,)
    assert len(chain.walks[0].steps) == 2  # the cell holds two sites of each chain
    assert sheet.plane == (1, 0, 0)
    assert set(sheet.directions) == {(0, 1, 0), (0, 0, 1)}
    assert sheet.bottleneck == 1


def test_a_hop_that_links_two_chains_is_on_the_way() -> None:
    """Chains along a and b that pass each other: in 2D the link is the bottleneck."""
    arrays = [np.array([row]) for row in ([0, 0, 1, 0, 0], [1, 1, 0, 1, 0], [0, 1, 0, 0, 0])]
    dead_end = np.array([[0, 2, 0, 0, 0]])
    found = percolate([*arrays, dead_end], [0.1, 0.2, 0.7, 0.15])
    assert found.em_ev == pytest.approx((0.1, 0.7, np.nan), nan_ok=True)
    chain, sheet = found.routes
    assert (chain.hops, chain.bottleneck, chain.directions) == ((0,), 0, ((1, 0, 0),))
    assert (sheet.hops, sheet.bottleneck, sheet.plane) == ((0, 1, 2), 2, (0, 0, 1))


def test_the_way_with_the_lower_barriers_is_taken() -> None:
    """Two ways on to the next cell share the worst hop; two low hops are better than a high one."""
    shared = np.array([[0, 1, 0, 0, 0]])
    low = [np.array([[1, 2, 0, 0, 0]]), np.array([[2, 0, 1, 0, 0]])]
    high = np.array([[1, 0, 1, 0, 0]])
    (route,) = percolate([shared, *low, high], [0.6, 0.2, 0.3, 0.5]).routes
    assert (route.em_ev, route.bottleneck, route.hops) == (0.6, 0, (0, 1, 2))
    (route,) = percolate([shared, *low, high], [0.6, 0.2, 0.55, 0.5]).routes
    assert (route.em_ev, route.bottleneck, route.hops) == (0.6, 0, (0, 3))


def test_nothing_percolates() -> None:
    assert percolate([], []).routes == ()
    assert percolate([np.array([[0, 1, 0, 0, 0]])], [0.2]).dimension == 0
    assert percolate([np.array([[0, 0, 1, 0, 0]])], [np.nan]).dimension == 0
    with pytest.raises(ValueError, match="expected one each"):
        percolate([np.array([[0, 0, 1, 0, 0]])], [0.1, 0.2])
