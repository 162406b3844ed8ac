"""Neither too many orbits nor too few, as told by distances that know no symmetry."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pathways.elements import atomic_number
from pathways.orbits import OrbitFinder, Orbits
from pathways.symmetry import SymmetrisedCrystal, symmetrise
from pathways.types import Crystal
from screen.sources.catalog import Catalog
from tests.pathways.chord_fingerprint import alike, merged
from tests.pathways.crystals import KNOWN
from tests.pathways.snapshot import FILE, random_crystals

FAR = 100
"""Neighbours that tell apart what the nearest twelve do not: layers that differ in how the ones
after the next are stacked, such as the cubic and hexagonal ones of a polytype of ZnS."""


def orbits_of(crystal: Crystal, ion: str, cutoff_a: float) -> tuple[SymmetrisedCrystal, Orbits]:
    symmetrised = symmetrise(crystal)
    return symmetrised, OrbitFinder(symmetrised, atomic_number(ion)).within(cutoff_a)


def some_of(orbits: Orbits, rows: list[int]) -> Orbits:
    members = tuple(orbits.members[row] for row in rows)
    return Orbits(orbits.labels[rows], orbits.length_a[rows], members)


def alike_for_good(crystal: Crystal, orbits: Orbits) -> tuple[int, int]:
    """Pairs of orbits alike to the 12th neighbour, and of those to the 100th."""
    pairs = alike(crystal, orbits)
    return len(pairs), sum(bool(alike(crystal, some_of(orbits, [*p]), FAR)) for p in pairs)


def test_every_orbit_of_the_catalog_is_one_and_no_other() -> None:
    count = 0
    for entry in Catalog().entries:
        for ion in entry.ions:
            symmetrised, orbits = orbits_of(entry.crystal(), ion, 6.0)
            assert merged(symmetrised.crystal, orbits) == 0, entry.mp_id
            assert alike(symmetrised.crystal, orbits) == [], entry.mp_id
            count += len(orbits)
    assert count > 900


@pytest.mark.parametrize(
    ("count", "seed"), [(100, 5), pytest.param(2000, 6, marks=pytest.mark.slow)]
)
def test_every_orbit_of_random_crystals_is_one_and_no_other(
    data_dir: Path, count: int, seed: int
) -> None:
    if not (data_dir / FILE).exists():
        pytest.skip(f"no {FILE} in {data_dir}")
    n_orbits = n_near = 0
    for stored in random_crystals(data_dir, count, 40, seed):
        symmetrised, orbits = orbits_of(stored.crystal, stored.ion, 5.0)
        assert merged(symmetrised.crystal, orbits) == 0, stored.material_id
        near, far = alike_for_good(symmetrised.crystal, orbits)
        assert far == 0, stored.material_id
        n_orbits, n_near = n_orbits + len(orbits), n_near + near
    assert n_orbits > 4 * count
    assert n_near < 0.01 * n_orbits


def test_only_far_neighbours_tell_some_layers_apart() -> None:
    """Potassium stacked ABAC: its cubic and hexagonal layers agree up to the 12th neighbour."""
    lattice = np.array([[4.6, 0, 0], [-2.3, 4.6 * np.sqrt(0.75), 0], [0, 0, 15.0]])
    frac = np.array([[0, 0, 0], [1 / 3, 2 / 3, 0.25], [0, 0, 0.5], [2 / 3, 1 / 3, 0.75]])
    symmetrised, orbits = orbits_of(Crystal(lattice, np.full(4, 19), frac), "K", 4.65)
    assert symmetrised.space_group == "P6_3/mmc"
    assert alike_for_good(symmetrised.crystal, orbits) == (1, 0)


@pytest.mark.parametrize("name", KNOWN)
def test_orbits_split_too_far_are_seen(name: str) -> None:
    """With the identity alone every hop is an orbit, and the distances tell which belong as one."""
    known = KNOWN[name]
    symmetrised, orbits = orbits_of(known.crystal(), known.ion, known.reach_a)
    identity = (symmetrised.rotations == np.eye(3)).all(axis=(1, 2))
    alone = replace(
        symmetrised,
        rotations=symmetrised.rotations[identity],
        translations=symmetrised.translations[identity],
    )
    split = OrbitFinder(alone, atomic_number(known.ion)).within(known.reach_a)
    assert len(split) == sum(map(len, orbits.members))
    expected = sum(len(members) * (len(members) - 1) // 2 for members in orbits.members)
    assert len(alike(symmetrised.crystal, split)) == expected


def test_orbits_merged_too_far_are_seen() -> None:
    """Two hops of one length between the same two sites, past different atoms."""
    frac = np.array([[0, 0, 0], [0.5, 0, 0], [0.25, 0.28, 0], [0.75, 0.20, 0.1]])
    crystal = Crystal(np.diag([7.0, 6.0, 8.0]), np.array([12, 12, 8, 8]), frac)
    symmetrised, orbits = orbits_of(crystal, "Mg", 3.6)
    assert (len(orbits), merged(symmetrised.crystal, orbits)) == (2, 0)
    one = Orbits(orbits.labels[:1], orbits.length_a[:1], (np.concatenate(orbits.members),))
    assert merged(symmetrised.crystal, one) == 1
