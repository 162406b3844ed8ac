"""Sites found in empty hosts against those of the literature, random voids and the roomiest ones.

The published bands whose host holds none of the moving ion give a host and two sites in it. Ranked
by bond valence energy, the first few orbits of voids are so many positions; as many random points
of the same clearances, and as many of the roomiest voids, tell what the ranking is worth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from pathways.elements import SYMBOLS
from pathways.neighbours import integer_box, sites_around_cell
from pathways.symmetry import symmetrise
from pathways.types import Band, Crystal, FloatArray, PathwayError
from pathways.voids import Void, Voids, find_sites
from tests.bench.figures import Figure, bands_near

ORBITS = (1, 2, 3, 5)
RADII_A = (0.5, 0.75)
_ALL = 10_000
_DRAWS = 20_000
_SAME_CLEARANCE_A = 0.15
_PAD_A = 8.0


def run(n_bands: int = _ALL, seeds: Sequence[int] = (0, 1, 2, 3, 4)) -> list[Figure]:
    """Share of the literature's end sites near one of the first orbits, per number of orbits."""
    bands = [band for band in bands_near(0, _ALL) if band.ion_number not in band.host_numbers]
    bands = bands[:: max(1, len(bands) // n_bands)][:n_bands]  # from small cells to large
    hits: dict[tuple[int, str], list[FloatArray]] = {}
    positions: dict[int, list[int]] = {count: [] for count in ORBITS}
    done, unranked = 0, 0
    for band in bands:
        host = Crystal(band.lattice, band.host_numbers, band.host_frac)
        try:
            voids = find_sites(host, SYMBOLS[band.ion_number])
        except PathwayError:
            continue
        done += 1
        unranked += voids.ranked_by != "bond_valence"
        ends = ends_in_primitive(band)
        for count in ORBITS:
            ranked = np.concatenate([site.orbit for site in voids.sites[:count]])
            positions[count].append(len(ranked))
            for name, places in (
                ("ranked", [ranked]),
                ("roomiest", [roomiest(voids, len(ranked))]),
                ("random", [random_voids(voids, count, seed) for seed in seeds]),
            ):
                near = np.mean([_near(voids.host, ends, place) for place in places], axis=0)
                hits.setdefault((count, name), []).append(near)
    figures = []
    for count in ORBITS:
        share = {name: np.mean(hits[count, name], axis=0) for _, name in hits}
        for column, radius_a in enumerate(RADII_A):
            ours, random = 100 * share["ranked"][column], 100 * share["random"][column]
            figures.append(
                Figure(
                    name="voids",
                    what=f"literature sites within {radius_a:g} Å of the first {count} orbits",
                    unit="%",
                    target="> random",
                    value=float(ours),
                    met=bool(ours > random),
                    peer="random voids",
                    peer_value=float(random),
                    note=f"{done} of {len(bands)} empty hosts, {unranked} of them "
                    f"without parameters; median {np.median(positions[count]):.0f} positions; "
                    f"roomiest voids {100 * share['roomiest'][column]:.0f} %; {len(seeds)} seeds",
                )
            )
    return figures


def ends_in_primitive(band: Band) -> FloatArray:
    """(2, 3) both ends of a band's hop, fractional in the primitive cell of its host."""
    host = Crystal(band.lattice, band.host_numbers, band.host_frac)
    return symmetrise(host).from_given(band.ion_frac[[0, -1]])


def roomiest(voids: Voids, at_least: int) -> FloatArray:
    """(m, 3) places of the voids of most clearance, orbit by orbit until there are enough."""
    places: list[FloatArray] = []
    for site in sorted(voids.sites, key=lambda site: -site.clearance_a):
        if sum(map(len, places)) >= at_least:
            break
        places.append(site.orbit)
    return np.concatenate(places)


def random_voids(voids: Voids, count: int, seed: int) -> FloatArray:
    """(m, 3) random places, one for each of the first orbits' places and of like clearance."""
    rng = np.random.default_rng(seed)
    draws = rng.uniform(size=(_DRAWS, 3))
    clearance_a = _clearance_a(voids.host, draws)
    wanted: list[Void] = [site for site in voids.sites[:count] for _ in site.orbit]
    chosen = []
    for site in wanted:
        off = np.abs(clearance_a - site.clearance_a)
        alike = np.flatnonzero(off <= max(_SAME_CLEARANCE_A, float(off.min())))
        chosen.append(draws[rng.choice(alike)])
    return np.array(chosen)


def _clearance_a(crystal: Crystal, frac: FloatArray) -> FloatArray:
    atoms = sites_around_cell(crystal.lattice, crystal.frac, _PAD_A)
    return np.asarray(cKDTree(atoms).query(frac @ crystal.lattice)[0])


def _near(crystal: Crystal, ends: FloatArray, places: FloatArray) -> FloatArray:
    """(radii,) share of both ends that are within each radius of one of the places."""
    apart = ends[:, None, :] - places
    apart = (apart - np.rint(apart))[:, :, None, :] + integer_box(np.ones(3, dtype=np.int64))
    nearest = np.linalg.norm(apart @ crystal.lattice, axis=-1).min(axis=(1, 2))
    return np.array([(nearest <= radius).mean() for radius in RADII_A])
