"""The space group of a crystal, with its operations in the primitive cell that follows from it.

spglib finds the group; the operations come from its table of Hall symbols, so they are exact, and
the primitive cell follows from the centring. Axes and origin are whichever the search came upon.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import spglib

from pathways.types import Crystal, FloatArray, IntArray, PathwayError

_CELL_TOLERANCE = 1e-3

# Rows are the primitive vectors in the conventional basis, by the first letter of the symbol.
CENTRING: dict[str, FloatArray] = {
    "P": np.eye(3),
    "A": np.array([[2, 0, 0], [0, 1, -1], [0, 1, 1]]) / 2,
    "C": np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]]) / 2,
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}


@dataclass(frozen=True, eq=False)
class SpaceGroup:
    """A primitive crystal as it is, and the operations that map it onto itself but for noise."""

    crystal: Crystal
    rotations: IntArray
    """(k, 3, 3), acting on fractional coordinates: ``x -> rotation @ x + translation``."""
    translations: FloatArray
    """(k, 3), fractional."""
    symbol: str
    """International short symbol."""
    given_cell: IntArray
    """(3, 3), the input's cell vectors in terms of the primitive ones."""
    given_origin: FloatArray
    """(3,), the input's origin, fractional in the primitive cell."""


def find_space_group(crystal: Crystal, symprec_a: float) -> SpaceGroup:
    """The space group of a crystal within a tolerance.

    Args:
        crystal: in a right-handed cell.
        symprec_a: how far an atom may be from where an operation takes another, Å.

    Raises:
        PathwayError: ``symmetry_failed`` where none is found, or none that keeps the composition.
    """
    dataset = _search(crystal, symprec_a)
    centring = CENTRING[dataset.international[0]]
    rotations, translations = _operations(dataset.hall_number, dataset.international[0])
    cell, origin = _cell_and_origin(dataset, centring)
    return SpaceGroup(
        crystal=_means_of_copies(
            crystal, dataset.mapping_to_primitive.astype(np.int64), cell, origin
        ),
        rotations=rotations,
        translations=translations,
        symbol=dataset.international,
        given_cell=cell,
        given_origin=origin,
    )


def _search(crystal: Crystal, symprec_a: float) -> spglib.SpglibDataset:
    cell: Any = (crystal.lattice, crystal.frac, crystal.numbers)  # spglib's types name lists only
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=symprec_a)
    except spglib.SpglibError as error:
        raise PathwayError("symmetry_failed", f"spglib: {error}") from None
    if dataset is None:
        raise PathwayError("symmetry_failed", f"spglib finds no space group at {symprec_a:g} Å")
    return dataset


def _cell_and_origin(
    dataset: spglib.SpglibDataset, centring: FloatArray
) -> tuple[IntArray, FloatArray]:
    """The given cell in terms of the primitive one of spglib's axes, and its origin there."""
    to_primitive = np.linalg.inv(centring)
    cell = dataset.transformation_matrix.T @ to_primitive
    whole = np.rint(cell).astype(np.int64)
    if np.abs(cell - whole).max() > _CELL_TOLERANCE:
        raise PathwayError("symmetry_failed", "the cell is no whole number of primitive ones")
    return whole, dataset.origin_shift @ to_primitive


def _means_of_copies(
    crystal: Crystal, copy_of: IntArray, cell: IntArray, origin: FloatArray
) -> Crystal:
    """The primitive crystal, each site the mean of its copies, whichever the input has first.

    The input must be a whole number of primitive cells, in composition too.
    """
    _, first, site = np.unique(copy_of, return_index=True, return_inverse=True)
    copies = round(np.linalg.det(cell))
    same = crystal.numbers == crystal.numbers[first][site]
    if not same.all() or np.any(np.bincount(site) != copies):
        raise PathwayError(
            "symmetry_failed",
            f"a primitive cell of {len(first)} sites does not make up {len(crystal)} sites",
        )
    frac = crystal.frac @ cell + origin
    gap = frac - frac[first][site]
    means = frac[first]
    np.add.at(means, site, (gap - np.rint(gap)) / copies)
    return Crystal(np.linalg.inv(cell) @ crystal.lattice, crystal.numbers[first], means)


@lru_cache(maxsize=512)
def _operations(hall_number: int, letter: str) -> tuple[IntArray, FloatArray]:
    """Tabulated operations in the primitive basis, one for each rotation, in a fixed order."""
    operations = spglib.get_symmetry_from_database(hall_number)
    if operations is None:
        raise PathwayError("symmetry_failed", f"spglib has no Hall number {hall_number}")
    to_conventional = CENTRING[letter].T
    to_primitive = np.linalg.inv(to_conventional)
    rotations = np.rint(to_primitive @ operations["rotations"] @ to_conventional).astype(np.int64)
    translations = operations["translations"] @ to_primitive.T
    _, first = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    rotations, translations = rotations[first], translations[first]
    translations -= np.floor(translations + 1e-9)
    for shared in (rotations, translations):
        shared.flags.writeable = False
    return rotations, translations
