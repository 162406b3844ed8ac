"""Who is near whom in a periodic crystal: the k nearest neighbours with their whole last shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from pathways.types import Crystal, FloatArray, IntArray, PathwayError

Shell = Literal["published", "tolerant"]
"""Which neighbours count as the k-th one's shell: those whose distance is the same to the last bit
in the published code's arithmetic, or those within ``SHELL_TOLERANCE_A``."""

SHELL_TOLERANCE_A = 1e-3
PUBLISHED_MIN_A = 0.15
"""The published graphs pass over pairs closer than this."""
_EXPECTED_PER_K = 2.1
"""The first search takes in about this many times k atoms: enough for nearly all crystals."""
_LAST_RADIUS_A = 16.0


@dataclass(frozen=True, eq=False)
class NeighbourPairs:
    """Pairs of atoms of which at least one counts the other among its nearest; each pair once."""

    i: IntArray
    """(m,)."""
    j: IntArray
    """(m,)."""
    image: IntArray
    """(m, 3) of j."""
    of_i: npt.NDArray[np.bool_]
    """(m,), whether j is a neighbour of i."""
    of_j: npt.NDArray[np.bool_]
    """(m,), whether i is a neighbour of j."""


def nearest_neighbours(
    crystal: Crystal, k: int, shell: Shell
) -> tuple[IntArray, IntArray, IntArray]:
    """The k nearest neighbours of every atom, ties of the k-th included.

    Returns:
        ``i`` (m,), ``j`` (m,) atom indices and ``image`` (m, 3) of j, one row per neighbour of i.

    Raises:
        PathwayError: ``bad_graph`` where an atom has fewer than k neighbours within 16 Å.
    """
    pairs = nearest_pairs(crystal, k, shell)
    there, back = pairs.of_i, pairs.of_j
    return (
        np.concatenate([pairs.i[there], pairs.j[back]]),
        np.concatenate([pairs.j[there], pairs.i[back]]),
        np.concatenate([pairs.image[there], -pairs.image[back]]),
    )


def nearest_pairs(crystal: Crystal, k: int, shell: Shell) -> NeighbourPairs:
    """The same, pair by pair, which is less work.

    Raises:
        PathwayError: ``bad_graph`` where an atom has fewer than k neighbours within 16 Å.
    """
    cart = np.dot(crystal.frac, measuring_cell(crystal.lattice, shell))
    n = len(crystal)
    volume = abs(float(np.linalg.det(crystal.lattice)))
    radius = min((_EXPECTED_PER_K * k * volume / n * 0.75 / np.pi) ** (1 / 3), _LAST_RADIUS_A)
    while radius <= _LAST_RADIUS_A:
        i, j, image = _pairs_within(crystal.lattice, cart, radius)
        there, back = _both_distances(crystal.lattice, cart, (i, j, image), shell)
        apart = there > PUBLISHED_MIN_A
        if not apart.all():
            i, j, image, there, back = i[apart], j[apart], image[apart], there[apart], back[apart]
        ends = np.concatenate([i, j])
        counts = np.bincount(ends, minlength=n)
        if counts.min() >= k:
            shell_a = _kth_smallest(ends, np.concatenate([there, back]), counts, k)
            if shell == "tolerant":
                shell_a = shell_a + SHELL_TOLERANCE_A
            if shell_a.max() < radius:
                of_i, of_j = there <= shell_a[i], back <= shell_a[j]
                near = np.flatnonzero(of_i | of_j)
                return NeighbourPairs(i[near], j[near], image[near], of_i[near], of_j[near])
        radius *= 1.35
    raise PathwayError(
        "bad_graph", f"fewer than {k} neighbours of an atom within {_LAST_RADIUS_A:g} Å"
    )


def _kth_smallest(i: IntArray, distance: FloatArray, counts: IntArray, k: int) -> FloatArray:
    """(n,) k-th smallest distance of each atom, which has at least so many."""
    order = np.argsort(i, kind="stable")
    first = np.cumsum(counts) - counts
    rows = np.full((len(counts), int(counts.max())), np.inf)
    rows[i[order], np.arange(len(i)) - np.repeat(first, counts)] = distance[order]
    kth: FloatArray = np.partition(rows, k - 1, axis=1)[:, k - 1]
    return kth


