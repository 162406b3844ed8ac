"""The ALIGNN trunk in plain PyTorch: edge-gated convolutions on the bonds and on the bond pairs.

Choudhary and DeCost, npj Comput. Mater. 7, 185 (2021), doi:10.1038/s41524-021-00650-1. Parameter
names are those of the published package, so its weights load by name; float64 outputs and
gradients agree with it to 1e-10 (tests).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models import fused_gradients
from models.batch import EdgeLayout, GraphBatch, TripletLayout

GATE_EPSILON = 1e-6
"""Keeps the gate's normalisation finite, as in the published convolution."""


@dataclass(frozen=True)
class TrunkConfig:
    """Sizes of the trunk; the defaults are the paper's."""

    alignn_layers: int = 4
    gcn_layers: int = 4
    atom_features: int = 92
    edge_bins: int = 80
    triplet_bins: int = 40
    embedding: int = 64
    width: int = 256


class WeightedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation whose moments count each row as often as the multigraph holds it."""

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Normalise rows ``x`` (rows, width); ``weight`` (rows, 1) are integer multiplicities."""
        if weight is None or not self.training:
            return super().forward(x)
        total = weight.sum()
        out, mean, variance = _WeightedNormalise.apply(  # type: ignore[no-untyped-call]
            x, weight / total, self.weight, self.bias, self.eps
        )
        with torch.no_grad():
            momentum = self.momentum or 0.0
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * total / (total - 1), momentum)
        normalised: Tensor = out
        return normalised


class _WeightedNormalise(torch.autograd.Function):
    """Rows to weighted mean 0 and variance 1, with the gradient in closed form.

    With shares s that sum to 1, mean m = sum s x, variance v = sum s (x - m)^2 and h the normalised
    rows: dx = (dy - s (sum dy + h sum dy h)) gain / sqrt(v).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, share: Tensor, gain: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = share.squeeze(1) @ x
        centred = x - mean
        variance = share.squeeze(1) @ centred.square()
        inverse_std = torch.rsqrt(variance + eps)
        ctx.save_for_backward(centred, share, gain, inverse_std)
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(bias, centred, gain * inverse_std), mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None]:
        centred, share, gain, inverse_std = ctx.saved_tensors
        grad_bias = grad.sum(0)
        grad_gain = (grad * centred).sum(0) * inverse_std
        pull = torch.addcmul(grad_bias, centred, inverse_std * grad_gain)
        grad_x = torch.addcmul(grad, share, pull, value=-1.0).mul_(gain * inverse_std)
        return grad_x, None, grad_gain, grad_bias, None


class RBFExpansion(nn.Module):
    """Gaussians on evenly spaced centres, as wide as the centres are apart."""

    centers: Tensor

    def __init__(self, vmin: float, vmax: float, bins: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.linspace(vmin, vmax, bins))
        # From the single-precision centres, as published: the rounding is part of the weights.
        self.gamma = float(1 / np.diff(self.centers.numpy()).mean())

    def forward(self, value: Tensor) -> Tensor:
        """(rows,) to (rows, bins)."""
        return torch.exp(-self.gamma * (value.unsqueeze(1) - self.centers) ** 2)


class MLPLayer(nn.Module):
    """Linear, batch norm, SiLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList([nn.Linear(n_in, n_out), WeightedBatchNorm(n_out)])

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """(rows, n_in) to (rows, n_out)."""
        linear, norm = self.layer
        assert isinstance(linear, nn.Linear)
        assert isinstance(norm, WeightedBatchNorm)
        if fused_gradients.trains(x, linear.out_features):
            shape = fused_gradients.Shape(norm, weight)
            activated, _ = fused_gradients.stage(shape, x, (linear.weight, linear.bias))
            assert activated is not None
            return activated
        out: Tensor = nn.functional.silu(norm(linear(x), weight))
        return out


class Embedding(nn.ModuleList):
    """A distance or a cosine as a vector: radial basis, then two layers."""

    def __init__(self, basis: RBFExpansion, bins: int, hidden: int, width: int) -> None:
        super().__init__([basis, MLPLayer(bins, hidden), MLPLayer(hidden, width)])

    def forward(self, value: Tensor, weight: Tensor | None) -> Tensor:
        """(rows,) to (rows, width)."""
        basis, first, second = self
        embedded: Tensor = second(first(basis(value), weight), weight)
        return embedded


