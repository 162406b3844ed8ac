"""The data objects that travel between stages: arrays with shapes and units, no behaviour.

Two worked examples. In layered LiCoO2 (R-3m) the primitive cell holds one Li, so every hop starts
and ends on site 0 and differs only in the image: ``Li:0-0:-1,0,1`` is the 2.8 Å hop within the Li
layer, and the six in-plane neighbours are one orbit (multiplicity 3 per cell, since a hop and its
reverse are the same). In olivine LiFePO4 (Pnma, 4 Li) the chain along b is ``Li:0-1:0,-1,0``: the
image tells that the copy of site 1 one cell back is meant, 3.0 Å away like the one in the cell
itself, ``Li:0-1:0,0,0``, which symmetry makes the same hop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathways.curved import CurvedPath

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

N_IMAGES = 5
"""Positions of the moving ion in a band: start, three intermediates, end (MODEL-3)."""

MECHANISMS = ("vacancy", "dilute", "interstitial", "divacancy")
"""What else of the ion's species is there while one ion moves.

``vacancy``: every other site is filled. ``dilute``: every other site is empty. ``interstitial``:
the ion goes from a filled site to one that the crystal has empty, and every other site is as the
crystal has it. ``divacancy``: one more site, named by the hop, is empty.
"""


class PathwayError(ValueError):
    """A crystal, hop or band that cannot go on. ``reason`` is a short code, ``detail`` one line."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[PathwayError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


@dataclass(frozen=True, eq=False)
class Crystal:
    """An ordered crystal with the ion's sites filled."""

    lattice: FloatArray
    """(3, 3), Å; rows are the cell vectors."""
    numbers: IntArray
    """(n,), atomic numbers."""
    frac: FloatArray
    """(n, 3), fractional coordinates."""

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, eq=False)
class Hop:
    """A symmetry orbit of moves of one ion between two sites of a symmetrised crystal."""

    ion: str
    """Element symbol."""
    start: int
    """Canonical site index i of the symmetrised crystal."""
    end: int
    """Canonical site index j."""
    image: tuple[int, int, int]
    """Periodic image of j, in cell vectors: the ion ends at ``frac[j] + image``."""
    length_a: float
    """Start to end, Å."""
    multiplicity: int
    """Members of the orbit per primitive cell, a hop and its reverse counted once."""
    clearance_a: float
    """Least distance from the chord to a framework atom (not the ion's species), Å."""
    start_frac: FloatArray
    """(3,), fractional."""
    end_frac: FloatArray
    """(3,), fractional, image included (may lie outside the cell)."""
    orbit: IntArray
    """(multiplicity, 5): i, j and image of every member, for percolation."""
    mechanism: str = "vacancy"
    """One of ``MECHANISMS``."""
    flags: tuple[str, ...] = ()
    """Short codes of doubts, such as ``low_clearance``."""
    empty_sites: tuple[int, ...] = ()
    """Of an interstitial hop: sites that are empty in every cell of the host."""
    second_vacancy: tuple[int, int, int, int] | None = None
    """Of a divacancy hop: site and periodic image, the start being in the cell 0,0,0."""

    @property
    def key(self) -> str:
        """``<ion>:<i>-<j>:<a>,<b>,<c>``, the part of the hop's id that the crystal decides.

        That is a vacancy hop's; others have their mechanism after it: ``:dilute``,
        ``:interstitial``, or ``:divacancy-<k>:<a>,<b>,<c>`` with the second vacancy's site and
        image.
        """
        a, b, c = self.image
        key = f"{self.ion}:{self.start}-{self.end}:{a},{b},{c}"
        if self.mechanism == "vacancy":
            return key
        if self.second_vacancy is None:
            return f"{key}:{self.mechanism}"
        site, a, b, c = self.second_vacancy
        return f"{key}:{self.mechanism}-{site}:{a},{b},{c}"

    def id_in(self, material_id: str) -> str:
        """The hop's id, the restart key: ``<material_id>:<key>``."""
        return f"{material_id}:{self.key}"


@dataclass(frozen=True, eq=False)
class HopNetwork:
    """All hops of one ion in one crystal, and how they were found."""

    crystal: Crystal
    """Symmetrised primitive crystal in canonical site order; hop indices refer to it.

    Every site that a hop starts or ends on is filled, those of an interstitial too."""
    ion: str
    hops: tuple[Hop, ...]
    """By mechanism, shortest first."""
    space_group: str
    """International short symbol."""
    symprec_a: float
    """Symmetry tolerance that worked, Å."""
    cutoff_a: float
    """Longest hop looked for, Å."""
    counts: dict[str, int] = field(default_factory=dict)
    """Orbits ``found``; ``composite``, ``steric`` and (through) ``vacuum`` dropped; ``cut`` by the
    limit."""


@dataclass(frozen=True, eq=False)
class Band:
    """A host supercell with the moving ion at five linearly spaced positions."""

    lattice: FloatArray
    """(3, 3), Å, of the supercell."""
    host_numbers: IntArray
    """(n,), atomic numbers of the host: every atom that does not move."""
    host_frac: FloatArray
    """(n, 3), fractional in the supercell."""
    ion_number: int
    """Atomic number of the moving ion."""
    ion_frac: FloatArray
    """(5, 3), fractional, unwrapped: consecutive images differ by a quarter of the hop vector."""
    supercell: IntArray
    """(3, 3) integer matrix: ``lattice = supercell @ primitive lattice``."""

    def __len__(self) -> int:
        return N_IMAGES + len(self.host_numbers)

    @cached_property
    def folded(self) -> Crystal:
        """MODEL-3's input: one cell whose first five atoms are the ion's images, then the host."""
        ions = np.full(N_IMAGES, self.ion_number, dtype=np.int64)
        return Crystal(
            lattice=self.lattice,
            numbers=np.concatenate([ions, self.host_numbers]),
            frac=np.concatenate([self.ion_frac, self.host_frac]),
        )

    @cached_property
    def curved(self) -> CurvedPath:
        """The way around the host's atoms (``pathways.curved``), worked out once."""
        from pathways.curved import curved_path

        return curved_path(self.folded)

    @property
    def length_a(self) -> float:
        """Length of the hop, Å."""
        return float(np.linalg.norm((self.ion_frac[-1] - self.ion_frac[0]) @ self.lattice))
