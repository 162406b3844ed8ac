from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import spearmanr

from pathways.band import build_band
from pathways.curved import FAR_A, NAMES, POINTS, SIZE, curved_features, curved_path, features_of
from pathways.curved_field import CAPSULE_A, Field, covalent_radii_a, field_of
from pathways.hops import HopSettings, enumerate_hops
from pathways.supercell import BandSettings
from pathways.types import N_IMAGES, Crystal, FloatArray
from tests.pathways.crystals import KNOWN

CASES = [
    ("LiFePO4 olivine", 0),
    ("LiFePO4 olivine", 1),
    ("LiCoO2 layered", 0),
    ("MgMn2O4 spinel", 0),
    ("NaZr2P3O12 NASICON", 0),
    ("LiMnBO3 monoclinic", 3),
]
Change = Callable[[Crystal, np.random.Generator], Crystal]


@cache
def folded(name: str, index: int, times: int = 1) -> Crystal:
    """A hop's folded band in the usual supercell, or in one that many times as wide each way."""
    known = KNOWN[name]
    network = enumerate_hops(known.crystal(), known.ion, HopSettings(max_hops=5))
    band = build_band(network.crystal, network.hops[index])
    if times > 1:
        matrix = tuple((times * band.supercell).ravel().tolist())
        settings = BandSettings(supercell=matrix, max_atoms=3000)
        band = build_band(network.crystal, network.hops[index], settings)
    return band.folded


def with_frac(crystal: Crystal, frac: FloatArray) -> Crystal:
    return Crystal(crystal.lattice, crystal.numbers, frac)


