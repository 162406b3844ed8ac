"""What pushes a moving ion: soft repulsion by every host atom, from covalent radii alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from pathways import compiled_paths
from pathways.neighbours import integer_box, perpendicular_widths
from pathways.types import N_IMAGES, Crystal, FloatArray, IntArray

CLASSES = ("anion", "same", "other")
"""Classes of host atoms: anions, atoms of the moving species, all others (mostly cations)."""
SOFTNESS_A = 0.35
"""At contact, repulsion falls by a factor of e over this distance, Å."""
CAPSULE_A = 2.5
"""The ion keeps within this distance of its chord, Å."""

_FORGOTTEN = 10.0
"""Atoms count down to a repulsion of exp(-10)."""
_ANIONS = np.isin(np.arange(256), [7, 8, 9, 16, 17, 34, 35, 52, 53])  # by atomic number
# Cordero et al., Dalton Trans. 2008, 2832, doi:10.1039/b801115j; Å, H to Cm; low spin, sp3.
_COVALENT = (
    "0.31 0.28 1.28 0.96 0.84 0.76 0.71 0.66 0.57 0.58 1.66 1.41 1.21 1.11 1.07 1.05 1.02 "
    "1.06 2.03 1.76 1.70 1.60 1.53 1.39 1.39 1.32 1.26 1.24 1.32 1.22 1.22 1.20 1.19 1.20 "
    "1.20 1.16 2.20 1.95 1.90 1.75 1.64 1.54 1.47 1.46 1.42 1.39 1.45 1.44 1.42 1.39 1.39 "
    "1.38 1.39 1.40 2.44 2.15 2.07 2.04 2.03 2.01 1.99 1.98 1.98 1.96 1.94 1.92 1.92 1.89 "
    "1.90 1.87 1.87 1.75 1.70 1.62 1.51 1.44 1.41 1.36 1.36 1.32 1.45 1.46 1.48 1.40 1.50 "
    "1.50 2.60 2.21 2.15 2.06 2.00 1.96 1.90 1.87 1.80 1.69 "
)


@dataclass(frozen=True, eq=False)
class Field:
    """The host around one hop, in Cartesian coordinates whose origin is the middle of the chord.

    The energy of the ion at x is the sum over host atoms of ``exp((c^2 - |x - y|^2) / (2 s c))``,
    where y is the atom's place, c the sum of both covalent radii and s is ``SOFTNESS_A``. An atom
    at contact, |x - y| = c, gives 1. Gaussians, because their sums on a grid are matrix products.
    """

    ends_a: FloatArray
    """(2, 3), Å: start and end of the hop; the one is minus the other."""
    places_a: FloatArray
    """(n, 3), Å, of the host atoms within reach, periodic images included."""
    contact_a: FloatArray
    """(n,), Å: sum of the covalent radii of the ion and the atom."""
    kinds: IntArray
    """(n,), index in ``CLASSES``."""

    @cached_property
    def length_a(self) -> float:
        """Length of the hop, Å."""
        return float(np.linalg.norm(self.ends_a[1] - self.ends_a[0]))

    @cached_property
    def axis(self) -> FloatArray:
        """(3,), unit vector from start to end."""
        if self.length_a == 0:
            return np.array([1.0, 0.0, 0.0])
        return np.asarray((self.ends_a[1] - self.ends_a[0]) / self.length_a)

    def distances_a(self, points_a: FloatArray) -> FloatArray:
        """(m, n) distances of points (m, 3) to the atoms, Å."""
        squares = (points_a**2).sum(axis=1)[:, None] + (self.places_a**2).sum(axis=1)
        squares -= 2.0 * points_a @ self.places_a.T
        return np.asarray(np.sqrt(np.maximum(squares, 0.0)))

    def energy(self, points_a: FloatArray) -> FloatArray:
        """(m,) energy of the ion at points (m, 3), in units of one atom at contact."""
        return np.asarray(self._pairs(points_a).sum(axis=1))

    def energy_by_class(self, points_a: FloatArray) -> FloatArray:
        """(m, 3) parts of the energy by ``CLASSES``."""
        return np.asarray(self._pairs(points_a) @ (self.kinds[:, None] == np.arange(len(CLASSES))))

    def energy_and_gradient(self, points_a: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(m,) energy and (m, 3) its gradient, 1/Å."""
        sums = self._pairs(points_a) @ self._moments
        return sums[:, 0], 2.0 * (sums[:, 2:] - sums[:, 1:2] * points_a)

    def energy_on_grid(
        self, axes: FloatArray, ticks_a: tuple[FloatArray, FloatArray, FloatArray]
    ) -> FloatArray:
        """(a, b, c) energy on the rectangular grid of three ticks along three orthonormal axes."""
        places, exponents = self.places_a @ axes.T, self._exponents
        first, second, third = (
            np.exp(-exponents * (ticks[:, None] - places[:, k]) ** 2)
            for k, ticks in enumerate(ticks_a)
        )
        first *= np.exp(exponents * self.contact_a**2)
        plane = first[:, None, :] * second
        return np.asarray(plane @ third.T)

    @cached_property
    def host(self) -> compiled_paths.Host:
        """The atoms, for the compiled parts."""
        return compiled_paths.Host(self.places_a, self.contact_a, self._exponents, self.kinds)

    def turned(self, axes: FloatArray) -> compiled_paths.Host:
        """The atoms for the compiled parts, along orthonormal axes (3, 3)."""
        return replace(self.host, places_a=self.places_a @ axes.T)

    @cached_property
    def _exponents(self) -> FloatArray:
        """(n,), 1/Å^2: each atom's energy is ``exp(exponent * (contact^2 - distance^2))``."""
        return np.asarray(0.5 / (SOFTNESS_A * self.contact_a))

    @cached_property
    def _logarithms(self) -> FloatArray:
        """(5, n): the product of (x, y, z, squared radius, 1) with it is the pairs' logarithm."""
        squares = self.contact_a**2 - (self.places_a**2).sum(axis=1)
        rows = [2.0 * self.places_a.T, -np.ones((1, len(squares))), squares[None]]
        return np.concatenate(rows) * self._exponents

    @cached_property
    def _moments(self) -> FloatArray:
        """(n, 5): the product of pairs with it is the energy and what its gradient is made of."""
        column = self._exponents[:, None]
        return np.concatenate([np.ones_like(column), column, column * self.places_a], axis=1)

    def _pairs(self, points_a: FloatArray) -> FloatArray:
        """(m, n) energy by atom."""
        squares = (points_a**2).sum(axis=1, keepdims=True)
        places = np.concatenate([points_a, squares, np.ones_like(squares)], axis=1)
        return np.asarray(np.exp(places @ self._logarithms))


