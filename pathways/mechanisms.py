"""Hops by other mechanisms than the vacancy's: dilute, interstitial, and beside a second vacancy.

A hop that empties more sites is another hop with another barrier, on the same sites. In an
insertion electrode a vacancy hop stands for the discharged end, where all other sites are filled,
and a dilute hop for the charged end, where the ion is alone: what lies between is bounded by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import spglib

from pathways.checks import MIN_DISTANCE_A, check_crystal, ion_number
from pathways.hops import HopSettings, hops_between
from pathways.neighbours import closest_pair_a, pairs_within, tolerance_rank
from pathways.symmetry import SymmetrisedCrystal, site_permutations, symmetrise
from pathways.types import Crystal, FloatArray, Hop, HopNetwork, PathwayError

Vacancy = tuple[int, int, int, int]
"""A site and its periodic image."""

_ONE_SITE_A = 0.5
_EXACT_A = 1e-3
_ORDER_TOLERANCE = 1.0471e-4  # no short decimal: rounded coordinates must not lie on the edge


def with_mechanisms(network: HopNetwork, mechanisms: Iterable[str]) -> HopNetwork:
    """The vacancy hops of a network by each of several mechanisms, one after the other.

    Orbits are those of the crystal with all sites filled, by either mechanism.

    Args:
        network: of ``enumerate_hops``.
        mechanisms: ``vacancy`` or ``dilute``, each once.

    Raises:
        PathwayError: ``unknown_mechanism`` for any other: those need to be told of a site.
    """
    hops: list[Hop] = []
    for mechanism in mechanisms:
        if mechanism not in ("vacancy", "dilute"):
            raise PathwayError(
                "unknown_mechanism", f"mechanism {mechanism!r}, expected vacancy or dilute"
            )
        hops += [replace(hop, mechanism=mechanism) for hop in network.hops]
    return replace(network, hops=tuple(hops))


def interstitial_hops(
    crystal: Crystal, ion: str, sites: FloatArray, settings: HopSettings | None = None
) -> HopNetwork:
    """The hops of a crystal's ions onto sites that it has empty, shortest first.

    Each of the given sites stands for all that the crystal's symmetry makes alike; one that is
    almost on an element of symmetry counts as on it. While an ion moves, the site that it comes
    from and all of the given ones are empty, and every other atom stays.

    Args:
        crystal: as it is, the given sites empty.
        ion: element symbol.
        sites: (m, 3), fractional in the crystal's cell.
        settings: cutoffs, filters and limits; the defaults where None.

    Returns:
        Network whose crystal has the empty sites filled, after all others, which are numbered as
        for vacancy hops.

    Raises:
        PathwayError: as ``enumerate_hops``; ``bad_shape`` or ``non_finite`` of the sites, and
            ``overlapping_atoms`` where one lies on an atom or two lie on each other.
    """
    settings = settings or HopSettings()
    check_crystal(crystal, ion, settings.max_sites)
    sites = np.asarray(sites, dtype=np.float64)
    if sites.ndim != 2 or sites.shape[1] != 3 or len(sites) == 0:
        raise PathwayError("bad_shape", f"sites of shape {sites.shape}, expected (m, 3)")
    if not np.isfinite(sites).all():
        raise PathwayError("non_finite", "a site's coordinate is nan or infinite; correct it")
    found = symmetrise(crystal)
    places = _all_alike(found, found.from_given(sites))
    filled = _with_sites(found.crystal, ion_number(ion), places)
    closest_a = closest_pair_a(filled.lattice, filled.frac, MIN_DISTANCE_A)
    if closest_a < MIN_DISTANCE_A:
        raise PathwayError(
            "overlapping_atoms",
            f"an empty site lies {closest_a:.3f} Å from an atom or another empty site, expected at "
            f"least {MIN_DISTANCE_A:g} Å; give places in the voids",
        )
    empty = tuple(range(len(found.crystal), len(filled)))
    return hops_between(replace(found, crystal=filled), ion, settings, empty)


def second_vacancies(network: HopNetwork, hop: Hop, within_a: float = 4.0) -> tuple[Hop, ...]:
    """A vacancy hop beside each distinct second vacancy near it, nearest first.

    Args:
        network: that the hop is of.
        hop: one of its vacancy hops.
        within_a: farthest from the nearer end of the hop, Å.

    Raises:
        PathwayError: ``hop_mismatch`` where it is not a vacancy hop.
    """
    crystal = network.crystal
    alike = _Alike(network, hop)
    ends = ((hop.start, 0, 0, 0), (hop.end, *hop.image))
    i, site, image, distance_a = pairs_within(crystal.lattice, crystal.frac, within_a)
    of_ion = crystal.numbers[site] == ion_number(hop.ion)
    found: dict[Vacancy, float] = {}
    for end, *cell in ends:
        for row in np.flatnonzero(of_ion & (i == end)):
            a, b, c = (image[row] + cell).tolist()
            vacancy = (int(site[row]), a, b, c)
            if vacancy not in ends:
                first = min(alike(vacancy))
                found[first] = min(float(distance_a[row]), found.get(first, np.inf))
    order = sorted(found, key=lambda vacancy: (round(found[vacancy], 4), vacancy))
    return tuple(_beside(hop, vacancy) for vacancy in order)


def with_second_vacancy(network: HopNetwork, hop: Hop, vacancy: Vacancy) -> Hop:
    """A vacancy hop beside a second vacancy, named by the first of all that symmetry makes alike.

    Multiplicity and orbit stay those of the vacancy hop: any of its members can have such a
    vacancy beside it.

    Args:
        network: that the hop is of.
        hop: one of its vacancy hops.
        vacancy: site of the ion and its periodic image, the hop's start being in the cell 0,0,0.

    Raises:
        PathwayError: ``hop_mismatch`` where it is not a vacancy hop, or the vacancy not a site of
            the ion other than the hop's ends.
    """
    is_site = 0 <= vacancy[0] < len(network.crystal)
    is_end = vacancy in ((hop.start, 0, 0, 0), (hop.end, *hop.image))
    if not is_site or is_end or network.crystal.numbers[vacancy[0]] != ion_number(hop.ion):
        raise PathwayError(
            "hop_mismatch",
            f"second vacancy {vacancy} of hop {hop.key}, expected site and image of another "
            f"{hop.ion} than the two ends",
        )
    return _beside(hop, min(_Alike(network, hop)(vacancy)))


def _beside(hop: Hop, vacancy: Vacancy) -> Hop:
    return replace(hop, mechanism="divacancy", second_vacancy=vacancy)


class _Alike:
    """What the symmetry of one hop, walked backwards or not, makes of the sites beside it."""

    def __init__(self, network: HopNetwork, hop: Hop) -> None:
        if hop.mechanism != "vacancy":
            raise PathwayError("hop_mismatch", f"hop {hop.key}, expected a vacancy hop")
        found = _own_symmetry(network)
        self._sites = np.flatnonzero(network.crystal.numbers == ion_number(hop.ion))
        self._target, self._shift = site_permutations(found, self._sites)
        self._rotations = found.rotations
        start, end = np.searchsorted(self._sites, (hop.start, hop.end))
        image = np.array(hop.image)
        to_start, to_end = self._target[:, start], self._target[:, end]
        first = self._shift[:, start]  # cell in which the turned hop starts
        last = self._rotations @ image + self._shift[:, end]
        forward = (to_start == start) & (to_end == end) & (last - first == image).all(axis=1)
        reverse = (to_start == end) & (to_end == start) & (first - last == image).all(axis=1)
        self._keeps = [(k, first[k]) for k in np.flatnonzero(forward)]
        self._keeps += [(k, last[k]) for k in np.flatnonzero(reverse)]

    def __call__(self, vacancy: Vacancy) -> set[Vacancy]:
        """The vacancy and all like it."""
        site = int(np.searchsorted(self._sites, vacancy[0]))
        alike = set()
        for k, home in self._keeps:
            cell = self._rotations[k] @ vacancy[1:] + self._shift[k, site] - home
            a, b, c = cell.tolist()
            alike.add((int(self._sites[self._target[k, site]]), a, b, c))
        return alike


def _own_symmetry(network: HopNetwork) -> SymmetrisedCrystal:
    """The operations of a network's crystal, which is idealised, in its own cell."""
    crystal = network.crystal
    cell: Any = (crystal.lattice, crystal.frac, crystal.numbers)  # spglib's types name lists only
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=_EXACT_A)
    except spglib.SpglibError as error:
        raise PathwayError("symmetry_failed", f"spglib: {error}") from None
    if dataset is None:
        raise PathwayError("symmetry_failed", f"spglib finds no space group at {_EXACT_A:g} Å")
    return SymmetrisedCrystal(
        crystal=crystal,
        rotations=dataset.rotations.astype(np.int64),
        translations=dataset.translations,
        space_group=network.space_group,
        symprec_a=network.symprec_a,
    )


