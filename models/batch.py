"""Several band graphs as one: tensors on a device, laid out for the sums of the convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from models.elements import cgcnn_features
from models.graph import BandGraph, Parts
from models.inference_groups import RowGroups, groups_of_blocks, groups_of_edges
from pathways.types import N_IMAGES

_CACHED_NUMBERS = 2**17
"""Of one part of a block: half a MiB in single precision, a fraction of a core's second cache."""
MOST_COST = {"cpu": 60_000, "cuda": 6_000_000}
"""Edges plus triplets of one forward pass: small for a core's cache; large to keep a GPU busy,
where free memory bounds it too, an estimate."""


@dataclass(frozen=True, eq=False)
class EdgeLayout:
    """How edges connect atoms: one row per edge."""

    source: Tensor
    """(e,) atom indices."""
    destination: Tensor
    """(e,) atom indices, ascending."""
    weight: Tensor
    """(e, 1) multiplicities."""
    n_nodes: int

    def add_pair(self, rows: Tensor, source: Tensor, destination: Tensor) -> Tensor:
        """Rows plus what both ends of each edge say, (e, width)."""
        return rows + source[self.source] + destination[self.destination]

    def aggregate(self, logits: Tensor, message: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sums over the edges into each node: of gate times message, and of the gate."""
        weighted = torch.sigmoid(logits) * self.weight
        zeros = logits.new_zeros(self.n_nodes, logits.shape[1])
        total = zeros.index_add(0, self.destination, weighted * message[self.source])
        return total, zeros.index_add(0, self.destination, weighted)

    @property
    def row_weight(self) -> Tensor:
        """(e, 1), how often each row stands in the published multigraph."""
        return self.weight

    @cached_property
    def groups(self) -> RowGroups:
        """The edges into each atom, for the fused kernel."""
        return groups_of_edges(self.source, self.destination, self.weight, self.n_nodes)


@dataclass(frozen=True, eq=False)
class TripletLayout:
    """How bond pairs connect edges: for each centre atom a dense block, degree by degree.

    Atoms of one degree d give a block (atoms, d out, d in) of pairs (edge in, edge out). As many
    edges leave an atom as enter it, so nothing is padded and nothing is gathered per triplet.
    """

    blocks: tuple[tuple[Tensor, Tensor], ...]
    """Per degree d: (atoms, d) indices of the edges in, and of the edges out."""
    order: Tensor
    """(e,) position of each edge in the concatenated edges-out of the blocks."""
    weight: Tensor
    """(e, 1) multiplicities of the edges; the sending edge's counts."""

    def add_pair(self, rows: Tensor, source: Tensor, destination: Tensor) -> Tensor:
        """Rows plus what both edges of each triplet say, (t, width).

        Without gradients the rows themselves are changed, which saves a copy of the largest array.
        """
        width = source.shape[1]
        if torch.is_grad_enabled():
            sums = [
                (source[enter].unsqueeze(1) + destination[leave].unsqueeze(2)).view(-1, width)
                for enter, leave in self.blocks
            ]
            return rows + torch.cat(sums)
        for (enter, leave), own in zip(self.blocks, self._split(rows), strict=True):
            own += source[enter].unsqueeze(1)
            own += destination[leave].unsqueeze(2)
        return rows

    def _split(self, rows: Tensor) -> list[Tensor]:
        """Views of (t, width) as blocks (atoms, d out, d in, width)."""
        sizes = [enter.shape[0] * enter.shape[1] ** 2 for enter, _ in self.blocks]
        return [
            own.view(*enter.shape, enter.shape[1], rows.shape[1])
            for (enter, _), own in zip(self.blocks, torch.split(rows, sizes), strict=True)
        ]

    def aggregate(self, logits: Tensor, message: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sums over the triplets into each edge: gate times message, and gate."""
        width = logits.shape[1]
        totals, norms = [], []
        sent = message * self.weight
        for (enter, _), block in zip(self.blocks, self._split(logits), strict=True):
            for atoms, own in zip(*_parts(enter, block), strict=True):
                gate = torch.sigmoid(own)
                norms.append((gate * self.weight[atoms].unsqueeze(1)).sum(2).view(-1, width))
                weighted = gate * sent[atoms].unsqueeze(1)
                totals.append(weighted.sum(2).view(-1, width))
        return torch.cat(totals)[self.order], torch.cat(norms)[self.order]

    @property
    def largest_atom(self) -> int:
        """Triplets around the atom that has the most."""
        return max(enter.shape[1] ** 2 for enter, _ in self.blocks)

    @cached_property
    def groups(self) -> RowGroups:
        """The triplets into each edge, for the fused kernel."""
        return groups_of_blocks(self.blocks, self.weight)

    @property
    def row_weight(self) -> Tensor:
        """(t, 1), how often each triplet stands in the published line graph."""
        rows = [
            (self.weight[enter].unsqueeze(1) * self.weight[leave].unsqueeze(2)).view(-1, 1)
            for enter, leave in self.blocks
        ]
        return torch.cat(rows)

    def cosines(self, vector: Tensor) -> Tensor:
        """(t,), cosine at the centre atom between the bonds of each triplet, in [-1, 1]."""
        unit = vector / vector.norm(dim=1, keepdim=True)
        cosines = [
            -torch.bmm(unit[leave], unit[enter].transpose(1, 2)).view(-1)
            for enter, leave in self.blocks
        ]
        return torch.cat(cosines).clamp(-1.0, 1.0)


def _parts(enter: Tensor, block: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """A block cut along its atoms into parts that stay in a core's cache.

    Only without gradients and on CPUs: elsewhere a part costs more than it saves.
    """
    if torch.is_grad_enabled() or block.device.type != "cpu":
        return (enter,), (block,)
    per_atom = block[0].numel()
    atoms = max(1, _CACHED_NUMBERS // per_atom)
    return torch.split(enter, atoms), torch.split(block, atoms)


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Everything a forward pass needs, on one device.

    Where bands have two graphs, the first graphs of all bands come first, then their partners.
    """

    atoms: Tensor
    """(n, 92), CGCNN features."""
    vector: Tensor
    """(e, 3), Å."""
    edges: EdgeLayout
    triplets: TripletLayout
    graph_of_atom: Tensor
    """(n,), ascending."""
    images: Tensor
    """(bands, 5), atom indices of the ion's images, start to end; void for parts ``ends``, whose
    graphs hold one image each, and for crystals."""
    descriptors: Tensor
    """(bands, SIZE) of the paths; (bands, 0) where the graphs are no bands."""
    parts: Parts
    sizes: tuple[int, ...]
    """(graphs,), atoms of each graph, partners included."""

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def cosines(self) -> Tensor:
        """(t,), of the triplets; the same for every network that reads the batch."""
        return self.triplets.cosines(self.vector)


def collate(
    graphs: Sequence[BandGraph],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> GraphBatch:
    """One batch from the graphs of several bands; edges stay ordered by destination.

    Raises:
        ValueError: bands of different parts.
    """
    parts = graphs[0].parts
    if any(graph.parts != parts for graph in graphs):
        found = ", ".join(sorted({graph.parts for graph in graphs}))
        raise ValueError(f"graphs of parts {found} in one batch, expected one kind of parts")
    descriptors = np.stack([np.zeros(0) if g.descriptor is None else g.descriptor for g in graphs])
    n_bands = len(graphs)
    graphs = [*graphs, *(graph.partner for graph in graphs if graph.partner is not None)]
    sizes = np.array([len(graph.numbers) for graph in graphs])
    n_edges = np.array([len(graph.source) for graph in graphs])
    first_atoms = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    atom_shift = np.repeat(first_atoms, n_edges)
    edge_shift = np.repeat(np.concatenate([[0], np.cumsum(n_edges)[:-1]]), n_edges)
    source = np.concatenate([graph.source for graph in graphs]) + atom_shift
    destination = np.concatenate([graph.destination for graph in graphs]) + atom_shift
    reverse = np.concatenate([graph.reverse for graph in graphs]) + edge_shift
    multiplicity = np.concatenate([graph.multiplicity for graph in graphs])
    n_atoms = int(sizes.sum())

    def on_device(array: np.ndarray, kind: torch.dtype = torch.int64) -> Tensor:
        return torch.as_tensor(array).to(device=device, dtype=kind)

    weight = on_device(multiplicity, dtype).unsqueeze(1)
    blocks, order = _blocks(destination, reverse, n_atoms)
    return GraphBatch(
        atoms=on_device(cgcnn_features(np.concatenate([graph.numbers for graph in graphs])), dtype),
        vector=on_device(np.concatenate([graph.vector for graph in graphs]), dtype),
        edges=EdgeLayout(on_device(source), on_device(destination), weight, n_atoms),
        triplets=TripletLayout(
            tuple((on_device(enter), on_device(leave)) for enter, leave in blocks),
            on_device(order),
            weight,
        ),
        graph_of_atom=on_device(np.repeat(np.arange(len(graphs)), sizes)),
        images=on_device(first_atoms[:n_bands, None] + np.arange(N_IMAGES)[None, :]),
        descriptors=on_device(descriptors, dtype),
        parts=parts,
        sizes=tuple(sizes.tolist()),
    )


def _blocks(
    destination: np.ndarray, reverse: np.ndarray, n_atoms: int
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Edges in and out of each atom by degree, and where each edge stands among those out."""
    degree = np.bincount(destination, minlength=n_atoms)
    first = np.concatenate([[0], np.cumsum(degree)[:-1]])
    blocks = []
    for d in np.unique(degree[degree > 0]):
        enter = first[degree == d][:, None] + np.arange(d)[None, :]
        blocks.append((enter, reverse[enter]))
    leaving = np.concatenate([leave.reshape(-1) for _, leave in blocks])
    return blocks, np.argsort(leaving)


def split_by_cost(graphs: Sequence[BandGraph], max_cost: int) -> Iterator[list[int]]:
    """Indices of graphs in batches whose summed cost stays under a bound, largest graphs first.

    A graph dearer than the bound comes alone.
    """
    batch: list[int] = []
    cost = 0
    for index in sorted(range(len(graphs)), key=lambda i: -graphs[i].cost):
        if batch and cost + graphs[index].cost > max_cost:
            yield batch
            batch, cost = [], 0
        batch.append(index)
        cost += graphs[index].cost
    if batch:
        yield batch
