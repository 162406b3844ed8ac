"""Each mechanism empties what it says, on real crystals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from pathways.band import build_band
from pathways.convert import crystal_from_structure
from pathways.elements import atomic_number
from pathways.hops import HopSettings, enumerate_hops
from pathways.mechanisms import (
    interstitial_hops,
    second_vacancies,
    with_mechanisms,
    with_second_vacancy,
)
from pathways.percolation import PeriodicUnion
from pathways.types import Crystal, HopNetwork, PathwayError
from tests.pathways.crystals import CHANGES, KNOWN
from tests.pathways.test_published import (
    site_at,
)

SPINEL = KNOWN["MgMn2O4 spinel"]
OCTAHEDRAL = (0.125, 0.125, 0.125)
"""The spinel's empty 16c site in the setting of ``KNOWN``, with Mg at the origin."""


def network_of(name: str) -> HopNetwork:
    return enumerate_hops(KNOWN[name].crystal(), KNOWN[name].ion)


def refusal(*args: Any, **options: Any) -> str:
    with pytest.raises(PathwayError) as refused:
        interstitial_hops(*args, **options)
    return refused.value.reason


@pytest.mark.parametrize("name", KNOWN)
def test_a_dilute_band_is_the_vacancy_band_without_other_ions(name: str) -> None:
    network = with_mechanisms(network_of(name), ("vacancy", "dilute"))
    number = atomic_number(network.ion)
    half = len(network.hops) // 2
    for vacancy, dilute in zip(network.hops[:half], network.hops[half:], strict=True):
        assert dilute.id_in("m") == f"{vacancy.id_in('m')}:dilute"
        assert np.array_equal(dilute.orbit, vacancy.orbit)
        one, other = build_band(network.crystal, vacancy), build_band(network.crystal, dilute)
        framework = one.host_numbers != number
        assert np.array_equal(one.host_frac[framework], other.host_frac)
        assert np.array_equal(one.host_numbers[framework], other.host_numbers)
        assert np.array_equal(one.ion_frac, other.ion_frac)
        assert np.array_equal(one.lattice, other.lattice)


def test_ids_of_vacancy_hops_are_what_they_were() -> None:
    hop = network_of("LiFePO4 olivine").hops[0]
    a, b, c = hop.image
    assert hop.id_in("mp-1") == f"mp-1:Li:{hop.start}-{hop.end}:{a},{b},{c}"


def test_mechanisms_that_need_a_site_are_refused_without() -> None:
    network = network_of("LiCoO2 layered")
    for mechanism in ("interstitial", "divacancy", "exchange"):
        with pytest.raises(PathwayError) as refused:
            with_mechanisms(network, ("vacancy", mechanism))
        assert refused.value.reason == "unknown_mechanism"
        with pytest.raises(PathwayError) as refused:
            build_band(network.crystal, replace(network.hops[0], mechanism=mechanism))
        assert refused.value.reason in ("hop_mismatch", "unknown_mechanism")


def test_a_metal_has_no_dilute_host() -> None:
    lithium = Structure.from_spacegroup("Im-3m", Lattice.cubic(3.51), ["Li"], [[0, 0, 0]])
    network = with_mechanisms(enumerate_hops(crystal_from_structure(lithium), "Li"), ("dilute",))
    with pytest.raises(PathwayError) as refused:
        build_band(network.crystal, network.hops[0])
    assert refused.value.reason == "empty_host"


def test_interstitial_hops_of_the_spinel() -> None:
    """8a to 16c: a sqrt(3) / 8 long, two from every 16c and four of these in the cell; 3D."""
    network = interstitial_hops(SPINEL.crystal(), "Mg", np.array([OCTAHEDRAL]))
    hop = network.hops[0]
    assert hop.length_a == pytest.approx(8.45 * np.sqrt(3) / 8)
    assert hop.multiplicity == 8
    assert hop.mechanism == "interstitial"
    assert hop.key.endswith(":interstitial")
    assert len(network.crystal) == 14 + 4
    vacancy = enumerate_hops(SPINEL.crystal(), "Mg")
    assert np.array_equal(network.crystal.frac[:14], vacancy.crystal.frac)
    assert all(one.start not in one.empty_sites for one in network.hops)
    assert all(one.end in one.empty_sites for one in network.hops)
    union = PeriodicUnion()
    union.add(hop.orbit)
    assert union.dimension == 3


def test_an_interstitial_band_lacks_one_ion_only() -> None:
    network = interstitial_hops(SPINEL.crystal(), "Mg", np.array([OCTAHEDRAL]))
    band = build_band(network.crystal, network.hops[0])
    cells = round(float(np.linalg.det(band.supercell)))
    assert Counter(band.host_numbers.tolist()) == {12: 2 * cells - 1, 25: 4 * cells, 8: 8 * cells}
    gap = band.host_frac - band.ion_frac[0]
    assert np.linalg.norm((gap - np.rint(gap)) @ band.lattice, axis=1).min() > 1.9


