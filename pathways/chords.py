"""How much room a straight hop has: distances from its chord to the sites around it."""

from __future__ import annotations

import numpy as np

from pathways import compiled_geometry
from pathways.neighbours import sites_around_cell
from pathways.types import FloatArray

_FIRST_RADIUS_A = 3.0
_END_TOLERANCE_A = 0.1
_CHUNK = 64


def chord_clearance_a(
    lattice: FloatArray,
    start_frac: FloatArray,
    end_frac: FloatArray,
    sites_frac: FloatArray,
    ignore_ends: bool = False,
) -> FloatArray:
    """Least distance from each chord to any image of a set of sites.

    Args:
        lattice: (3, 3), Å.
        start_frac: (m, 3), fractional starts of the chords.
        end_frac: (m, 3), fractional ends, images included.
        sites_frac: (n, 3), fractional, of one cell.
        ignore_ends: leave out the sites that the chord starts and ends on.

    Returns:
        (m,), Å; inf where there is no site.
    """
    if len(sites_frac) == 0 or len(start_frac) == 0:
        return np.full(len(start_frac), np.inf)
    home = np.floor((start_frac + end_frac) / 2)  # the midpoint's cell, so that chords lie close
    starts, ends = (start_frac - home) @ lattice, (end_frac - home) @ lattice
    half_a = float(np.linalg.norm(ends - starts, axis=1).max()) / 2
    radius_a = _FIRST_RADIUS_A
    while True:  # ends: no point of space is further from a site than the cell's diagonal
        sites = sites_around_cell(lattice, sites_frac, half_a + radius_a)
        clearance = _clearance_a(starts, ends, sites, ignore_ends)
        if clearance.max() <= radius_a:
            return clearance
        radius_a *= 2


def _clearance_a(
    starts: FloatArray, ends: FloatArray, sites: FloatArray, ignore_ends: bool
) -> FloatArray:
    skipped_a = _END_TOLERANCE_A if ignore_ends else 0.0
    found = compiled_geometry.from_chords(starts, ends, sites, skipped_a)
    if found is not None:
        return found
    chunks = range(0, len(starts), _CHUNK)
    parts = [
        _nearest_a(starts[c : c + _CHUNK], ends[c : c + _CHUNK], sites, ignore_ends) for c in chunks
    ]
    return np.concatenate(parts)


def _nearest_a(
    starts: FloatArray, ends: FloatArray, sites: FloatArray, ignore_ends: bool
) -> FloatArray:
    """Distance from each segment to the nearest site, (m,), Å; Cartesian inputs."""
    along = ends - starts
    squared_length = np.einsum("mk,mk->m", along, along)[:, None]
    from_start = sites[None, :, :] - starts[:, None, :]  # (m, s, 3)
    projection = np.einsum("msk,mk->ms", from_start, along)
    fraction = np.clip(projection / squared_length, 0.0, 1.0)
    squared_gap = np.einsum("msk,msk->ms", from_start, from_start)
    if ignore_ends:
        from_end = squared_gap - 2 * projection + squared_length
        squared_gap[np.minimum(squared_gap, from_end) < _END_TOLERANCE_A**2] = np.inf
    squares = squared_gap - fraction * (2 * projection - fraction * squared_length)
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1, initial=np.inf), 0.0)))
