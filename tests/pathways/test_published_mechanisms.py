"""Published bands of other mechanisms than the vacancy's come back from crystal and sites."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spglib

from pathways.band import build_band
from pathways.hops import HopSettings
from pathways.mechanisms import (
    interstitial_hops,
    with_second_vacancy,
)
from pathways.neighbours import pairs_within
from pathways.supercell import BandSettings
from pathways.symmetry import SymmetrisedCrystal, symmetrise
from pathways.types import Band, Crystal, FloatArray, Hop, HopNetwork, IntArray
from tests.pathways.test_published import (
    CORRUPT,
    Published,
    rebuilt,
    site_at,
)


@pytest.fixture(scope="module")
def entries(data_dir: Path) -> dict[str, dict[str, Any]]:
    path = data_dir / "em_bands_train.json"
    if not path.exists():
        pytest.skip(f"no {path.name} in the data folder")
    found = {entry["sys_name"]: entry for entry in json.loads(path.read_text())}
    return {name: found[name] for name in sorted(found) if name not in CORRUPT}


def without_ion(entry: Published) -> IntArray:
    """Which sites of the published cell, start and end first, are not the ion's."""
    return np.flatnonzero(entry.crystal.numbers != entry.crystal.numbers[0])


def with_all_sites(entry: Published) -> Published:
    """The ion at both end sites in every translational copy that the framework has of them."""
    lattice, frac = entry.crystal.lattice, entry.crystal.frac
    framework = without_ion(entry)
    host = entry.crystal.numbers[framework]
    found = spglib.get_symmetry_dataset((lattice, frac[framework], host), symprec=0.1)
    copies = found.translations[(found.rotations == np.eye(3)).all(axis=(1, 2))]
    sites: list[FloatArray] = []
    for site in (frac[:2, None] + copies).reshape(-1, 3):
        gaps = np.array([site - other for other in sites]).reshape(-1, 3)
        if np.linalg.norm((gaps - np.rint(gaps)) @ lattice, axis=1).min(initial=9.0) > 0.3:
            sites.append(site)
    ions = np.full(len(sites), entry.crystal.numbers[0])
    crystal = Crystal(
        lattice, np.concatenate([ions, host]), np.concatenate([sites, frac[framework]])
    )
    return replace(entry, crystal=crystal)


@dataclass(frozen=True)
class Found:
    """A published hop in the symmetrised crystal of its cell."""

    network: HopNetwork
    symmetrised: SymmetrisedCrystal
    hop: Hop
    home: IntArray
    """(3,), the cell that it starts in."""
    settings: BandSettings
    """With the published cell."""


def found_in(filled: Published) -> Found:
    network = filled.network(filled.length_a + 0.05)
    symmetrised = symmetrise(filled.crystal)
    assert np.array_equal(symmetrised.crystal.frac, network.crystal.frac)
    ends = symmetrised.from_given(filled.ion_frac[[0, -1]])
    (i, cell), (j, last) = (site_at(network, filled.ion, end) for end in ends)
    a, b, c = (last - cell).tolist()
    members = ([i, j, a, b, c], [j, i, -a, -b, -c])
    (orbit,) = [hop for hop in network.hops if any(m in hop.orbit.tolist() for m in members)]
    hop = replace(
        orbit,
        start=i,
        end=j,
        image=(a, b, c),
        start_frac=network.crystal.frac[i],
        end_frac=network.crystal.frac[j] + (a, b, c),
    )
    sign = round(np.sign(np.linalg.det(symmetrised.given_cell)))
    supercell = tuple((sign * symmetrised.given_cell).ravel().tolist())
    return Found(network, symmetrised, hop, cell, BandSettings(supercell=supercell, max_atoms=5000))


def surroundings(lattice: FloatArray, numbers: IntArray, frac: FloatArray) -> list[FloatArray]:
    """For each of the first five atoms, the sorted (atomic number, distance) of those beyond."""
    i, j, _, distance = pairs_within(lattice, frac, 5.0)
    found = []
    for ion in range(5):
        rows = (i == ion) & (j >= 5)
        order = np.lexsort([distance[rows], numbers[j[rows]]])
        found.append(np.stack([numbers[j[rows]], distance[rows]], axis=1)[order])
    return found


