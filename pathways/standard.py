"""One description of a primitive crystal, whatever cell, origin and axes it came with.

A space group's tables leave open which of several origins and axes is meant, and a program that
follows them takes whichever the input suggests. Here the origin is an atom of the rarest element,
and the axes are one of a few sets that the lattice makes alike. Which of them tells a score: the
sum over the atoms of a fixed function without any symmetry of its own. Descriptions that score
alike are those that the crystal's own symmetry takes into each other, so that it does not matter
which of them wins; and since the function is smooth, noise in the coordinates cannot turn the
choice as it can where rounded numbers are compared.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, product

import numpy as np

from pathways.types import FloatArray, IntArray, PathwayError

TIE_A = 1e-4
"""Lengths of cell vectors closer than this are equal."""
_MOST_STEPS = 10_000
_VALUES_AT_ONCE = 1_000_000
_PAIRS = ((0, 1), (0, 2), (1, 2))
_POWERS = 99 ** np.arange(9)  # names a matrix of entries within +-49 by one integer

# Waves with an amplitude and a phase each; any numbers without relations to each other will do.
_WAVES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, -1], [1, 0, 2], [2, -1, 1]])
_AMPLITUDES = np.array([0.71, 0.83, 0.97, 0.59, 0.43, 0.53, 0.37])
_PHASES = np.array([0.31, 1.13, 2.03, 2.71, 3.67, 4.49, 5.57])


def best_setting(
    cells: IntArray, numbers: IntArray, frac: FloatArray, origins: IntArray
) -> tuple[IntArray, FloatArray]:
    """The cell and origin in which a crystal scores highest.

    Args:
        cells: (c, 3, 3), integers of determinant 1, each the vectors of a cell in terms of the
            given ones; ``shortest_cells`` or ``cells_alike``.
        numbers: (n,), atomic numbers.
        frac: (n, 3), fractional coordinates in the given cell.
        origins: (m,), sites that may be the origin, one for each set that symmetry without
            reflections makes alike; see ``rarest``.

    Returns:
        One of the cells, and the origin, (3,), fractional in the given cell.
    """
    weights = np.sqrt(numbers)
    to_cells = np.linalg.inv(cells)
    step = max(1, _VALUES_AT_ONCE // (len(frac) * len(origins)))
    parts = [to_cells[first : first + step] for first in range(0, len(cells), step)]
    scores = np.concatenate([_values(frac, origins, part) @ weights for part in parts])
    best, site = np.unravel_index(int(scores.argmax()), scores.shape)
    return cells[best], frac[origins[site]]


def _values(frac: FloatArray, origins: IntArray, to_cells: FloatArray) -> FloatArray:
    """(c, m, n) a periodic function of the sites' places as seen from some of them, in each cell.

    No rotation or shift leaves the function alike: it is the exponential of a sum of waves. The
    cosine of a difference is a product of what either site has by itself, so that waves are worked
    out for sites, and not for pairs.
    """
    angles = 2 * np.pi * (frac @ to_cells @ _WAVES.T)  # (c, n, waves)
    own = angles[:, origins] - _PHASES
    sites = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    seen_from = np.concatenate([_AMPLITUDES * np.cos(own), _AMPLITUDES * np.sin(own)], axis=-1)
    return np.asarray(np.exp(seen_from @ sites.transpose(0, 2, 1)))


def rarest(numbers: IntArray) -> IntArray:
    """Indices of the sites of the element with fewest sites, the lightest of several."""
    elements, counts = np.unique(numbers, return_counts=True)
    return np.flatnonzero(numbers == elements[counts.argmin()])


def lattice_of(metric: FloatArray) -> FloatArray:
    """(3, 3), Å: right-handed vectors with such scalar products, a along x and b in the xy plane.

    Raises:
        PathwayError: ``singular_cell`` where there are none.
    """
    try:
        return np.ascontiguousarray(np.linalg.cholesky(metric))
    except np.linalg.LinAlgError:
        raise _singular(metric) from None


def cells_alike(metric: FloatArray, rotations: IntArray) -> IntArray:
    """Cells (c, 3, 3) that a crystal's rotations look the same in, the given one among them.

    The rotations of the lattice that the crystal may lack make them of each other.

    Args:
        metric: (3, 3), Å^2, scalar products of the vectors of a primitive, right-handed cell.
        rotations: (k, 3, 3), those of the crystal's operations.
    """
    shortest = shortest_cells(metric)
    cells = np.rint(np.linalg.inv(shortest[0])).astype(np.int64) @ shortest
    to_cells = np.rint(np.linalg.inv(cells)).astype(np.int64).transpose(0, 2, 1)
    turned = to_cells[:, None] @ rotations @ cells.transpose(0, 2, 1)[:, None]  # (c, k, 3, 3)
    names = np.sort(turned.reshape(*turned.shape[:2], 9) @ _POWERS, axis=1)
    same = names == np.sort(rotations.reshape(-1, 9) @ _POWERS)
    return np.asarray(cells[same.all(axis=1)])


def shortest_cells(metric: FloatArray) -> IntArray:
    """All right-handed cells (c, 3, 3) of the shortest vectors with the same angles.

    The angles are all acute, or none is; of those, the sharpest. What is left are the cells that
    the rotations of the lattice take into each other.

    Args:
        metric: (3, 3), Å^2, scalar products of the vectors of a primitive, right-handed cell.

    Raises:
        PathwayError: ``singular_cell`` where the vectors span no cell or one without end.
    """
    lattice_of(metric)  # refuses what no three vectors have as scalar products
    reduced = _obtuse(metric)
    cells = _candidates() @ reduced
    metrics = cells @ metric @ cells.transpose(0, 2, 1)
    lengths = np.sqrt(np.diagonal(metrics, axis1=1, axis2=2))
    angles = np.stack([metrics[:, i, j] for i, j in _PAIRS], axis=1)  # scalar products, Å^2
    tie = TIE_A * float(np.sqrt(np.trace(metric)))
    kept = np.arange(len(cells))
    for axis in range(3):
        kept = _least(kept, lengths[:, axis], TIE_A)
    alike = (angles[kept].max(axis=1) <= tie) | (angles[kept].min(axis=1) > tie)
    kept = kept[alike]
    kept = _least(kept, -angles.sum(axis=1), tie)
    for pair in range(3):
        kept = _least(kept, angles[:, pair], tie)
    return np.asarray(cells[kept])


def _least(kept: IntArray, values: FloatArray, tolerance: float) -> IntArray:
    return np.asarray(kept[values[kept] <= values[kept].min() + tolerance])


@cache
def _candidates() -> IntArray:
    """Right-handed cells in terms of the first three of four vectors that add up to nothing.

    Where no two of the four make an acute angle, the shortest vectors of the lattice are among
    the sums of some of them (Conway and Sloane, Proc. R. Soc. Lond. A 436, 55 (1992)).
    """
    sums = [np.array(bits) for bits in product((0, 1), repeat=3) if any(bits)]
    sums = [sign * vector for vector in sums for sign in (1, -1)]
    # With the fourth vector a sum holds minus all three, which leaves minus the rest.
    triples = np.array(list(product(sums, repeat=3)))
    return np.asarray(triples[np.rint(np.linalg.det(triples)) == 1], dtype=np.int64)


def _obtuse(metric: FloatArray) -> IntArray:
    """Selling's reduction: three vectors that, with minus their sum, make no acute angle."""
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]])
    smallest = 1e-9 * float(np.trace(metric))
    for _ in range(_MOST_STEPS):
        products = vectors @ metric @ vectors.T
        i, j = max(combinations(range(4), 2), key=lambda pair: float(products[pair]))
        if products[i, j] <= smallest:
            three = vectors[:3]
            return three if round(np.linalg.det(three)) == 1 else -three
        k, m = (index for index in range(4) if index not in (i, j))
        vectors[k] += vectors[i]
        vectors[m] += vectors[i]
        vectors[i] *= -1
        # Now the four still add up to nothing, and i and j make an obtuse angle.
    raise _singular(metric)


def _singular(metric: FloatArray) -> PathwayError:
    return PathwayError(
        "singular_cell",
        f"vectors of scalar products {metric.round(3).tolist()} Å^2 span no cell; correct the cell",
    )
