"""The edge-gated convolution in one pass over the rows, for prediction: no gradients.

What ``alignn.EdgeGatedGraphConv`` does in about fifteen steps, each of which reads and writes all
bond pairs, is done here by one kernel (``models.triton_kernels``): the product of the rows with the
gate, what sender and receiver say to it, the weighted sums into each receiver, both batch norms
(folded into a factor and a shift), both activations and both residuals. The rows are read once per
tile of columns and written once. Sums belong to one program each, so there are no atomic
operations and results do not change from run to run.

Without triton, on CPUs and for widths that are no multiple of 16 the same function runs in plain
PyTorch. The kernel has been compiled for compute capability 9.0 and run under Triton's interpreter;
it has not run on a GPU yet, and its tiles are estimates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor, nn

from models.alignn import GATE_EPSILON, EdgeGatedGraphConv, WeightedBatchNorm
from models.batch import EdgeLayout, TripletLayout

Arithmetic = Literal["float32", "tf32", "bfloat16", "float16"]
"""How rows are kept and multiplied with the gate; sums are always float32. ``tf32`` keeps float32
rows and rounds them to 11 bits in products."""

STORAGE = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Tiles:
    """What one program of the kernel works on; all but ``segments`` are powers of two from 16.

    With these it compiles for compute capability 9.0 without spilling registers (tests); twice the
    columns or half the warps spill.
    """

    segments: int = 4
    """Receivers of a program, a power of two."""
    span: int = 16
    """Rows of each at a time. Atoms have 12 to 26 edges, mostly under 16."""
    columns: int = 64
    """At most; the largest that divides the width is taken."""
    depth: int = 32
    """Inner dimension of a step of the product, at most."""
    warps: int = 8
    stages: int = 2


TILES = Tiles()


@dataclass(frozen=True, eq=False)
class Segments:
    """Rows by the node that receives them: edges by atom, or triplets by edge."""

    sender: Tensor
    """(rows,) int32, the node that each row comes from."""
    weight: Tensor
    """(rows,) float, the row's multiplicity in the sums."""
    begin: Tensor
    """(segments,) int32, first row of each segment."""
    length: Tensor
    """(segments,) int32, rows of each segment; similar ones are neighbours."""
    receiver: Tensor
    """(segments,) int32, the node that the rows go to; every node has one segment."""

    def long(self) -> Segments:
        """With indices of 64 bits."""
        index = (self.sender, self.begin, self.length, self.receiver)
        sender, begin, length, receiver = (tensor.long() for tensor in index)
        return Segments(sender, self.weight, begin, length, receiver)

    @cached_property
    def receiver_of_row(self) -> Tensor:
        """(rows,) int64."""
        order = torch.argsort(self.begin)
        order = order[self.length[order] > 0]
        return torch.repeat_interleave(
            self.receiver[order].long(), self.length[order].long(), output_size=len(self.sender)
        )


def edge_segments(layout: EdgeLayout) -> Segments:
    """The edges into each atom."""
    degree = torch.bincount(layout.destination, minlength=layout.n_nodes)
    begin = degree.cumsum(0) - degree
    order = torch.argsort(degree, stable=True)
    return Segments(
        layout.source.int(),
        layout.weight.squeeze(1),
        begin[order].int(),
        degree[order].int(),
        order.int(),
    )


def triplet_segments(layout: TripletLayout) -> Segments:
    """The triplets into each edge."""
    sender, length = [], []
    for enter, _ in layout.blocks:
        atoms, degree = enter.shape
        sender.append(enter.unsqueeze(1).expand(atoms, degree, degree).reshape(-1))
        length.append(torch.full_like(enter, degree).view(-1))
    senders, lengths = torch.cat(sender), torch.cat(length)
    return Segments(
        senders.int(),
        layout.weight.squeeze(1)[senders],
        (lengths.cumsum(0) - lengths).int(),
        lengths.int(),
        torch.cat([leave.reshape(-1) for _, leave in layout.blocks]).int(),
    )


