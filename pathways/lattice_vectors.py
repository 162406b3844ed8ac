"""Exact arithmetic on lattice vectors: what they span, the shortest of them, and their names."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from pathways.neighbours import tolerance_rank
from pathways.types import FloatArray

Vector = tuple[int, int, int]
ORIGIN: Vector = (0, 0, 0)

_LENGTH_TOLERANCE = 1e-3
_COEFFICIENTS = range(-2, 3)


def add(u: Vector, v: Vector) -> Vector:
    """Sum."""
    return u[0] + v[0], u[1] + v[1], u[2] + v[2]


def subtract(u: Vector, v: Vector) -> Vector:
    """Difference."""
    return u[0] - v[0], u[1] - v[1], u[2] - v[2]


def dot(u: Vector, v: Vector) -> int:
    """Sum of products of components."""
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def cross(u: Vector, v: Vector) -> Vector:
    """Vector product of components: of two lattice vectors, the indices of their plane."""
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


def primitive(vector: Vector) -> Vector:
    """The shortest integer vector of the same line, its first component that is not 0 positive."""
    divisor = math.gcd(*vector)
    if divisor == 0:
        return vector
    if next(n for n in vector if n) < 0:
        divisor = -divisor
    return vector[0] // divisor, vector[1] // divisor, vector[2] // divisor


class Span(NamedTuple):
    """The line, plane or space that lattice vectors span; equal where the spans are."""

    rank: int = 0
    """0-3."""
    indices: Vector = ORIGIN
    """Of a line its primitive vector, of a plane its primitive normal; else 0."""

    def with_vector(self, vector: Vector) -> Span:
        """The span of this and one more vector."""
        if self.rank == 3 or vector == ORIGIN:
            return self
        if self.rank == 0:
            return Span(1, primitive(vector))
        if self.rank == 1:
            normal = cross(self.indices, vector)
            return self if normal == ORIGIN else Span(2, primitive(normal))
        return self if dot(self.indices, vector) == 0 else Span(3)

    def joined(self, other: Span) -> Span:
        """The span of this and another."""
        large, small = (self, other) if self.rank >= other.rank else (other, self)
        for vector in small.vectors():
            large = large.with_vector(vector)
        return large

    def vectors(self) -> tuple[Vector, ...]:
        """As many integer vectors as the rank that span the same (not a basis of the lattice)."""
        if self.rank < 2:
            return (self.indices,) * self.rank
        units: tuple[Vector, ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
        if self.rank == 3:
            return units
        inside = next(v for v in (cross(self.indices, unit) for unit in units) if v != ORIGIN)
        return inside, cross(self.indices, inside)


def shortest_vectors(
    generators: Iterable[Vector], lattice: FloatArray | None = None
) -> tuple[Vector, ...]:
    """The shortest independent vectors of the lattice that integer vectors generate.

    Args:
        generators: any number of vectors, dependent ones included.
        lattice: (3, 3), Å, whose rows the integers count; of a cube where None.

    Returns:
        As many vectors as the rank, shortest first, the first component that is not 0 positive.
        Among those of one length, the one of least sum of components is taken, then the first in
        descending order: [100] before [010] before [1-10].
    """
    cell: FloatArray = np.eye(3) if lattice is None else lattice
    basis = _reduced(_basis(generators), cell @ cell.T)
    if not basis:
        return ()
    counts = np.array(list(itertools.product(_COEFFICIENTS, repeat=len(basis))))
    near = {_positive((u, v, w)) for u, v, w in (counts @ np.array(basis)).tolist()} - {ORIGIN}
    candidates = sorted(near, reverse=True)
    length_a = np.linalg.norm(np.array(candidates) @ cell, axis=1)
    rank = tolerance_rank(length_a, _LENGTH_TOLERANCE * float(length_a.min())).tolist()
    size = [sum(map(abs, vector)) for vector in candidates]
    span, found = Span(), []
    for _, _, k in sorted(zip(rank, size, range(len(candidates)), strict=True)):
        wider = span.with_vector(candidates[k])
        if wider.rank > span.rank:
            span = wider
            found.append(candidates[k])
    return tuple(found)


def in_basis(vector: Vector, basis: FloatArray) -> Vector:
    """The primitive integer vector along a lattice vector, in another basis.

    Args:
        vector: in the basis of the lattice's cell.
        basis: (3, 3), rows are that cell's vectors in the new basis, as fractions with small
            denominators.
    """
    turned = [Fraction(float(x)).limit_denominator(12) for x in np.array(vector) @ basis]
    scale = math.lcm(*(x.denominator for x in turned))
    u, v, w = (int(x * scale) for x in turned)
    return primitive((u, v, w))


def plane_in_basis(normal: Vector, basis: FloatArray) -> Vector:
    """The primitive indices of a plane in another basis; ``basis`` as in ``in_basis``."""
    return in_basis(normal, np.asarray(np.linalg.inv(basis).T, dtype=np.float64))


def direction_text(vectors: Sequence[Vector]) -> str:
    """Such as ``[010]`` or ``[100],[1-10]``: in one order, whichever the vectors come in."""
    ordered = sorted(vectors, key=lambda vector: (sum(map(abs, vector)), vector))
    return ",".join(f"[{_indices(vector)}]" for vector in ordered)


def plane_text(normal: Vector) -> str:
    """Such as ``(001)``."""
    return f"({_indices(normal)})"


def _indices(vector: Vector) -> str:
    return ("" if max(map(abs, vector)) < 10 else " ").join(map(str, vector))


def _positive(vector: Vector) -> Vector:
    return max(vector, (-vector[0], -vector[1], -vector[2]))


def _basis(generators: Iterable[Vector]) -> list[Vector]:
    """A basis in echelon form, by Euclid's algorithm on one column after the other."""
    rows = [vector for vector in set(generators) if vector != ORIGIN]
    basis = []
    for column in range(3):
        while len(active := [row for row in rows if row[column]]) > 1:
            pivot = min(active, key=lambda row: (abs(row[column]), row))
            rows = [
                row if row is pivot else _less(row, pivot, row[column] // pivot[column])
                for row in rows
            ]
            rows = [row for row in rows if row != ORIGIN]
        if active:
            basis.append(active[0])
            rows.remove(active[0])
    return basis


def _reduced(basis: list[Vector], metric: FloatArray) -> list[Vector]:
    """The basis with every vector as short as whole numbers of the shorter ones can make it."""

    def squared(vector: Vector) -> float:
        return float(np.array(vector) @ metric @ vector)

    basis = list(basis)
    while True:
        basis.sort(key=lambda vector: (squared(vector), vector))
        for k in range(len(basis) - 1, 0, -1):
            shorter = min(
                (
                    _combined(basis[k], basis[:k], counts)
                    for counts in _nearest(basis[k], basis[:k], metric)
                ),
                key=squared,
            )
            if squared(shorter) < squared(basis[k]) * (1 - 1e-9):
                basis[k] = shorter
                break
        else:
            return basis


def _nearest(
    vector: Vector, basis: Sequence[Vector], metric: FloatArray
) -> Iterable[tuple[int, ...]]:
    """Whole numbers around the point of the basis' span that is nearest to a vector."""
    rows = np.array(basis)
    exact = np.linalg.solve(rows @ metric @ rows.T, rows @ metric @ np.array(vector))
    return itertools.product(*((math.floor(x), math.floor(x) + 1) for x in exact))


def _combined(vector: Vector, basis: Sequence[Vector], counts: Sequence[int]) -> Vector:
    for other, count in zip(basis, counts, strict=True):
        vector = _less(vector, other, count)
    return vector


def _less(vector: Vector, other: Vector, count: int) -> Vector:
    return (
        vector[0] - count * other[0],
        vector[1] - count * other[1],
        vector[2] - count * other[2],
    )
