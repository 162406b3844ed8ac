"""Sites for an ion in a host that holds none: voids, ranked by what the ion would feel there.

Candidates are the vertices of the Voronoi tessellation of the host's atoms, which are the places
with the most room. Each slides downhill to the nearest minimum of the bond valence site energy, and
the minima are ranked by their energy. In 146 published empty hosts, the first three orbits have
67 % of the literature's sites within 0.5 Å; as many of the roomiest voids have 48 %, and as many
random places with the same room 21 % (``tests.bench.voids``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import QhullError, Voronoi, cKDTree

from pathways.bond_valence import SiteEnergy, site_energy
from pathways.checks import check_cell, check_distances, ion_number
from pathways.neighbours import sites_around_cell
from pathways.oxidation import Oxidation, oxidation_states
from pathways.symmetry import SymmetrisedCrystal, symmetrise
from pathways.types import Crystal, FloatArray, PathwayError

MERGE_A = 0.5
"""Places closer than this are one site, Å."""
MIN_CLEARANCE_A = 1.0
"""A void is at least this far from any atom, Å."""
MAX_CLEARANCE_A = 5.0
"""Places further than this from any atom are in vacuum, Å."""
MAX_SITES = 200
"""Largest primitive cell that is searched."""

_SAME_A = 0.05
_MAX_CANDIDATES = 400
_STEPS = 60
_FIRST_GAIN_A2_EV = 0.02
_MAX_STEP_A = 0.1
_FURTHEST_A = 1.0


@dataclass(frozen=True, eq=False)
class Void:
    """A symmetry orbit of places where the ion could sit."""

    frac: FloatArray
    """(3,), one of the places, fractional in the host's primitive cell."""
    energy_ev: float
    """Bond valence site energy, eV; nan where a pair has no parameters."""
    clearance_a: float
    """Distance to the nearest atom, Å."""
    orbit: FloatArray
    """(multiplicity, 3), all places in the primitive cell, wrapped."""

    @property
    def multiplicity(self) -> int:
        """Places per primitive cell."""
        return len(self.orbit)


@dataclass(frozen=True, eq=False)
class Voids:
    """The ranked sites of one ion in one host."""

    host: Crystal
    """Symmetrised primitive crystal that the sites refer to."""
    ion: str
    sites: tuple[Void, ...]
    """Best first."""
    ranked_by: str
    """``bond_valence``, or ``clearance`` where a pair has no parameters."""
    missing: tuple[str, ...]
    """Pairs without parameters."""
    charges_source: str
    """Where the charges come from (``pathways.oxidation.Oxidation``)."""

    def filled(self, count: int = 1) -> Crystal:
        """The host with the ion on every place of its ``count`` best sites, after the host's atoms.

        That is a crystal of sites to enumerate hops in, whose occupation need make no chemistry.
        """
        places = np.concatenate([site.orbit for site in self.sites[:count]])
        ions = np.full(len(places), ion_number(self.ion), dtype=np.int64)
        return Crystal(
            lattice=self.host.lattice,
            numbers=np.concatenate([self.host.numbers, ions]),
            frac=np.concatenate([self.host.frac, places]),
        )


def find_sites(
    host: Crystal, ion: str, top: int | None = None, oxidation: Oxidation | None = None
) -> Voids:
    """Where an ion would sit in a host, best places first.

    Args:
        host: without the ion; where it holds some, they stay and the sites are the others.
        ion: element symbol.
        top: most orbits kept; all where None.
        oxidation: charges of the host, of which each element's mean counts; guessed where None.

    Raises:
        PathwayError: ``bad_shape``, ``non_finite``, ``singular_cell``, ``unknown_element``,
            ``overlapping_atoms``, ``no_mobile_ion`` where the ion is no element,
            ``symmetry_failed``, ``too_many_sites``, or ``no_voids`` where the host has no room.
    """
    check_cell(host)
    check_distances(host)
    ion_number(ion)
    symmetrised = symmetrise(host)
    primitive = symmetrised.crystal
    if len(primitive) > MAX_SITES:
        raise PathwayError(
            "too_many_sites",
            f"{len(primitive)} sites in the primitive cell, expected at most {MAX_SITES}; "
            "give the sites yourself",
        )
    oxidation = oxidation or oxidation_states(primitive)
    by_element = oxidation.by_element
    charges = np.array([by_element.get(z, 0.0) for z in primitive.numbers.tolist()])
    field = site_energy(primitive, ion, charges)
    candidates = _representatives(symmetrised, voronoi_vertices(primitive))
    if not field.missing:
        candidates = _minima(field, candidates)
    sites = _ranked(symmetrised, field, candidates)
    if not sites:
        raise PathwayError(
            "no_voids",
            f"no void with {MIN_CLEARANCE_A:g} to {MAX_CLEARANCE_A:g} Å to the nearest atom in "
            f"{len(primitive)} sites; give the sites yourself",
        )
    return Voids(
        host=primitive,
        ion=ion,
        sites=tuple(sites[:top]),
        ranked_by="clearance" if field.missing else "bond_valence",
        missing=field.missing,
        charges_source=oxidation.source,
    )


