import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathways.neighbours import integer_box, perpendicular_widths
from pathways.supercell import BandSettings, find_supercell
from pathways.symmetry import symmetrise
from pathways.types import FloatArray, PathwayError
from tests.pathways.crystals import KNOWN, shear


def least_cells_by_brute_force(lattice: FloatArray, width_a: float, most: int) -> int:
    """Least determinant over all triples of short vectors, without any pruning but length."""
    vectors = integer_box(np.array([3, 3, 3]))
    lengths = np.linalg.norm(vectors @ lattice, axis=1)
    vectors = vectors[(lengths >= width_a - 1e-9) & (lengths < 1.5 * width_a)]
    vectors = vectors[len(vectors) // 2 :]
    triples = np.array(list(itertools.combinations(range(len(vectors)), 3)))
    matrices = vectors[triples]
    cells = np.abs(np.rint(np.linalg.det(matrices))).astype(int)
    possible = (cells > 0) & (cells <= most)
    matrices, cells = matrices[possible], cells[possible]
    wide = perpendicular_widths(matrices @ lattice).min(axis=1) >= width_a - 1e-6
    return int(cells[wide].min())


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("width_a", [8.0, 9.7])
def test_wide_enough_and_no_larger_than_the_best_diagonal(name: str, width_a: float) -> None:
    lattice = symmetrise(KNOWN[name].crystal()).crystal.lattice
    matrix = find_supercell(lattice, width_a, 400)
    cells = round(float(np.linalg.det(matrix)))
    assert perpendicular_widths(matrix @ lattice).min() >= width_a - 1e-5
    diagonal = np.ceil((width_a - 1e-6) / perpendicular_widths(lattice)).prod()
    assert 1 <= cells <= diagonal
    assert np.array_equal(matrix, find_supercell(lattice, width_a, 400))


@pytest.mark.parametrize(
    ("lattice", "width_a"),
    [
        (np.diag([4.0, 4.0, 4.0]), 8.0),
        (np.diag([4.0, 5.0, 6.5]), 8.0),
        (np.array([[0, 3.4, 3.4], [3.4, 0, 3.4], [3.4, 3.4, 0]]), 8.0),
        (np.array([[-3.2, 3.2, 3.2], [3.2, -3.2, 3.2], [3.2, 3.2, -3.2]]), 8.0),
        (np.array([[4.1, 0, 0], [-2.05, 3.55, 0], [0, 0, 6.2]]), 8.0),
    ],
)
def test_smallest_of_all(lattice: FloatArray, width_a: float) -> None:
    cells = round(float(np.linalg.det(find_supercell(lattice, width_a, 400))))
    assert cells == least_cells_by_brute_force(lattice, width_a, cells)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(KNOWN)), st.integers(0, 999), st.floats(6.0, 11.0))
def test_size_does_not_depend_on_the_choice_of_cell(name: str, seed: int, width_a: float) -> None:
    lattice = symmetrise(KNOWN[name].crystal()).crystal.lattice
    other = shear(np.random.default_rng(seed)) @ lattice
    one, two = (find_supercell(cell, width_a, 400) for cell in (lattice, other))
    assert round(float(np.linalg.det(one))) == round(float(np.linalg.det(two)))


def test_needle_cell_in_bounded_time() -> None:
    lattice = np.diag([2.8, 2.8, 60.0])
    matrix = find_supercell(lattice, 8.0, 400)
    assert round(float(np.linalg.det(matrix))) <= 9
    assert perpendicular_widths(matrix @ lattice).min() >= 8.0 - 1e-5


def test_limit_on_cells() -> None:
    lattice = np.diag([4.0, 4.0, 4.0])
    assert round(float(np.linalg.det(find_supercell(lattice, 8.0, 8)))) == 8
    for limit in (0, 7):
        with pytest.raises(PathwayError, match="too_many_atoms"):
            find_supercell(lattice, 8.0, limit)


@pytest.mark.parametrize(
    "bad",
    [
        {"min_width_a": 0.0},
        {"min_width_a": float("nan")},
        {"max_atoms": 0},
        {"supercell": (1, 0, 0, 0, 1, 0, 0, 0)},
        {"supercell": (1, 0, 0, 0, 1, 0, 0, 0, 0)},
        {"supercell": (-1, 0, 0, 0, 1, 0, 0, 0, 1)},
        {"supercell": (1.5, 0, 0, 0, 1, 0, 0, 0, 1)},
    ],
)
def test_settings_check_themselves(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        BandSettings(**bad)  # type: ignore[arg-type]
