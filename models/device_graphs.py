"""Graphs of many bands at once, built where the network runs: flat arrays in, one batch out.

The same graphs as ``models.graph.build_graph`` band by band and ``models.batch.collate``, edge for
edge and in the same order (tests), without a Python step per band: building them one by one keeps a
core busy for a millisecond or two each, more than a GPU takes for the forward pass. Distances are
float64 on every device, so that the same neighbours share a shell. It has not run on a GPU yet; on
a CPU it is slower than band by band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.batch import EdgeLayout, GraphBatch, TripletLayout
from models.descriptors import SIZE
from models.device_bands import LAST_ELEMENT, Crystals, element_table, pack, path_distances_a
from models.device_descriptors import path_descriptors
from models.device_edges import Graphs, assembled
from models.device_neighbours import LAST_RADIUS_A, nearest_neighbours
from models.elements import N_FEATURES
from models.graph import LOCAL_K, GraphSettings
from pathways.types import N_IMAGES, Band, PathwayError

_FLAT_A3 = 1e-3
"""A cell of less volume has none, Å^3."""


@dataclass(frozen=True, eq=False)
class DeviceBatch:
    """A batch and what else a prediction wants to know of its bands."""

    batch: GraphBatch
    length_a: Tensor
    """(bands,) float64, start to end of the hop, Å."""
    clearance_a: Tensor
    """(bands,) float64, least distance from an image of the ion to a host atom, Å."""
    ion: Tensor
    """(bands,), atomic number of the ion."""
    elements: Tensor
    """(bands, 101) bool, whether the (first) graph of a band holds an atom of this number."""


def device_batch(
    bands: Sequence[Band] | Crystals,
    settings: GraphSettings,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[DeviceBatch | None, dict[int, PathwayError]]:
    """One batch from bands, built on the device.

    Args:
        bands: the bands, or their folded crystals from ``device_bands.pack`` (on any device).
        settings: with a ``tolerant`` shell and parts that are graphs.
        device: where the graphs are built and stay; of packed bands their own is taken.
        dtype: of the batch.

    Returns:
        The batch, bands that cannot go on left out (None where no band is left), and these with
        their errors by index: ``bad_graph``, ``unknown_element``.

    Raises:
        ValueError: settings that only ``models.graph`` can follow.
    """
    if settings.shell != "tolerant":
        raise ValueError(
            "shells are 'published', split by the last bit of one machine's arithmetic, which "
            "no other device repeats; build these graphs with models.graph.build_graph"
        )
    if settings.parts == "numbers":
        raise ValueError("parts are 'numbers', which are no graphs; use models.graph.build_graph")
    crystals = bands if isinstance(bands, Crystals) else pack(bands, device)
    failures: dict[int, PathwayError] = {}
    index = torch.arange(len(crystals), device=crystals.sizes.device)
    for well, reason, detail in (
        (_known_elements(crystals), "unknown_element", "an atom without features"),
        (_in_space(crystals), "bad_graph", "coordinates that are not finite, or a flat cell"),
    ):
        failures.update(_refused(index[~well[index]], reason, detail))
        index = index[well[index]]
    if failures:
        crystals = crystals.of(torch.isin(torch.arange(len(crystals)).to(index), index))
    while len(crystals):
        built, refused = _build(crystals, settings, dtype)
        if built is not None:
            return built, failures
        detail = (
            f"an atom with fewer than {settings.k} neighbours within {LAST_RADIUS_A:g} Å, or none "
            "of them in the kept environment"
        )
        failures.update(_refused(index[refused], "bad_graph", detail))
        crystals, index = crystals.of(~refused), index[~refused]
    return None, failures


def _refused(index: Tensor, reason: str, detail: str) -> dict[int, PathwayError]:
    return {i: PathwayError(reason, detail) for i in index.tolist()}


def _known_elements(crystals: Crystals) -> Tensor:
    """(b,), whether every atom is one that the features' table has."""
    strange = (crystals.numbers < 1) | (crystals.numbers > LAST_ELEMENT)
    return torch.bincount(crystals.owner[strange], minlength=len(crystals)) == 0


def _in_space(crystals: Crystals) -> Tensor:
    """(b,), whether cell and coordinates are finite and the cell is not flat."""
    lost = ~crystals.frac.isfinite().all(1)
    apart = torch.bincount(crystals.owner[lost], minlength=len(crystals)) == 0
    return apart & crystals.volume.isfinite() & (crystals.volume > _FLAT_A3)