def is_published(band: Band, entry: dict[str, Any]) -> bool:
    """Whether a band has the composition of a published one, and its ion the same surroundings,
    forwards or backwards."""
    known = rebuilt(entry)
    host_numbers, host_frac = known.crystal.numbers[2:], known.crystal.frac[2:]
    if Counter(band.host_numbers.tolist()) != Counter(host_numbers.tolist()):
        return False
    ions = np.full(5, known.crystal.numbers[0])
    theirs = surroundings(
        known.crystal.lattice,
        np.concatenate([ions, host_numbers]),
        np.concatenate([known.ion_frac, host_frac]),
    )
    ours = surroundings(band.lattice, band.folded.numbers, band.folded.frac)
    return any(
        all(_alike(one, other) for one, other in zip(way, theirs, strict=True))
        for way in (ours, ours[::-1])
    )


def _alike(one: FloatArray, other: FloatArray) -> bool:
    """Whether distances up to 4.9 Å agree to 0.1 Å; what is beyond may be out of sight of one."""
    for number in np.unique(other[:, 0]):
        first, second = (side[side[:, 0] == number, 1] for side in (one, other))
        count = int((second < 4.9).sum())
        if len(first) < count or np.abs(first[:count] - second[:count]).max(initial=0) > 0.1:
            return False
    return True


def test_published_dilute_bands_come_back(entries: dict[str, dict[str, Any]]) -> None:
    """From the framework with every site filled, the literature's supercell and ``dilute``."""
    names = []
    for name, entry in entries.items():
        known = rebuilt(entry)
        if len(without_ion(known)) == len(known.crystal) - 2:
            names.append(name)
    assert len(names) >= 130
    filled_more = 0
    for name in names[::4]:
        known = rebuilt(entries[name])
        filled = with_all_sites(known)
        filled_more += len(filled.crystal) > len(known.crystal)
        found = found_in(filled)
        dilute = replace(found.hop, mechanism="dilute")
        band = build_band(found.network.crystal, dilute, found.settings)
        assert is_published(band, entries[name]), name
    assert filled_more >= 10


@pytest.mark.parametrize(
    "name",
    [
        "CaV2S3O12",
        "CaNi2S3O12",
        "CaCo2S3O12",
        "CaNaV2PSi2O12_1",
        "CaNaV2P2SO12_3",
    ],
)
def test_published_interstitial_bands_come_back(
    entries: dict[str, dict[str, Any]], name: str
) -> None:
    """Stoichiometric crystals whose ion goes to a site that they have empty."""
    if name not in entries:
        pytest.skip(f"{name} is not in the training split")
    known = rebuilt(entries[name])
    crystal = known.crystal
    start = np.delete(np.arange(len(crystal)), 1)
    as_it_is = Crystal(crystal.lattice, crystal.numbers[start], crystal.frac[start])
    settings = HopSettings(
        cutoff_a=known.length_a + 0.05, min_clearance_a=0, third_site_a=0, max_hops=1000
    )
    network = interstitial_hops(as_it_is, known.ion, crystal.frac[1:2], settings)
    assert len(network.crystal) > len(as_it_is)
    same_cell = BandSettings(supercell=(1, 0, 0, 0, 1, 0, 0, 0, 1))
    hops = [hop for hop in network.hops if abs(hop.length_a - known.length_a) < 0.05]
    bands = [build_band(network.crystal, hop, same_cell) for hop in hops]
    assert any(is_published(band, entries[name]) for band in bands)


def second_vacancy_of(filled: Published, known: Published) -> FloatArray:
    """(3,), the one site of the filled crystal that the published cell has empty besides."""
    gap = filled.crystal.frac[:, None] - known.crystal.frac
    gap_a = np.linalg.norm((gap - np.rint(gap)) @ known.crystal.lattice, axis=-1).min(axis=1)
    (row,) = np.flatnonzero(gap_a > 0.3)
    return np.asarray(filled.crystal.frac[row])


@pytest.mark.parametrize("name", ["LiNiO2_2", "LiMnO2_c2m_2", "NaMnO2_c2m_2", "ZnNiO2_2"])
def test_published_divacancy_bands_come_back(entries: dict[str, dict[str, Any]], name: str) -> None:
    if name not in entries:
        pytest.skip(f"{name} is not in the training split")
    known = rebuilt(entries[name])
    filled = with_all_sites(known)
    found = found_in(filled)
    place = found.symmetrised.from_given(second_vacancy_of(filled, known))
    site, cell = site_at(found.network, known.ion, place)
    bands = []
    for shift in np.ndindex(3, 3, 3):  # whichever image of the cell is nearest
        move = (np.array(shift) - 1) @ found.symmetrised.given_cell
        a, b, c = (cell - found.home + move).tolist()
        beside = with_second_vacancy(found.network, found.hop, (site, a, b, c))
        bands.append(build_band(found.network.crystal, beside, found.settings))
    assert any(is_published(band, entries[name]) for band in bands)
