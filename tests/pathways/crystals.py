"""Small real crystals as space group, cell and Wyckoff positions, with the ion's sites filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from pathways.convert import crystal_from_structure
from pathways.types import Crystal, IntArray

Site = tuple[str, tuple[float, float, float]]


@dataclass(frozen=True, eq=False)
class Known:
    """A crystal with what is known of its ion's paths."""

    ion: str
    space_group: str
    lattice: Lattice
    sites: tuple[Site, ...]
    reach_a: float = 5.5
    """A length that takes in several hops, Å."""

    @cached_property  # pymatgen takes its time over a cubic space group
    def structure(self) -> Structure:
        species, coords = zip(*self.sites, strict=True)
        return Structure.from_spacegroup(self.space_group, self.lattice, species, coords)

    def crystal(self) -> Crystal:
        return crystal_from_structure(self.structure)


_hexagonal, _orthorhombic, _cubic, _tetragonal = (
    Lattice.hexagonal,
    Lattice.orthorhombic,
    Lattice.cubic,
    Lattice.tetragonal,
)

KNOWN: dict[str, Known] = {
    "MgMn2O4 spinel": Known(
        "Mg", "Fd-3m", _cubic(8.45),
        (("Mg", (0, 0, 0)), ("Mn", (0.625, 0.625, 0.625)), ("O", (0.3875, 0.3875, 0.3875))),
    ),
    "MgTi2S4 spinel": Known(
        "Mg", "Fd-3m", _cubic(10.09),
        (("Mg", (0, 0, 0)), ("Ti", (0.625, 0.625, 0.625)), ("S", (0.3832, 0.3832, 0.3832))),
    ),
    "LiFePO4 olivine": Known(
        "Li", "Pnma", _orthorhombic(10.332, 6.010, 4.692),
        (
            ("Li", (0, 0, 0)), ("Fe", (0.2822, 0.25, 0.9747)), ("P", (0.0948, 0.25, 0.4183)),
            ("O", (0.0968, 0.25, 0.7428)), ("O", (0.4571, 0.25, 0.2060)),
            ("O", (0.1656, 0.0465, 0.2848)),
        ),
    ),
    "LiCoO2 layered": Known(
        "Li", "R-3m", _hexagonal(2.816, 14.054),
        (("Li", (0, 0, 0.5)), ("Co", (0, 0, 0)), ("O", (0, 0, 0.2605))),
    ),
    "LiTiS2 layered": Known(
        "Li", "P-3m1", _hexagonal(3.455, 6.195),
        (("Li", (0, 0, 0.5)), ("Ti", (0, 0, 0)), ("S", (1 / 3, 2 / 3, 0.2355))),
    ),
    "NaZr2P3O12 NASICON": Known(
        "Na", "R-3c", _hexagonal(8.804, 22.759),
        (
            ("Na", (0, 0, 0)), ("Zr", (0, 0, 0.1456)), ("P", (0.2909, 0, 0.25)),
            ("O", (0.1855, 0.9855, 0.1954)), ("O", (0.1914, 0.1681, 0.0866)),
        ),
        reach_a=7.0,
    ),
    "MgMo6S8 Chevrel": Known(
        "Mg", "R-3", _hexagonal(9.460, 10.628),
        (
            ("Mg", (0, 0, 0)), ("Mo", (-0.1740, -0.1603, 0.4008)),
            ("S", (-0.2912, -0.3238, 0.4182)), ("S", (0, 0, 0.2560)),
        ),
        reach_a=7.0,
    ),
    "LiRuO2 rutile-type": Known(
        "Li", "Pnnm", _orthorhombic(5.062, 4.968, 2.771),
        (("Li", (0, 0.5, 0)), ("Ru", (0, 0, 0)), ("O", (0.254, 0.331, 0))),
    ),
    "LiVO2 anatase-type": Known(
        "Li", "I4_1/amd", _tetragonal(4.04, 8.65),
        (("Li", (0, 0, 0.5)), ("V", (0, 0, 0)), ("O", (0, 0, 0.215))),
    ),
    "CaTiO3 perovskite": Known(
        "Ca", "Pnma", _orthorhombic(5.442, 7.640, 5.380),
        (
            ("Ca", (0.0360, 0.25, 0.9930)), ("Ti", (0, 0, 0.5)),
            ("O", (0.4840, 0.25, 0.0710)), ("O", (0.2890, 0.0370, 0.7110)),
        ),
    ),
    "MgSc2Se4 spinel": Known(
        "Mg", "Fd-3m", _cubic(11.13),
        (("Mg", (0, 0, 0)), ("Sc", (0.625, 0.625, 0.625)), ("Se", (0.3830, 0.3830, 0.3830))),
    ),
    "LiMnBO3 monoclinic": Known(
        "Li", "C2/c", Lattice.monoclinic(5.192, 8.969, 10.367, 91.76),
        (
            ("Li", (0.6620, 0.4980, 0.1710)), ("Mn", (0.1610, 0.3340, 0.1240)),
            ("B", (0.1680, 0.1660, 0.3750)), ("O", (0.4040, 0.1640, 0.0930)),
            ("O", (0.7770, 0.3030, 0.1580)), ("O", (0.3120, 0.0390, 0.3760)),
        ),
    ),
}  # fmt: skip
"""Twelve crystals over the cubic, hexagonal, rhombohedral, tetragonal, orthorhombic and monoclinic
systems, with P, C, F, I and R centring."""

Change = Callable[[Crystal, np.random.Generator], Crystal]


def rotated(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    axes[0] *= np.sign(np.linalg.det(axes))
    return Crystal(crystal.lattice @ axes, crystal.numbers, crystal.frac)


def shifted(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    return Crystal(crystal.lattice, crystal.numbers, crystal.frac + rng.uniform(-1, 1, 3))


def shuffled(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    order = rng.permutation(len(crystal))
    return Crystal(crystal.lattice, crystal.numbers[order], crystal.frac[order])


def repeated(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    axis = int(rng.integers(3))
    times = np.ones(3, dtype=np.int64)
    times[axis] = 2
    step = np.eye(3)[axis] / 2
    frac = crystal.frac / times
    return Crystal(
        crystal.lattice * times[:, None],
        np.concatenate([crystal.numbers, crystal.numbers]),
        np.concatenate([frac, frac + step]),
    )


def resheared(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    matrix = shear(rng)
    return Crystal(matrix @ crystal.lattice, crystal.numbers, crystal.frac @ np.linalg.inv(matrix))


def shear(rng: np.random.Generator) -> IntArray:
    """An integer matrix of determinant 1: another cell of the same lattice."""
    lower = np.tril(rng.integers(-1, 2, size=(3, 3)), k=-1) + np.eye(3, dtype=np.int64)
    upper = np.triu(rng.integers(-1, 2, size=(3, 3)), k=1) + np.eye(3, dtype=np.int64)
    return np.asarray(lower @ upper, dtype=np.int64)


CHANGES: dict[str, Change] = {
    "rotated": rotated,
    "shifted": shifted,
    "shuffled": shuffled,
    "repeated": repeated,
    "resheared": resheared,
}