class FusedConv(nn.Module):
    """An ``EdgeGatedGraphConv`` in evaluation, with its weights arranged for one pass."""

    gate: Tensor
    projection: Tensor
    projection_bias: Tensor
    norms: Tensor

    def __init__(
        self, conv: EdgeGatedGraphConv, arithmetic: Arithmetic = "float32", tiles: Tiles = TILES
    ) -> None:
        super().__init__()
        self.arithmetic, self.tiles = arithmetic, tiles
        # Senders need the first and the third part, receivers the second and the last.
        parts = (conv.src_gate, conv.dst_gate, conv.dst_update, conv.src_update)
        bias = [part.bias.detach().clone() for part in parts]
        bias[1] += conv.edge_gate.bias.detach()
        folded = [*_folded(conv.bn_edges), *_folded(conv.bn_nodes)]
        gate = conv.edge_gate.weight.detach().T.contiguous()
        self.register_buffer("gate", gate.to(STORAGE[arithmetic]))
        self.register_buffer("projection", torch.cat([part.weight.detach() for part in parts]))
        self.register_buffer("projection_bias", torch.cat(bias))
        self.register_buffer("norms", torch.stack(folded))

    @torch.no_grad()
    def forward(
        self, segments: Segments, nodes: Tensor, rows: Tensor, *, rows_needed: bool = True
    ) -> tuple[Tensor, Tensor]:
        """New nodes and rows, as ``EdgeGatedGraphConv`` in evaluation gives them.

        Args:
            segments: which rows each node receives, and from whom.
            nodes: (nodes, width), of any floating type.
            rows: (rows, width), of the arithmetic's type.
            rows_needed: False returns ``rows`` as they are where nobody reads them.
        """
        projected = nn.functional.linear(
            nodes, self.projection.to(nodes.dtype), self.projection_bias.to(nodes.dtype)
        )
        if kernel_runs_on(rows):
            return self._by_kernel(segments, nodes, rows, projected, rows_needed)
        return self._eagerly(segments, nodes, rows, projected, rows_needed)

    def _eagerly(
        self, segments: Segments, nodes: Tensor, rows: Tensor, projected: Tensor, rows_needed: bool
    ) -> tuple[Tensor, Tensor]:
        """The kernel's function in plain PyTorch: rounded where it rounds, summed in float32."""
        sender, receiver = segments.sender.long(), segments.receiver_of_row
        wide = projected.float()
        to_receiver, from_receiver, message, update = wide.chunk(4, dim=1)
        logits = rows.float() @ self.gate.float() + to_receiver[sender] + from_receiver[receiver]
        share = torch.sigmoid(logits) * segments.weight.unsqueeze(1)
        zeros = torch.zeros_like(update)
        norm = zeros.index_add(0, receiver, share)
        total = zeros.index_add(0, receiver, share * message[sender])
        row_gain, row_shift, node_gain, node_shift = self.norms
        gathered = (update + total / (norm + GATE_EPSILON)) * node_gain + node_shift
        new_nodes = (nodes.float() + nn.functional.silu(gathered)).to(nodes.dtype)
        if not rows_needed:
            return new_nodes, rows
        activated = nn.functional.silu(logits * row_gain + row_shift)
        return new_nodes, (rows.float() + activated).to(rows.dtype)

    def _by_kernel(
        self, segments: Segments, nodes: Tensor, rows: Tensor, projected: Tensor, rows_needed: bool
    ) -> tuple[Tensor, Tensor]:
        from models.triton_kernels import gated_convolution

        # Offsets are of the type of the indices.
        if max(rows.numel(), projected.numel()) >= 2**31:
            segments = segments.long()
        width, tiles = rows.shape[1], self.tiles
        columns = divisor(width, tiles.columns)
        new_nodes = torch.empty_like(nodes)
        # Other tiles of columns still read the rows as they were, hence not in place.
        new_rows = torch.empty_like(rows) if rows_needed else rows
        n_segments = len(segments.begin)
        grid = (-(-n_segments // tiles.segments), width // columns)
        with torch.cuda.device_of(rows):  # type: ignore[no-untyped-call]
            gated_convolution[grid](
                rows, new_rows, self.gate,
                projected, nodes, new_nodes, self.norms,
                segments.sender, segments.weight,
                segments.begin, segments.length, segments.receiver,
                n_segments, GATE_EPSILON,
                WIDTH=width, SEGMENTS=tiles.segments, SPAN=tiles.span,
                COLUMNS=columns, DEPTH=divisor(width, tiles.depth),
                STORE_ROWS=rows_needed, PRECISION=product_precision(self.arithmetic),
                WIDEN=interpreted(),
                num_warps=tiles.warps, num_stages=tiles.stages,
            )  # fmt: skip
        return new_nodes, new_rows


def _folded(norm: WeightedBatchNorm) -> tuple[Tensor, Tensor]:
    """The factor and the shift that a batch norm is in evaluation, (width,) each."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
    return gain, norm.bias.detach() - norm.running_mean * gain


def divisor(width: int, most: int) -> int:
    """The largest power of two that divides a width, up to ``most``."""
    return min(width & -width, most)


def product_precision(arithmetic: Arithmetic) -> str:
    """What Triton calls the arithmetic of float32 products."""
    return "tf32" if arithmetic == "tf32" else "ieee"


def kernel_runs_on(rows: Tensor) -> bool:
    """Whether triton is there and can work on these rows."""
    if rows.shape[1] % 16 or not len(rows) or rows.dtype == torch.float64:
        return False
    return (rows.is_cuda or interpreted()) and _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def interpreted() -> bool:
    """Whether Triton runs its kernels on the CPU, for tests (``TRITON_INTERPRET=1``)."""
    if not _has_triton():
        return False
    return bool(import_module("triton").knobs.runtime.interpret)
