"""A crystal reduced to its primitive cell, in an order and setting that its symmetry decides.

spglib finds the space group and the idealised conventional cell; the operations come from its
table of Hall symbols, so they are exact, and the primitive cell follows from the centring. What
this costs is one search per crystal, which is most of the time that enumerating hops takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib

from pathways.checks import check_distances
from pathways.neighbours import tolerance_rank
from pathways.types import Crystal, FloatArray, IntArray, PathwayError

SYMPREC_A = (0.1, 0.01)
"""Tolerances tried in turn: the loose one sees the symmetry that relaxed structures have lost."""
_MAP_TOLERANCE_A = 0.05
_ORDER_TOLERANCE = 1e-4
_VOLUME_TOLERANCE = 0.02

# Rows are the primitive vectors in the conventional basis, by the first letter of the symbol.
_CENTRING: dict[str, FloatArray] = {
    "P": np.eye(3),
    "A": np.array([[2, 0, 0], [0, 1, -1], [0, 1, 1]]) / 2,
    "C": np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]]) / 2,
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}


@dataclass(frozen=True, eq=False)
class SymmetrisedCrystal:
    """A primitive crystal with the operations that map it onto itself."""

    crystal: Crystal
    """Primitive, idealised, in canonical site order."""
    rotations: IntArray
    """(k, 3, 3), acting on fractional coordinates: ``x -> rotation @ x + translation``."""
    translations: FloatArray
    """(k, 3), fractional."""
    space_group: str
    """International short symbol."""
    symprec_a: float
    """Tolerance that worked, Å."""


def symmetrise(crystal: Crystal, symprec_a: tuple[float, ...] = SYMPREC_A) -> SymmetrisedCrystal:
    """The crystal's primitive, idealised cell and its symmetry operations.

    Sites are sorted by atomic number, then by wrapped fractional coordinates of the standardised
    cell, so that the order does not depend on the input's wherever symmetry fixes the origin.

    Args:
        crystal: a crystal that has passed ``check_crystal``.
        symprec_a: tolerances in Å, tried in turn until one keeps every site and the composition.

    Raises:
        PathwayError: ``symmetry_failed`` where none does.
    """
    trouble = "no tolerance given"
    for tolerance in symprec_a:
        try:
            return _symmetrise_at(crystal, tolerance)
        except PathwayError as error:
            trouble = error.detail
    raise PathwayError(
        "symmetry_failed",
        f"no consistent symmetry at {', '.join(f'{s:g}' for s in symprec_a)} Å "
        f"(last: {trouble}); check the structure for distorted or duplicate sites",
    )


def site_permutations(
    symmetrised: SymmetrisedCrystal, sites: IntArray
) -> tuple[IntArray, IntArray]:
    """Where every operation takes a set of sites that it maps onto itself.

    Args:
        symmetrised: crystal and operations.
        sites: (m,), site indices, such as all sites of one element.

    Returns:
        ``target`` (k, m), positions within ``sites``, and ``shift`` (k, m, 3), so that operation k
        takes site m to ``frac[sites[target]] + shift``.

    Raises:
        PathwayError: ``symmetry_failed`` where an operation takes a site to no site.
    """
    frac = symmetrised.crystal.frac[sites]
    moved = frac @ symmetrised.rotations.transpose(0, 2, 1) + symmetrised.translations[:, None, :]
    gap = moved[:, :, None, :] - frac  # (k, m, m, 3)
    squares = np.square((gap - np.rint(gap)) @ symmetrised.crystal.lattice).sum(axis=-1)
    target = squares.argmin(axis=-1)
    off_a = float(np.sqrt(np.take_along_axis(squares, target[..., None], axis=-1).max()))
    if off_a > _MAP_TOLERANCE_A or np.any(np.sort(target, axis=1) != np.arange(len(sites))):
        raise PathwayError(
            "symmetry_failed",
            f"an operation of {symmetrised.space_group} leaves a site {off_a:.3f} Å from any other",
        )
    return target, np.rint(moved - frac[target]).astype(np.int64)


def _symmetrise_at(crystal: Crystal, symprec_a: float) -> SymmetrisedCrystal:
    dataset = _search(crystal, symprec_a)
    centring = _CENTRING[dataset.international[0]]
    lattice = np.ascontiguousarray(centring @ dataset.std_lattice)
    primitive = _primitive_sites(
        lattice,
        np.asarray(dataset.std_types, dtype=np.int64),
        dataset.std_positions @ np.linalg.inv(centring),
        np.asarray(dataset.std_mapping_to_primitive),
    )
    _check_same_chemistry(crystal, primitive)
    check_distances(primitive)
    rotations, translations = _operations(dataset.hall_number, centring)
    return SymmetrisedCrystal(
        crystal=primitive,
        rotations=rotations,
        translations=translations,
        space_group=dataset.international,
        symprec_a=symprec_a,
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


def _primitive_sites(
    lattice: FloatArray, numbers: IntArray, frac: FloatArray, copy_of: IntArray
) -> Crystal:
    """One site of each set of centring copies, in canonical order, wrapped into the cell."""
    _, first = np.unique(copy_of, return_index=True)
    numbers, frac = numbers[first], frac[first]
    frac = frac - np.floor(frac + _ORDER_TOLERANCE)  # in [-tolerance, 1 - tolerance)
    ranks = [tolerance_rank(frac[:, axis], _ORDER_TOLERANCE) for axis in (2, 1, 0)]
    order = np.lexsort([*ranks, numbers])
    return Crystal(lattice=lattice, numbers=numbers[order], frac=frac[order])


def _check_same_chemistry(crystal: Crystal, primitive: Crystal) -> None:
    """The input must be a whole number of primitive cells, in composition and in volume."""
    copies, remainder = divmod(len(crystal), len(primitive))
    repeated = np.sort(np.tile(primitive.numbers, copies))
    if remainder or not np.array_equal(repeated, np.sort(crystal.numbers)):
        raise PathwayError(
            "symmetry_failed",
            f"a primitive cell of {len(primitive)} sites does not make up {len(crystal)} sites",
        )
    ratio = abs(np.linalg.det(crystal.lattice) / np.linalg.det(primitive.lattice)) / copies
    if abs(ratio - 1) > _VOLUME_TOLERANCE:
        raise PathwayError("symmetry_failed", f"idealising changes the volume by {ratio - 1:+.1%}")


def _operations(hall_number: int, centring: FloatArray) -> tuple[IntArray, FloatArray]:
    """Tabulated operations in the primitive basis, one for each rotation, in a fixed order."""
    operations = spglib.get_symmetry_from_database(hall_number)
    if operations is None:
        raise PathwayError("symmetry_failed", f"spglib has no Hall number {hall_number}")
    to_primitive, to_conventional = np.linalg.inv(centring.T), centring.T
    rotations = np.rint(to_primitive @ operations["rotations"] @ to_conventional).astype(np.int64)
    translations = operations["translations"] @ to_primitive.T
    _, first = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    return rotations[first], translations[first] - np.floor(translations[first] + 1e-9)
