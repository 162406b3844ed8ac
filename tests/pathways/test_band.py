from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pathways.band import build_band
from pathways.convert import structure_from_crystal
from pathways.hops import enumerate_hops
from pathways.neighbours import perpendicular_widths
from pathways.supercell import BandSettings
from pathways.types import Band, Crystal, PathwayError
from tests.pathways.crystals import KNOWN


def filled(band: Band) -> Crystal:
    """The supercell with both end sites filled again: host, start and end."""
    ends = band.ion_frac[[0, -1]]
    return Crystal(
        band.lattice,
        np.concatenate([band.host_numbers, [band.ion_number] * 2]),
        np.concatenate([band.host_frac, ends]),
    )


@pytest.mark.parametrize("name", KNOWN)
def test_band_is_the_supercell_less_the_two_ends(name: str) -> None:
    network = enumerate_hops(KNOWN[name].crystal(), KNOWN[name].ion)
    for hop in network.hops:
        band = build_band(network.crystal, hop)
        widths = perpendicular_widths(band.lattice)
        assert widths.min() >= 8.0 - 1e-5
        assert widths.min() > 2 * hop.length_a
        assert np.allclose(band.lattice, band.supercell @ network.crystal.lattice)
        cells = round(float(np.linalg.det(band.supercell)))
        assert len(band.host_numbers) == cells * len(network.crystal) - 2
        assert cells * len(network.crystal) <= 400
        perfect = structure_from_crystal(network.crystal).make_supercell(
            band.supercell, in_place=False
        )
        again = filled(band)
        assert Counter(again.numbers.tolist()) == Counter(perfect.atomic_numbers)
        gap = again.frac[:, None] - perfect.frac_coords
        distance = np.linalg.norm((gap - np.rint(gap)) @ band.lattice, axis=-1)
        nearest = distance.argmin(axis=1)
        assert distance.min(axis=1).max() < 1e-6
        assert sorted(nearest) == list(range(len(perfect)))
        assert np.array_equal(np.array(perfect.atomic_numbers)[nearest], again.numbers)


@pytest.mark.parametrize("name", KNOWN)
def test_ion_moves_along_the_recorded_vector(name: str) -> None:
    network = enumerate_hops(KNOWN[name].crystal(), KNOWN[name].ion)
    hop = network.hops[-1]
    band = build_band(network.crystal, hop)
    vector = (hop.end_frac - hop.start_frac) @ network.crystal.lattice
    steps = np.diff(band.ion_frac, axis=0) @ band.lattice
    assert np.allclose(steps, vector / 4)
    assert np.allclose(band.ion_frac[0] @ band.lattice, hop.start_frac @ network.crystal.lattice)
    assert band.length_a == pytest.approx(hop.length_a)
    assert len(band.folded) == len(band) == len(band.host_numbers) + 5
    assert np.all(band.folded.numbers[:5] == band.ion_number)


def test_reversed_hop_gives_the_same_host() -> None:
    network = enumerate_hops(KNOWN["LiFePO4 olivine"].crystal(), "Li")
    for hop in network.hops:
        reverse = replace(
            hop,
            start=hop.end,
            end=hop.start,
            image=tuple(-n for n in hop.image),
            start_frac=network.crystal.frac[hop.end],
            end_frac=network.crystal.frac[hop.start] - hop.image,
        )
        one, other = build_band(network.crystal, hop), build_band(network.crystal, reverse)
        back = other.ion_frac[::-1]
        shift = one.ion_frac[0] - back[0]
        assert np.allclose(one.ion_frac - back, shift)
        gap = (other.host_frac + shift)[:, None] - one.host_frac
        distance = np.linalg.norm((gap - np.rint(gap)) @ one.lattice, axis=-1)
        assert distance.min(axis=1).max() < 1e-6


def test_given_supercell_is_used_and_checked() -> None:
    network = enumerate_hops(KNOWN["LiCoO2 layered"].crystal(), "Li")
    hop = network.hops[0]
    skewed = (3, 1, 0, 0, 3, 0, -1, 0, 2)
    band = build_band(network.crystal, hop, BandSettings(supercell=skewed))
    assert band.supercell.ravel().tolist() == list(skewed)
    assert len(band.host_numbers) == 18 * 4 - 2
    with pytest.raises(PathwayError) as refused:
        build_band(network.crystal, hop, BandSettings(supercell=skewed, max_atoms=71))
    assert refused.value.reason == "too_many_atoms"
    with pytest.raises(PathwayError) as refused:
        build_band(network.crystal, hop, BandSettings(supercell=(1, 0, 0, 0, 1, 0, 0, 0, 1)))
    assert refused.value.reason == "ends_coincide"


def test_too_many_atoms() -> None:
    network = enumerate_hops(KNOWN["NaZr2P3O12 NASICON"].crystal(), "Na")
    with pytest.raises(PathwayError) as refused:
        build_band(network.crystal, network.hops[0], BandSettings(max_atoms=100))
    assert refused.value.reason == "too_many_atoms"


def test_hop_of_another_crystal_is_refused() -> None:
    network = enumerate_hops(KNOWN["LiFePO4 olivine"].crystal(), "Li")
    other = enumerate_hops(KNOWN["LiCoO2 layered"].crystal(), "Li")
    for crystal, hop in (
        (other.crystal, network.hops[0]),
        (network.crystal, replace(network.hops[0], ion="Fe")),
        (network.crystal, replace(network.hops[0], image=(5, 0, 0))),
    ):
        with pytest.raises(PathwayError) as refused:
            build_band(crystal, hop)
        assert refused.value.reason == "hop_mismatch"


def test_overlapping_host_is_refused() -> None:
    network = enumerate_hops(KNOWN["LiCoO2 layered"].crystal(), "Li")
    frac = network.crystal.frac.copy()
    oxygen = np.flatnonzero(network.crystal.numbers == 8)
    frac[oxygen[0]] = frac[oxygen[1]] + 0.01
    broken = Crystal(network.crystal.lattice, network.crystal.numbers, frac)
    with pytest.raises(PathwayError) as refused:
        build_band(broken, network.hops[0])
    assert refused.value.reason == "overlapping_atoms"
