"""Neighbours and graphs: against other codes, and under what must not change them."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure
from scipy.spatial.transform import Rotation

from models.graph import BandGraph, GraphSettings, build_graph, graph_of_crystal
from models.neighbours import (
    Shell,
    _pairs_within,
    _pairs_within_scipy,
    nearest_neighbours,
    nearest_pairs,
)
from pathways.convert import crystal_from_structure
from pathways.types import Band, Crystal, PathwayError
from tests.pathways.crystals import KNOWN

SETTINGS = GraphSettings(environment_a=4.5)


def sodium() -> Crystal:
    """One Na in a simple cubic cell, six neighbours at 3 Å."""
    return crystal_from_structure(Structure(Lattice.cubic(3.0), ["Na"], [[0, 0, 0]]))


def test_worked_example_of_one_atom() -> None:
    graph = graph_of_crystal(sodium(), GraphSettings(k=6))
    assert len(graph.source) == 6
    assert graph.multiplicity.tolist() == [2] * 6
    assert graph.n_triplets == 36
    np.testing.assert_allclose(np.linalg.norm(graph.vector, axis=1), 3.0)


@pytest.mark.parametrize("shell", get_args(Shell))
def test_last_shell_is_whole(shell: Shell) -> None:
    i, _, _ = nearest_neighbours(sodium(), 7, shell)
    assert len(i) == 6 + 12  # the 7th is one of 12 at sqrt(2) a; both rules agree on exact ties


@pytest.mark.parametrize("name", ["MgMn2O4 spinel", "LiFePO4 olivine"])
def test_neighbours_agree_with_pymatgen(name: str) -> None:
    structure = KNOWN[name].structure
    crystal = crystal_from_structure(structure)
    i, _, _ = nearest_neighbours(crystal, 12, "tolerant")
    count = np.bincount(i)
    for site, neighbours in enumerate(structure.get_all_neighbors(8.0)):
        distances = np.sort([neighbour.nn_distance for neighbour in neighbours])
        assert count[site] == (distances <= distances[11] + 1e-3).sum()


@pytest.mark.parametrize("name", ["MgTi2S4 spinel", "LiFePO4 olivine"])
def test_both_pair_searches_agree(name: str) -> None:
    crystal = KNOWN[name].crystal()
    shift = np.random.default_rng(0).integers(-2, 3, size=crystal.frac.shape)
    cart = (crystal.frac + shift) @ crystal.lattice

    def rows(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> set[tuple[int, ...]]:
        i, j, image = found
        there = [tuple(row) for row in np.column_stack([i, j, image]).tolist()]
        back = [tuple(row) for row in np.column_stack([j, i, -image]).tolist()]
        assert not set(there) & set(back)  # each pair once
        assert len({*there, *back}) == 2 * len(there)
        return {*there, *back}

    one = rows(_pairs_within(crystal.lattice, cart, 5.0))
    other = rows(_pairs_within_scipy(crystal.lattice, cart, 5.0))
    assert one == other
    assert len(one) > len(crystal)


@pytest.mark.parametrize("shell", get_args(Shell))
def test_pairs_say_who_counts_whom(shell: Shell) -> None:
    crystal = KNOWN["LiFePO4 olivine"].crystal()
    pairs = nearest_pairs(crystal, 4, shell)
    assert (pairs.of_i | pairs.of_j).all()
    assert (pairs.of_i & pairs.of_j).any()
    assert not (pairs.of_i & pairs.of_j).all()
    i, j, image = nearest_neighbours(crystal, 4, shell)
    assert len(i) == pairs.of_i.sum() + pairs.of_j.sum()
    step = (crystal.frac[j] + image - crystal.frac[i]) @ crystal.lattice
    distance = np.linalg.norm(step, axis=1)
    for atom in range(len(crystal)):
        own = distance[i == atom]
        assert (np.sort(own)[3:] <= np.sort(own)[3] + 1e-3).all()


def test_layout(bands: list[Band]) -> None:
    for band in bands:
        graph = build_graph(band, SETTINGS)
        assert (np.diff(graph.destination) >= 0).all()
        np.testing.assert_array_equal(graph.source[graph.reverse], graph.destination)
        np.testing.assert_array_equal(graph.destination[graph.reverse], graph.source)
        np.testing.assert_allclose(graph.vector[graph.reverse], -graph.vector, atol=1e-12)
        np.testing.assert_array_equal(graph.multiplicity[graph.reverse], graph.multiplicity)
        assert set(graph.multiplicity.tolist()) <= {1, 2}
        assert graph.cost == len(graph.source) + graph.n_triplets
        assert graph.length_a == pytest.approx(band.length_a)


def signature(graph: BandGraph) -> np.ndarray:
    """What the graph holds, whatever the order of its atoms and edges."""
    rows = np.column_stack(
        [
            graph.numbers[graph.source],
            graph.numbers[graph.destination],
            graph.multiplicity,
            np.round(np.linalg.norm(graph.vector, axis=1), 6),
        ]
    )
    return rows[np.lexsort(rows.T)]


def variants(band: Band) -> dict[str, Band]:
    rng = np.random.default_rng(3)
    turn = Rotation.random(rng=rng).as_matrix()
    shift = rng.random(3)
    order = rng.permutation(len(band.host_numbers))
    return {
        "rotated": replace(band, lattice=band.lattice @ turn),
        "shifted": replace(band, host_frac=band.host_frac + shift, ion_frac=band.ion_frac + shift),
        "reordered": replace(
            band, host_numbers=band.host_numbers[order], host_frac=band.host_frac[order]
        ),
        "reversed": replace(band, ion_frac=band.ion_frac[::-1]),
        "unwrapped": replace(
            band, host_frac=band.host_frac + rng.integers(-3, 4, size=band.host_frac.shape)
        ),
        "doubled": doubled(band),
    }


def doubled(band: Band) -> Band:
    """The cell twice as long; the second half holds the same host, the ion moves in the first."""
    half = np.array([1.0, 1.0, 0.5])
    still = band.host_frac * half
    return replace(
        band,
        lattice=band.lattice * np.array([[1.0], [1.0], [2.0]]),
        host_numbers=np.tile(band.host_numbers, 2),
        host_frac=np.concatenate([still, still + np.array([0, 0, 0.5])]),
        ion_frac=band.ion_frac * half,
    )


@pytest.mark.parametrize("kind", ["rotated", "shifted", "reordered", "reversed", "unwrapped"])
def test_invariant(bands: list[Band], kind: str) -> None:
    for band in bands[::2]:
        before = build_graph(band, SETTINGS)
        after = build_graph(variants(band)[kind], SETTINGS)
        np.testing.assert_allclose(signature(after), signature(before), atol=1e-5)
        assert after.descriptor is not None
        assert before.descriptor is not None
        np.testing.assert_allclose(after.descriptor, before.descriptor, atol=1e-5)
        assert after.clearance_a == pytest.approx(before.clearance_a, abs=1e-6)


def test_environment_keeps_what_is_near(bands: list[Band]) -> None:
    for band in bands:
        whole = build_graph(band, GraphSettings())
        near = build_graph(band, SETTINGS)
        assert len(whole.numbers) == len(band)
        assert 5 < len(near.numbers) <= len(band)
        assert near.numbers[:5].tolist() == [band.ion_number] * 5


def test_too_few_neighbours_is_refused() -> None:
    lonely = Crystal(np.eye(3) * 60.0, np.array([11]), np.zeros((1, 3)))
    with pytest.raises(PathwayError, match="bad_graph"):
        graph_of_crystal(lonely, GraphSettings())


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"shell": "round"}, {"environment_a": -1.0}, {"environment_a": 0.0}]
)
def test_settings_check_themselves(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        GraphSettings(**wrong)  # type: ignore[arg-type]