def _build(
    crystals: Crystals, settings: GraphSettings, dtype: torch.dtype
) -> tuple[DeviceBatch | None, Tensor]:
    """The batch, or None and which bands have to be left out first."""
    distances_a = path_distances_a(crystals)
    nearest_a = distances_a.amin(dim=(1, 2))
    near = None if settings.environment_a is None else nearest_a <= settings.environment_a
    folded, crystals = crystals, crystals.wrapped()
    if settings.parts == "ends":
        ends = [_end(crystals, image, near) for image in (0, N_IMAGES - 1)]
        kept = None if near is None else torch.cat([end[1] for end in ends])
        graphs, lonely = _graphs(ends[0][0].joined(ends[1][0]), settings.k, kept)
        lonely = lonely.view(2, -1).any(0)
    else:
        graphs, lonely = _graphs(crystals, settings.k, near)
        if settings.parts == "local":
            partners, lonely_partner = _local_graphs(crystals)
            graphs, lonely = graphs.joined(partners), lonely | lonely_partner
    if bool(lonely.any()):
        return None, lonely
    host = crystals.local >= N_IMAGES
    clearance_a = nearest_a.new_full((len(crystals),), torch.inf)
    clearance_a.scatter_reduce_(0, crystals.owner[host], nearest_a[host], "amin")
    descriptors = path_descriptors(folded, distances_a)
    batch = _batch(graphs, descriptors, settings, dtype)
    length_a = descriptors[:, SIZE - 2 * N_FEATURES - 2]
    ion, elements = folded.numbers[folded.first], _elements(graphs.crystals)[: len(crystals)]
    return DeviceBatch(batch, length_a, clearance_a, ion, elements), lonely


def _elements(crystals: Crystals) -> Tensor:
    """(b, 101), which elements each crystal holds."""
    held = crystals.numbers.new_zeros(len(crystals), LAST_ELEMENT + 1, dtype=torch.bool)
    held[crystals.owner, crystals.numbers] = True
    return held


def _end(crystals: Crystals, image: int, near: Tensor | None) -> tuple[Crystals, Tensor]:
    """The hosts with the ion at one image, and which of these atoms are near the path."""
    kept = (crystals.local >= N_IMAGES) | (crystals.local == image)
    return crystals.keep(kept), kept if near is None else near[kept]


def _graphs(crystals: Crystals, k: int, kept: Tensor | None) -> tuple[Graphs, Tensor]:
    """Graphs on the atoms (n,) that are kept, and crystals (b,) without enough neighbours.

    Neighbours are only looked for around atoms that are kept: no other has a say in their edges.
    """
    found, lonely = nearest_neighbours(crystals, k, kept)
    return assembled(crystals, found, kept, lonely)


def _local_graphs(crystals: Crystals) -> tuple[Graphs, Tensor]:
    """The edges among nearest neighbours that touch an image, and the atoms that they join."""
    (i, j, image), lonely = nearest_neighbours(crystals, LOCAL_K)
    touches = (crystals.local[i] < N_IMAGES) | (crystals.local[j] < N_IMAGES)
    i, j, image = i[touches], j[touches], image[touches]
    kept = torch.zeros_like(crystals.owner, dtype=torch.bool)
    kept[i] = kept[j] = True
    return assembled(crystals, (i, j, image), kept, lonely)


def _batch(
    graphs: Graphs, descriptors: Tensor, settings: GraphSettings, dtype: torch.dtype
) -> GraphBatch:
    """The graphs as ``models.batch.collate`` lays them out."""
    crystals = graphs.crystals
    n_bands = len(descriptors)
    weight = graphs.multiplicity.to(dtype).unsqueeze(1)
    blocks, order = _blocks(graphs.destination, graphs.reverse, len(crystals.numbers))
    images = torch.arange(N_IMAGES, device=weight.device)
    return GraphBatch(
        atoms=element_table(weight.device)[crystals.numbers].to(dtype),
        vector=graphs.vector.to(dtype),
        edges=EdgeLayout(graphs.source, graphs.destination, weight, len(crystals.numbers)),
        triplets=TripletLayout(blocks, order, weight),
        graph_of_atom=crystals.owner,
        images=crystals.first[:n_bands, None] + images,
        descriptors=descriptors.to(dtype),
        parts=settings.parts,
        sizes=tuple(crystals.sizes.tolist()),
    )


def _blocks(
    destination: Tensor, reverse: Tensor, n_atoms: int
) -> tuple[tuple[tuple[Tensor, Tensor], ...], Tensor]:
    """Edges in and out of each atom by degree, and where each edge stands among those out."""
    degree = torch.bincount(destination, minlength=n_atoms)
    first = degree.cumsum(0) - degree
    by_degree = first[torch.argsort(degree, stable=True)]
    blocks = []
    begin = 0
    for d, atoms in enumerate(torch.bincount(degree).tolist()):
        if d and atoms:
            ins = by_degree[begin : begin + atoms, None] + torch.arange(d, device=degree.device)
            blocks.append((ins, reverse[ins]))
        begin += atoms
    leaving = torch.cat([leave.reshape(-1) for _, leave in blocks])
    order = torch.empty_like(leaving)
    order[leaving] = torch.arange(len(leaving), device=order.device)
    return tuple(blocks), order