class EdgeGatedGraphConv(nn.Module):
    """Each node gathers from its edges, weighted by a gate that the edge computes for itself.

    Nodes are atoms and edges bonds, or nodes are bonds and edges bond pairs: the layout knows.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.src_gate = nn.Linear(width, width)
        self.dst_gate = nn.Linear(width, width)
        self.edge_gate = nn.Linear(width, width)
        self.bn_edges = WeightedBatchNorm(width)
        self.src_update = nn.Linear(width, width)
        self.dst_update = nn.Linear(width, width)
        self.bn_nodes = WeightedBatchNorm(width)

    def forward(
        self,
        layout: EdgeLayout | TripletLayout,
        nodes: Tensor,
        edges: Tensor,
        *,
        node_weight: Tensor | None,
        edge_weight: Tensor | None,
        edges_needed: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """New node and edge features.

        Args:
            layout: which nodes each edge joins, and the sums over edges.
            nodes: (nodes, width).
            edges: (rows, width).
            node_weight: (nodes, 1) multiplicities for the batch norm; None counts each once.
            edge_weight: (rows, 1), likewise.
            edges_needed: False returns ``edges`` as they are where nobody reads them.
        """
        if fused_gradients.trains(edges, edges.shape[1]) and len(nodes) > 1:
            return self._trained(layout, nodes, edges, node_weight, edge_weight, edges_needed)
        logits = layout.add_pair(self.edge_gate(edges), self.src_gate(nodes), self.dst_gate(nodes))
        total, norm = layout.aggregate(logits, self.dst_update(nodes))
        gathered = self.src_update(nodes) + total / (norm + GATE_EPSILON)
        new_nodes = _add_activated(nodes, self.bn_nodes(gathered, node_weight))
        if not edges_needed:
            return new_nodes, edges
        return new_nodes, _add_activated(edges, self.bn_edges(logits, edge_weight))

    def _trained(
        self,
        layout: EdgeLayout | TripletLayout,
        nodes: Tensor,
        edges: Tensor,
        node_weight: Tensor | None,
        edge_weight: Tensor | None,
        edges_needed: bool,
    ) -> tuple[Tensor, Tensor]:
        """``forward`` with gradients by hand."""
        of_nodes = (self.src_gate, self.dst_gate, self.dst_update, self.src_update)
        products = fused_gradients.multiply(
            nodes,
            torch.cat([linear.weight for linear in of_nodes]),
            torch.cat([linear.bias for linear in of_nodes]),
        )
        norm = self.bn_edges if edges_needed else None
        new_edges, gathered = fused_gradients.stage(
            fused_gradients.Shape(norm, edge_weight, layout.groups, residual=True),
            edges,
            (self.edge_gate.weight, self.edge_gate.bias),
            products=products,
        )
        assert gathered is not None
        new_nodes, _ = fused_gradients.stage(
            fused_gradients.Shape(self.bn_nodes, node_weight), gathered, None, before=nodes
        )
        assert new_nodes is not None
        return new_nodes, edges if new_edges is None else new_edges


def _add_activated(x: Tensor, normalised: Tensor) -> Tensor:
    """``x`` plus SiLU of the other, in the other's place where no gradient needs it."""
    if torch.is_grad_enabled():
        return x + nn.functional.silu(normalised)
    return nn.functional.silu(normalised, inplace=True).add_(x)


class ALIGNNConv(nn.Module):
    """One convolution on the bonds, then one on the bond pairs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.node_update = EdgeGatedGraphConv(width)
        self.edge_update = EdgeGatedGraphConv(width)


class Trunk(nn.Module):
    """Crystal graph in, a vector per atom out."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.width, config.embedding
        self.atom_embedding = MLPLayer(config.atom_features, width)
        self.edge_embedding = Embedding(
            RBFExpansion(0.0, 8.0, config.edge_bins), config.edge_bins, hidden, width
        )
        self.angle_embedding = Embedding(
            RBFExpansion(-1.0, 1.0, config.triplet_bins), config.triplet_bins, hidden, width
        )
        self.alignn_layers = nn.ModuleList(ALIGNNConv(width) for _ in range(config.alignn_layers))
        self.gcn_layers = nn.ModuleList(EdgeGatedGraphConv(width) for _ in range(config.gcn_layers))

    def forward(self, batch: GraphBatch) -> Tensor:
        """(atoms, width) features."""
        bonds, pairs = batch.edges, batch.triplets
        bond_weight = bonds.row_weight if self.training else None
        pair_weight = pairs.row_weight if self.training else None
        x: Tensor = self.atom_embedding(batch.atoms)
        y = self.edge_embedding(batch.vector.norm(dim=1), bond_weight)
        last = len(self.alignn_layers) - 1
        if self.alignn_layers:
            z = self.angle_embedding(pairs.cosines(batch.vector), pair_weight)
        for index, layer in enumerate(self.alignn_layers):
            assert isinstance(layer, ALIGNNConv)
            x, message = layer.node_update(bonds, x, y, node_weight=None, edge_weight=bond_weight)
            y, z = layer.edge_update(
                pairs,
                message,
                z,
                node_weight=bond_weight,
                edge_weight=pair_weight,
                edges_needed=index < last,
            )
        last = len(self.gcn_layers) - 1
        for index, layer in enumerate(self.gcn_layers):
            x, y = layer(
                bonds, x, y, node_weight=None, edge_weight=bond_weight, edges_needed=index < last
            )
        return x


class ALIGNN(Trunk):
    """The published property network: the trunk, the mean over all atoms, one linear layer."""

    def __init__(self, config: TrunkConfig | None = None) -> None:
        super().__init__(config or TrunkConfig())
        self.fc = nn.Linear(self.config.width, 1)

    def forward(self, batch: GraphBatch) -> Tensor:
        """(graphs,) property values in the scale the network was trained in."""
        pooled = mean_by_graph(super().forward(batch), batch.graph_of_atom, len(batch))
        out: Tensor = torch.squeeze(self.fc(pooled), 1)
        return out


def mean_by_graph(x: Tensor, graph_of_atom: Tensor, n_graphs: int) -> Tensor:
    """(atoms, width) to (graphs, width)."""
    total = x.new_zeros(n_graphs, x.shape[1]).index_add(0, graph_of_atom, x)
    count = torch.bincount(graph_of_atom, minlength=n_graphs).to(x.dtype)
    return total / count.unsqueeze(1)
