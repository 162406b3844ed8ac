"""Sites of an empty host from the crystal that its ions left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pathways.elements import atomic_number
from pathways.framework import fill_like
from pathways.hops import enumerate_hops
from pathways.types import Crystal, PathwayError
from tests.pathways.crystals import KNOWN


def emptied(crystal: Crystal, ion_number: int, seed: int) -> Crystal:
    """The framework alone, turned, shifted, reordered, strained by 2 % and shaken by 0.03 Å."""
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(crystal.numbers != ion_number)
    kept = rng.permutation(kept)
    strain = np.eye(3) + np.diag(rng.uniform(-0.02, 0.02, 3))
    lattice = crystal.lattice @ strain @ Rotation.random(rng=rng).as_matrix()
    noise = rng.normal(0.0, 0.03, (len(kept), 3)) @ np.linalg.inv(lattice)
    return Crystal(lattice, crystal.numbers[kept], crystal.frac[kept] + noise + rng.random(3))


@pytest.mark.parametrize("name", KNOWN)
def test_the_ions_come_back(name: str) -> None:
    known = KNOWN[name]
    crystal = known.crystal()
    number = atomic_number(known.ion)
    host = emptied(crystal, number, seed=len(name))
    filled = fill_like(host, crystal, known.ion)
    share = (filled.numbers == number).sum() / (filled.numbers != number).sum()
    assert share == pytest.approx((crystal.numbers == number).sum() / len(host))
    shortest, found = (enumerate_hops(one, known.ion).hops[0].length_a for one in (crystal, filled))
    assert found == pytest.approx(shortest, rel=0.05)


def test_a_host_smaller_than_the_filled_cell() -> None:
    """TiS2 has one formula unit; two of Li in Li(TiS2)2 need two."""
    known = KNOWN["LiTiS2 layered"]
    crystal = known.crystal()
    number = 3
    doubled = Crystal(
        crystal.lattice * np.array([[2.0], [1.0], [1.0]]),
        np.tile(crystal.numbers, 2),
        np.concatenate([crystal.frac, crystal.frac + np.array([1, 0, 0])]) / [2, 1, 1],
    )
    first = int(np.flatnonzero(doubled.numbers == number)[0])
    half = np.arange(len(doubled)) != first
    half_filled = Crystal(doubled.lattice, doubled.numbers[half], doubled.frac[half])
    filled = fill_like(emptied(crystal, number, 0), half_filled, "Li")
    assert (filled.numbers == number).sum() * 2 == (filled.numbers == 22).sum()


def test_other_frameworks_and_full_hosts_are_refused() -> None:
    olivine, layered = KNOWN["LiFePO4 olivine"].crystal(), KNOWN["LiCoO2 layered"].crystal()
    host = emptied(olivine, 3, 0)
    swapped = replace(layered, numbers=np.where(layered.numbers == 27, 26, layered.numbers))
    for filled, ion, reason in (
        (layered, "Li", "other_framework"),
        (swapped, "Li", "other_framework"),
        (host, "Li", "no_mobile_ion"),
        (olivine, "Fe", "not_empty"),
    ):
        with pytest.raises(PathwayError) as caught:
            fill_like(host, filled, ion)
        assert caught.value.reason == reason
