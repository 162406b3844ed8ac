"""What an ion sees along a straight hop, as numbers that owe nothing to group theory."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from pathways.neighbours import sites_around_cell
from pathways.orbits import Orbits
from pathways.types import Crystal, FloatArray, IntArray

POINTS = 5
NEAREST = 12
SAME_A = 1e-3
"""Fingerprints closer than this are one: idealised crystals hold their symmetry much better."""


def chord_fingerprints(crystal: Crystal, hops: IntArray, nearest: int = NEAREST) -> FloatArray:
    """Distances to the nearest atoms of each species, nearest first, (m, 5, species x nearest), Å.

    Args:
        crystal: that the hops are of.
        hops: (m, 5), i, j and image of j.
        nearest: atoms of each species.
    """
    start, end = crystal.frac[hops[:, 0]], crystal.frac[hops[:, 1]] + hops[:, 2:]
    points = start[:, None] + np.linspace(0, 1, POINTS)[:, None] * (end - start)[:, None]
    places = (points - np.floor(points)) @ crystal.lattice
    found = []
    for number in np.unique(crystal.numbers):
        sites = crystal.frac[crystal.numbers == number]
        share = abs(np.linalg.det(crystal.lattice)) / len(sites)
        reach_a = 1.6 * np.cbrt(3 * (nearest + 1) * share / (4 * np.pi))
        distances = np.full((1, 1, 1), np.inf)
        while distances.max() >= reach_a:
            reach_a *= 1.25
            tree = cKDTree(sites_around_cell(crystal.lattice, sites, reach_a))
            distances, _ = tree.query(places, k=nearest)
        found.append(distances)
    return np.concatenate(found, axis=2)


def gap_a(one: FloatArray, other: FloatArray) -> FloatArray:
    """Largest difference of two fingerprints (..., 5, k), walked either way, Å."""
    forward = np.abs(one - other).max(axis=(-2, -1))
    backward = np.abs(one - other[..., ::-1, :]).max(axis=(-2, -1))
    return np.asarray(np.minimum(forward, backward))


def merged(crystal: Crystal, orbits: Orbits) -> int:
    """How many orbits hold members that the ion would tell apart."""
    count = 0
    for members in orbits.members:
        values = chord_fingerprints(crystal, members)
        count += bool(np.any(gap_a(values, values[0]) > 1e-6))
    return count


def alike(crystal: Crystal, orbits: Orbits, nearest: int = NEAREST) -> list[tuple[int, int]]:
    """Pairs of orbits, by index, that the ion would not tell apart."""
    if len(orbits) < 2:
        return []
    values = chord_fingerprints(crystal, orbits.labels, nearest)
    pairs = []
    for i in range(len(orbits)):
        stop = int(np.searchsorted(orbits.length_a, orbits.length_a[i] + SAME_A))
        gaps = gap_a(values[i], values[i + 1 : stop])
        pairs += [(i, i + 1 + j) for j in np.flatnonzero(gaps < SAME_A).tolist()]
    return pairs
