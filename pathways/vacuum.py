"""Vacuum in a cell: slabs, wires and molecules, between whose images no ion hops."""

from __future__ import annotations

import numpy as np

from pathways.types import Crystal, FloatArray

MIN_GAP_A = 8.0
"""Atomic planes further apart than this have vacuum between them: twice the longest contacts of
layers that van der Waals forces hold together (I to I, about 4 Å)."""

Gap = tuple[int, float, float]
"""Cell vector that crosses it, fractional height of its middle, width in Å."""


def vacuum_gaps(crystal: Crystal) -> list[Gap]:
    """The gap across each cell vector that is wide enough for vacuum, from plane to plane of atoms.

    One gap makes the crystal a slab, two a wire, three a molecule in a box.
    """
    lattice = crystal.lattice
    heights_a = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    gaps = []
    for axis in range(3):
        levels = np.sort(crystal.frac[:, axis] % 1.0)
        rooms = np.diff(levels, append=levels[0] + 1.0)
        widest = int(np.argmax(rooms))
        width_a = float(rooms[widest] * heights_a[axis])
        if width_a >= MIN_GAP_A:
            gaps.append((axis, float(levels[widest] + rooms[widest] / 2), width_a))
    return gaps


def crosses_vacuum(gaps: list[Gap], start_frac: FloatArray, end_frac: FloatArray) -> np.ndarray:
    """Which chords lead over the middle of a gap.

    Args:
        gaps: of the crystal.
        start_frac: (m, 3), fractional.
        end_frac: (m, 3), fractional, image included.

    Returns:
        (m,), bool.
    """
    crosses = np.zeros(len(start_frac), dtype=bool)
    for axis, middle, _ in gaps:
        side = [np.floor(frac[:, axis] - middle) for frac in (start_frac, end_frac)]
        crosses |= side[0] != side[1]
    return crosses