def _all_alike(found: SymmetrisedCrystal, sites: FloatArray) -> FloatArray:
    """(k, 3) all places that the operations make of some, each once, wrapped, in a fixed order."""
    lattice = found.crystal.lattice
    places = np.empty((0, 3))
    for site in sites:
        images = found.rotations @ site + found.translations
        near = _apart_a(lattice, images, site) < _ONE_SITE_A
        gaps = images[near] - site
        centre = site + (gaps - np.rint(gaps)).mean(axis=0)
        for place in found.rotations @ centre + found.translations:
            if _apart_a(lattice, places, place).min(initial=np.inf) >= _ONE_SITE_A:
                places = np.concatenate([places, place[None]])
    places -= np.floor(places + _ORDER_TOLERANCE)
    ranks = [tolerance_rank(places[:, axis], _ORDER_TOLERANCE) for axis in (2, 1, 0)]
    return np.asarray(places[np.lexsort(ranks)])


def _apart_a(lattice: FloatArray, places: FloatArray, place: FloatArray) -> FloatArray:
    """(m,) distances in Å, exact where they are small against the cell."""
    gaps = places - place
    return np.asarray(np.linalg.norm((gaps - np.rint(gaps)) @ lattice, axis=1))


def _with_sites(crystal: Crystal, number: int, places: FloatArray) -> Crystal:
    return Crystal(
        lattice=crystal.lattice,
        numbers=np.concatenate([crystal.numbers, np.full(len(places), number)]),
        frac=np.concatenate([crystal.frac, places]),
    )
