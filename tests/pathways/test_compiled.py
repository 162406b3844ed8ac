"""The compiled parts against numpy, for every instruction set here; and without them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import pytest

from pathways import compiled
from pathways.band import build_band
from pathways.bond_valence_path import profile
from pathways.chords import chord_clearance_a
from pathways.compiled_paths import described
from pathways.compiled_shells import distances_a, shells
from pathways.curved import FAR_A, curved_path, features_of
from pathways.curved_field import Field, field_of
from pathways.curved_search import grid_path, resample
from pathways.hops import HopSettings, enumerate_hops
from pathways.neighbours import closest_pair_a
from pathways.types import N_IMAGES, Band
from tests.pathways.crystals import KNOWN

SOURCES = sorted(Path(compiled.__file__).parent.glob("*.c"))
LEVELS = ("plain", "AVX2", "AVX-512")
NAMES = ("LiFePO4 olivine", "LiCoO2 layered", "NaZr2P3O12 NASICON", "LiMnBO3 monoclinic")


def build(folder: Path, *options: str) -> Path:
    """The library as an installation builds it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    library = folder / f"_paths{EXTENSION_SUFFIXES[0]}"
    subprocess.run(
        [compiler, "-O3", "-fopenmp-simd", "-fno-math-errno", "-Wall", "-Wextra", "-Werror",
         "-shared", "-fPIC", *options, "-o", str(library), *map(str, SOURCES), "-lm"], check=True,
    )  # fmt: skip
    return library


@pytest.fixture(scope="module", params=range(len(LEVELS)), ids=LEVELS)
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("library")
    best = compiled.load(build(folder))
    assert best is not None
    level = best.ionscreen_paths_level()
    if request.param > level:
        pytest.skip(f"this processor has no {LEVELS[request.param]}")
    if request.param == level:
        return best
    found = compiled.load(
        build(tmp_path_factory.mktemp("set"), f"-DIONSCREEN_LEVEL={request.param}")
    )
    assert found is not None
    assert found.ionscreen_paths_level() == request.param
    return found


@pytest.fixture(scope="module")
def bands() -> list[Band]:
    """Hops of several crystals, straight and bent, short and long."""
    found = []
    for name in NAMES:
        known = KNOWN[name]
        network = enumerate_hops(known.crystal(), known.ion, HopSettings(max_hops=3))
        found += [build_band(network.crystal, hop) for hop in network.hops]
    return found


@pytest.fixture
def both(
    library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], object]], tuple[object, object]]:
    """What a function gives with the library, and without it."""

    def run(function: Callable[[], object]) -> tuple[object, object]:
        monkeypatch.setattr(compiled, "library", lambda: library)
        with_it = function()
        monkeypatch.setattr(compiled, "library", lambda: None)
        return with_it, function()

    return run


Both = Callable[[Callable[[], object]], tuple[object, object]]


def assert_same(found: object, expected: object, scale: float = 1.0) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * scale)  # type: ignore[arg-type]


def test_curved_paths_are_the_same(both: Both, bands: list[Band]) -> None:
    """Their numbers: of paths that symmetry makes alike, rounding takes one."""
    for band in bands:
        found, expected = both(lambda band=band: features_of(curved_path(band.folded)))
        assert_same(found, expected)
        found, expected = both(lambda band=band: curved_path(band.folded).from_chord.room_a)
        assert_same(found, expected)


def test_the_field_holds_the_same_atoms_in_the_same_order(both: Both, bands: list[Band]) -> None:
    for band in bands:
        found, expected = both(lambda band=band: field_of(band.folded))
        assert isinstance(found, Field)
        assert isinstance(expected, Field)
        assert (found.kinds == expected.kinds).all()
        assert_same(found.places_a, expected.places_a, 10.0)


def test_a_path_on_the_grid_is_the_same_where_nothing_is_symmetric(
    both: Both, bands: list[Band]
) -> None:
    for band in bands[:4]:
        folded = band.folded
        moved = np.random.default_rng(5).normal(scale=0.01, size=folded.frac[5:].shape)
        folded.frac[5:] += moved @ np.linalg.inv(folded.lattice)
        field = field_of(folded)
        found, expected = both(lambda field=field: grid_path(field))
        assert_same(found[0], expected[0])  # type: ignore[index]
        assert_same(found[1], expected[1])  # type: ignore[index]


def test_polygons_are_spread_the_same(both: Both) -> None:
    rng = np.random.default_rng(2)
    polygons = rng.normal(size=(3, 7, 3))
    polygons[1, 3] = polygons[1, 2]  # two corners at one place
    polygons[2] = polygons[2, :1]
    for points in (2, 5, 21):
        found, expected = both(lambda points=points: resample(polygons, points))
        assert_same(found, expected)


def test_bond_valence_energies_are_the_same(both: Both, bands: list[Band]) -> None:
    for band in bands:
        path_a = np.linspace(-3.0, 4.0, 12)[:, None] * [1.0, 0.7, -0.4]  # through other cells too
        for path in (None, path_a @ band.lattice / 4):
            found, expected = both(lambda band=band, path=path: profile(band, path).energies_ev)
            assert np.isfinite(np.asarray(expected)).all()
            assert_same(found, expected, float(np.abs(expected).max()))  # type: ignore[call-overload]