def reversed_hop(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    ions = crystal.frac[:N_IMAGES][::-1]
    return with_frac(crystal, np.concatenate([ions, crystal.frac[N_IMAGES:]]))


def rotated(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    turn = Rotation.random(random_state=rng).as_matrix()
    return Crystal(crystal.lattice @ turn, crystal.numbers, crystal.frac)


def reflected(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    return Crystal(crystal.lattice * [1, 1, -1], crystal.numbers, crystal.frac)


def translated(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    return with_frac(crystal, crystal.frac + rng.uniform(-2, 2, size=3))


def wrapped(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    return with_frac(crystal, crystal.frac % 1.0)


def reordered(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    host = N_IMAGES + rng.permutation(len(crystal) - N_IMAGES)
    order = np.concatenate([np.arange(N_IMAGES), host])
    return Crystal(crystal.lattice, crystal.numbers[order], crystal.frac[order])


def other_cell(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """The same lattice in slanted vectors."""
    shear = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]])
    return Crystal(shear @ crystal.lattice, crystal.numbers, crystal.frac @ np.linalg.inv(shear))


def doubled(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """Two cells, one of them without the ion."""
    ions, host = np.split(crystal.frac, [N_IMAGES])
    frac = np.concatenate([ions, host, host + np.array([0, 1, 0])]) / [1, 2, 1]
    numbers = np.concatenate([crystal.numbers, crystal.numbers[N_IMAGES:]])
    return Crystal(crystal.lattice * [[1], [2], [1]], numbers, frac)


@pytest.mark.parametrize(
    "change",
    [reversed_hop, rotated, reflected, translated, wrapped, reordered, other_cell, doubled],
)
@pytest.mark.parametrize(("name", "index"), CASES)
def test_features_do_not_depend_on_how_a_band_is_written(
    name: str, index: int, change: Change
) -> None:
    crystal = folded(name, index)
    changed = change(crystal, np.random.default_rng(7))
    np.testing.assert_allclose(curved_features(changed), curved_features(crystal), atol=1e-8)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_reverse_hop_takes_the_same_path_back(name: str, index: int) -> None:
    crystal = folded(name, index)
    there = curved_path(crystal)
    back = curved_path(reversed_hop(crystal, np.random.default_rng(0)))
    np.testing.assert_allclose(back.path_a[::-1], there.path_a, atol=1e-8)
    np.testing.assert_allclose(back.energies[::-1], there.energies, atol=1e-8)
    np.testing.assert_allclose(back.best.room_a[::-1], there.best.room_a, atol=1e-8)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_a_larger_supercell_changes_nothing(name: str, index: int) -> None:
    """Only copies of the two vacancies move away, and they are out of reach already."""
    small, large = folded(name, index), folded(name, index, times=2)
    np.testing.assert_allclose(curved_features(large), curved_features(small), atol=2e-3)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_small_moves_of_atoms_make_small_changes(name: str, index: int) -> None:
    crystal = folded(name, index)
    moves = np.random.default_rng(3).normal(size=crystal.frac.shape) * 1e-3
    moves[:N_IMAGES] = 0.0
    moved = with_frac(crystal, crystal.frac + moves @ np.linalg.inv(crystal.lattice))
    assert np.abs(curved_features(moved) - curved_features(crystal)).max() < 0.05


def test_lithium_in_olivine_leaves_the_straight_line() -> None:
    """The path along b bends into a wave (Nishimura et al., doi:10.1038/nmat2251)."""
    crystal = folded("LiFePO4 olivine", 0)
    path = curved_path(crystal)
    features = dict(zip(NAMES, features_of(path), strict=True))
    assert 0.3 < features["best_bow"] < 1.2
    assert path.energies.max() < 0.7 * path.chord.energies.max()
    assert features["best_over_low_end"] < features["chord_over_low_end"] - 0.5


def test_magnesium_in_spinel_goes_straight_through_its_threefold_axis() -> None:
    path = curved_path(folded("MgMn2O4 spinel", 0))
    np.testing.assert_allclose(path.path_a, path.chord.path_a, atol=1e-6)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_path_runs_evenly_from_end_to_end_and_never_higher_than_the_chord(
    name: str, index: int
) -> None:
    crystal = folded(name, index)
    path = curved_path(crystal)
    ends = crystal.frac[[0, N_IMAGES - 1]] @ crystal.lattice
    for profile in (path.best, path.from_chord, path.chord):
        assert profile.path_a.shape == (POINTS, 3)
        np.testing.assert_allclose(profile.path_a[[0, -1]], ends, atol=1e-9)
        np.testing.assert_allclose(profile.by_class.sum(axis=1), profile.energies)
        steps = np.linalg.norm(np.diff(profile.path_a, axis=0), axis=1)
        assert np.ptp(steps) < 0.1 * steps.mean()
    assert path.energies.max() <= 1.02 * path.from_chord.energies.max()
    assert path.from_chord.energies.max() <= 1.001 * path.chord.energies.max()
    assert path.energies.max() == pytest.approx(path.minimax, rel=0.1)


def test_profile_is_that_of_its_points_in_the_crystal() -> None:
    """Energies and room from distances over all images, found by another search."""
    crystal = folded("LiFePO4 olivine", 1)
    best = curved_path(crystal).best
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), axis=-1).reshape(-1, 3)
    images = (crystal.frac[N_IMAGES:, None, :] + shifts) @ crystal.lattice
    gap = np.linalg.norm(best.path_a[:, None, None, :] - images, axis=-1)
    numbers = crystal.numbers[N_IMAGES:]
    contact = (covalent_radii_a(numbers) + covalent_radii_a(crystal.numbers[:1]))[:, None]
    pairs = np.exp((contact**2 - gap**2) / (0.7 * contact))
    np.testing.assert_allclose(best.energies, pairs.sum(axis=(1, 2)), rtol=1e-3)
    oxygen = numbers == 8
    room = (gap - contact)[:, oxygen].min(axis=(1, 2))
    np.testing.assert_allclose(best.room_a[:, 0], np.minimum(room, FAR_A), atol=1e-9)


def test_energy_gradient_and_grid_agree() -> None:
    field = field_of(folded("NaZr2P3O12 NASICON", 0))
    points = np.random.default_rng(1).uniform(-1.5, 1.5, size=(20, 3))
    _, gradient = field.energy_and_gradient(points)
    for axis, unit in enumerate(1e-5 * np.eye(3)):
        slope = (field.energy(points + unit) - field.energy(points - unit)) / 2e-5
        np.testing.assert_allclose(gradient[:, axis], slope, rtol=1e-5, atol=1e-6)
    axes = Rotation.random(random_state=2).as_matrix()
    ticks = np.linspace(-2, 2, 3), np.linspace(-1, 1, 4), np.linspace(-1, 0, 5)
    grid = field.energy_on_grid(axes, ticks)
    places = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, 3) @ axes
    np.testing.assert_allclose(grid.ravel(), field.energy(places), rtol=1e-9)


def test_a_chord_through_an_atom_is_led_around_it() -> None:
    """An oxygen put into the middle of a hop in LiCoO2."""
    crystal = folded("LiCoO2 layered", 0)
    blocked = Crystal(
        crystal.lattice,
        np.append(crystal.numbers, 8),
        np.concatenate([crystal.frac, crystal.frac[2:3]]),
    )
    path = curved_path(blocked)
    assert path.chord.room_a[:, 0].min() < -1.8
    assert path.best.room_a[:, 0].min() > path.chord.room_a[:, 0].min() + 0.5
    assert np.isfinite(features_of(path)).all()


def test_odd_bands_get_finite_numbers() -> None:
    """Nothing around, an ion on a host atom, elements without a radius, a hop of many Å."""
    long, beside = np.linspace(0.1, 0.9, N_IMAGES)[:, None] * [1.0, 0.0, 0.0], [[0.5, 0.5, 0.0]]
    wide = np.eye(3) * 40.0
    steps = np.linspace(0.3, 0.4, N_IMAGES)[:, None] * [1.0, 0.0, 0.0]
    ions = np.full(N_IMAGES, 3)
    odd = [
        Crystal(wide, ions, steps),
        Crystal(wide, np.append(ions, 3), np.concatenate([steps, steps[:1]])),
        Crystal(wide, np.append(ions, 103), np.concatenate([steps, steps[2:3]])),
        Crystal(np.diag([30.0, 4.0, 4.0]), np.append(ions, 8), np.concatenate([long, beside])),
    ]
    for crystal in odd:
        features = curved_features(crystal)
        assert features.shape == (SIZE,)
        assert np.isfinite(features).all()


def test_field_keeps_every_atom_that_counts() -> None:
    """In a cell far smaller than the reach, every image is there."""
    ions = np.linspace(0, 0.5, N_IMAGES)[:, None] * [1, 1, 1]
    cell = Crystal(
        np.array([[3.0, 0, 0], [1.4, 3.1, 0], [0.5, -1.2, 3.3]]),
        np.array([3] * N_IMAGES + [8, 26]),
        np.concatenate([ions, [[0.1, 0.7, 0.4], [0.9, 0.2, 0.6]]]),
    )
    field = field_of(cell)

    def count(places_a: FloatArray, within_a: float) -> int:
        along = np.clip(places_a @ field.axis, -field.length_a / 2, field.length_a / 2)
        gap = np.linalg.norm(places_a - along[:, None] * field.axis, axis=1)
        return int((gap < within_a).sum())

    shifts = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3), axis=-1).reshape(-1, 3)
    for number, frac in zip(cell.numbers[N_IMAGES:], cell.frac[N_IMAGES:], strict=True):
        contact_a = float(covalent_radii_a(np.array([3, number])).sum())
        places = (frac + shifts - cell.frac[2]) @ cell.lattice
        kept = field.places_a[np.isclose(field.contact_a, contact_a)]
        within_a = CAPSULE_A + contact_a + FAR_A
        assert count(kept, within_a) == count(places, within_a) > 30


