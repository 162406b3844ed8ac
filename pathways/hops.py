"""The symmetry-distinct hops of one ion in one crystal, shortest first, in bounded time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pathways.checks import check_crystal, ion_number
from pathways.orbits import LENGTH_TOLERANCE_A, OrbitFinder, Orbits
from pathways.sieve import Sieve
from pathways.symmetry import SymmetrisedCrystal, symmetrise
from pathways.types import Crystal, Hop, HopNetwork, PathwayError

_THROUGH_ATOM_A = 0.5
_LONGEST_CUTOFF_A = 15.0
_MOST_HOPS = 1000
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
    """Hops that pass a framework atom closer than this are flagged ``low_clearance``; those that
    pass one within 0.5 Å, if they are kept at all, ``through_atom`` too."""
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
    """All symmetry-distinct hops of an ion by the vacancy mechanism, shortest first.

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
    return hops_between(symmetrise(crystal), ion, settings)


def hops_between(
    symmetrised: SymmetrisedCrystal,
    ion: str,
    settings: HopSettings,
    empty_sites: tuple[int, ...] = (),
) -> HopNetwork:
    """The hops in a crystal that is symmetrised already.

    Args:
        symmetrised: with all sites filled that a hop may start or end on.
        ion: element symbol.
        settings: cutoffs, filters and limits.
        empty_sites: those of the ion's sites that are empty in truth, after the filled ones; with
            any, only hops from a filled site to an empty one count, by the mechanism
            ``interstitial``.

    Raises:
        PathwayError: ``symmetry_failed``, or ``no_hops`` where none is left.
    """
    sieve = _sieve(symmetrised, ion, settings, empty_sites)
    if not sieve.kept:
        raise PathwayError(
            "no_hops",
            f"{len(sieve.orbits)} hops of {ion} up to {sieve.cutoff_a:g} Å, of which "
            f"{sieve.composite} pass over a third site, {sieve.steric} through the framework and "
            f"{sieve.vacuum} through vacuum; a longer cutoff may find some",
        )
    return HopNetwork(
        crystal=symmetrised.crystal,
        ion=ion,
        hops=_hops(symmetrised.crystal, ion, sieve, settings, empty_sites),
        space_group=symmetrised.space_group,
        symprec_a=symmetrised.symprec_a,
        cutoff_a=sieve.cutoff_a,
        counts=sieve.counts(),
    )


def _sieve(
    symmetrised: SymmetrisedCrystal, ion: str, settings: HopSettings, empty_sites: tuple[int, ...]
) -> Sieve:
    """The hops up to the cutoff, judged; the cutoff found on the way where none is given."""
    number = ion_number(ion)
    finder = OrbitFinder(symmetrised, number)

    def within(cutoff_a: float) -> Orbits:
        orbits = finder.within(cutoff_a)
        return _onto(orbits, empty_sites) if empty_sites else orbits

    first_a = settings.cutoff_floor_a if settings.cutoff_a is None else settings.cutoff_a
    sieve = Sieve(symmetrised.crystal, number, within(first_a), first_a, settings)
    sieve.judge(until_dimension=None)
    enough = sieve.union.dimension >= _WANTED_DIMENSION or len(sieve.kept) == settings.max_hops
    if settings.cutoff_a is not None or enough or settings.cutoff_cap_a == first_a:
        return sieve
    cap_a = settings.cutoff_cap_a
    sieve = Sieve(symmetrised.crystal, number, within(cap_a), cap_a, settings)
    sieve.judge(until_dimension=_WANTED_DIMENSION)
    return sieve


def _onto(orbits: Orbits, empty_sites: tuple[int, ...]) -> Orbits:
    """The orbits of hops from a filled site onto an empty one."""
    leads = np.isin(orbits.labels[:, :2], empty_sites)
    rows = np.flatnonzero(~leads[:, 0] & leads[:, 1])
    members = tuple(orbits.members[row] for row in rows.tolist())
    return Orbits(orbits.labels[rows], orbits.length_a[rows], members)


def _hops(
    crystal: Crystal,
    ion: str,
    sieve: Sieve,
    settings: HopSettings,
    empty_sites: tuple[int, ...],
) -> tuple[Hop, ...]:
    twins = _twins(sieve.orbits, sieve.kept)
    hops = []
    for row, clearance_a, twin in zip(sieve.kept, sieve.clearance_a, twins, strict=True):
        start, end, a, b, c = sieve.orbits.labels[row].tolist()
        flags = []
        if clearance_a < settings.flag_clearance_a:
            flags.append("low_clearance")
        if clearance_a < _THROUGH_ATOM_A:
            flags.append("through_atom")
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
                mechanism="interstitial" if empty_sites else "vacancy",
                flags=tuple(flags),
                empty_sites=empty_sites,
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