def field_of(crystal: Crystal) -> Field:
    """The host around the hop of a folded band: every image of its atoms that the ion could feel.

    Args:
        crystal: folded band, the ion's images first; wrapped or not.
    """
    steps = crystal.frac[1:N_IMAGES] - crystal.frac[: N_IMAGES - 1]
    hop = (steps - np.rint(steps)).sum(axis=0)
    half = hop @ crystal.lattice / 2
    numbers, ion = crystal.numbers[N_IMAGES:], crystal.numbers[0]
    radii = covalent_radii_a(crystal.numbers)
    contact = radii[N_IMAGES:] + radii[0]
    reach = CAPSULE_A + np.sqrt(contact * (contact + 2 * SOFTNESS_A * _FORGOTTEN))
    step = crystal.frac[N_IMAGES:] - (crystal.frac[0] + hop / 2)
    which, places = _images_near(crystal.lattice, step - np.rint(step), half, reach)
    kinds = np.where(numbers == ion, 1, np.where(_ANIONS[numbers], 0, 2))
    return Field(np.stack([-half, half]), places, contact[which], kinds[which])


def covalent_radii_a(numbers: IntArray) -> FloatArray:
    """(n,) covalent radii, Å; elements beyond curium count as curium."""
    table = _radii()
    return np.asarray(table.take(numbers - 1, mode="clip"))


@cache
def _radii() -> FloatArray:
    return np.array([float(word) for word in _COVALENT.split()])


def _images_near(
    lattice: FloatArray, frac: FloatArray, half: FloatArray, reach_a: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Atom index (m,) and place (m, 3) of all images within ``reach_a`` (n,) of -half...half."""
    half_a = float(np.linalg.norm(half))
    bound = half_a + float(reach_a.max(initial=0.0))
    cells = np.ceil(bound / perpendicular_widths(lattice) + 0.5).astype(np.int64)
    shifts = integer_box(cells) @ lattice
    home = frac @ lattice
    furthest = float(np.sqrt((home * home).sum(axis=1).max(initial=0.0)))
    shifts = shifts[(shifts * shifts).sum(axis=1) <= (bound + furthest) ** 2]
    axis = half / half_a if half_a > 0 else half
    if (found := compiled_paths.images(home, shifts, reach_a, axis, half_a)) is not None:
        return found
    places = (home[:, None, :] + shifts).reshape(-1, 3)  # atom by atom
    which = np.repeat(np.arange(len(frac)), len(shifts))
    along = places @ axis
    beyond = np.maximum(np.abs(along) - half_a, 0.0)
    square_gap = (places**2).sum(axis=1) - along**2 + beyond**2
    near = square_gap < reach_a[which] ** 2
    return which[near], places[near]
