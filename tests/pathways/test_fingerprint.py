import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from pathways.convert import crystal_from_structure, structure_from_crystal
from pathways.fingerprint import NEIGHBOURS, REACH_A, fingerprint
from pathways.symmetry import symmetrise
from pathways.types import Crystal, FloatArray
from tests.pathways.crystals import CHANGES, KNOWN, Change, repeated

TOLERANCE_A = 0.04
"""Of the search for duplicates; what differs has to differ by well more."""


def gap_a(one: Crystal, other: Crystal) -> float:
    return float(np.abs(fingerprint(one) - fingerprint(other)).max())


def crystal(group: str, lattice: Lattice, sites: dict[str, tuple[float, float, float]]) -> Crystal:
    """A crystal of a space group; digits after an element tell its sites apart."""
    species = [name.rstrip("0123456789") for name in sites]
    return crystal_from_structure(
        Structure.from_spacegroup(group, lattice, species, list(sites.values()))
    )


def reflected(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    return Crystal(crystal.lattice * [1, 1, -1], crystal.numbers, crystal.frac)


def niggli(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    return crystal_from_structure(structure_from_crystal(crystal).get_reduced_structure())


def primitive(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    return symmetrise(crystal).crystal


def exchanged(crystal: Crystal, first: int, second: int) -> Crystal:
    """One pair of atoms trades places."""
    numbers = crystal.numbers.copy()
    numbers[[first, second]] = numbers[[second, first]]
    return Crystal(crystal.lattice, numbers, crystal.frac)


def rattled(crystal: Crystal, most_a: float, seed: int) -> Crystal:
    """Every atom moved by at most ``most_a``."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(size=crystal.frac.shape)
    moves *= most_a * rng.uniform(size=(len(moves), 1)) / np.linalg.norm(moves, axis=1)[:, None]
    frac = crystal.frac + moves @ np.linalg.inv(crystal.lattice)
    return Crystal(crystal.lattice, crystal.numbers, frac)


SAME: dict[str, Change] = {
    **CHANGES,
    "reflected": reflected,
    "Niggli cell": niggli,
    "primitive cell": primitive,
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("change", SAME)
def test_description_does_not_matter(name: str, change: str) -> None:
    crystal = KNOWN[name].crystal()
    changed = SAME[change](crystal, np.random.default_rng(5))
    # Finding the primitive cell moves atoms to where the symmetry wants them.
    assert gap_a(crystal, changed) < (1e-3 if change == "primitive cell" else 1e-9)


def plain(crystal: Crystal) -> FloatArray:
    """The same numbers by their definition, without a tree: all images in a large box."""
    widths = 1 / np.linalg.norm(np.linalg.inv(crystal.lattice), axis=0)
    reach = np.ceil(REACH_A / widths).astype(int) + 1
    box = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach)), axis=-1).reshape(-1, 3)
    frac = crystal.frac - np.floor(crystal.frac)
    centres = frac @ crystal.lattice
    values = []
    for own in np.unique(crystal.numbers):
        for other in np.unique(crystal.numbers):
            sites = (frac[crystal.numbers == other][:, None] + box).reshape(-1, 3) @ crystal.lattice
            rows = []
            for centre in centres[crystal.numbers == own]:
                distances = np.sort(np.linalg.norm(sites - centre, axis=1))[int(own == other) :]
                rows.append(np.minimum(distances, REACH_A)[np.array(NEIGHBOURS) - 1])
            values += [np.mean(rows, axis=0), np.min(rows, axis=0), np.max(rows, axis=0)]
    return np.concatenate(values)


@pytest.mark.parametrize("name", ["LiFePO4 olivine", "LiTiS2 layered", "MgMo6S8 Chevrel"])
def test_against_the_definition(name: str) -> None:
    crystal = KNOWN[name].crystal()
    assert fingerprint(crystal) == pytest.approx(plain(crystal), abs=1e-9)


@pytest.mark.parametrize(
    "lattice",
    [
        np.diag([2.9, 2.9, 2.9]),
        np.array([[9.0, 0, 0], [9.0, 0.9, 0], [3.0, 1.0, 9.0]]),
        np.diag([2.5, 3.0, 95.0]),
        np.array([[2.5, 0, 0], [9.0, 2.5, 0], [-7.0, 12.0, 3.0]]),
    ],
    ids=["one small cell", "skewed", "long and dilute", "needle"],
)
@pytest.mark.parametrize("numbers", [[3], [3, 8]], ids=["Li", "LiO"])
def test_cells_of_any_shape(lattice: FloatArray, numbers: list[int]) -> None:
    frac = np.array([[0.1, 0.2, 0.3], [0.45, -3.4, 0.8]])[: len(numbers)]
    crystal = Crystal(lattice, np.array(numbers), frac)
    assert fingerprint(crystal) == pytest.approx(plain(crystal), abs=1e-9)


def close_packed(layers: str) -> Crystal:
    """Magnesium in a stacking of layers, all neighbours 3.2 Å apart."""
    height_a = 3.2 * np.sqrt(2 / 3)
    places = {"A": (0, 0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}
    return Crystal(
        Lattice.hexagonal(3.2, height_a * len(layers)).matrix,
        np.full(len(layers), 12),
        np.array([(*places[layer], k / len(layers)) for k, layer in enumerate(layers)]),
    )


POLYMORPHS: dict[str, tuple[Callable[[], Crystal], Callable[[], Crystal]]] = {
    "rutile, anatase": (
        lambda: crystal("P4_2/mnm", Lattice.tetragonal(4.594, 2.959),
                        {"Ti": (0, 0, 0), "O": (0.305, 0.305, 0)}),
        lambda: crystal("I4_1/amd", Lattice.tetragonal(3.785, 9.514),
                        {"Ti": (0, 0, 0), "O": (0, 0, 0.2081)}),
    ),
    "layered, low-temperature LiCoO2": (
        KNOWN["LiCoO2 layered"].crystal,
        lambda: crystal("Fd-3m", Lattice.cubic(8.0),
                        {"Li": (0, 0, 0), "Co": (0.5, 0.5, 0.5), "O": (0.24, 0.24, 0.24)}),
    ),
    "wurtzite, zincblende": (
        lambda: crystal("P6_3mc", Lattice.hexagonal(3.823, 6.243),
                        {"Zn": (1 / 3, 2 / 3, 0), "S": (1 / 3, 2 / 3, 0.375)}),
        lambda: crystal("F-43m", Lattice.cubic(5.4065), {"Zn": (0, 0, 0), "S": (0.25, 0.25, 0.25)}),
    ),
    "hexagonal, cubic close packing": (lambda: close_packed("AB"), lambda: close_packed("ABC")),
    "hexagonal and cubic layers, 1 to 1 and 1 to 2": (
        lambda: close_packed("ABCB"), lambda: close_packed("ABCACB"),
    ),
    "rock salt, its sites filled in layers": (
        lambda: crystal("Fm-3m", Lattice.cubic(5.64), {"Na": (0, 0, 0), "Cl": (0.5, 0.5, 0.5)}),
        lambda: crystal("P4/mmm", Lattice.tetragonal(3.988, 5.64),
                        {"Na1": (0, 0, 0), "Na2": (0.5, 0.5, 0), "Cl1": (0, 0, 0.5),
                         "Cl2": (0.5, 0.5, 0.5)}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("pair", POLYMORPHS)
def test_polymorphs_differ(pair: str) -> None:
    one, other = (make() for make in POLYMORPHS[pair])
    assert gap_a(one, other) > 5 * TOLERANCE_A


def test_orderings_of_cations_differ() -> None:
    """Normal and one inverse MgMn2O4: every site is where it was."""
    normal = symmetrise(KNOWN["MgMn2O4 spinel"].crystal()).crystal
    mg, mn = (np.flatnonzero(normal.numbers == number) for number in (12, 25))
    inverse = exchanged(exchanged(normal, mg[0], mn[0]), mg[1], mn[1])
    half = exchanged(normal, mg[0], mn[0])
    assert min(gap_a(normal, inverse), gap_a(normal, half), gap_a(half, inverse)) > 10 * TOLERANCE_A


def test_one_exchanged_pair_in_a_large_cell_is_seen() -> None:
    """Two atoms of 224 trade places: hardly a change of any mean."""
    rng = np.random.default_rng(0)
    large = KNOWN["LiFePO4 olivine"].crystal()
    while len(large) < 200:
        large = repeated(large, rng)
    li, fe = (np.flatnonzero(large.numbers == number)[0] for number in (3, 26))
    assert gap_a(large, exchanged(large, li, fe)) > 10 * TOLERANCE_A


@given(name=st.sampled_from(sorted(KNOWN)), seed=st.integers(0, 2**32 - 1),
       most_a=st.floats(1e-6, 0.3))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_changes_no_more_than_twice_what_atoms_move(name: str, seed: int, most_a: float) -> None:
    crystal = KNOWN[name].crystal()
    assert gap_a(crystal, rattled(crystal, most_a, seed)) <= 2 * most_a + 1e-9


def test_strain_changes_in_proportion() -> None:
    crystal = KNOWN["LiFePO4 olivine"].crystal()
    strained = Crystal(crystal.lattice * 1.001, crystal.numbers, crystal.frac)
    assert 0 < gap_a(crystal, strained) <= 0.001 * REACH_A + 1e-9


CELL = st.lists(st.floats(-12, 12), min_size=9, max_size=9)
SITES = st.lists(st.tuples(*[st.floats(-1.5, 1.5)] * 3), min_size=1, max_size=9)


@given(cell=CELL, sites=SITES, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_crystal_any_description(
    cell: list[float], sites: list[tuple[float, float, float]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lattice = np.reshape(cell, (3, 3)) + 0.1 * rng.normal(size=(3, 3))
    volume = abs(np.linalg.det(lattice))
    if volume < 1e-2 * np.prod(np.linalg.norm(lattice, axis=1)) or volume < 2 * len(sites):
        return
    crystal = Crystal(lattice, rng.choice([3, 8, 22], len(sites)), np.array(sites))
    values = fingerprint(crystal)
    n_elements = len(np.unique(crystal.numbers))
    assert values.shape == (3 * n_elements**2 * len(NEIGHBOURS),)
    assert values.min() >= 0
    assert values.max() <= REACH_A
    changed = crystal
    for change in CHANGES.values():
        changed = change(changed, rng)
    assert gap_a(crystal, changed) < 1e-6


@pytest.mark.parametrize("n_atoms", [1, 60])
@pytest.mark.parametrize(
    "lattice",
    [
        np.diag([0.5, 0.5, 0.5]),
        np.diag([0.5, 0.5, 900.0]),
        np.array([[0.5, 0, 0], [0.5, 0.002, 0], [30.0, 20.0, 500.0]]),
        np.array([[900.0, 0, 0], [900.0, 1.0, 0], [850.0, 300.0, 1.0]]),
        np.diag([1000.0, 1000.0, 1000.0]),
    ],
    ids=["tiny", "rod", "sheets", "skewed", "empty"],
)
def test_nonsense_is_answered_and_costs_little(lattice: FloatArray, n_atoms: int) -> None:
    """Atoms on one point, cells with more atoms than fit: no crystals, but no reason to fail."""
    crystal = Crystal(lattice, np.arange(n_atoms) % 4 + 3, np.full((n_atoms, 3), 0.3))
    start_s = time.process_time()
    values = fingerprint(crystal)
    assert time.process_time() - start_s < 20
    assert np.isfinite(values).all()
    assert values.max() <= REACH_A
