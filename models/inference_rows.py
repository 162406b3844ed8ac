"""Folded convolutions in PyTorch's own operations, in parts that stay in a core's cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.alignn import GATE_EPSILON
from models.batch import EdgeLayout, TripletLayout
from models.inference_fold import PIECES, Convolution
from models.inference_table import CosineTable

CHUNK_NUMBERS = 2**17
"""Of one part of the rows: half a MiB in single precision, a fraction of a core's second cache."""


@dataclass(frozen=True, eq=False)
class Located:
    """Where in a table every triplet's cosine lies."""

    table: CosineTable
    cell: Tensor
    share: Tensor


class Convolve(Protocol):
    """A way to run one convolution: in PyTorch or in the compiled kernel."""

    def __call__(
        self,
        convolution: Convolution,
        layout: EdgeLayout | TripletLayout,
        nodes: Tensor,
        rows: Tensor,
        *,
        rows_needed: bool,
        located: Located | None = None,
    ) -> Tensor:
        """New node features.

        Args:
            convolution: folded weights.
            layout: which nodes each row joins.
            nodes: (nodes, width).
            rows: (rows, width), of edges or triplets; changed in place where needed. With
                ``located`` they are written, not read.
            rows_needed: whether anybody reads the rows afterwards.
            located: gate and rows come from a table.
        """
        ...


def convolve(
    convolution: Convolution,
    layout: EdgeLayout | TripletLayout,
    nodes: Tensor,
    rows: Tensor,
    *,
    rows_needed: bool,
    located: Located | None = None,
) -> Tensor:
    """See ``Convolve``."""
    products = convolution.nodes(nodes).view(len(nodes), PIECES, -1)
    if isinstance(layout, EdgeLayout):
        gathered = _over_edges(convolution, layout, products, rows, rows_needed)
    else:
        gathered = _over_blocks(convolution, layout, products, rows, rows_needed, located)
    return nn.functional.silu(gathered.add_(products[:, 3]), inplace=True).add_(nodes)


def _over_edges(
    convolution: Convolution, layout: EdgeLayout, products: Tensor, rows: Tensor, needed: bool
) -> Tensor:
    pieces = products.view(-1, products.shape[2])
    logits = _pick(pieces, PIECES * layout.source)
    logits += _pick(pieces, PIECES * layout.destination + 1)
    convolution.gate.add_to(logits, rows)
    total, norm = layout.aggregate(logits, products[:, 2])
    if needed:
        _update(convolution, rows, logits, rows)
    return total.div_(norm.add_(GATE_EPSILON))


def _over_blocks(
    convolution: Convolution,
    layout: TripletLayout,
    products: Tensor,
    rows: Tensor,
    needed: bool,
    located: Located | None,
) -> Tensor:
    width = products.shape[2]
    pieces = products.view(-1, width)
    sent = products[:, 2] * layout.weight
    gathered = products.new_empty(len(products), width)
    most = max(1, CHUNK_NUMBERS // width)
    logits_space = products.new_empty(max(most, layout.largest_atom), width)
    gate_space = torch.empty_like(logits_space)
    first = 0
    for all_enter, all_leave in layout.blocks:
        d = all_enter.shape[1]
        atoms = max(1, most // d**2)
        for start in range(0, len(all_enter), atoms):
            enter, leave = all_enter[start : start + atoms], all_leave[start : start + atoms]
            shape = (len(enter), d, d, width)
            part = slice(first, first + len(enter) * d**2)
            first = part.stop
            before, logits = rows[part], logits_space[: part.stop - part.start]
            block = logits.view(shape)
            ends = _pick(pieces, PIECES * enter), _pick(pieces, PIECES * leave + 1)
            torch.add(ends[0].unsqueeze(1), ends[1].unsqueeze(2), out=block)
            if located is None:
                convolution.gate.add_to(logits, before)
            else:
                found = located.table.look_up(located.cell[part], located.share[part])
                logits += found[:, :width]
                before = found[:, width:]
            gate = torch.sigmoid(block, out=gate_space[: len(logits)].view(shape))
            norm = torch.matmul(layout.weight[enter].transpose(1, 2).unsqueeze(1), gate)
            total = gate.mul_(_pick(sent, enter).unsqueeze(1)).sum(2)
            total.div_(norm.squeeze(2).add_(GATE_EPSILON))
            gathered.index_copy_(0, leave.reshape(-1), total.view(-1, width))
            if needed:
                _update(convolution, before, logits, rows[part])
    return gathered


def _pick(rows: Tensor, index: Tensor) -> Tensor:
    """Rows by an index of any shape; square brackets cost more for the few rows of a part."""
    return rows.index_select(0, index.reshape(-1)).view(*index.shape, -1)


def _update(convolution: Convolution, before: Tensor, logits: Tensor, after: Tensor) -> None:
    """Rows plus SiLU of the normalised logits, which are used up."""
    normal = torch.addcmul(convolution.shift, logits, convolution.gain, out=logits)
    torch.add(before, nn.functional.silu(normal, inplace=True), out=after)
