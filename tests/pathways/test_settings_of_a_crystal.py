"""The same crystal written in many ways has the same sites, hops and ids."""

from pathlib import Path

import numpy as np
import pytest
import spglib

from pathways.convert import crystal_from_structure, structure_from_crystal
from pathways.hops import HopSettings, enumerate_hops
from pathways.standard import best_setting, lattice_of, shortest_cells
from pathways.symmetry import SymmetrisedCrystal, symmetrise
from pathways.types import Crystal, FloatArray, HopNetwork, PathwayError
from screen.sources.catalog import Catalog
from screen.sources.structure_json import crystal_from_json, structure_json
from tests.pathways.crystals import CHANGES, KNOWN, Change, rotated, shear, shifted, shuffled
from tests.pathways.snapshot import FILE, random_crystals

ANY_SIZE = HopSettings(max_sites=1000)
MIRRORED = ("mp-676361", "mp-3427")
"""Chiral crystals of the catalog with mirror images of other ids: Li3ErCl6 (P321), LiAlO2
(P4_12_12, whose image is even of another space group)."""


def conventional(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    dataset = spglib.get_symmetry_dataset((crystal.lattice, crystal.frac, crystal.numbers), 0.01)
    assert dataset is not None
    cell = np.rint(np.linalg.inv(dataset.transformation_matrix.T)).astype(int)
    return crystal_from_structure(structure_from_crystal(crystal).make_supercell(cell))


def mirrored(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    return Crystal(crystal.lattice * [1, 1, -1], crystal.numbers, crystal.frac)


def turned_over(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """In a left-handed cell, but not mirrored."""
    matrix = -shear(rng)
    return Crystal(matrix @ crystal.lattice, crystal.numbers, crystal.frac @ np.linalg.inv(matrix))


def stored(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """As the database keeps it, to six decimals."""
    return crystal_from_json(structure_json(crystal))


def anyhow(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    for change in (shifted, turned_over, rotated, shuffled):
        crystal = change(crystal, rng)
    return crystal


SETTINGS: dict[str, Change] = {
    "repeated": CHANGES["repeated"],
    "conventional": conventional,
    "mirrored": mirrored,
    "stored": stored,
    "anyhow": anyhow,
}


@pytest.fixture(scope="module")
def catalog() -> list[tuple[str, Crystal, HopNetwork]]:
    entries = Catalog().entries
    crystals = [(entry.mp_id, entry.crystal(), entry.ions[0]) for entry in entries]
    return [(name, one, enumerate_hops(one, ion, ANY_SIZE)) for name, one, ion in crystals]


@pytest.mark.parametrize("setting", SETTINGS)
def test_hops_of_the_catalog_keep_their_ids(
    setting: str, catalog: list[tuple[str, Crystal, HopNetwork]]
) -> None:
    rng = np.random.default_rng(17)
    others = []
    for name, crystal, network in catalog:
        again = enumerate_hops(SETTINGS[setting](crystal, rng), network.ion, ANY_SIZE)
        lengths = [hop.length_a for hop in again.hops]
        assert lengths == pytest.approx([hop.length_a for hop in network.hops], abs=1e-4), name
        if [hop.key for hop in again.hops] != [hop.key for hop in network.hops]:
            others.append(name)
        else:
            for hop, same in zip(again.hops, network.hops, strict=True):
                assert hop.clearance_a == pytest.approx(same.clearance_a, abs=1e-4), name
                assert np.array_equal(hop.orbit, same.orbit), name
    assert others == [name for name, *_ in catalog if setting == "mirrored" and name in MIRRORED]


def test_crystals_whose_mirror_image_has_other_ids_are_chiral(
    catalog: list[tuple[str, Crystal, HopNetwork]],
) -> None:
    for name, crystal, _ in catalog:
        if name in MIRRORED:
            assert np.all(np.linalg.det(symmetrise(crystal).rotations) > 0)


def is_described_alike(one: SymmetrisedCrystal, other: SymmetrisedCrystal) -> bool:
    return (
        one.space_group == other.space_group
        and np.array_equal(one.crystal.numbers, other.crystal.numbers)
        and np.array_equal(one.rotations, other.rotations)
        and np.allclose(one.crystal.lattice, other.crystal.lattice, atol=1e-3)
        and np.allclose(one.crystal.frac, other.crystal.frac, atol=1e-3)
    )


@pytest.mark.parametrize(
    ("count", "seed"), [(100, 1), pytest.param(2000, 2, marks=pytest.mark.slow)]
)
def test_random_crystals_are_described_alike(data_dir: Path, count: int, seed: int) -> None:
    if not (data_dir / FILE).exists():
        pytest.skip(f"no {FILE} in {data_dir}")
    rng = np.random.default_rng(seed)
    other = set()
    for item in random_crystals(data_dir, count, 40, seed):
        one = symmetrise(item.crystal)
        for change in (anyhow, CHANGES["repeated"]):
            again = symmetrise(change(item.crystal, rng))
            if not is_described_alike(one, again):
                other.add(item.material_id)
    assert other == set()


@pytest.mark.parametrize("name", KNOWN)
def test_a_crystal_described_so_is_left_as_it_is(name: str) -> None:
    one = symmetrise(KNOWN[name].crystal())
    assert is_described_alike(one, symmetrise(one.crystal))


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("setting", ["repeated", "mirrored", "anyhow"])
def test_given_places_are_found_again(name: str, setting: str) -> None:
    crystal = SETTINGS[setting](KNOWN[name].crystal(), np.random.default_rng(23))
    found = symmetrise(crystal)
    places = found.from_given(crystal.frac)
    gap = places[:, None] - found.crystal.frac
    gap_a = np.linalg.norm((gap - np.rint(gap)) @ found.crystal.lattice, axis=-1)
    assert gap_a.min(axis=1).max() < 1e-3
    assert np.array_equal(found.crystal.numbers[gap_a.argmin(axis=1)], crystal.numbers)
    metric = found.given_cell @ found.crystal.lattice
    assert metric @ metric.T == pytest.approx(crystal.lattice @ crystal.lattice.T, abs=1e-3)


@pytest.mark.parametrize("name", KNOWN)
def test_almost_symmetric_crystals_are_described_alike(name: str) -> None:
    """Around the tolerance spglib finds now more, now less symmetry by the order of the atoms."""
    crystal, rng = KNOWN[name].crystal(), np.random.default_rng(29)
    for size_a in (0.03, 0.05, 0.07):
        noise = rng.uniform(-size_a, size_a, crystal.frac.shape) @ np.linalg.inv(crystal.lattice)
        rattled = Crystal(crystal.lattice, crystal.numbers, crystal.frac + noise)
        one = symmetrise(rattled)
        for change in (anyhow, shuffled, CHANGES["repeated"]):
            assert is_described_alike(one, symmetrise(change(rattled, rng)))


LATTICES: dict[str, tuple[list[list[float]], int]] = {
    "cubic": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 24),
    "body-centred": ([[-1, 1, 1], [1, -1, 1], [1, 1, -1]], 24),
    "face-centred": ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], 24),
    "hexagonal": ([[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, 1.6]], 12),
    "flat hexagonal": ([[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, 0.6]], 12),
    "rhombohedral": ([[2, 1, 1], [1, 2, 1], [1, 1, 2]], 6),
    "tetragonal": ([[1, 0, 0], [0, 1, 0], [0, 0, 1.4]], 8),
    "orthorhombic": ([[1, 0, 0], [0, 1.1, 0], [0, 0, 1.4]], 4),
    "one face centred": ([[1, 1.3, 0], [-1, 1.3, 0], [0, 0, 1.7]], 4),
    "monoclinic": ([[1, 0, 0], [0, 1.1, 0], [-0.2, 0, 1.4]], 2),
    "triclinic": ([[1, 0, 0], [0.1, 1.1, 0], [-0.2, 0.15, 1.4]], 1),
}
"""Vectors in units of 4 Å, and how many rotations the lattice has."""


def canonical(lattice: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Metric of the standard cell, and a site's place in it, of two different atoms."""
    frac = np.array([[0, 0, 0], [1.3, 0.7, 2.1] @ np.linalg.inv(lattice)])
    frac = frac + rng.uniform(size=3) + rng.integers(-3, 4, size=(2, 3))
    metric = lattice @ lattice.T
    cells = shortest_cells(metric)
    cell, origin = best_setting(cells, np.array([3, 8]), frac, np.array([0]))
    assert round(np.linalg.det(cell)) == 1
    assert origin == pytest.approx(frac[0])
    place = (frac[1] - origin) @ np.linalg.inv(cell)
    return cell @ metric @ cell.T, place - np.floor(place + 1e-6)


@pytest.mark.parametrize("name", LATTICES)
def test_any_cell_of_a_lattice_gives_the_standard_one(name: str) -> None:
    lattice = 4 * np.array(LATTICES[name][0], dtype=np.float64)
    rng = np.random.default_rng(3)
    metric, place = canonical(lattice, rng)
    shortest = np.sqrt(np.diagonal(metric))
    assert np.all(np.diff(shortest) > -1e-6)
    for _ in range(30):
        matrix = shear(rng) @ shear(rng)
        other, moved = canonical(matrix @ lattice, rng)
        assert other == pytest.approx(metric, abs=1e-6)
        assert moved == pytest.approx(place, abs=1e-6)


@pytest.mark.parametrize("name", LATTICES)
def test_every_rotation_of_the_lattice_is_tried(name: str) -> None:
    """Turned by any of them, a crystal without symmetry of its own is described alike."""
    vectors, n_rotations = LATTICES[name]
    lattice = 4 * np.array(vectors, dtype=np.float64)
    metric = lattice @ lattice.T
    grid = np.array(np.meshgrid(*[[-1, 0, 1]] * 9)).reshape(9, -1).T.reshape(-1, 3, 3)
    proper = grid[np.rint(np.linalg.det(grid)) == 1]
    keeps = np.abs(proper @ metric @ proper.transpose(0, 2, 1) - metric).max(axis=(1, 2)) < 1e-6
    _, place = canonical(lattice, np.random.default_rng(1))
    for rotation in proper[keeps]:
        _, turned = canonical(rotation @ lattice, np.random.default_rng(2))
        assert turned == pytest.approx(place, abs=1e-6)
    assert np.count_nonzero(keeps) == n_rotations


def test_vectors_that_span_no_cell_are_refused() -> None:
    metric = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(PathwayError, match="span no cell"):
        lattice_of(metric)
    with pytest.raises(PathwayError, match="span no cell"):
        shortest_cells(metric)
