"""The smallest supercell in which a hop does not see its own image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import spglib

from pathways.neighbours import integer_box, perpendicular_widths
from pathways.types import FloatArray, IntArray, PathwayError

_WIDTH_TOLERANCE_A = 1e-6
_STRICT_MARGIN_A = 1e-3
_TIE_TOLERANCE = 1e-4
_FIRST_VECTORS = 32
_MOST_VECTORS = 64
_MOST_CELLS = 10_000


@dataclass(frozen=True)
class BandSettings:
    """How large a supercell a band is built in.

    Raises:
        ValueError: a value out of range; one line that says which.
    """

    min_width_a: float = 8.0
    """Least distance between opposite faces, Å; it must also exceed twice the hop's length."""
    max_atoms: int = 400
    """Most sites of the supercell."""
    supercell: tuple[int, ...] | None = None
    """9 integers row by row that replace the search, such as those of a published band."""

    def __post_init__(self) -> None:
        if not 0 < self.min_width_a <= 50:
            raise ValueError(f"min_width_a {self.min_width_a:g}, expected above 0 and up to 50 Å")
        if not 1 <= self.max_atoms <= _MOST_CELLS:
            raise ValueError(f"max_atoms {self.max_atoms}, expected 1 to {_MOST_CELLS}")
        if self.supercell is None:
            return
        whole = all(isinstance(entry, int) for entry in self.supercell)
        if len(self.supercell) != 9 or not whole or determinant(self.supercell) < 1:
            raise ValueError(
                f"supercell {self.supercell}, expected 9 integers of positive determinant"
            )

    def required_width_a(self, length_a: float) -> float:
        """Least perpendicular width, Å, for a hop of a length in Å."""
        return max(self.min_width_a, 2 * length_a + _STRICT_MARGIN_A)


def determinant(matrix: tuple[int, ...]) -> int:
    """Determinant of 9 integers row by row, exactly."""
    a, b, c, d, e, f, g, h, i = matrix
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def find_supercell(lattice: FloatArray, min_width_a: float, max_cells: int) -> IntArray:
    """The integer matrix of least determinant with every perpendicular width large enough.

    All three rows of such a matrix are lattice vectors at least as long as the width, and none is
    longer than volume / width^2, so short vectors taken by threes, shortest first, end the search
    with the smallest cell. At most 64 vectors and the diagonal multiples of the Niggli cell are
    looked at. Equal cells are told apart by their least width, then their shape.

    Args:
        lattice: (3, 3), Å, of the primitive cell.
        min_width_a: Å.
        max_cells: largest determinant allowed.

    Returns:
        (3, 3), so that ``matrix @ lattice`` is the supercell, right-handed where the cell is.

    Raises:
        PathwayError: ``too_many_atoms`` where no cell within ``max_cells`` is wide enough.
    """
    rows = _search(lattice.tobytes(), float(min_width_a), int(max_cells))
    return np.array(rows, dtype=np.int64).reshape(3, 3)


@lru_cache(maxsize=512)
def _search(lattice_bytes: bytes, width_a: float, max_cells: int) -> tuple[int, ...]:
    lattice = np.frombuffer(lattice_bytes).reshape(3, 3)
    cell_a3 = abs(float(np.linalg.det(lattice)))
    needed_a = width_a - _WIDTH_TOLERANCE_A
    best = _diagonal_of_reduced(lattice, needed_a)
    cells = min(_cells(best), max_cells)
    # No parallelepiped of such widths is smaller than a cube.
    if cells * cell_a3 >= needed_a**3 * (1 - 1e-9):
        count = _FIRST_VECTORS
        while True:
            vectors, complete = _vectors(lattice, needed_a, cells * cell_a3 / needed_a**2, count)
            found = _best_triple(lattice, vectors, needed_a, cells)
            if found is not None:
                best, cells = found, _cells(found)
            if complete or count >= _MOST_VECTORS:
                break
            count *= 2
    if _cells(best) > max_cells:
        raise PathwayError(
            "too_many_atoms",
            f"no supercell of up to {max_cells} primitive cells is {width_a:.2f} Å wide in every "
            "direction; raise max_atoms or lower min_width_a",
        )
    return tuple(int(entry) for entry in _right_handed(best).ravel())


def _cells(matrix: IntArray) -> int:
    return abs(determinant(tuple(matrix.ravel().tolist())))