def _both_distances(
    lattice: FloatArray, cart: FloatArray, pairs: tuple[IntArray, IntArray, IntArray], shell: Shell
) -> tuple[FloatArray, FloatArray]:
    """Distances of pairs as the first atom and as the second one measures them, Å."""
    i, j, image = pairs
    if shell == "tolerant":
        distance = _distances(lattice, cart, i, j, image)
        return distance, distance
    back = _published_distances(lattice, cart, j, i, -image)
    return _published_distances(lattice, cart, i, j, image), back


def measuring_cell(lattice: FloatArray, shell: Shell) -> FloatArray:
    """The cell in which atoms are placed, Å: the published graphs round it to five decimals."""
    return np.around(lattice, 5) if shell == "published" else lattice


def _distances(
    lattice: FloatArray, cart: FloatArray, i: IntArray, j: IntArray, image: IntArray
) -> FloatArray:
    """Pair distances, Å."""
    step = image @ lattice + cart[j] - cart[i]
    distance: FloatArray = np.sqrt(np.einsum("ij,ij->i", step, step))
    return distance


def _published_distances(
    lattice: FloatArray, cart: FloatArray, i: IntArray, j: IntArray, image: IntArray
) -> FloatArray:
    """Pair distances in Å, in the operation order of the published graphs.

    A symmetric shell is split by rounding at 1e-15 Å there, so only the same order of operations
    gives the same graph: one product per image, then the sum of squares of the three differences.
    ``cart`` may come from the rounded cell while the images are shifted by the exact one.
    """
    reach = int(np.abs(image).max(initial=0))
    span = 2 * reach + 1
    code = ((image[:, 0] + reach) * span + image[:, 1] + reach) * span + image[:, 2] + reach
    shift_cart = np.zeros((span**3, 3))
    for present in np.flatnonzero(np.bincount(code)).tolist():
        shift = np.array([present // span**2, present // span % span, present % span]) - reach
        shift_cart[present] = np.dot(shift.astype(float), lattice)
    squares = ((shift_cart[code] + cart[j]) - cart[i]) ** 2
    return np.asarray(np.sum(squares, axis=-1) ** 0.5)


def _pairs_within(
    lattice: FloatArray, cart: FloatArray, radius_a: float
) -> tuple[IntArray, IntArray, IntArray]:
    """All pairs within a radius under periodic boundaries, as ``i``, ``j``, image of j.

    Each pair once, from either end.
    """
    try:
        from vesin import NeighborList
    except ImportError:
        # Bare training nodes have scipy but not vesin; the pairs are the same, only slower.
        return _pairs_within_scipy(lattice, cart, radius_a)
    neighbours = NeighborList(cutoff=radius_a, full_list=False, n_threads=1)
    pairs, image = neighbours.compute(
        points=cart, box=lattice, periodic=True, quantities="PS", copy=False
    )
    i, j = pairs.T.astype(np.int64)
    return i, j, image.astype(np.int64)


def _pairs_within_scipy(
    lattice: FloatArray, cart: FloatArray, radius_a: float
) -> tuple[IntArray, IntArray, IntArray]:
    n = len(cart)
    home = np.floor(cart @ np.linalg.inv(lattice)).astype(np.int64)
    wrapped = cart - home @ lattice
    widths = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    reach = np.ceil(radius_a / widths).astype(int)
    grid = np.stack(
        np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    ghosts = (wrapped[None, :, :] + (grid @ lattice)[:, None, :]).reshape(-1, 3)
    found = cKDTree(wrapped).sparse_distance_matrix(
        cKDTree(ghosts), radius_a, output_type="ndarray"
    )
    i, ghost = found["i"].astype(np.int64), found["j"].astype(np.int64)
    j, shift = ghost % n, grid[ghost // n]
    x, y, z = shift.T
    forward = (x > 0) | (x == 0) & ((y > 0) | (y == 0) & (z > 0))
    once = (i < j) | (i == j) & forward
    i, j, shift = i[once], j[once], shift[once]
    return i, j, shift + home[i] - home[j]
