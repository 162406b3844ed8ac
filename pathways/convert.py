"""Between pymatgen's ``Structure`` and ``Crystal``: the only module here that knows both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pathways.elements import SYMBOLS
from pathways.types import Crystal, PathwayError

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


def crystal_from_structure(structure: Structure) -> Crystal:
    """The arrays of an ordered pymatgen structure, in its own site order.

    Raises:
        PathwayError: ``partial_occupancy`` where a site is shared or partly empty,
            ``unknown_element`` where a site holds a dummy species.
    """
    partial = [site for site in structure if not site.is_ordered]
    if partial:
        raise PathwayError(
            "partial_occupancy",
            f"{len(partial)} of {len(structure)} sites are shared or partly empty "
            f"(first: {partial[0].species_string}); order the structure first",
        )
    numbers = [site.specie.Z for site in structure]
    if not all(1 <= number < len(SYMBOLS) for number in numbers):  # a dummy's Z is a hash
        raise PathwayError(
            "unknown_element",
            f"{structure.formula} holds a species that is no element; replace or remove it",
        )
    return Crystal(
        lattice=np.array(structure.lattice.matrix, dtype=np.float64),
        numbers=np.array(numbers, dtype=np.int64),
        frac=np.array(structure.frac_coords, dtype=np.float64).reshape(-1, 3),
    )


def structure_from_crystal(crystal: Crystal) -> Structure:
    """A pymatgen structure with the crystal's sites, in the same order."""
    from pymatgen.core.structure import Structure

    symbols = [SYMBOLS[number] for number in crystal.numbers]
    return Structure(crystal.lattice, symbols, crystal.frac)
