"""``python -m tests.bench.recall``: the literature's hops among those that are enumerated.

The crystal of a published band is its host with both end sites filled, so a complete enumeration
finds the hop whenever its length is within the cutoff: what is found says how far the default
cutoff reaches and what the filters drop, and nothing about finding sites. Ranks say what a user
sees: at which place the published hop stands among all hops of its crystal, by length and by Em of
voters that had not seen the host.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np

from models.blend import GRAPH, fit_voters
from models.blend_training import BlendRecipe, rows_of
from models.dataset import LabelledBands
from models.graph import build_graph
from pathways.band import build_band
from pathways.elements import SYMBOLS
from pathways.hops import HopSettings, enumerate_hops
from pathways.symmetry import symmetrise
from pathways.types import Band, Crystal, FloatArray, Hop, HopNetwork, PathwayError
from tests.bench.figures import Figure, labelled_bands

_CAVEAT = "both end sites are filled, so this is about the cutoff and the filters, not about sites"
_MOST_SITES = 3000


@dataclass(frozen=True, eq=False)
class _Found:
    """One published hop among the hops of its crystal."""

    network: HopNetwork
    at: int
    """Which of them it is."""


def run(n_bands: int | None = None) -> list[Figure]:
    """On all labelled bands, or on the first ones."""
    data = labelled_bands()
    data = data.take(range(len(data))[:n_bands])
    found: dict[int, _Found] = {}
    missed: Counter[str] = Counter()
    for index, band in enumerate(data.bands):
        try:
            found[index] = _find(band)
        except PathwayError as error:
            missed[error.reason] += 1
    refused = missed["overlapping_atoms"]
    share = len(found) / (len(data) - refused)
    said = ", ".join(f"{n} {reason}" for reason, n in missed.most_common())
    figures = [
        Figure(
            "recall", "published hops that are enumerated", "", "", share, note=f"{said}; {_CAVEAT}"
        )
    ]
    by_length = np.array([one.at for one in found.values()])
    n_hops = [len(one.network.hops) for one in found.values()]
    figures += _ranks("length", by_length, f"of {np.mean(n_hops):.1f} hops in the mean")
    by_em = np.array(list(_ranks_by_em(data, found).values()))
    figures += _ranks("Em", by_em, "host not seen in training")
    chance = float(np.mean([1 / n for n in n_hops]))
    return [*figures, Figure("rank-chance", "the same by chance", "", "", chance)]


def _find(band: Band) -> _Found:
    """The published hop in its crystal, by default settings.

    Raises:
        PathwayError: a reason of ``enumerate_hops``, or why the hop is not among those kept.
    """
    ends = band.ion_frac[[0, -1]]
    crystal = Crystal(
        band.lattice,
        np.concatenate([[band.ion_number] * 2, band.host_numbers]),
        np.concatenate([ends, band.host_frac]),
    )
    ion = SYMBOLS[band.ion_number]
    network = enumerate_hops(crystal, ion, HopSettings(max_sites=_MOST_SITES))
    seen = symmetrise(crystal)
    places = ends @ seen.given_cell + seen.given_origin
    (i, first), (j, last) = (_site_at(network, band.ion_number, place) for place in places)
    image = last - first
    members = [i, j, *image.tolist()], [j, i, *(-image).tolist()]
    for at, hop in enumerate(network.hops):
        if any(one in hop.orbit.tolist() for one in members):
            return _Found(network, at)
    if band.length_a > network.cutoff_a + 1e-3:
        raise PathwayError("beyond_cutoff", f"{band.length_a:.2f} Å")
    raise PathwayError("filtered", "passes a third site or an atom, or is one hop too many")


def _site_at(network: HopNetwork, number: int, place: FloatArray) -> tuple[int, np.ndarray]:
    """The ion's site and the cell of it that a place in the primitive basis lies on."""
    sites = np.flatnonzero(network.crystal.numbers == number)
    gap = place - network.crystal.frac[sites]
    cells = np.rint(gap)
    nearest = int(np.linalg.norm((gap - cells) @ network.crystal.lattice, axis=1).argmin())
    return int(sites[nearest]), cells[nearest].astype(np.int64)


def _ranks_by_em(data: LabelledBands, found: dict[int, _Found]) -> dict[int, int]:
    """Place of each published hop by Em from voters fitted on other hosts, 0 the lowest."""
    rows, _ = rows_of(data)
    recipe = BlendRecipe(folds=min(5, len(set(rows.groups))))
    folds = recipe.draw(rows, "group", 0)
    fold_of = dict(zip(rows.names, folds.tolist(), strict=True))
    ranks: dict[int, int] = {}
    for fold in range(recipe.folds):
        voters = fit_voters(rows.take(np.flatnonzero(folds != fold).tolist()), recipe.seed)
        for index in (one for one in found if fold_of.get(data.names[one]) == fold):
            one = found[index]
            numbers = {at: _numbers(one.network, hop) for at, hop in enumerate(one.network.hops)}
            known = {at: row for at, row in numbers.items() if row is not None}
            if one.at in known:
                mean, _, _ = voters(np.array(list(known.values())))
                em = dict(zip(known, mean.tolist(), strict=True))
                ranks[index] = sum(value < em[one.at] for value in em.values())
    return ranks


def _numbers(network: HopNetwork, hop: Hop) -> FloatArray | None:
    """What the voters read of a hop; None where no band can be built."""
    try:
        return build_graph(build_band(network.crystal, hop), GRAPH).descriptor
    except PathwayError:
        return None


def _ranks(by: str, ranks: np.ndarray, note: str) -> list[Figure]:
    return [
        Figure(
            f"rank-{by}-{place}",
            f"published hop among the first {place} by {by}",
            "",
            "",
            float(np.mean(ranks < place)),
            note=f"{len(ranks)} hops {note}",
        )
        for place in (1, 3)
    ]


if __name__ == "__main__":
    from tests.bench.__main__ import main

    sys.exit(main(["--only", "recall"]))
