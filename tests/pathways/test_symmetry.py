from dataclasses import replace

import numpy as np
import pytest

from pathways.symmetry import site_permutations, symmetrise
from pathways.types import Crystal, PathwayError
from tests.pathways.crystals import CHANGES, KNOWN, shifted

SPACE_GROUPS = {name: known.space_group for name, known in KNOWN.items()}


@pytest.mark.parametrize("name", KNOWN)
def test_space_group_and_primitive_cell(name: str) -> None:
    crystal = KNOWN[name].crystal()
    reduced = symmetrise(crystal)
    centring = {"P": 1, "C": 2, "I": 2, "R": 3, "F": 4}[KNOWN[name].space_group[0]]
    assert reduced.space_group == KNOWN[name].space_group
    assert len(reduced.crystal) * centring == len(crystal)
    ratio = np.linalg.det(crystal.lattice) / np.linalg.det(reduced.crystal.lattice)
    assert ratio == pytest.approx(centring)
    assert np.all(np.diff(reduced.crystal.numbers) >= 0)
    assert reduced.symprec_a == 0.1


@pytest.mark.parametrize("name", KNOWN)
def test_every_operation_maps_every_site(name: str) -> None:
    reduced = symmetrise(KNOWN[name].crystal())
    frac = reduced.crystal.frac
    for number in np.unique(reduced.crystal.numbers):
        sites = np.flatnonzero(reduced.crystal.numbers == number)
        target, shift = site_permutations(reduced, sites)
        moved = frac[sites] @ reduced.rotations.transpose(0, 2, 1) + reduced.translations[:, None]
        gap = (moved - frac[sites][target] - shift) @ reduced.crystal.lattice
        assert np.abs(gap).max() < 1e-6
    metric = reduced.crystal.lattice @ reduced.crystal.lattice.T
    turned = reduced.rotations.transpose(0, 2, 1) @ metric @ reduced.rotations
    assert np.allclose(turned, metric, atol=1e-6)


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("change", ["rotated", "shuffled"])
def test_canonical_order_does_not_depend_on_orientation_or_order(name: str, change: str) -> None:
    crystal = KNOWN[name].crystal()
    one = symmetrise(crystal).crystal
    other = symmetrise(CHANGES[change](crystal, np.random.default_rng(7))).crystal
    assert np.array_equal(one.numbers, other.numbers)
    gap = one.frac - other.frac
    assert np.abs((gap - np.rint(gap)) @ one.lattice).max() < 1e-3


def test_same_input_same_output() -> None:
    crystal = KNOWN["LiFePO4 olivine"].crystal()
    one, other = symmetrise(crystal), symmetrise(crystal)
    assert np.array_equal(one.crystal.frac, other.crystal.frac)
    assert np.array_equal(one.rotations, other.rotations)


def test_noise_below_the_loose_tolerance_is_removed() -> None:
    crystal = KNOWN["LiTiS2 layered"].crystal()
    noise = np.random.default_rng(1).uniform(-0.01, 0.01, crystal.frac.shape)
    noisy = Crystal(
        crystal.lattice, crystal.numbers, crystal.frac + noise @ np.linalg.inv(crystal.lattice)
    )
    assert symmetrise(noisy).space_group == "P-3m1"
    assert symmetrise(noisy, symprec_a=(1e-4,)).space_group == "P1"


def test_tighter_tolerance_where_the_loose_one_fails() -> None:
    """At 1 Å the two H of a molecule count as one; the next tolerance is taken and recorded."""
    frac = np.array([[0, 0, 0], [0.185, 0, 0], [0.5, 0.5, 0.5]])
    crystal = Crystal(np.diag([4.0, 4.5, 5.0]), np.array([1, 1, 12]), frac)
    reduced = symmetrise(crystal, symprec_a=(1.0, 0.01))
    assert reduced.symprec_a == 0.01
    assert reduced.crystal.numbers.tolist() == [1, 1, 12]


@pytest.mark.parametrize(("off_a", "n_sites"), [(0.02, 2), (0.5, 16)])
def test_cubic_crystal_that_almost_has_a_smaller_cell(off_a: float, n_sites: int) -> None:
    """Eight cells of CsCl with the anions off centre, away from the same corner of all."""
    corners = np.argwhere(np.ones((2, 2, 2))) / 2
    centres = corners + 0.25
    centres += np.sign(0.5 - centres) * off_a / 8.0
    numbers = np.repeat([55, 17], 8)
    crystal = Crystal(8.0 * np.eye(3), numbers, np.concatenate([corners, centres]))
    reduced = symmetrise(crystal)
    assert (reduced.space_group, len(reduced.crystal)) == ("Pm-3m", n_sites)
    assert reduced.symprec_a == 0.1


def test_operation_that_maps_no_site_is_refused() -> None:
    reduced = symmetrise(KNOWN["MgMn2O4 spinel"].crystal())
    broken = replace(reduced, translations=reduced.translations + 0.1)
    with pytest.raises(PathwayError, match="symmetry_failed"):
        site_permutations(broken, np.flatnonzero(reduced.crystal.numbers == 12))


def test_hopeless_crystal_is_refused() -> None:
    crystal = KNOWN["LiTiS2 layered"].crystal()
    with pytest.raises(PathwayError, match="symmetry_failed"):
        symmetrise(crystal, symprec_a=())
    doubled = Crystal(
        crystal.lattice,
        np.concatenate([crystal.numbers, crystal.numbers]),
        np.concatenate([crystal.frac, crystal.frac + 1e-4]),
    )
    with pytest.raises(PathwayError, match="symmetry_failed"):
        symmetrise(doubled)


def test_sites_are_wrapped() -> None:
    crystal = shifted(KNOWN["MgMn2O4 spinel"].crystal(), np.random.default_rng(3))
    frac = symmetrise(crystal).crystal.frac
    assert frac.min() > -1e-3
    assert frac.max() < 1