def test_field_without_atoms_is_flat() -> None:
    ends = np.array([[-1.0, 0, 0], [1.0, 0, 0]])
    empty = Field(ends, np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=np.int64))
    assert (empty.energy(ends) == 0).all()


def test_names_are_unique_words() -> None:
    assert len(set(NAMES)) == SIZE
    assert all(name.isidentifier() for name in NAMES)


def test_imports_without_the_heavy_libraries() -> None:
    """Models use it on machines without spglib, pymatgen, vesin; nothing here needs torch."""
    code = (
        "import sys, pathways.curved\n"
        "print(set(sys.modules) & {'spglib', 'pymatgen', 'vesin', 'torch', 'sklearn'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_literature_barriers_follow_the_curved_path(data_dir: Path) -> None:
    """No band is refused, one takes milliseconds, and the curve tells more than the chord."""
    from models.dataset import load_bands

    labelled = load_bands(data_dir / "em_bands_train.json")
    rows, seconds = [], []
    for band in labelled.bands[::2]:
        began = time.process_time()
        rows.append(curved_features(band.folded))
        seconds.append(time.process_time() - began)
    features = np.array(rows)
    assert np.isfinite(features).all()
    assert np.median(seconds) < 0.1
    ranks = {
        name: spearmanr(features[:, NAMES.index(name)], labelled.em_ev[::2]).statistic
        for name in ("best_over_low_end", "chord_over_low_end", "length")
    }
    assert ranks["best_over_low_end"] > 0.5
    assert ranks["best_over_low_end"] > ranks["chord_over_low_end"] > ranks["length"]