def voronoi_vertices(crystal: Crystal) -> FloatArray:
    """(m, 3) fractional places with locally the most room, roomiest first, one cell's worth.

    Their clearance is between ``MIN_CLEARANCE_A`` and ``MAX_CLEARANCE_A``.
    """
    atoms = sites_around_cell(crystal.lattice, crystal.frac, MAX_CLEARANCE_A)
    try:
        vertices = Voronoi(atoms).vertices
    except QhullError:  # all atoms in one plane, and vacuum all around
        return np.empty((0, 3))
    frac = vertices @ np.linalg.inv(crystal.lattice)
    inside = np.all((frac > -_edge(crystal)) & (frac < 1), axis=1)
    clearance = cKDTree(atoms).query(vertices[inside])[0]
    room = (clearance >= MIN_CLEARANCE_A) & (clearance <= MAX_CLEARANCE_A)
    order = np.argsort(-clearance[room], kind="stable")
    return np.asarray(frac[inside][room][order])


def _edge(crystal: Crystal) -> FloatArray:
    """(3,) a little beyond the cell's lower faces, so that rounding loses no vertex on them."""
    return np.asarray(_SAME_A / np.linalg.norm(crystal.lattice, axis=1))


def _images(symmetrised: SymmetrisedCrystal, place: FloatArray) -> FloatArray:
    """(k, 3) where every operation takes a place."""
    return np.asarray(symmetrised.rotations @ place + symmetrised.translations)


def _gaps_a(lattice: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """(m, n) distances between places (m, 3) and (n, 3); exact where small against the cell."""
    apart = first[:, None, :] - second
    return np.asarray(np.linalg.norm((apart - np.rint(apart)) @ lattice, axis=-1))


def _representatives(symmetrised: SymmetrisedCrystal, places: FloatArray) -> FloatArray:
    """(m, 3), one place of each orbit, in the order given, those within ``_SAME_A`` being one."""
    kept: list[FloatArray] = []
    lattice = symmetrised.crystal.lattice
    while len(places) and len(kept) < _MAX_CANDIDATES:
        kept.append(places[0])
        gaps = _gaps_a(lattice, _images(symmetrised, places[0]), places)
        places = places[gaps.min(axis=0) > _SAME_A]
    return np.array(kept).reshape(-1, 3)


def _minima(field: SiteEnergy, places: FloatArray) -> FloatArray:
    """(m, 3) fractional, the nearest minima of the energy, at most 1 Å away.

    Steepest descent, all places at once, each with a step of its own: longer after a step down,
    shorter after one up, which is taken back.
    """
    start_a = places @ field.lattice
    neighbours = field.neighbours(start_a, _FURTHEST_A)
    shift = np.zeros_like(start_a)
    gain = np.full(len(places), _FIRST_GAIN_A2_EV)
    energy, gradient = neighbours.energy_and_gradient()
    for _ in range(_STEPS):
        move = -gain[:, None] * gradient
        size = np.linalg.norm(move, axis=1, keepdims=True)
        trial = shift + move * _MAX_STEP_A / np.maximum(size, _MAX_STEP_A)
        length = np.linalg.norm(trial, axis=1, keepdims=True)
        trial *= _FURTHEST_A / np.maximum(length, _FURTHEST_A)
        new_energy, new_gradient = neighbours.energy_and_gradient(trial)
        down = new_energy <= energy
        gain = np.where(down, 1.2 * gain, 0.4 * gain)
        shift = np.where(down[:, None], trial, shift)
        gradient = np.where(down[:, None], new_gradient, gradient)
        energy = np.where(down, new_energy, energy)
    return np.asarray((start_a + shift) @ np.linalg.inv(field.lattice))


def _ranked(symmetrised: SymmetrisedCrystal, field: SiteEnergy, places: FloatArray) -> list[Void]:
    """Sites of distinct orbits, best first: lowest energy, or most room where none is known."""
    if len(places) == 0:
        return []
    lattice, atoms = symmetrised.crystal.lattice, symmetrised.crystal.frac
    places = np.array([_onto_symmetry(symmetrised, place) for place in places])
    around = cKDTree(sites_around_cell(lattice, atoms, MAX_CLEARANCE_A))
    clearance = around.query((places - np.floor(places)) @ lattice)[0]
    energy = field.energy_ev(places)
    score = -clearance if field.missing else energy
    sites: list[Void] = []
    taken = np.empty((0, 3))
    for row in np.argsort(np.round(score, 6), kind="stable"):
        if clearance[row] < MIN_CLEARANCE_A:
            continue
        if len(taken) and _gaps_a(lattice, places[row][None], taken).min() < MERGE_A:
            continue
        images = _images(symmetrised, places[row])
        images -= np.floor(images + _edge(symmetrised.crystal))
        orbit = images[_first_of_each(lattice, images)]
        sites.append(Void(orbit[0], float(energy[row]), float(clearance[row]), orbit))
        taken = np.concatenate([taken, orbit])
    return sites


def _onto_symmetry(symmetrised: SymmetrisedCrystal, place: FloatArray) -> FloatArray:
    """The mean of a place and its images within ``MERGE_A``: one place where they were a cloud."""
    images = _images(symmetrised, place)
    apart = images - place
    apart -= np.rint(apart)
    near = np.linalg.norm(apart @ symmetrised.crystal.lattice, axis=1) < MERGE_A
    return np.asarray(place + apart[near].mean(axis=0))


def _first_of_each(lattice: FloatArray, places: FloatArray) -> list[int]:
    """Rows of places further than ``_SAME_A`` from all earlier ones."""
    gaps = _gaps_a(lattice, places, places)
    return [row for row in range(len(places)) if not np.any(gaps[row, :row] < _SAME_A)]
