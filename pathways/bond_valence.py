"""Bond valence site energies: what an ion feels of a crystal, from tabulated bonds and charges.

The energy of an ion at a point is a sum over the atoms around it: a Morse curve for every anion
and a screened Coulomb repulsion for every cation (Chen, Wong and Adams, Acta Cryst. B75, 18 (2019),
doi:10.1107/S2052520618015718). Nothing relaxes around the ion, so energies are high where a path
is narrow, and they rank places rather than measure them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import erfc

from pathways import compiled_energy
from pathways.bond_valence_table import (
    COULOMB_EV_A,
    ion_charge,
    morse,
    principal_quantum_number,
)
from pathways.checks import ion_number
from pathways.curved_field import covalent_radii_a
from pathways.elements import SYMBOLS
from pathways.neighbours import integer_box, perpendicular_widths
from pathways.types import Crystal, FloatArray, IntArray

REACH_A = 7.0
"""Atoms further than this are not felt, Å."""
SCREENING = 0.74
"""Screening length of the repulsion, relative to the sum of both covalent radii."""

BOND_SHARE = 0.5
"""What of a bond's energy counts for the ion: the other half is the anion's. So do the open
implementations; whole bonds rank the literature's barriers worse (Spearman 0.54 for 0.58)."""

_TAPER_A = 1.0
_CLOSEST_A = 0.3


@dataclass(frozen=True, eq=False)
class SiteEnergy:
    """The energy of one ion anywhere in one crystal."""

    lattice: FloatArray
    """(3, 3), Å."""
    frac: FloatArray
    """(n, 3), of the atoms, wrapped into the cell."""
    r_min_a: FloatArray
    """(n,), Å, of the bonds to anions; any number for other atoms, whose depth is zero."""
    b_a: FloatArray
    """(n,), Å."""
    depth_ev: FloatArray
    """(n,), eV; zero for all but anions."""
    repulsion_ev_a: FloatArray
    """(n,), eV Å; zero for all but cations."""
    screening_a: FloatArray
    """(n,), Å."""
    missing: tuple[str, ...] = ()
    """Pairs without parameters, such as ``Mg-P``, or ``Mg-anion`` where no atom is known to be an
    anion; energies are nan where there are any."""
    derived: tuple[str, ...] = ()
    """Pairs whose parameters follow from others."""

    def energy_ev(self, points_frac: FloatArray) -> FloatArray:
        """(m,) energy at points (m, 3), eV; nan everywhere where a pair has no parameters."""
        return self.energy_at(points_frac @ self.lattice)

    def energy_at(self, points_a: FloatArray) -> FloatArray:
        """As ``energy_ev``, at Cartesian points (m, 3), Å."""
        if self.missing:
            return np.full(len(points_a), np.nan)
        pad = REACH_A / perpendicular_widths(self.lattice)
        depth_ev = BOND_SHARE * self.depth_ev
        table = self.r_min_a, self.b_a, depth_ev, self.repulsion_ev_a, self.screening_a
        cut_a = REACH_A, _TAPER_A, _CLOSEST_A
        found = compiled_energy.site_energies_ev(
            self.lattice, self.frac, pad, table, points_a, cut_a
        )
        return self.neighbours(points_a).energy_and_gradient()[0] if found is None else found

    def neighbours(self, points_a: FloatArray, slack_a: float = 0.0) -> Neighbours:
        """The pairs of points (m, 3), Å, Cartesian, with all atoms in reach, and a bit beyond."""
        home = np.floor(points_a @ np.linalg.inv(self.lattice)) @ self.lattice
        which, places = self._images(REACH_A + slack_a)
        near = cKDTree(places).query_ball_point(points_a - home, REACH_A + slack_a)
        counts = [len(found) for found in near]
        atoms = np.fromiter(chain.from_iterable(near), dtype=np.int64, count=sum(counts))
        point = np.repeat(np.arange(len(points_a)), counts)
        return Neighbours(self, points_a, point, which[atoms], places[atoms] + home[point])

    def _images(self, pad_a: float) -> tuple[IntArray, FloatArray]:
        """Atoms (k,) and Cartesian places (k, 3), Å, of images in the cell and around it."""
        pad = pad_a / perpendicular_widths(self.lattice)
        images = self.frac[:, None, :] + integer_box(np.ceil(pad).astype(np.int64))
        near = np.all((images >= -pad) & (images <= 1 + pad), axis=-1)
        return np.nonzero(near)[0], images[near] @ self.lattice


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Points with the atoms around each, as pairs."""

    field: SiteEnergy
    points_a: FloatArray
    """(m, 3), Å, Cartesian."""
    point: IntArray
    """(p,), the point of each pair."""
    atom: IntArray
    """(p,), its atom."""
    places_a: FloatArray
    """(p, 3), Å, where the image of the atom is."""

    def energy_and_gradient(
        self, shift_a: FloatArray | float = 0.0
    ) -> tuple[FloatArray, FloatArray]:
        """(m,) energy, eV, and (m, 3) gradient, eV/Å, with the points shifted by (m, 3), Å."""
        count = len(self.points_a)
        if self.field.missing:
            return np.full(count, np.nan), np.full((count, 3), np.nan)
        vector = (self.points_a + shift_a)[self.point] - self.places_a
        apart = np.linalg.norm(vector, axis=1)
        distance = np.maximum(apart, _CLOSEST_A)
        energy, slope = self._pair(distance)
        along = vector * (slope / distance * (apart > _CLOSEST_A))[:, None]
        values = [energy, *along.T]
        sums = np.array([np.bincount(self.point, value, count) for value in values], np.float64)
        return sums[0], sums[1:].T

    def _pair(self, distance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(p,) energy, eV, and (p,) its derivative, eV/Å, fading out over the last ångström."""
        r_min, b, depth, repulsion, screening = self._parameters
        factor = np.exp((r_min - distance) / b)
        reduced = distance / screening
        coulomb = repulsion / distance * erfc(reduced)
        gauss = 2 / np.sqrt(np.pi) * np.exp(-(reduced**2)) * repulsion / (screening * distance)
        depth = BOND_SHARE * depth
        energy = depth * factor * (factor - 2) + coulomb
        slope = -2 * depth / b * factor * (factor - 1) - coulomb / distance - gauss
        phase = np.pi * np.clip((distance - REACH_A) / _TAPER_A + 1, 0.0, 1.0)
        taper = 0.5 * (1 + np.cos(phase))
        return energy * taper, slope * taper - 0.5 * np.pi / _TAPER_A * np.sin(phase) * energy

    @cached_property
    def _parameters(self) -> FloatArray:
        field = self.field
        table = (field.r_min_a, field.b_a, field.depth_ev, field.repulsion_ev_a, field.screening_a)
        return np.stack(table)[:, self.atom]