def _right_handed(matrix: IntArray) -> IntArray:
    return matrix if determinant(tuple(matrix.ravel().tolist())) > 0 else -matrix


def _diagonal_of_reduced(lattice: FloatArray, width_a: float) -> IntArray:
    """Multiples of the Niggli cell's vectors: not the smallest supercell, but always one."""
    reduced = spglib.niggli_reduce(lattice)
    if reduced is None:
        reduced = lattice
    to_reduced = np.rint(reduced @ np.linalg.inv(lattice)).astype(np.int64)
    multiples = np.ceil(width_a / perpendicular_widths(to_reduced @ lattice)).astype(np.int64)
    return np.asarray(multiples[:, None] * to_reduced)


def _vectors(
    lattice: FloatArray, shortest_a: float, longest_a: float, count: int
) -> tuple[IntArray, bool]:
    """Lattice vectors, one of each +- pair, of lengths in a range: the ``count`` shortest of them.

    Returns:
        (m, 3) integers, shortest first, and whether that is all there are.
    """
    # Of a plate there may be millions, but the shortest ones lie in a small ball.
    cell_a3 = abs(float(np.linalg.det(lattice)))
    radius_a = min(longest_a, max(2 * shortest_a, (count * cell_a3) ** (1 / 3)))
    while True:
        box, lengths = _vectors_within(lattice, shortest_a, radius_a)
        if radius_a >= longest_a or np.sum(lengths < radius_a - 2 * _TIE_TOLERANCE) > count:
            break
        radius_a = min(2 * radius_a, longest_a)
    order = np.argsort(np.rint(lengths / _TIE_TOLERANCE), kind="stable")
    return box[order[:count]], len(order) <= count


def _vectors_within(
    lattice: FloatArray, shortest_a: float, longest_a: float
) -> tuple[IntArray, FloatArray]:
    """All lattice vectors (m, 3), one of each +- pair, of lengths (m,) in a range, Å."""
    reach = np.floor(longest_a / perpendicular_widths(lattice) + 1e-9).astype(np.int64)
    box = integer_box(reach)
    box = box[len(box) // 2 + 1 :]  # the later half in lexicographic order: one of each pair
    lengths = np.linalg.norm(box @ lattice, axis=1)
    inside = (lengths >= shortest_a) & (lengths <= longest_a + _WIDTH_TOLERANCE_A)
    return box[inside], lengths[inside]


def _best_triple(
    lattice: FloatArray, vectors: IntArray, width_a: float, max_cells: int
) -> IntArray | None:
    """The best matrix whose rows are three of the vectors, None where none is wide enough."""
    cart = vectors @ lattice  # (m, 3)
    cell_a3 = abs(float(np.linalg.det(lattice)))
    normals = np.cross(cart[:, None], cart)  # (m, m, 3)
    areas = np.linalg.norm(normals, axis=-1)
    lengths = np.linalg.norm(cart, axis=1)
    # Widths within a plane exceed those in space, and a volume is at least area times width.
    good = areas >= width_a * np.maximum(lengths[:, None], lengths)
    good &= areas <= max_cells * cell_a3 / width_a + _WIDTH_TOLERANCE_A
    first, second = np.nonzero(np.triu(good, k=1))
    volumes = np.abs(normals[first, second] @ cart.T)  # (pairs, m)
    largest = np.maximum(areas[first, second][:, None], np.maximum(areas[first], areas[second]))
    fits = (volumes >= width_a * largest) & (volumes <= (max_cells + 0.5) * cell_a3)
    fits &= np.arange(len(vectors)) > second[:, None]
    pair, third = np.nonzero(fits)
    if len(pair) == 0:
        return None
    triples = np.stack([first[pair], second[pair], third], axis=1)
    volume = volumes[pair, third]
    triples = triples[volume <= volume.min() + 0.5 * cell_a3]
    return np.asarray(vectors[triples[_most_even(cart[triples])]])


def _most_even(cells: FloatArray) -> int:
    """Of cells (m, 3, 3) of one volume, the one of greatest least width, then shortest edges."""
    remaining = np.arange(len(cells))
    least_width = perpendicular_widths(cells).min(axis=-1)
    remaining = remaining[least_width >= least_width.max() - _TIE_TOLERANCE]
    edges = np.linalg.norm(cells[remaining], axis=-1).sum(axis=-1)
    return int(remaining[edges <= edges.min() + _TIE_TOLERANCE][0])
