"""A trained trunk's weights as inference wants them: norms folded in, products side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from models.alignn import EdgeGatedGraphConv, MLPLayer, WeightedBatchNorm
from models.fused_products import UnitsProduct, on_units

PIECES = 4
"""What a convolution makes of each node: gate as source, gate as destination, message, own."""


@dataclass(frozen=True, eq=False)
class Product:
    """A linear map of each member, the members' channels side by side.

    Weights are kept in float64 until ``to``, so that folding costs no digits.
    """

    weight: Tensor
    """(members, n_in, pieces x n_out); one member stands also for several that read the same."""
    bias: Tensor | None
    """(pieces x members x n_out,) as the rows come out."""
    pieces: int = 1
    low: Tensor | None = None
    """The weight in bfloat16 where products are wanted in it and PyTorch has to make them."""
    units: UnitsProduct | None = None
    """The weight for matrix units."""
    rounded: torch.dtype | None = None
    """Of rows and results, where the product between them is in double precision."""

    def to(
        self,
        dtype: torch.dtype,
        *,
        parts: int = 0,
        bfloat16: bool = False,
        double: bool = False,
    ) -> Product:
        """In the precision that it will be used in.

        Args:
            dtype: of rows, weights and results.
            parts: of each number on matrix units, where there are such; 0 is without them.
            bfloat16: without matrix units, multiply in bfloat16.
            double: multiply in double precision whatever the ``dtype``.
        """
        if double:
            return replace(self, weight=self.weight.contiguous(), rounded=dtype)
        weight = self.weight.to(dtype).contiguous()
        units = None
        if parts and len(weight) == 1 and dtype == torch.float32:
            units = on_units(weight[0], parts)
        return Product(
            weight,
            None if self.bias is None else self.bias.to(dtype),
            self.pieces,
            weight.bfloat16() if bfloat16 and units is None else None,
            units,
        )

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """(rows, members x n_in) to (rows, pieces x members x n_out).

        Args:
            x: rows.
            out: where to write, for maps without bias; may not be ``x``.
        """
        members, n_in, n_out = self.weight.shape
        if self.rounded is not None:
            return replace(self, rounded=None)(x.double()).to(self.rounded)
        if self.units is not None:
            return self.units(x, self.bias, out)
        if self.low is not None:
            return self._in_bfloat16(x, out)
        if members == 1:
            if self.bias is None:
                return torch.mm(x, self.weight[0], out=out)
            return torch.addmm(self.bias, x, self.weight[0])
        apart = torch.bmm(x.view(-1, members, n_in).transpose(0, 1), self.weight)
        return self._side_by_side(apart, n_out, out)

    def add_to(self, out: Tensor, x: Tensor) -> None:
        """Add the products of a map without bias to ``out`` (rows, pieces x members x n_out)."""
        if self.units is None and self.low is None and len(self.weight) == 1:
            out.addmm_(x, self.weight[0])
        else:
            out += self(x)

    def _in_bfloat16(self, x: Tensor, out: Tensor | None) -> Tensor:
        assert self.low is not None
        members, n_in, n_out = self.low.shape
        apart = torch.bmm(x.bfloat16().view(-1, members, n_in).transpose(0, 1), self.low)
        return self._side_by_side(apart.to(x.dtype), n_out, out)

    def _side_by_side(self, apart: Tensor, n_out: int, out: Tensor | None) -> Tensor:
        """(members, rows, pieces x n_out) to rows, with the bias."""
        members, rows, _ = apart.shape
        shape = (rows, self.pieces, members, n_out // self.pieces)
        together = apart.view(members, rows, shape[1], shape[3]).permute(1, 2, 0, 3)
        if out is None:
            out = apart.new_empty(rows, members * n_out)
        if self.bias is None:
            out.view(shape).copy_(together)
        else:
            torch.add(together, self.bias.view(shape[1:]), out=out.view(shape))
        return out


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear map with its batch norm folded in, then SiLU."""

    product: Product

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, n_in) to (rows, n_out)."""
        return nn.functional.silu(self.product(x), inplace=True)

    def to(self, dtype: torch.dtype) -> Layer:
        """In the precision that it will be used in."""
        return Layer(self.product.to(dtype))


@dataclass(frozen=True, eq=False)
class Convolution:
    """An edge-gated convolution of every member."""

    gate: Product
    """Of the rows, without bias."""
    nodes: Product
    """``PIECES`` of every node: the gates' biases are all in the destination's, the norm of the
    nodes is in message and own."""
    gain: Tensor
    """(members x width,), of the norm of the rows."""
    shift: Tensor

    def to(
        self,
        dtype: torch.dtype,
        *,
        gate_parts: int = 0,
        bfloat16: bool = False,
        double_nodes: bool = False,
    ) -> Convolution:
        """In the precision that it will be used in.

        Args:
            dtype: of rows, weights and results.
            gate_parts: of each number in the gates' product on matrix units, 0 without them.
            bfloat16: all products in bfloat16, on matrix units or not.
            double_nodes: the nodes' product in double precision.
        """
        return Convolution(
            self.gate.to(dtype, parts=1 if bfloat16 else gate_parts, bfloat16=bfloat16),
            self.nodes.to(dtype, parts=int(bfloat16), bfloat16=bfloat16, double=double_nodes),
            self.gain.to(dtype),
            self.shift.to(dtype),
        )


def fold_layers(layers: Sequence[nn.Module], *, shared_input: bool) -> Layer:
    """The same layer of several members as one.

    Args:
        layers: of type ``MLPLayer``.
        shared_input: whether all members read the same rows.
    """
    weights, biases = [], []
    for layer in layers:
        linear, norm = cast(MLPLayer, layer).layer
        gain, shift = _gain_and_shift(norm)
        weight, bias = _transposed(linear)
        weights.append(weight * gain)
        biases.append(bias * gain + shift)
    weight = torch.cat(weights, 1).unsqueeze(0) if shared_input else torch.stack(weights)
    return Layer(Product(weight, torch.cat(biases)))


def fold_convolutions(layers: Sequence[nn.Module]) -> Convolution:
    """The same convolution of several members as one; ``layers`` are ``EdgeGatedGraphConv``."""
    gates, nodes, biases, gains, shifts = [], [], [], [], []
    for layer in layers:
        conv = cast(EdgeGatedGraphConv, layer)
        gate, gate_bias = _transposed(conv.edge_gate)
        source, source_bias = _transposed(conv.src_gate)
        destination, destination_bias = _transposed(conv.dst_gate)
        message, message_bias = _transposed(conv.dst_update)
        own, own_bias = _transposed(conv.src_update)
        gain, shift = _gain_and_shift(conv.bn_nodes)
        gates.append(gate)
        nodes.append(torch.cat([source, destination, message * gain, own * gain], dim=1))
        into = gate_bias + source_bias + destination_bias
        none = torch.zeros_like(into)
        biases.append(torch.stack([none, into, message_bias * gain, own_bias * gain + shift]))
        edge_gain, edge_shift = _gain_and_shift(conv.bn_edges)
        gains.append(edge_gain)
        shifts.append(edge_shift)
    return Convolution(
        Product(torch.stack(gates), None),
        Product(torch.stack(nodes), torch.cat(biases, dim=1).view(-1), PIECES),
        torch.cat(gains),
        torch.cat(shifts),
    )


def _transposed(linear: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (n_in, n_out) and bias (n_out,)."""
    one = cast(nn.Linear, linear)
    return one.weight.detach().double().T, one.bias.detach().double()


def _gain_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What a batch norm does to a channel in inference."""
    one = cast(WeightedBatchNorm, norm)
    assert one.running_mean is not None
    assert one.running_var is not None
    gain = one.weight.detach().double() / torch.sqrt(one.running_var.double() + one.eps)
    return gain, one.bias.detach().double() - one.running_mean.double() * gain
