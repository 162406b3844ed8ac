"""Crystals of any size and shape come to an end, with hops or with a reason."""

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from pathways.hops import HopSettings, enumerate_hops
from pathways.symmetry import symmetrise
from pathways.types import Crystal, FloatArray
from tests.bench.pathways import MAX_ATOMS, Run, run
from tests.pathways.snapshot import FILE, random_crystals


def test_random_crystals_end_in_rows_or_reasons(data_dir: Path) -> None:
    """``python -m tests.bench --only pathways`` takes 2,000."""
    if not (data_dir / FILE).exists():
        pytest.skip(f"no {FILE} in {data_dir}")
    state = Run(bands_each=1)
    for stored in random_crystals(data_dir, 60, MAX_ATOMS, seed=8):
        state.take(stored)
    assert state.raised == []
    assert set(state.refused) <= {"no_hops", "too_many_atoms"}
    assert len(state.ms["hops"]) == 60
    assert max(state.ms["hops"])[0] < 2000
    assert len(state.ms["curved features"]) > 40


def test_the_benchmark_says_what_it_measured(data_dir: Path) -> None:
    if not (data_dir / FILE).exists():
        pytest.skip(f"no {FILE} in {data_dir}")
    figures = {figure.name: figure for figure in run(n_crystals=20, bands_each=1)}
    assert figures["pathways-rows"].value == 100
    assert figures["pathways-hops"].value > 0
    assert "slowest" in figures["pathways-band"].note
    assert "pathways-memory" in figures


def scattered(numbers: list[int]) -> Crystal:
    """400 atoms without symmetry in a cubic cell, whose axes and origin nothing else decides."""
    grid = np.argwhere(np.ones((8, 8, 8)))[:400] / 8
    frac = grid + np.random.default_rng(0).uniform(-0.02, 0.02, grid.shape)
    return Crystal(24 * np.eye(3), np.resize(numbers, 400), frac)


@pytest.mark.parametrize("numbers", [[11], [11, 17], [3, 8, 8, 8]])
def test_large_crystals_without_symmetry(numbers: list[int]) -> None:
    crystal = scattered(numbers)
    began = time.process_time()
    assert symmetrise(crystal).space_group == "P1"
    assert time.process_time() - began < 10


def test_large_crystals_of_high_symmetry_take_bounded_memory() -> None:
    """Pairs of sites under 48 operations at once would be gigabytes."""
    places = np.argwhere(np.ones((9, 9, 9))) / 9
    vacant = (places == 0).all(axis=1)
    crystal = Crystal(27 * np.eye(3), np.where(vacant, 3, 17), places)
    tracemalloc.start()
    found = symmetrise(crystal)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.space_group == "Pm-3m"
    assert peak < 400e6


@pytest.mark.parametrize(
    ("vectors", "edges", "shortest_a"),
    [
        (np.eye(3), (3.0, 3.0, 700.0), 3.0),
        (np.eye(3), (700.0, 700.0, 3.0), 3.0),
        (np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2, (5.0, 5.0, 700.0), 12.5**0.5),
        (np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2, (60.0, 4.0, 4.0), 4.0),
    ],
    ids=["plate", "needle", "face-centred plate", "body-centred plate"],
)
def test_needles_and_plates(
    vectors: FloatArray, edges: tuple[float, float, float], shortest_a: float
) -> None:
    lattice = vectors @ np.diag(edges)
    crystal = Crystal(lattice, np.array([3, 9]), np.array([[0, 0, 0], [0.31, 0.42, 0.13]]))
    network = enumerate_hops(crystal, "Li", HopSettings(cutoff_a=6.0))
    assert network.hops[0].length_a == pytest.approx(shortest_a)
