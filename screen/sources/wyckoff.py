"""From crystallographic facts to a crystal: space group, cell and Wyckoff positions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from pathways.elements import atomic_number
from pathways.types import Crystal, FloatArray

Site = tuple[str, str, float, float, float]
"""Element, Wyckoff position such as ``16d``, and x, y, z in the conventional cell."""

SAME_POSITION = 1e-3
"""Fractional coordinates closer than this are one position: far above the rounding of tabulated
coordinates, far below any distance between atoms."""

_PRIMITIVE_VECTORS: dict[str, list[list[float]]] = {
    "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "A": [[1, 0, 0], [0, 1 / 2, -1 / 2], [0, 1 / 2, 1 / 2]],
    "C": [[1 / 2, 1 / 2, 0], [-1 / 2, 1 / 2, 0], [0, 0, 1]],
    "I": [[-1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [1 / 2, 1 / 2, -1 / 2]],
    "F": [[0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0]],
    "R": [[2 / 3, 1 / 3, 1 / 3], [-1 / 3, 1 / 3, 1 / 3], [-1 / 3, -2 / 3, 1 / 3]],
}
"""Rows: primitive vectors in units of the conventional ones, by centring (R: hexagonal axes)."""


def lattice_from_cell(cell: Sequence[float]) -> FloatArray:
    """Cell vectors as rows, a along x and b in the xy plane.

    Args:
        cell: a, b, c in Å and alpha, beta, gamma in degrees.

    Returns:
        (3, 3), Å.
    """
    a, b, c = cell[:3]
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians(cell[3:6]))
    sin_gamma = np.sqrt(1 - cos_gamma**2)
    c_y = (cos_alpha - cos_beta * cos_gamma) / sin_gamma
    c_z = np.sqrt(1 - cos_beta**2 - c_y**2)
    rows = [[a, 0, 0], [b * cos_gamma, b * sin_gamma, 0], [c * cos_beta, c * c_y, c * c_z]]
    return np.array(rows, dtype=np.float64)


def crystal_from_wyckoff(
    cell: Sequence[float], sites: Sequence[Site], centring: str, hall_number: int
) -> Crystal:
    """The primitive crystal of a conventional cell and its asymmetric unit.

    Args:
        cell: a, b, c in Å and alpha, beta, gamma in degrees of the conventional cell.
        sites: The asymmetric unit.
        centring: First letter of the space group symbol.
        hall_number: The setting of the space group in spglib's list, 1 to 530.

    Raises:
        ValueError: A site has another multiplicity than its Wyckoff position says, or there is no
            such setting.
    """
    vectors = np.array(_PRIMITIVE_VECTORS[centring])
    n_centred = round(1 / np.linalg.det(vectors))
    numbers: list[int] = []
    orbits: list[FloatArray] = []
    for element, position, *xyz in sites:
        orbit = _orbit(np.array(xyz), vectors, hall_number)
        if f"{len(orbit) * n_centred}" != position[:-1]:
            raise ValueError(
                f"{element} at {xyz} has multiplicity {len(orbit) * n_centred}, "
                f"expected {position}: correct the coordinates or the Wyckoff position"
            )
        orbits.append(orbit)
        numbers += [atomic_number(element)] * len(orbit)
    return Crystal(
        lattice=vectors @ lattice_from_cell(cell),
        numbers=np.array(numbers, dtype=np.int64),
        frac=np.concatenate(orbits),
    )


@cache
def _operations(hall_number: int) -> tuple[npt.NDArray[np.float64], FloatArray]:
    """One operation per rotation: (m, 3, 3) and (m, 3); centring translations are left out."""
    import spglib

    database = spglib.get_symmetry_from_database(hall_number)
    if database is None:
        raise ValueError(f"hall_number is {hall_number}, expected 1 to 530")
    rotations, translations = database["rotations"], database["translations"]
    _, first = np.unique(rotations.reshape(len(rotations), 9), axis=0, return_index=True)
    return rotations[first].astype(np.float64), translations[first]


def _orbit(position: FloatArray, vectors: FloatArray, hall_number: int) -> FloatArray:
    """All positions equivalent to one, in primitive fractional coordinates.

    Args:
        position: (3,), conventional coordinates, perhaps rounded.
        vectors: (3, 3), primitive vectors in units of the conventional ones.
        hall_number: The setting of the space group.

    Returns:
        (m, 3), in [0, 1).
    """
    rotations, translations = _operations(hall_number)
    to_primitive = np.linalg.inv(vectors)

    # Averaging over the operations that keep the position puts it exactly on its special position.
    images = (rotations @ position + translations) @ to_primitive
    offsets = images - position @ to_primitive
    offsets -= np.rint(offsets)
    keeping = (np.abs(offsets) < SAME_POSITION).all(axis=1)
    exact = position + offsets[keeping].mean(axis=0) @ vectors

    images = (rotations @ exact + translations) @ to_primitive
    differences = images[:, None] - images[None, :]  # (m, m, 3)
    differences -= np.rint(differences)
    same = (np.abs(differences) < SAME_POSITION).all(axis=2)
    first_of_kind = same.argmax(axis=1) == np.arange(len(images))
    wrapped = images[first_of_kind] % 1.0
    wrapped[wrapped > 1 - 1e-12] = 0.0
    return np.asarray(wrapped, dtype=np.float64)
