"""Exact arithmetic on lattice vectors, against rational linear algebra and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Matrix

from pathways.lattice_vectors import (
    Span,
    Vector,
    direction_text,
    in_basis,
    plane_in_basis,
    plane_text,
    primitive,
    shortest_vectors,
)

vectors = st.tuples(*[st.integers(-3, 3)] * 3)
generators = st.lists(vectors, max_size=6)
cells = st.sampled_from(
    [
        np.eye(3),
        np.diag([4.0, 6.0, 10.0]),
        np.array([[2.0, 0, 0], [-1, math.sqrt(3), 0], [0, 0, 7]]),
        np.array([[0, 2.0, 2.0], [2.0, 0, 2.0], [2.0, 2.0, 0]]),
        np.array([[3.0, 0, 0], [2.9, 0.6, 0], [1.0, 2.0, 5.0]]),
    ]
)


def span_of(found: list[Vector]) -> Span:
    span = Span()
    for vector in found:
        span = span.with_vector(vector)
    return span


@settings(max_examples=200, deadline=None)
@given(generators, vectors)
def test_span_is_that_of_linear_algebra(found: list[Vector], extra: Vector) -> None:
    span = span_of(found)
    rank = Matrix(found).rank() if found else 0
    assert span.rank == rank == len(span.vectors())
    assert span == span_of([*reversed(found)])
    assert span_of(list(span.vectors())) == span
    inside = Matrix([*found, extra]).rank() == rank
    assert (span.with_vector(extra) == span) == inside


@settings(max_examples=100, deadline=None)
@given(generators, generators)
def test_joined_spans(one: list[Vector], other: list[Vector]) -> None:
    assert span_of(one).joined(span_of(other)) == span_of([*one, *other])


def volume_squared(rows: list[Vector]) -> int:
    """Of the lattice that independent vectors generate: the determinant of their products."""
    matrix = Matrix(rows)
    return int((matrix * matrix.T).det())


@settings(max_examples=100, deadline=None)
@given(generators, cells)
def test_shortest_vectors_are_a_basis_and_none_is_shorter(
    found: list[Vector], cell: np.ndarray
) -> None:
    basis = shortest_vectors(found, cell)
    assert len(basis) == span_of(found).rank
    if not basis:
        return
    # Generators are whole-number combinations of the basis, and no coarser lattice has them all.
    rows = np.array(basis, dtype=float)
    counts = np.array(found) @ np.linalg.pinv(rows)
    assert np.allclose(counts @ rows, found)
    assert np.allclose(counts, np.rint(counts))
    minors = [
        round(float(np.linalg.det(counts[list(chosen)])))
        for chosen in itertools.combinations(range(len(found)), len(basis))
    ]
    assert math.gcd(*minors) == 1
    # In order of length, no vector of the lattice outside the span of those before is shorter.
    lengths = np.linalg.norm(rows @ cell, axis=1)
    assert np.all(np.diff(lengths) >= -1e-6)
    for counts_ in itertools.product(range(-3, 4), repeat=len(basis)):
        vector = tuple((np.array(counts_) @ np.array(basis)).tolist())
        length = np.linalg.norm(np.array(vector) @ cell)
        for k in range(len(basis)):
            before = span_of(list(basis[:k]))
            if before.with_vector(vector) != before:
                assert length >= lengths[k] * (1 - 2e-3)


def test_names_by_hand() -> None:
    assert primitive((0, -2, 4)) == (0, 1, -2)
    assert shortest_vectors([(2, 0, 0), (3, 0, 0)]) == ((1, 0, 0),)
    assert shortest_vectors([(4, 0, 0), (0, 0, -6)]) == ((4, 0, 0), (0, 0, 6))
    assert shortest_vectors([(1, 1, 0), (1, -1, 0), (0, 0, 1)])[0] == (0, 0, 1)
    assert direction_text([(1, 0, 0), (1, -1, 0)]) == "[100],[1-10]"
    assert direction_text([(1, 12, 0)]) == "[1 12 0]"
    assert plane_text((0, 0, 1)) == "(001)"


@pytest.mark.parametrize(
    ("basis", "vector", "direction", "normal", "plane"),
    [
        ([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], (1, 0, 0), (0, 1, 1), (1, 1, 1), (1, 1, 1)),
        ([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]], (1, -1, 0), (1, 0, 0), (0, 0, 1), (0, 0, 1)),
        (
            (np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3).tolist(),
            (1, -1, 0), (1, 0, 0), (1, 1, 1), (0, 0, 1),
        ),
    ],
    ids=["F", "C", "R"],
)  # fmt: skip
def test_conventional_cells(
    basis: list[list[float]], vector: Vector, direction: Vector, normal: Vector, plane: Vector
) -> None:
    assert in_basis(vector, np.array(basis)) == direction
    assert plane_in_basis(normal, np.array(basis)) == plane