def site_energy(crystal: Crystal, ion: str, charges: FloatArray, removed: int = 0) -> SiteEnergy:
    """The energy that an ion has in a crystal, to be asked at as many points as wanted.

    Args:
        crystal: all atoms that do not move; those of the ion's own species count as cations.
        ion: element symbol of a cation.
        charges: (n,), units of e, such as ``pathways.oxidation`` finds. The sign tells anions from
            cations, and the size counts for cations.
        removed: ions of the species that were taken out of the crystal; they count in the balance
            of charges, so that a vacancy does not strengthen the repulsion in a small cell.

    Raises:
        PathwayError: ``no_mobile_ion`` where the symbol is no element.
    """
    number = ion_number(ion)
    present = np.bincount(crystal.numbers) > 0
    elements, element = np.flatnonzero(present), np.cumsum(present)[crystal.numbers] - 1
    negative = charges < 0
    anions = set(crystal.numbers[negative].tolist())
    bonds, missing, derived = _bonds(number, elements.tolist(), anions)
    r_min_a, b_a, depth_ev = np.where(negative, bonds[:, element], [[1.0], [1.0], [0.0]])
    own_charge = (ion_charge(number) or 0) / np.sqrt(principal_quantum_number(number))
    roots = np.sqrt([principal_quantum_number(z) for z in elements.tolist()])
    screened = _screened_charges(charges / roots[element], removed * own_charge)
    radii_a = covalent_radii_a(elements) + covalent_radii_a(np.array([number]))
    return SiteEnergy(
        lattice=crystal.lattice,
        frac=crystal.frac - np.floor(crystal.frac),
        r_min_a=r_min_a,
        b_a=b_a,
        depth_ev=depth_ev,
        repulsion_ev_a=COULOMB_EV_A * own_charge * screened,
        screening_a=SCREENING * radii_a[element],
        missing=missing,
        derived=derived,
    )


def _bonds(
    ion: int, elements: list[int], anions: set[int]
) -> tuple[FloatArray, tuple[str, ...], tuple[str, ...]]:
    """Bonds (3, n) to elements, as in ``Morse``, and names of the missing and the derived pairs."""
    table = np.tile([[1.0], [1.0], [0.0]], len(elements))
    missing = [] if anions else [f"{SYMBOLS[ion]}-anion"]
    derived = []
    for column, element in enumerate(elements):
        if element not in anions:
            continue
        bond, pair = morse(ion, element), f"{SYMBOLS[ion]}-{SYMBOLS[element]}"
        if bond is None:
            missing.append(pair)
            continue
        table[:, column] = bond.r_min_a, bond.b_a, bond.depth_ev
        derived += [pair] if bond.derived else []
    return table, tuple(missing), tuple(derived)


def _screened_charges(reduced: FloatArray, removed: float) -> FloatArray:
    """(n,) charges of the cations, zero for others, over the root of the principal quantum number.

    Scaled so that those of cations and anions balance (Chen, Wong and Adams 2019). The scale of the
    moving ion's own charge is in them too, since energies hold the product of both.

    Args:
        reduced: (n,) charges over those roots, units of e.
        removed: what was taken out, the same.
    """
    positive, negative = np.maximum(reduced, 0.0), np.minimum(reduced, 0.0)
    return np.asarray(positive * (-negative.sum() / max(positive.sum() + removed, 1e-9)))


def site_energy_ev(
    crystal: Crystal, ion: str, charges: FloatArray, points_frac: FloatArray
) -> FloatArray:
    """(m,) bond valence site energies of an ion at points (m, 3), eV.

    Args:
        crystal: all atoms that do not move.
        ion: element symbol.
        charges: (n,), units of e.
        points_frac: fractional, in the cell or out of it.

    Raises:
        PathwayError: ``no_mobile_ion`` where the symbol is no element.
    """
    return site_energy(crystal, ion, charges).energy_ev(points_frac)
