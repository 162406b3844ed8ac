"""Small known crystals by formula, for tests that need real hosts and not many atoms.

Textbook space groups, cells and coordinates; the hosts whose hops and bands are known in detail are
in ``tests.pathways.crystals``.
"""

from __future__ import annotations

import functools

from pymatgen.core import Lattice, Structure

from pathways.convert import crystal_from_structure
from pathways.types import Crystal

FACTS: dict[str, tuple[str, Lattice, list[str], list[list[float]]]] = {
    "LiCoO2": (
        "R-3m",
        Lattice.hexagonal(2.816, 14.054),
        ["Li", "Co", "O"],
        [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.2605]],
    ),
    "LiTiS2": (
        "P-3m1",
        Lattice.hexagonal(3.455, 6.195),
        ["Li", "Ti", "S"],
        [[0, 0, 0.5], [0, 0, 0], [1 / 3, 2 / 3, 0.2355]],
    ),
    "MgAl2O4": (
        "Fd-3m:2",
        Lattice.cubic(8.08),
        ["Mg", "Al", "O"],
        [[0.125] * 3, [0.5] * 3, [0.2624] * 3],
    ),
    "MgMn2O4": (
        "Fd-3m",
        Lattice.cubic(8.45),
        ["Mg", "Mn", "O"],
        [[0, 0, 0], [0.625] * 3, [0.3875] * 3],
    ),
    "LiFePO4": (
        "Pnma",
        Lattice.orthorhombic(10.332, 6.010, 4.692),
        ["Li", "Fe", "P", "O", "O", "O"],
        [
            [0, 0, 0],
            [0.2822, 0.25, 0.9747],
            [0.0949, 0.25, 0.4182],
            [0.0968, 0.25, 0.7428],
            [0.4571, 0.25, 0.2060],
            [0.1656, 0.0465, 0.2848],
        ],
    ),
    "MgO": ("Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [[0.0] * 3, [0.5] * 3]),
    "NaCl": ("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0.0] * 3, [0.5] * 3]),
    "CaF2": ("Fm-3m", Lattice.cubic(5.463), ["Ca", "F"], [[0.0] * 3, [0.25] * 3]),
}
"""Space group, cell, elements and their first sites."""


@functools.cache
def crystal_of(name: str) -> Crystal:
    """One of ``FACTS`` as a crystal."""
    return crystal_from_structure(Structure.from_spacegroup(*FACTS[name]))
