"""Who is near whom in a periodic crystal: the k nearest neighbours with their whole last shell."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from pathways.types import Crystal, FloatArray, IntArray, PathwayError

Shell = Literal["published", "tolerant"]
"""Which neighbours count as the k-th one's shell: those whose distance is the same to the last bit
in the published code's arithmetic, or those within ``SHELL_TOLERANCE_A``."""

SHELL_TOLERANCE_A = 1e-3
PUBLISHED_MIN_A = 0.15
"""The published graphs pass over pairs closer than this."""
_EXPECTED_PER_K = 1.7
"""The first search takes in about this many times k atoms: enough for nearly all crystals."""
_LAST_RADIUS_A = 16.0


def nearest_neighbours(
    crystal: Crystal, k: int, shell: Shell
) -> tuple[IntArray, IntArray, IntArray]:
    """The k nearest neighbours of every atom, ties of the k-th included.

    Returns:
        ``i`` (m,), ``j`` (m,) atom indices and ``image`` (m, 3) of j, one row per neighbour of i.

    Raises:
        PathwayError: ``bad_graph`` where an atom has fewer than k neighbours within 16 Å.
    """
    cart = np.dot(crystal.frac, measuring_cell(crystal.lattice, shell))
    n = len(crystal)
    volume = abs(float(np.linalg.det(crystal.lattice)))
    radius = min((_EXPECTED_PER_K * k * volume / n * 0.75 / np.pi) ** (1 / 3), _LAST_RADIUS_A)
    while radius <= _LAST_RADIUS_A:
        i, j, image = _pairs_within(crystal.lattice, cart, radius)
        measure = _published_distances if shell == "published" else _distances
        distance = measure(crystal.lattice, cart, i, j, image)
        apart = distance > PUBLISHED_MIN_A
        if not apart.all():
            i, j, image, distance = i[apart], j[apart], image[apart], distance[apart]
        counts = np.bincount(i, minlength=n)
        if counts.min() >= k:
            shell_a = _kth_smallest(i, distance, counts, k)
            if shell == "tolerant":
                shell_a = shell_a + SHELL_TOLERANCE_A
            if shell_a.max() < radius:
                near = distance <= shell_a[i]
                return i[near], j[near], image[near]
        radius *= 1.35
    raise PathwayError(
        "bad_graph", f"fewer than {k} neighbours of an atom within {_LAST_RADIUS_A:g} Å"
    )


def _kth_smallest(i: IntArray, distance: FloatArray, counts: IntArray, k: int) -> FloatArray:
    """(n,) k-th smallest distance of each atom, which has at least so many."""
    order = np.argsort(i, kind="stable")
    first = np.cumsum(counts) - counts
    rows = np.full((len(counts), int(counts.max())), np.inf)
    rows[i[order], np.arange(len(i)) - first[i[order]]] = distance[order]
    kth: FloatArray = np.partition(rows, k - 1, axis=1)[:, k - 1]
    return kth


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
    """All ordered pairs within a radius under periodic boundaries, as ``i``, ``j``, image of j."""
    try:
        from vesin import NeighborList
    except ImportError:
        # Bare training nodes have scipy but not vesin; the pairs are the same, only slower.
        return _pairs_within_scipy(lattice, cart, radius_a)
    neighbours = NeighborList(cutoff=radius_a, full_list=True)
    i, j, image = neighbours.compute(points=cart, box=lattice, periodic=True, quantities="ijS")
    return i.astype(np.int64), j.astype(np.int64), image.astype(np.int64)


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
    itself = (i == j) & ~shift.any(axis=1)
    i, j, shift = i[~itself], j[~itself], shift[~itself]
    return i, j, shift + home[i] - home[j]
