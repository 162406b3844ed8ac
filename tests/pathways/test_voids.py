from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pathways.elements import atomic_number
from pathways.hops import enumerate_hops
from pathways.neighbours import closest_pair_a, integer_box, pairs_within
from pathways.oxidation import Oxidation
from pathways.types import Crystal, FloatArray, PathwayError
from pathways.voids import (
    MAX_CLEARANCE_A,
    MERGE_A,
    MIN_CLEARANCE_A,
    Voids,
    find_sites,
    voronoi_vertices,
)
from tests.bench import voids as bench
from tests.pathways.crystals import CHANGES, KNOWN


@cache
def emptied(name: str) -> Crystal:
    """A crystal of the list without its ion."""
    known = KNOWN[name]
    crystal = known.crystal()
    host = crystal.numbers != atomic_number(known.ion)
    return Crystal(crystal.lattice, crystal.numbers[host], crystal.frac[host])


@cache
def found(name: str, ion: str) -> Voids:
    return find_sites(emptied(name), ion)


def neighbours_of_best(voids: Voids, reach_a: float, rank: int = 0) -> list[int]:
    """Atomic numbers of the atoms around the best site, sorted."""
    site = voids.sites[rank]
    frac = np.concatenate([voids.host.frac, site.frac[None]])
    first, second, _, _ = pairs_within(voids.host.lattice, frac, reach_a)
    numbers = np.append(voids.host.numbers, 0)
    around = numbers[second[first == len(voids.host)]]
    return sorted(around[around > 0].tolist())


@pytest.mark.parametrize(
    ("name", "ion", "around", "reach_a"),
    [
        ("MgMn2O4 spinel", "Mg", [8] * 4, 2.3),  # 8a, tetrahedral
        ("MgMn2O4 spinel", "Li", [8] * 4, 2.3),
        ("LiFePO4 olivine", "Li", [8] * 6, 2.4),
        ("LiCoO2 layered", "Li", [8] * 6, 2.4),
        ("LiTiS2 layered", "Li", [16] * 6, 2.8),  # octahedral, not the tetrahedra of the gap
        ("LiTiS2 layered", "Mg", [16] * 6, 2.8),
        ("NaZr2P3O12 NASICON", "Na", [8] * 6, 2.7),
    ],
)
def test_known_site_is_the_best(name: str, ion: str, around: list[int], reach_a: float) -> None:
    voids = found(name, ion)
    assert voids.ranked_by == "bond_valence"
    assert neighbours_of_best(voids, reach_a) == around


@pytest.mark.parametrize(
    "name",
    ["MgMn2O4 spinel", "LiFePO4 olivine", "LiCoO2 layered", "LiRuO2 rutile-type",
     "NaZr2P3O12 NASICON", "LiVO2 anatase-type", "CaTiO3 perovskite"],
)  # fmt: skip
def test_filling_the_best_orbit_gives_the_crystal_back(name: str) -> None:
    known = KNOWN[name]
    crystal = known.crystal()
    voids = found(name, known.ion)
    filled = voids.filled()
    share = (crystal.numbers == atomic_number(known.ion)).sum() / len(crystal)
    assert len(voids.sites[0].orbit) / len(filled) == pytest.approx(share)
    before = enumerate_hops(crystal, known.ion).hops[0]
    after = enumerate_hops(filled, known.ion).hops[0]
    assert after.length_a == pytest.approx(before.length_a, rel=0.1)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["LiFePO4 olivine", "MgTi2S4 spinel", "LiMnBO3 monoclinic"])
def test_description_does_not_matter(
    name: str, change: Callable[[Crystal, np.random.Generator], Crystal]
) -> None:
    ion = KNOWN[name].ion
    other = find_sites(change(emptied(name), np.random.default_rng(7)), ion, top=3)
    for site, expected in zip(other.sites, found(name, ion).sites, strict=False):
        assert site.energy_ev == pytest.approx(expected.energy_ev, abs=0.01)
        assert site.multiplicity == expected.multiplicity
        assert site.clearance_a == pytest.approx(expected.clearance_a, abs=0.05)


@pytest.mark.parametrize("name", list(KNOWN))
def test_sites_are_apart_ranked_and_have_room(name: str) -> None:
    voids = found(name, KNOWN[name].ion)
    energies = [site.energy_ev for site in voids.sites]
    assert energies == sorted(energies)
    for site in voids.sites:
        assert site.clearance_a >= MIN_CLEARANCE_A
        assert closest_pair_a(voids.host.lattice, site.orbit, 0.04) == np.inf
    best = np.array([site.frac for site in voids.sites])
    assert closest_pair_a(voids.host.lattice, best, 1.0) > MERGE_A - 1e-6