@pytest.mark.parametrize("name", NAMES)
def test_hops_are_the_same(both: Both, name: str) -> None:
    """Symmetry, orbits and clearances, which ask for the nearest of places."""
    known = KNOWN[name]

    def hops() -> list[tuple[object, ...]]:
        network = enumerate_hops(known.crystal(), known.ion)
        return [(hop.key, hop.multiplicity, hop.clearance_a) for hop in network.hops]

    found, expected = both(hops)
    assert [one[:2] for one in found] == [one[:2] for one in expected]  # type: ignore[attr-defined]
    assert_same([one[2] for one in found], [one[2] for one in expected])  # type: ignore[attr-defined]


def test_distances_are_the_same(both: Both) -> None:
    rng = np.random.default_rng(1)
    lattice = np.diag([7.0, 8.0, 9.0]) + rng.normal(scale=0.5, size=(3, 3))
    frac = rng.uniform(-1.0, 2.0, size=(60, 3))
    found, expected = both(lambda: closest_pair_a(lattice, frac, 3.0))
    assert_same(found, expected)
    ends = rng.uniform(size=(2, 9, 3))
    for ignored in (False, True):
        ends[0, 0] = frac[0]
        found, expected = both(
            lambda ignored=ignored: chord_clearance_a(lattice, *ends, frac, ignore_ends=ignored)
        )
        assert_same(found, expected)


def test_shells_around_the_images_of_an_ion(
    library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, bands: list[Band]
) -> None:
    """Distances to the cells around, atoms by shell, and the two nearest, kind by kind."""
    monkeypatch.setattr(compiled, "library", lambda: library)
    folded, reach_a, centres_a = bands[0].folded, 6.5, np.arange(0.8, 6.01, 0.4)
    apart_a = distances_a(folded.lattice, folded.frac, N_IMAGES)
    kinds = (folded.numbers[N_IMAGES:] % 3).astype(np.int64)
    assert apart_a is not None
    found = shells(apart_a, kinds, centres_a, 0.4, reach_a)
    assert found is not None
    step = folded.frac - folded.frac[:N_IMAGES, None]
    cells = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 1, 3)
    expected = np.linalg.norm((step - np.rint(step) + cells) @ folded.lattice, axis=-1)
    assert_same(apart_a, expected, 10.0)
    for kind in range(3):
        for image in range(N_IMAGES):
            near = np.sort(expected[:, image, N_IMAGES:][:, kinds == kind], axis=None)
            near = near[near <= reach_a]
            gaps = (near[:, None] - centres_a) / 0.4
            assert_same(found[0][kind, image], np.exp(-(gaps**2)).sum(axis=0))
            assert_same(found[1][kind, image], np.append(near[:2], [reach_a] * 2)[:2])


def test_more_images_than_there_is_room_for_at_first(both: Both, bands: list[Band]) -> None:
    """A dense crystal: the library says how many there are, and is asked again."""
    band = bands[0]
    shifts = np.random.default_rng(4).uniform(size=(800, 3))
    crowd = Band(
        lattice=band.lattice,
        host_numbers=np.full(800, 8),
        host_frac=shifts,
        ion_number=band.ion_number,
        ion_frac=band.ion_frac,
        supercell=band.supercell,
    )
    found, expected = both(lambda: field_of(crowd.folded).places_a)
    assert len(found) > 1024  # type: ignore[arg-type]
    assert_same(found, expected, 10.0)


def test_the_exponential_is_exact_enough(
    library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one atom alone, energies from its middle down to nothing."""
    monkeypatch.setattr(compiled, "library", lambda: library)
    apart_a = np.linspace(0.0, 40.0, 301)
    path = apart_a[:, None] * [[1.0, 0.0, 0.0]]
    alone = Field(np.zeros((2, 3)), np.zeros((1, 3)), np.array([2.0]), np.array([2]))
    found = described(alone.host, path[None], FAR_A)
    assert found is not None
    by_class, room_a = found
    logarithm = alone.host.exponents * (4.0 - apart_a**2)
    expected = np.exp(np.maximum(logarithm, -700.0))
    bound = 4e-16 * np.maximum(np.abs(logarithm), 1.0)  # what rounding the logarithm alone makes
    seen = logarithm > -700.0
    assert (np.abs(by_class[0, :, 2] / expected - 1.0)[seen] <= bound[seen]).all()
    assert (by_class[0, :, 2][~seen] < 1e-300).all()
    np.testing.assert_allclose(room_a[0, :, 2], np.minimum(apart_a - 2.0, FAR_A), atol=1e-15)


def test_a_library_of_another_version_is_left_alone(tmp_path: Path) -> None:
    assert compiled.load(tmp_path / "none.so") is None
    (tmp_path / "text.so").write_text("no library")
    assert compiled.load(tmp_path / "text.so") is None
    other = tmp_path / "other.c"
    other.write_text("int ionscreen_paths_version(void) { return 0; }\n")
    compiler = shutil.which("cc") or pytest.skip("no C compiler")
    done = tmp_path / "other.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(done), str(other)], check=True)
    assert compiled.load(done) is None
