"""Edges of many crystals at once: each kept once, with its multiplicity and its reverse."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.device_bands import Crystals
from models.device_neighbours import Pairs


@dataclass(frozen=True, eq=False)
class Graphs:
    """Graphs of several crystals; indices run over the atoms and edges of all."""

    crystals: Crystals
    source: Tensor
    destination: Tensor
    """Ascending."""
    vector: Tensor
    multiplicity: Tensor
    reverse: Tensor

    def joined(self, other: Graphs) -> Graphs:
        """These graphs, then the others."""
        atoms, edges = len(self.crystals.numbers), len(self.source)
        return Graphs(
            self.crystals.joined(other.crystals),
            torch.cat([self.source, other.source + atoms]),
            torch.cat([self.destination, other.destination + atoms]),
            torch.cat([self.vector, other.vector]),
            torch.cat([self.multiplicity, other.multiplicity]),
            torch.cat([self.reverse, other.reverse + edges]),
        )


def assembled(
    crystals: Crystals, found: Pairs, kept: Tensor | None, lonely: Tensor
) -> tuple[Graphs, Tensor]:
    """Graphs from neighbour pairs, and ``lonely`` with the crystals that have no edge."""
    source, destination, image, multiplicity = _unique_edges(crystals, found)
    step = crystals.frac[destination] + image - crystals.frac[source]
    vector = (step.unsqueeze(2) * crystals.lattice[crystals.owner[source]]).sum(1)
    if kept is not None:
        inside = kept[source] & kept[destination]
        new_index = kept.cumsum(0) - 1
        source, destination = new_index[source[inside]], new_index[destination[inside]]
        vector, multiplicity, image = vector[inside], multiplicity[inside], image[inside]
        crystals = crystals.keep(kept)
    edges = torch.bincount(crystals.owner[destination], minlength=len(crystals))
    keys, _ = _edge_keys(crystals, source, destination, image)
    back, _ = _edge_keys(crystals, destination, source, -image)
    reverse = torch.searchsorted(keys, back)
    graphs = Graphs(crystals, source, destination, vector, multiplicity, reverse)
    return graphs, lonely | (edges == 0)


def _edge_keys(
    crystals: Crystals, source: Tensor, destination: Tensor, image: Tensor
) -> tuple[Tensor, tuple[int, int]]:
    """One integer per edge, ascending as in ``models.graph``, and what brings the edge back."""
    reach = 1 + int(image.abs().max()) if len(image) else 1
    most, span = int(crystals.sizes.max()), 2 * reach + 1
    key = destination * most + crystals.local[source]
    for axis in range(3):
        key = key * span + image[:, axis] + reach
    return key, (most, reach)


def _unique_edges(crystals: Crystals, found: Pairs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every neighbour pair and its reverse, each once, with how often it was found."""
    i, j, image = found
    source, destination = torch.cat([i, j]), torch.cat([j, i])
    keys, (most, reach) = _edge_keys(crystals, source, destination, torch.cat([image, -image]))
    keys, multiplicity = torch.unique(keys, return_counts=True)
    span = 2 * reach + 1
    shift = torch.stack([keys // span**2, keys // span, keys], dim=1) % span - reach
    ends = keys // span**3
    destination = ends // most
    source = crystals.first[crystals.owner[destination]] + ends % most
    return source, destination, shift, multiplicity
