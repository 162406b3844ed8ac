"""Which orbits of hops are kept: those with room enough, shortest first, until there are enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pathways.chords import chord_clearance_a
from pathways.orbits import LENGTH_TOLERANCE_A, Orbits
from pathways.percolation import PeriodicUnion
from pathways.types import Crystal, FloatArray, IntArray
from pathways.vacuum import crosses_vacuum, vacuum_gaps

if TYPE_CHECKING:
    from pathways.hops import HopSettings

_CHUNK = 64


class Sieve:
    """Orbits taken in order of length and kept or dropped, until there are enough."""

    def __init__(
        self, crystal: Crystal, number: int, orbits: Orbits, cutoff_a: float, settings: HopSettings
    ) -> None:
        self.orbits = orbits
        self.cutoff_a = cutoff_a
        self.kept: list[int] = []
        self.clearance_a: list[float] = []
        self.composite = 0
        self.steric = 0
        self.vacuum = 0
        self.union = PeriodicUnion()
        self._crystal = crystal
        self._mobile = crystal.numbers == number
        self._settings = settings
        self._gaps = vacuum_gaps(crystal)

    def judge(self, until_dimension: int | None) -> None:
        """Keep or drop hops up to the cutoff or the limit on hops.

        With ``until_dimension``, the length at which the kept hops percolate in so many dimensions
        becomes the cutoff.
        """
        for row, clearance_a, third_a, in_vacuum in self._rooms():
            if len(self.kept) == self._settings.max_hops:
                break
            if self._percolates(until_dimension) and self._length_a(row) > self._reach_a:
                break
            self._take(row, clearance_a, third_a, in_vacuum)
        if self._percolates(until_dimension):
            self.cutoff_a = self._length_a(self.kept[-1])
            self.orbits = self.orbits.up_to(self._reach_a)

    def counts(self) -> dict[str, int]:
        """Orbits found up to the cutoff, and what became of those not kept."""
        found, kept = len(self.orbits), len(self.kept)
        dropped = {"composite": self.composite, "steric": self.steric, "vacuum": self.vacuum}
        return {"found": found, **dropped, "cut": found - kept - sum(dropped.values())}

    def _take(self, row: int, clearance_a: float, third_a: float, in_vacuum: bool) -> None:
        if in_vacuum:
            self.vacuum += 1
        elif third_a < self._settings.third_site_a:
            self.composite += 1
        elif clearance_a < self._settings.min_clearance_a:
            self.steric += 1
        else:
            self.kept.append(row)
            self.clearance_a.append(clearance_a)
            self.union.add(self.orbits.members[row])

    def _percolates(self, dimension: int | None) -> bool:
        return dimension is not None and self.union.dimension >= dimension

    def _length_a(self, row: int) -> float:
        return float(self.orbits.length_a[row])

    @property
    def _reach_a(self) -> float:
        return self._length_a(self.kept[-1]) + LENGTH_TOLERANCE_A

    def _rooms(self) -> Iterator[tuple[int, float, float, bool]]:
        """Each orbit with the room around its chord, worked out a chunk at a time as needed."""
        for begin in range(0, len(self.orbits), _CHUNK):
            room = self._room(self.orbits.labels[begin : begin + _CHUNK])
            rows = range(begin, begin + len(room[0]))
            yield from zip(rows, *(values.tolist() for values in room), strict=True)

    def _room(self, labels: IntArray) -> tuple[FloatArray, FloatArray, np.ndarray]:
        """Distance of each chord from the framework and from a third site of the ion, (m,), Å, and
        whether it leads through vacuum."""
        frac = self._crystal.frac
        ends = (frac[labels[:, 0]], frac[labels[:, 1]] + labels[:, 2:])
        framework, mobile = frac[~self._mobile], frac[self._mobile]
        lattice = self._crystal.lattice
        clearance_a = chord_clearance_a(lattice, *ends, framework)
        third_a = chord_clearance_a(lattice, *ends, mobile, ignore_ends=True)
        return clearance_a, third_a, crosses_vacuum(self._gaps, *ends)
