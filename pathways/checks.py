"""What a crystal must be before anything is computed from it: one reason code per refusal."""

from __future__ import annotations

import numpy as np

from pathways.elements import SYMBOLS, atomic_number
from pathways.neighbours import closest_pair_a
from pathways.types import Crystal, PathwayError

MIN_DISTANCE_A = 0.5
"""Atoms closer than this overlap: no bond is shorter than 0.74 Å (H2)."""
MIN_CELL_FLATNESS = 1e-3
"""Least volume of a cell relative to a box with the same edges."""
MAX_EDGE_A = 1000.0


def check_crystal(crystal: Crystal, ion: str, max_sites: int = 200) -> None:
    """Refuse a crystal that hops cannot be enumerated in.

    Args:
        crystal: any crystal, trusted in nothing.
        ion: element symbol of the mobile ion.
        max_sites: largest number of sites worth the time.

    Raises:
        PathwayError: ``bad_shape``, ``non_finite``, ``singular_cell``, ``too_many_sites``,
            ``no_mobile_ion`` or ``overlapping_atoms``.
    """
    check_cell(crystal)
    if len(crystal) > max_sites:
        raise PathwayError(
            "too_many_sites",
            f"{len(crystal)} sites, expected at most {max_sites}; raise max_sites to allow it",
        )
    if not np.any(crystal.numbers == ion_number(ion)):
        present = ", ".join(SYMBOLS[number] for number in np.unique(crystal.numbers))
        raise PathwayError(
            "no_mobile_ion", f"no {ion} among {present}; choose an ion that the crystal holds"
        )
    check_distances(crystal)


def check_cell(crystal: Crystal) -> None:
    """Refuse arrays and cells in which no distance can be computed.

    Raises:
        PathwayError: ``bad_shape``, ``non_finite`` or ``singular_cell``.
    """
    _check_arrays(crystal)
    _check_cell(crystal)


def ion_number(ion: str) -> int:
    """Atomic number of the ion.

    Raises:
        PathwayError: ``no_mobile_ion`` where the symbol is no element.
    """
    try:
        return atomic_number(ion)
    except ValueError as error:
        raise PathwayError("no_mobile_ion", str(error)) from None


def check_distances(crystal: Crystal) -> None:
    """Refuse overlapping atoms.

    Raises:
        PathwayError: ``overlapping_atoms``.
    """
    closest_a = closest_pair_a(crystal.lattice, crystal.frac, MIN_DISTANCE_A)
    if closest_a < MIN_DISTANCE_A:
        raise PathwayError(
            "overlapping_atoms",
            f"two atoms {closest_a:.3f} Å apart, expected at least {MIN_DISTANCE_A:g} Å; "
            "remove the duplicate or resolve the split site",
        )


def _check_arrays(crystal: Crystal) -> None:
    lattice, numbers, frac = crystal.lattice, crystal.numbers, crystal.frac
    shapes = np.shape(lattice), np.shape(numbers), np.shape(frac)
    n = len(numbers) if np.ndim(numbers) else 0
    if n == 0 or shapes != ((3, 3), (n,), (n, 3)):
        raise PathwayError(
            "bad_shape",
            f"lattice, numbers and frac of shapes {shapes[0]}, {shapes[1]}, {shapes[2]}, "
            "expected (3, 3), (n,), (n, 3) with n of 1 or more",
        )
    if not (np.isfinite(lattice).all() and np.isfinite(frac).all()):
        raise PathwayError(
            "non_finite", "a cell vector or coordinate is nan or infinite; correct the input"
        )
    if numbers.min() < 1 or numbers.max() >= len(SYMBOLS):
        raise PathwayError(
            "unknown_element",
            f"atomic numbers from {numbers.min()} to {numbers.max()}, "
            f"expected 1 to {len(SYMBOLS) - 1}",
        )


def _check_cell(crystal: Crystal) -> None:
    edges = np.linalg.norm(crystal.lattice, axis=1)
    volume = abs(float(np.linalg.det(crystal.lattice)))
    if edges.min() < MIN_DISTANCE_A or volume < MIN_CELL_FLATNESS * float(edges.prod()):
        raise PathwayError(
            "singular_cell",
            f"cell of edges {edges.round(3).tolist()} Å and volume {volume:.3g} Å^3, "
            "expected three independent vectors; correct the cell",
        )
    if edges.max() > MAX_EDGE_A:
        raise PathwayError(
            "singular_cell",
            f"cell edge of {edges.max():.3g} Å, expected at most {MAX_EDGE_A:g} Å; "
            "is the structure a molecule in a vacuum box?",
        )
