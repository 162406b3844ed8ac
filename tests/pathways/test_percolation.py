import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pathways.hops import enumerate_hops
from pathways.percolation import percolation_barriers, percolation_dimension
from pathways.percolation_draws import draw_percolation
from pathways.types import IntArray
from tests.pathways.crystals import KNOWN

N_SITES = 3
edge = st.tuples(
    st.integers(0, N_SITES - 1),
    st.integers(0, N_SITES - 1),
    *([st.integers(-1, 1)] * 3),
)
orbits = st.lists(st.lists(edge, min_size=1, max_size=3), min_size=1, max_size=4)


def dimension_by_walking(edges: IntArray, n_sites: int, reach: int = 3) -> int:
    """Brute force: walk from each site through explicit cells, rank the returns to it."""
    steps: dict[int, list[tuple[int, np.ndarray]]] = {site: [] for site in range(n_sites)}
    for i, j, *image in np.asarray(edges).tolist():
        steps[i].append((j, np.array(image)))
        steps[j].append((i, -np.array(image)))
    best = 0
    for start in range(n_sites):
        seen = {(start, 0, 0, 0)}
        front = [(start, np.zeros(3, dtype=int))]
        while front:
            site, cell = front.pop()
            for other, image in steps[site]:
                there = cell + image
                key = (other, *there.tolist())
                if key not in seen and np.abs(there).max() <= reach:
                    seen.add(key)
                    front.append((other, there))
        returns = [key[1:] for key in seen if key[0] == start]
        best = max(best, int(np.linalg.matrix_rank(np.array(returns))))
    return best