def test_a_candidate_has_four_nearest_atoms() -> None:
    host = emptied("LiFePO4 olivine")
    vertices = voronoi_vertices(host)
    assert len(vertices) > 20
    gap = vertices[:, None] - host.frac
    gap = (gap - np.rint(gap))[:, :, None] + integer_box(np.ones(3, dtype=np.int64))
    room = np.sort(np.linalg.norm(gap @ host.lattice, axis=-1).reshape(len(vertices), -1))
    np.testing.assert_allclose(room[:, 3], room[:, 0])
    assert room[:, 0].min() >= MIN_CLEARANCE_A
    assert (np.diff(room[:, 0]) <= 1e-9).all()


def test_top_keeps_the_best() -> None:
    voids = find_sites(emptied("LiFePO4 olivine"), "Li", top=2)
    assert [site.energy_ev for site in voids.sites] == pytest.approx(
        [site.energy_ev for site in found("LiFePO4 olivine", "Li").sites[:2]]
    )


def test_a_crystal_with_its_ion_gives_the_other_sites() -> None:
    crystal = KNOWN["LiCoO2 layered"].crystal()
    voids = find_sites(crystal, "Li")
    occupied = voids.host.frac[voids.host.numbers == 3]
    for site in voids.sites:
        gap = (site.orbit[:, None] - occupied).reshape(-1, 3)
        assert np.linalg.norm((gap - np.rint(gap)) @ voids.host.lattice, axis=1).min() > 1
    assert neighbours_of_best(voids, 2.1).count(8) == 4  # the tetrahedra between the layers


def test_unknown_bonds_leave_the_roomiest_first() -> None:
    host = emptied("LiTiS2 layered")
    numbers = np.where(host.numbers == 16, 33, host.numbers)
    arsenide = Crystal(host.lattice, numbers, host.frac)
    charges = Oxidation(numbers, np.where(numbers == 33, -3.0, 6.0), "composition")
    voids = find_sites(arsenide, "Li", oxidation=charges)
    assert voids.ranked_by == "clearance"
    assert voids.missing == ("Li-As",)
    rooms = [site.clearance_a for site in voids.sites]
    assert rooms == sorted(rooms, reverse=True)
    assert np.isnan(voids.sites[0].energy_ev)


def test_vacuum_holds_no_sites() -> None:
    host = emptied("LiTiS2 layered")
    lattice = host.lattice * [[1], [1], [4]]
    slab = Crystal(lattice, host.numbers, host.frac * [1, 1, 0.25])
    for site in find_sites(slab, "Li").sites:
        assert site.clearance_a <= MAX_CLEARANCE_A + 0.5


DENSE_A = 0.75 * (np.ones((3, 3)) - np.eye(3))
"""Face-centred cubic, atoms 1.06 Å apart."""


@pytest.mark.parametrize(
    ("lattice", "frac", "ion", "reason"),
    [
        (DENSE_A, [(0, 0, 0)], "Li", "no_voids"),
        (90 * np.eye(3), [(0, 0, 0)], "Li", "no_voids"),
        (9 * np.eye(3), [(0, 0, 0), (0, 0, 0.01)], "Li", "overlapping_atoms"),
        (9 * np.eye(3), [(0, 0, np.nan)], "Li", "non_finite"),
        (np.ones((3, 3)), [(0, 0, 0)], "Li", "singular_cell"),
        (9 * np.eye(3), [(0, 0, 0)], "Lithium", "no_mobile_ion"),
    ],
)
def test_refusals(
    lattice: FloatArray, frac: list[tuple[float, float, float]], ion: str, reason: str
) -> None:
    crystal = Crystal(lattice, np.full(len(frac), 8), np.array(frac, dtype=np.float64))
    with pytest.raises(PathwayError) as caught:
        find_sites(crystal, ion)
    assert caught.value.reason == reason


def test_ranked_sites_beat_random_voids(data_dir: Path) -> None:
    """On a few of the published empty hosts; ``python -m tests.bench --only voids`` takes all."""
    if not (data_dir / "em_bands_train.json").exists():
        pytest.skip(f"no em_bands_train.json in {data_dir}")
    figures = bench.run(n_bands=12, seeds=(0, 1))
    assert all(figure.met for figure in figures)
    first = figures[0]
    assert first.value
    assert first.peer_value is not None
    assert first.value > 2 * first.peer_value
