import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher

from pathways.convert import structure_from_crystal
from pathways.fingerprint import fingerprint
from pathways.types import Crystal
from screen.sources.duplicates import TOLERANCE_A, Duplicates
from screen.sources.structure_json import crystal_from_json
from tests.pathways.crystals import CHANGES, KNOWN


def first(duplicates: Duplicates, material_id: str, crystal: Crystal) -> str | None:
    return duplicates.first(material_id, crystal.numbers, fingerprint(crystal))


def described_anew(crystal: Crystal, seed: int) -> Crystal:
    rng = np.random.default_rng(seed)
    for change in CHANGES.values():
        crystal = change(crystal, rng)
    return crystal


def test_each_crystal_counts_once_whatever_its_cell() -> None:
    duplicates = Duplicates()
    for name, known in KNOWN.items():
        assert first(duplicates, name, known.crystal()) is None
    for seed, (name, known) in enumerate(KNOWN.items()):
        crystal = described_anew(known.crystal(), seed)
        assert first(duplicates, f"{name} again", crystal) == name


def test_slightly_different_lattice_constants_are_the_same_crystal() -> None:
    duplicates = Duplicates()
    crystal = KNOWN["LiFePO4 olivine"].crystal()
    assert first(duplicates, "one", crystal) is None
    strained = Crystal(crystal.lattice * [1.003, 0.998, 1.001], crystal.numbers, crystal.frac)
    assert first(duplicates, "two", strained) == "one"
    charged = Crystal(crystal.lattice * [1.03, 0.98, 1.01], crystal.numbers, crystal.frac)
    assert first(duplicates, "three", charged) is None


def test_same_distances_of_other_elements_are_another_crystal() -> None:
    duplicates = Duplicates()
    one = KNOWN["LiCoO2 layered"].crystal()
    other = Crystal(one.lattice, np.where(one.numbers == 27, 28, one.numbers), one.frac)
    assert first(duplicates, "LiCoO2", one) is None
    assert first(duplicates, "LiNiO2", other) is None
    assert first(duplicates, "again", other) == "LiNiO2"


def test_same_elements_in_other_amounts_are_another_crystal() -> None:
    """The amounts decide even where a fingerprint says nothing of them."""
    duplicates = Duplicates()
    values = np.full(84, 3.0)
    assert duplicates.first("LiO", np.array([3, 8]), values) is None
    assert duplicates.first("Li2O", np.array([3, 3, 8]), values) is None
    assert duplicates.first("Li2O2", np.array([8, 3, 8, 3]), values) == "LiO"


def test_the_first_wins_and_only_it_is_compared_with() -> None:
    duplicates = Duplicates(tolerance_a=0.05)
    numbers = np.array([12])
    at = {name: np.full(21, 3.0 + offset) for name, offset in
          {"a": 0.0, "near a": 0.04, "near near a": 0.08, "between": 0.045}.items()}  # fmt: skip
    assert [duplicates.first(name, numbers, values) for name, values in at.items()] == [
        None,
        "a",
        None,
        "a",
    ]


def test_one_distance_decides() -> None:
    duplicates = Duplicates(tolerance_a=0.05)
    values = np.linspace(2, 10, 189)
    assert duplicates.first("a", np.array([3, 8, 22]), values) is None
    for k in range(len(values)):
        inside, outside = values.copy(), values.copy()
        inside[k] -= 0.049
        outside[k] -= 0.051
        assert Duplicates(0.05).first("b", np.array([3, 8, 22]), outside) is None
        assert duplicates.first("c", np.array([3, 8, 22]), inside) == "a"


def test_memory_of_150_000_crystals() -> None:
    """317 distances is the mean over the Materials Project's crystals with mobile ions."""
    rng = np.random.default_rng(0)
    n_crystals = 6000
    compositions = rng.integers(1, 80, size=(n_crystals // 2, 4))  # two crystals each
    fingerprints = rng.uniform(1.8, 10, size=(n_crystals, 317))
    duplicates = Duplicates()
    tracemalloc.start()
    for k, values in enumerate(fingerprints):
        duplicates.first(f"source-of-it-{k:06d}", compositions[k % len(compositions)], values)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / n_crystals * 150_000 < 150e6


@pytest.fixture(scope="module")
def polymorphs(data_dir: Path) -> list[list[Crystal]]:
    """About 150 formulas with Li or Mg, up to six crystals of each, up to 20 atoms in the cell."""
    import pyarrow.parquet as pq

    table = pq.read_table(
        data_dir / "mp_snapshot.parquet", columns=["formula", "natoms", "structure"]
    )
    groups: dict[str, list[str]] = {}
    for row in table.filter(table["natoms"].to_numpy() <= 20).to_pylist():
        if '"Li"' in row["structure"] or '"Mg"' in row["structure"]:
            groups.setdefault(row["formula"], []).append(row["structure"])
    several = [texts for _, texts in sorted(groups.items()) if len(texts) > 1]
    sample = several[:: len(several) // 150]
    return [[crystal_from_json(text) for text in texts[:6]] for texts in sample]


def test_agrees_with_the_structure_matcher(polymorphs: list[list[Crystal]]) -> None:
    """What it tells apart, with its wide tolerances, is told apart here too."""
    loose = StructureMatcher(scale=False)
    n_different = 0
    for group in polymorphs:
        structures = [structure_from_crystal(crystal) for crystal in group]
        values = [fingerprint(crystal) for crystal in group]
        for i, j in itertools.combinations(range(len(group)), 2):
            if not loose.fit(structures[i], structures[j]):
                n_different += 1
                assert np.abs(values[i] - values[j]).max() > TOLERANCE_A
    assert n_different > 100


def test_agrees_with_the_structure_matcher_on_noise(polymorphs: list[list[Crystal]]) -> None:
    matcher = StructureMatcher(scale=False, ltol=0.01, stol=0.02, angle_tol=0.5)
    rng = np.random.default_rng(1)
    for group in polymorphs[:40]:
        crystal = described_anew(group[0], 2)
        noise = rng.uniform(-0.008, 0.008, crystal.frac.shape) @ np.linalg.inv(crystal.lattice)
        again = Crystal(crystal.lattice, crystal.numbers, crystal.frac + noise)
        assert matcher.fit(*map(structure_from_crystal, (group[0], again)))
        duplicates = Duplicates()
        assert first(duplicates, "one", group[0]) is None
        assert first(duplicates, "two", again) == "one"
