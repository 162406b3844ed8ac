"""How the paper's systems make one vector of a band's atoms: MODEL-1, MODEL-2 and MODEL-4.

Devi, Butler and Sai Gautam, npj Comput. Mater. 2026 (arXiv 2508.06436). All share the trunk and the
head of ``models.barrier``; what differs stands here. MODEL-1 and MODEL-2 see the two ends of the
hop, in this order, so that they could tell a hop from its reverse, which has the same barrier. Each
gives the vectors of both directions where it is symmetric, and the network takes the mean of what
the head makes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from models.alignn import Trunk, TrunkConfig, mean_by_graph
from models.batch import GraphBatch

Combine = Literal["add", "subtract", "concatenate"]

_ATTENTION_DROPOUT = 0.2


class EndsReadout(nn.Module):
    """MODEL-1: the mean vectors of initial and final structure, combined.

    Equivalent ends have equal vectors, whose difference is nothing: ``subtract`` is blind to hops
    between equivalent sites, more than half of the literature bands.
    """

    def __init__(self, width: int, combine: Combine, *, symmetric: bool) -> None:
        super().__init__()
        self.combine = combine
        self.both_ways = symmetric and combine != "add"
        if combine == "concatenate":
            self.merge = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """(atoms, width) to (bands, width), or (2 x bands, width) with the reversed hops last."""
        initial, final = _pooled_ends(x, batch)
        if not self.both_ways:
            return self._combined(initial, final)
        return torch.cat([self._combined(initial, final), self._combined(final, initial)])

    def _combined(self, initial: Tensor, final: Tensor) -> Tensor:
        if self.combine == "add":
            return initial + final
        if self.combine == "subtract":
            return initial - final
        merged: Tensor = self.merge(torch.cat([initial, final], dim=1))
        return merged


class DeltaReadout(nn.Module):
    """MODEL-2: the mean vector of the initial structure and what sets the final one apart.

    The difference is that of a side trunk of one convolution of each kind. Its embeddings are its
    own (the published ones are the main trunk's).
    """

    def __init__(self, trunk: TrunkConfig, *, symmetric: bool) -> None:
        super().__init__()
        self.both_ways = symmetric
        self.side = Trunk(replace(trunk, alignn_layers=1, gcn_layers=1))
        self.merge = nn.Linear(2 * trunk.width, trunk.width)

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """(atoms, width) to (bands, width), or (2 x bands, width) with the reversed hops last."""
        initial, final = _pooled_ends(x, batch)
        side_initial, side_final = _pooled_ends(self.side(batch), batch)
        delta = side_initial - side_final
        read = torch.cat([initial, delta], dim=1)
        if self.both_ways:
            read = torch.cat([read, torch.cat([final, -delta], dim=1)])
        merged: Tensor = self.merge(read)
        return merged


class AttentionReadout(nn.Module):
    """MODEL-4: attention over the band, and over the ion images with their nearest atoms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.band = AttentionPooling(width)
        self.local = AttentionPooling(width)
        self.merge = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """(atoms, width) to (bands, width)."""
        graphs = torch.split(x, list(batch.sizes))
        n = len(batch)
        merged: Tensor = self.merge(
            torch.cat([self.band(graphs[:n]), self.local(graphs[n:])], dim=1)
        )
        return merged


class AttentionPooling(nn.Module):
    """One vector per graph: the mean of its atoms plus a mean weighted by attention, normalised.

    An atom's score is the sum of tanh(key · query) over the queries of all atoms of its graph;
    keys, queries and values are ReLU of linear maps. The four heads of the paper share this one
    score, so that together they are one head of full width.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(_ATTENTION_DROPOUT)

    def forward(self, graphs: Sequence[Tensor]) -> Tensor:
        """(atoms, width) of each graph to (graphs, width)."""
        rows, present = _padded(graphs)
        weights = self.dropout(self._weights(rows, present))
        attended = (weights.unsqueeze(1) @ torch.relu(self.value(rows))).squeeze(1)
        mean = rows.sum(1) / present.sum(1, keepdim=True)
        out: Tensor = self.norm(mean + attended)
        return out

    def weights(self, graphs: Sequence[Tensor]) -> list[Tensor]:
        """What each atom counts, (atoms,) for each graph; they sum to 1."""
        rows, present = _padded(graphs)
        weights = self._weights(rows, present)
        return [row[: len(graph)] for row, graph in zip(weights, graphs, strict=True)]

    def _weights(self, rows: Tensor, present: Tensor) -> Tensor:
        """(graphs, most atoms), 0 where a graph has no atom."""
        key = torch.relu(self.key(rows))
        # A query of zeros adds tanh(0) = 0 to every score: absent atoms ask nothing.
        query = torch.relu(self.query(rows)) * present.unsqueeze(2)
        scores = torch.tanh(key @ query.transpose(1, 2)).sum(2)
        return torch.softmax(scores.masked_fill(~present, -torch.inf), dim=1)


def _pooled_ends(x: Tensor, batch: GraphBatch) -> tuple[Tensor, Tensor]:
    """(bands, width) mean over the initial and over the final structures."""
    pooled = mean_by_graph(x, batch.graph_of_atom, len(batch.sizes))
    return pooled[: len(batch)], pooled[len(batch) :]


def _padded(graphs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(graphs, most atoms, width) with zeros at the end, and which of (graphs, most) are atoms."""
    rows = pad_sequence(list(graphs), batch_first=True)
    sizes = torch.tensor([len(graph) for graph in graphs], device=rows.device)
    return rows, torch.arange(rows.shape[1], device=rows.device) < sizes.unsqueeze(1)
