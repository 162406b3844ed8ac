"""Periodic geometry that every step shares: widths of a cell, pairs and images within reach."""

from __future__ import annotations

from functools import lru_cache
from math import prod, sqrt

import numpy as np

from pathways import compiled_geometry
from pathways.types import FloatArray, IntArray

_SMALL_BOX = 1_000
"""Boxes up to about eight times as many vectors are kept."""


def perpendicular_widths(lattice: FloatArray) -> FloatArray:
    """Distances between opposite faces of a cell, Å; ``lattice`` (..., 3, 3) gives (..., 3)."""
    if lattice.ndim == 2:  # a crystal's own cell, asked for again and again
        return _widths_of(lattice)
    return np.asarray(1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=-2))


def _widths_of(lattice: FloatArray) -> FloatArray:
    """(3,) widths of one cell: its volume over the area of each face."""
    (a, b, c), (d, e, f), (g, h, i) = lattice.tolist()
    faces = (
        (e * i - f * h, f * g - d * i, d * h - e * g),
        (h * c - i * b, i * a - g * c, g * b - h * a),
        (b * f - c * e, c * d - a * f, a * e - b * d),
    )
    volume = abs(a * faces[0][0] + b * faces[0][1] + c * faces[0][2])
    return np.array([volume / sqrt(x * x + y * y + z * z) for x, y, z in faces])


def integer_box(reach: IntArray) -> IntArray:
    """All integer vectors with ``|n_k| <= reach[k]``, in lexicographic order, (m, 3)."""
    box = tuple(int(r) for r in reach)
    return _box(*box) if prod(box) <= _SMALL_BOX else _new_box(*box)


def _new_box(*reach: int) -> IntArray:
    axes = [np.arange(-r, r + 1, dtype=np.int64) for r in reach]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


@lru_cache(maxsize=256)
def _box(*reach: int) -> IntArray:
    box = _new_box(*reach)
    box.flags.writeable = False  # the same for all who ask
    return box


def pairs_within(
    lattice: FloatArray, frac: FloatArray, radius_a: float
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """All ordered pairs of sites within a radius under periodic boundaries.

    Args:
        lattice: (3, 3), Å.
        frac: (n, 3), fractional coordinates, wrapped or not.
        radius_a: Å.

    Returns:
        ``i`` (m,), ``j`` (m,), image of j (m, 3) and distance (m,) in Å, in no particular order.
    """
    # Here, because it brings torch along, which a driver that searches nothing can do without.
    from vesin import NeighborList

    search = NeighborList(cutoff=radius_a, full_list=True, n_threads=1)
    i, j, image, distance = search.compute(frac @ lattice, lattice, True, "ijSd")
    return i.astype(np.int64), j.astype(np.int64), image.astype(np.int64), distance


def closest_pair_a(lattice: FloatArray, frac: FloatArray, limit_a: float) -> float:
    """Least distance between two sites or a site and its image, Å, if below ``limit_a``; else inf.

    A vector shorter than half a perpendicular width has fractional components within +-1/2, so
    wrapped differences suffice in all but needle-thin cells.
    """
    if perpendicular_widths(lattice).min() <= 2 * limit_a:
        distance = pairs_within(lattice, frac, limit_a)[3]
        return float(distance.min(initial=np.inf))
    square = compiled_geometry.least_square(lattice, frac)
    if square is None:
        first, second = np.triu_indices(len(frac), k=1)
        apart = frac[first] - frac[second]
        squares = np.square((apart - np.rint(apart)) @ lattice).sum(axis=1)
        square = float(squares.min(initial=np.inf))
    closest = sqrt(square)
    return closest if closest < limit_a else np.inf


def sites_around_cell(lattice: FloatArray, frac: FloatArray, pad_a: float) -> FloatArray:
    """Cartesian positions (m, 3), Å, of all site images in the cell and within ``pad_a`` of it."""
    pad = pad_a / perpendicular_widths(lattice)
    box = integer_box(np.ceil(pad).astype(np.int64))
    images = (frac - np.floor(frac))[:, None, :] + box  # (n, b, 3)
    near = np.all((images >= -pad) & (images <= 1 + pad), axis=-1)
    return np.asarray(images[near] @ lattice)


def tolerance_rank(values: FloatArray, tolerance: float) -> IntArray:
    """Rank of each value, with values closer than ``tolerance`` to a neighbour in one rank, (n,).

    Unlike rounding, this has no fixed edges for numerical noise to fall over.
    """
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order]) > tolerance
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(steps)])[: len(values)]
    return ranks