@pytest.mark.parametrize("change", CHANGES)
def test_interstitial_hops_do_not_depend_on_the_cell(change: str) -> None:
    """Nor on which of the alike sites is given, nor on its being a little off."""
    rng = np.random.default_rng(3)
    crystal, marked = SPINEL.crystal(), np.array([OCTAHEDRAL, OCTAHEDRAL])
    marked[1] += (0.5, 0.5, 0.01)
    whole = Crystal(
        crystal.lattice,
        np.concatenate([crystal.numbers, [1, 1]]),
        np.concatenate([crystal.frac, marked]),
    )
    changed = CHANGES[change](whole, rng)
    sites = changed.frac[changed.numbers == 1]
    rest = changed.numbers != 1
    other = interstitial_hops(
        Crystal(changed.lattice, changed.numbers[rest], changed.frac[rest]), "Mg", sites[-1:]
    )
    one = interstitial_hops(crystal, "Mg", marked[:1])
    assert [hop.length_a for hop in other.hops] == pytest.approx([h.length_a for h in one.hops])
    assert [hop.multiplicity for hop in other.hops] == [hop.multiplicity for hop in one.hops]
    assert [hop.key for hop in other.hops] == [hop.key for hop in one.hops]


def test_bad_sites_are_refused() -> None:
    crystal = SPINEL.crystal()
    assert refusal(crystal, "Mg", np.array([0.1, 0.1, 0.1])) == "bad_shape"
    assert refusal(crystal, "Mg", np.empty((0, 3))) == "bad_shape"
    assert refusal(crystal, "Mg", np.array([[np.nan, 0, 0]])) == "non_finite"
    assert refusal(crystal, "Mg", np.array([[0.01, 0, 0]])) == "overlapping_atoms"
    assert refusal(crystal, "Li", np.array([OCTAHEDRAL])) == "no_mobile_ion"
    short = HopSettings(cutoff_a=1.0)
    assert refusal(crystal, "Mg", np.array([OCTAHEDRAL]), short) == "no_hops"


def test_second_vacancies_of_the_layered_hop() -> None:
    """Of the eight Li around a hop in a triangular layer two touch both ends, two lie in line with
    them and four beside; the hop's own symmetry, 2/m, makes those of each kind alike."""
    network = network_of("LiCoO2 layered")
    beside = second_vacancies(network, network.hops[0], within_a=2.9)
    assert len(beside) == len({hop.key for hop in beside}) == 3
    counts = []
    for hop in beside:
        assert hop.second_vacancy is not None
        site, *image = hop.second_vacancy
        assert hop.key.startswith(f"{network.hops[0].key}:divacancy-{site}:")
        place = network.crystal.frac[site] + image
        ends_a = np.linalg.norm(
            ([hop.start_frac, hop.end_frac] - place) @ network.crystal.lattice, axis=1
        )
        counts.append(int((ends_a < 2.9).sum()))
    assert sorted(counts) == [1, 1, 2]


def test_alike_vacancies_have_one_name() -> None:
    network = network_of("LiFePO4 olivine")
    for hop in network.hops:
        for beside in second_vacancies(network, hop, within_a=5.0):
            assert beside.second_vacancy is not None
            assert with_second_vacancy(network, hop, beside.second_vacancy).key == beside.key
    hop = network.hops[0]  # along b, with an inversion centre in the middle
    site, *image = second_vacancies(network, hop, within_a=5.0)[0].second_vacancy or (0, 0, 0, 0)
    mirrored = hop.start_frac + hop.end_frac - (network.crystal.frac[site] + image)
    other, cell = site_at(network, "Li", mirrored)
    a, b, c = cell.tolist()
    assert (other, a, b, c) != (site, *image)
    found = with_second_vacancy(network, hop, (other, a, b, c))
    assert found.second_vacancy == (site, *image)


def test_a_divacancy_band_lacks_the_named_ion() -> None:
    network = network_of("LiFePO4 olivine")
    hop = network.hops[0]
    vacancy = build_band(network.crystal, hop)
    for beside in second_vacancies(network, hop, within_a=5.0):
        band = build_band(network.crystal, beside)
        assert len(band.host_numbers) == len(vacancy.host_numbers) - 1
        site, *image = beside.second_vacancy or (0, 0, 0, 0)
        place = (network.crystal.frac[site] + image) @ np.linalg.inv(band.supercell)
        gap = vacancy.host_frac - place
        gone = np.linalg.norm((gap - np.rint(gap)) @ band.lattice, axis=1) < 1e-6
        assert gone.sum() == 1
        assert np.array_equal(vacancy.host_frac[~gone], band.host_frac)


def test_vacancies_that_are_none_are_refused() -> None:
    network = network_of("LiFePO4 olivine")
    hop = network.hops[0]
    iron = int(np.flatnonzero(network.crystal.numbers == 26)[0])
    for wrong in ((hop.start, 0, 0, 0), (hop.end, *hop.image), (iron, 0, 0, 0), (99, 0, 0, 0)):
        with pytest.raises(PathwayError) as refused:
            with_second_vacancy(network, hop, wrong)
        assert refused.value.reason == "hop_mismatch"
    dilute = replace(hop, mechanism="dilute")
    with pytest.raises(PathwayError):
        second_vacancies(network, dilute)


def test_hops_through_atoms_say_so() -> None:
    """Dropped unless asked for, and then flagged."""
    known = KNOWN["LiRuO2 rutile-type"]
    kept = enumerate_hops(known.crystal(), "Li", HopSettings(cutoff_a=5.5))
    assert not any("through_atom" in hop.flags for hop in kept.hops)
    every = enumerate_hops(known.crystal(), "Li", HopSettings(cutoff_a=5.5, min_clearance_a=0.0))
    through = [hop for hop in every.hops if "through_atom" in hop.flags]
    assert len(through) == len(every.hops) - len(kept.hops) > 0
    assert all(hop.clearance_a < 0.5 and "low_clearance" in hop.flags for hop in through)
