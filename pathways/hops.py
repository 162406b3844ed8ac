"""The symmetry-distinct hops of one ion in one crystal, shortest first, in bounded time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pathways.checks import check_crystal, ion_number
from pathways.chords import chord_clearance_a
from pathways.orbits import LENGTH_TOLERANCE_A, OrbitFinder, Orbits
from pathways.percolation import PeriodicUnion
from pathways.symmetry import SymmetrisedCrystal, symmetrise
from pathways.types import Crystal, FloatArray, Hop, HopNetwork, IntArray, PathwayError

_LONGEST_CUTOFF_A = 15.0
_MOST_HOPS = 1000
_CHUNK = 64
_WANTED_DIMENSION = 2


@dataclass(frozen=True)
class HopSettings:
    """Which hops are looked for and which are kept.

    Raises:
        ValueError: a value out of range; one line that says which.
    """

    cutoff_a: float | None = None
    """Longest hop, Å; None chooses the least that percolates in 2D, from floor to cap."""
    cutoff_floor_a: float = 5.0
    cutoff_cap_a: float = 9.0
    max_hops: int = 40
    """Most hops kept, shortest first."""
    min_clearance_a: float = 0.5
    """Hops that pass a framework atom closer than this are dropped."""
    flag_clearance_a: float = 1.2
    """Hops that pass a framework atom closer than this are flagged ``low_clearance``."""
    third_site_a: float = 1.0
    """Hops that pass a third site of the ion closer than this are composite and dropped."""
    max_sites: int = 200
    """Largest crystal, sites of the input cell."""

    def __post_init__(self) -> None:
        cutoffs = [self.cutoff_floor_a, self.cutoff_cap_a]
        if self.cutoff_a is not None:
            cutoffs.append(self.cutoff_a)
        if not all(0 < cutoff <= _LONGEST_CUTOFF_A for cutoff in cutoffs):
            raise ValueError(
                f"hop cutoffs of {', '.join(f'{c:g}' for c in cutoffs)} Å, "
                f"expected above 0 and up to {_LONGEST_CUTOFF_A:g} Å"
            )
        if self.cutoff_floor_a > self.cutoff_cap_a:
            raise ValueError(
                f"cutoff_floor_a {self.cutoff_floor_a:g} exceeds cutoff_cap_a {self.cutoff_cap_a:g}"
            )
        if not 1 <= self.max_hops <= _MOST_HOPS:
            raise ValueError(f"max_hops {self.max_hops}, expected 1 to {_MOST_HOPS}")
        if self.max_sites < 1:
            raise ValueError(f"max_sites {self.max_sites}, expected 1 or more")
        for name in ("min_clearance_a", "flag_clearance_a", "third_site_a"):
            if not 0 <= getattr(self, name) <= _LONGEST_CUTOFF_A:
                raise ValueError(f"{name} {getattr(self, name):g}, expected 0 to 15 Å")


def enumerate_hops(crystal: Crystal, ion: str, settings: HopSettings | None = None) -> HopNetwork:
    """All symmetry-distinct hops of an ion, shortest first.

    The same input gives the same hops, labels and orbits on any machine, so a stored crystal is
    enough to have the orbits back.

    Args:
        crystal: with the ion's sites filled; any cell, origin and site order.
        ion: element symbol.
        settings: cutoffs, filters and limits; the defaults where None.

    Raises:
        PathwayError: a reason of ``check_crystal``, ``symmetry_failed``, or ``no_hops`` where none
            is left.
    """
    settings = settings or HopSettings()
    check_crystal(crystal, ion, settings.max_sites)
    symmetrised = symmetrise(crystal)
    sieve = _sieve(symmetrised, ion, settings)
    if not sieve.kept:
        raise PathwayError(
            "no_hops",
            f"{len(sieve.orbits)} hops of {ion} up to {sieve.cutoff_a:g} Å, of which "
            f"{sieve.composite} pass over a third site and {sieve.steric} through the framework; "
            "a longer cutoff may find some",
        )
    return HopNetwork(
        crystal=symmetrised.crystal,
        ion=ion,
        hops=_hops(symmetrised.crystal, ion, sieve, settings),
        space_group=symmetrised.space_group,
        symprec_a=symmetrised.symprec_a,
        cutoff_a=sieve.cutoff_a,
        counts=sieve.counts(),
    )


def _sieve(symmetrised: SymmetrisedCrystal, ion: str, settings: HopSettings) -> _Sieve:
    """The hops up to the cutoff, judged; the cutoff found on the way where none is given."""
    number = ion_number(ion)
    finder = OrbitFinder(symmetrised, number)
    first_a = settings.cutoff_floor_a if settings.cutoff_a is None else settings.cutoff_a
    sieve = _Sieve(symmetrised.crystal, number, finder.within(first_a), first_a, settings)
    sieve.judge(until_dimension=None)
    enough = sieve.union.dimension >= _WANTED_DIMENSION or len(sieve.kept) == settings.max_hops
    if settings.cutoff_a is not None or enough or settings.cutoff_cap_a == first_a:
        return sieve
    cap_a = settings.cutoff_cap_a
    sieve = _Sieve(symmetrised.crystal, number, finder.within(cap_a), cap_a, settings)
    sieve.judge(until_dimension=_WANTED_DIMENSION)
    return sieve


class _Sieve:
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
        self.union = PeriodicUnion()
        self._crystal = crystal
        self._mobile = crystal.numbers == number
        self._settings = settings

    def judge(self, until_dimension: int | None) -> None:
        """Keep or drop hops up to the cutoff or the limit on hops.

        With ``until_dimension``, the length at which the kept hops percolate in so many dimensions
        becomes the cutoff.
        """
        for row, clearance_a, third_a in self._rooms():
            if len(self.kept) == self._settings.max_hops:
                break
            if self._percolates(until_dimension) and self._length_a(row) > self._reach_a:
                break
            self._take(row, clearance_a, third_a)
        if self._percolates(until_dimension):
            self.cutoff_a = self._length_a(self.kept[-1])
            self.orbits = self.orbits.up_to(self._reach_a)

    def counts(self) -> dict[str, int]:
        """Orbits found up to the cutoff, and what became of those not kept."""
        found, kept = len(self.orbits), len(self.kept)
        cut = found - kept - self.composite - self.steric
        return {"found": found, "composite": self.composite, "steric": self.steric, "cut": cut}

    def _take(self, row: int, clearance_a: float, third_a: float) -> None:
        if third_a < self._settings.third_site_a:
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

    def _rooms(self) -> Iterator[tuple[int, float, float]]:
        """Each orbit with the room around its chord, worked out a chunk at a time as needed."""
        for begin in range(0, len(self.orbits), _CHUNK):
            clearance_a, third_a = self._room(self.orbits.labels[begin : begin + _CHUNK])
            rows = range(begin, begin + len(clearance_a))
            yield from zip(rows, clearance_a.tolist(), third_a.tolist(), strict=True)

    def _room(self, labels: IntArray) -> tuple[FloatArray, FloatArray]:
        """Distance of each chord from the framework and from a third site of the ion, (m,), Å."""
        frac = self._crystal.frac
        ends = (frac[labels[:, 0]], frac[labels[:, 1]] + labels[:, 2:])
        framework, mobile = frac[~self._mobile], frac[self._mobile]
        lattice = self._crystal.lattice
        clearance_a = chord_clearance_a(lattice, *ends, framework)
        third_a = chord_clearance_a(lattice, *ends, mobile, ignore_ends=True)
        return clearance_a, third_a


def _hops(crystal: Crystal, ion: str, sieve: _Sieve, settings: HopSettings) -> tuple[Hop, ...]:
    twins = _twins(sieve.orbits, sieve.kept)
    hops = []
    for row, clearance_a, twin in zip(sieve.kept, sieve.clearance_a, twins, strict=True):
        start, end, a, b, c = sieve.orbits.labels[row].tolist()
        flags = []
        if clearance_a < settings.flag_clearance_a:
            flags.append("low_clearance")
        if twin:
            flags.append("ambiguous_image")
        hops.append(
            Hop(
                ion=ion,
                start=start,
                end=end,
                image=(a, b, c),
                length_a=float(sieve.orbits.length_a[row]),
                multiplicity=len(sieve.orbits.members[row]),
                clearance_a=clearance_a,
                start_frac=crystal.frac[start].copy(),
                end_frac=crystal.frac[end] + (a, b, c),
                orbit=sieve.orbits.members[row],
                flags=tuple(flags),
            )
        )
    return tuple(hops)


def _twins(orbits: Orbits, kept: list[int]) -> list[bool]:
    """Whether another kept hop of the same length joins the same two sites, so that only the image
    tells one from the other."""
    twins = [False] * len(kept)
    for position, row in enumerate(kept):
        for later in range(position + 1, len(kept)):
            other = kept[later]
            if orbits.length_a[other] > orbits.length_a[row] + LENGTH_TOLERANCE_A:
                break
            ends = np.sort(orbits.members[other][:, :2], axis=1)
            if np.any(np.all(ends == np.sort(orbits.labels[row, :2]), axis=1)):
                twins[position] = twins[later] = True
    return twins