def dimension_on_a_torus(edges: IntArray, n_sites: int) -> int:
    """Brute force: atoms of p x p x p cells, periodic, and how many of its images a site reaches.

    The cells reached are a group of p^d elements, unless p divides the index of the lattice of
    closed walks, in which case there are fewer; no index here has both factors.
    """
    best = 0
    for p in (5, 7):
        cells = np.stack(np.meshgrid(*[np.arange(p)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)

        def atom(site: int, cell: np.ndarray, p: int = p) -> np.ndarray:
            a, b, c = (cell % p).T
            return ((site * p + a) * p + b) * p + c

        hops = np.asarray(edges).tolist()
        start = np.concatenate([atom(i, cells) for i, *_ in hops])
        end = np.concatenate([atom(j, cells + image) for _, j, *image in hops])
        size = n_sites * p**3
        graph = coo_array((np.ones(len(start)), (start, end)), shape=(size, size))
        _, label = connected_components(graph, directed=False)
        label = label.reshape(n_sites, -1)
        reached = (label == label[:, :1]).sum(axis=1)
        best = max(best, int(np.rint(np.log(reached.max()) / np.log(p))))
    return best


@settings(max_examples=60, deadline=None)
@given(orbits)
def test_dimension_equals_brute_force(groups: list[list[tuple[int, ...]]]) -> None:
    edges = np.array(list(itertools.chain(*groups)))
    dimension = percolation_dimension(edges)
    assert dimension == dimension_by_walking(edges, N_SITES)
    assert dimension == dimension_on_a_torus(edges, N_SITES)


@settings(max_examples=25, deadline=None)
@given(orbits, st.randoms(use_true_random=False))
def test_barriers_equal_a_threshold_scan(
    groups: list[list[tuple[int, ...]]], random: object
) -> None:
    arrays = [np.array(group) for group in groups]
    em = np.array([random.choice([0.1, 0.3, 0.5, 0.9]) for _ in arrays])  # type: ignore[attr-defined]
    expected = [np.nan] * 3
    for threshold in sorted(set(em.tolist()), reverse=True):
        below = np.concatenate([a for a, e in zip(arrays, em, strict=True) if e <= threshold])
        for dimension in range(dimension_by_walking(below, N_SITES)):
            expected[dimension] = threshold
    assert percolation_barriers(arrays, em) == pytest.approx(tuple(expected), nan_ok=True)


def test_dimension_by_hand() -> None:
    chain = np.array([[0, 1, 0, 0, 0], [1, 0, 1, 0, 0]])
    assert percolation_dimension(np.zeros((0, 5), dtype=np.int64)) == 0
    assert percolation_dimension(chain[:1]) == 0
    assert percolation_dimension(chain) == 1
    assert percolation_dimension(np.array([[0, 0, 1, 0, 0], [0, 0, 2, 0, 0]])) == 1
    assert percolation_dimension(np.array([[0, 0, 1, 1, 0], [0, 0, 1, -1, 0]])) == 2
    assert percolation_dimension(np.array([[0, 0, 1, 0, 0], [1, 1, 0, 1, 0], [2, 2, 0, 0, 1]])) == 1
    joined = np.array(
        [[0, 0, 1, 0, 0], [1, 1, 0, 1, 0], [2, 2, 0, 0, 1], [0, 1, 0, 0, 0], [1, 2, 5, 3, 1]]
    )
    assert percolation_dimension(joined) == 3


def test_hops_without_a_barrier_do_not_count() -> None:
    chain = [np.array([[0, 0, 1, 0, 0]]), np.array([[0, 0, 0, 1, 0]]), np.array([[0, 0, 0, 0, 1]])]
    assert percolation_barriers(chain, [0.4, np.nan, 0.2]) == pytest.approx(
        (0.2, 0.4, np.nan), nan_ok=True
    )
    assert np.isnan(percolation_barriers([], [])).all()


def test_as_many_barriers_as_orbits() -> None:
    with pytest.raises(ValueError, match="expected one each"):
        percolation_barriers([np.array([[0, 0, 1, 0, 0]])], [0.1, 0.2])


@pytest.mark.parametrize(
    ("name", "dimension_of_shortest", "dimension"),
    [
        ("LiFePO4 olivine", 1, 2),
        ("LiCoO2 layered", 2, 3),
        ("LiTiS2 layered", 2, 2),
        ("MgMn2O4 spinel", 3, 3),
        ("MgTi2S4 spinel", 3, 3),
    ],
)
def test_known_dimensions(name: str, dimension_of_shortest: int, dimension: int) -> None:
    network = enumerate_hops(KNOWN[name].crystal(), KNOWN[name].ion)
    assert percolation_dimension(network.hops[0].orbit) == dimension_of_shortest
    assert percolation_dimension(np.concatenate([h.orbit for h in network.hops])) == dimension


def test_olivine_is_one_dimensional_up_to_its_interchain_hop() -> None:
    network = enumerate_hops(KNOWN["LiFePO4 olivine"].crystal(), "Li")
    em_1d, em_2d, em_3d = percolation_barriers(
        [hop.orbit for hop in network.hops], [hop.length_a for hop in network.hops]
    )
    assert em_1d == pytest.approx(3.005, abs=0.01)
    assert em_2d == pytest.approx(4.692, abs=0.01)
    assert np.isnan(em_3d)


@settings(max_examples=40, deadline=None)
@given(orbits, st.integers(0, 2**32 - 1))
def test_draws_are_percolated_one_by_one(groups: list[list[tuple[int, ...]]], seed: int) -> None:
    arrays = [np.array(group) for group in groups]
    em_ev = np.random.default_rng(seed).choice([0.1, 0.3, 0.5, 0.9, 1.3], (20, len(arrays)))
    drawn = draw_percolation(arrays, em_ev)
    assert drawn.shape == (20, 3)
    for row, barriers in zip(em_ev, drawn, strict=True):
        assert tuple(barriers) == pytest.approx(percolation_barriers(arrays, row), nan_ok=True)


@pytest.mark.parametrize("name", KNOWN)
def test_draws_of_known_crystals(name: str) -> None:
    network = enumerate_hops(KNOWN[name].crystal(), KNOWN[name].ion)
    arrays = [hop.orbit for hop in network.hops]
    em_ev = np.random.default_rng(0).exponential(0.5, (60, len(arrays)))
    drawn = draw_percolation(arrays, em_ev)
    for row, barriers in zip(em_ev, drawn, strict=True):
        assert tuple(barriers) == pytest.approx(percolation_barriers(arrays, row), nan_ok=True)


def test_draws_of_nothing() -> None:
    assert np.isnan(draw_percolation([], np.zeros((4, 0)))).all()
    with pytest.raises(ValueError, match=r"expected \(draws, orbits\)"):
        draw_percolation([np.array([[0, 0, 1, 0, 0]])], np.zeros((4, 2)))
