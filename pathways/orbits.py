"""Symmetry orbits of hops, by a canonical integer label instead of comparing pairs of hops.

A hop is five integers: site i, site j, and the cell of j as seen from i. An operation takes those
to five others, and so does walking the hop backwards; the lexicographic minimum over all of them
names the orbit, and the set of them, modulo whole cells, is the orbit. Lengths, end points or
midpoints are never compared, so two hops of one length between the same sites stay two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pathways.neighbours import pairs_within, tolerance_rank
from pathways.symmetry import SymmetrisedCrystal, site_permutations
from pathways.types import FloatArray, IntArray

LENGTH_TOLERANCE_A = 1e-4
"""Hops whose lengths differ by less are of one length."""


@dataclass(frozen=True, eq=False)
class Orbits:
    """Orbits of hops in an order fixed by length, then label."""

    labels: IntArray
    """(n, 5): i, j and image of j, in the crystal's site indices; the canonical member of each."""
    length_a: FloatArray
    """(n,), Å."""
    members: tuple[IntArray, ...]
    """n arrays (multiplicity, 5), every member of the primitive cell once, the canonical first."""

    def __len__(self) -> int:
        return len(self.labels)

    def up_to(self, length_a: float) -> Orbits:
        """The orbits no longer than a length in Å."""
        count = int(np.searchsorted(self.length_a, length_a, side="right"))
        return Orbits(self.labels[:count], self.length_a[:count], self.members[:count])


class OrbitFinder:
    """Finds the orbits of one ion's hops up to any length; the site maps are worked out once."""

    def __init__(self, symmetrised: SymmetrisedCrystal, ion_number: int) -> None:
        self._crystal = symmetrised.crystal
        self._sites = np.flatnonzero(symmetrised.crystal.numbers == ion_number)
        self._rotations = symmetrised.rotations
        self._target, self._shift = site_permutations(symmetrised, self._sites)

    def within(self, cutoff_a: float) -> Orbits:
        """All orbits of hops up to a length in Å."""
        pairs = self._pairs(cutoff_a)
        base = self._largest_image(pairs)
        codes = self._codes(pairs, base)  # (pairs, operations)
        _, first = np.unique(codes.min(axis=1), return_index=True)
        rows = np.sort(codes[first], axis=1)
        labels = self._decode(rows[:, 0], base)
        length_a = self._lengths(labels)
        # Rows come in label order, and a stable sort keeps it among hops of one length.
        order = np.argsort(tolerance_rank(length_a, LENGTH_TOLERANCE_A), kind="stable")
        rows = rows[order]
        fresh = np.diff(rows, axis=1, prepend=-1) != 0
        members = self._decode(rows[fresh], base)
        last = np.cumsum(fresh.sum(axis=1))
        return Orbits(
            labels=labels[order],
            length_a=length_a[order],
            members=tuple(np.split(members, last)[:-1]),
        )

    def _pairs(self, cutoff_a: float) -> IntArray:
        """Hops (m, 5) from one site of each orbit of sites, positions within the ion's sites."""
        frac = self._crystal.frac[self._sites]
        i, j, image, _ = pairs_within(self._crystal.lattice, frac, cutoff_a + LENGTH_TOLERANCE_A)
        first_of_orbit = self._target.min(axis=0) == np.arange(len(self._sites))
        return np.asarray(np.column_stack([i, j, image])[first_of_orbit[i]])

    def _lengths(self, labels: IntArray) -> FloatArray:
        frac = self._crystal.frac
        steps = frac[labels[:, 1]] + labels[:, 2:] - frac[labels[:, 0]]
        return np.asarray(np.linalg.norm(steps @ self._crystal.lattice, axis=1))

    def _largest_image(self, pairs: IntArray) -> int:
        """A bound on the image components of any hop equivalent to one of the pairs."""
        turn = int(np.abs(self._rotations).sum(axis=2).max())
        return (
            1
            + turn * int(np.abs(pairs[:, 2:]).max(initial=0))
            + 2 * int(np.abs(self._shift).max(initial=0))
        )

    def _codes(self, pairs: IntArray, base: int) -> IntArray:
        """One integer for each pair and operation, in the order of (i, j, image), (m, k)."""
        i, j, image = pairs[:, 0], pairs[:, 1], pairs[:, 2:]
        to_i, to_j = self._target[:, i].T, self._target[:, j].T  # (m, k)
        turned = np.einsum("kab,mb->mka", self._rotations, image)
        turned += self._shift[:, j].transpose(1, 0, 2) - self._shift[:, i].transpose(1, 0, 2)
        span = 2 * base + 1
        weights = np.array([span**2, span, 1])
        cell = turned @ weights
        centre = int(base * weights.sum())
        n = len(self._sites)
        forward = (to_i * n + to_j) * span**3 + centre + cell
        reverse = (to_j * n + to_i) * span**3 + centre - cell
        return np.asarray(np.minimum(forward, reverse))

    def _decode(self, codes: IntArray, base: int) -> IntArray:
        """Integers back to (m, 5), with the crystal's own site indices."""
        span, n = 2 * base + 1, len(self._sites)
        ends, cell = np.divmod(codes, span**3)
        image = [cell // span**2 - base, cell // span % span - base, cell % span - base]
        return np.column_stack([self._sites[ends // n], self._sites[ends % n], *image])
