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
    logits = layout.add_pair(convolution.gate(rows), products[:, 0], products[:, 1])
    total, norm = layout.aggregate(logits, products[:, 2])
    if needed:
        _update(convolution, rows, logits)
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
            n = len(enter) * d**2
            part = slice(first, first + n)
            first += n
            if located is None:
                logits = convolution.gate(rows[part], out=logits_space[:n])
                before = rows[part]
            else:
                found = located.table.look_up(located.cell[part], located.share[part])
                logits, before = found[:, :width], found[:, width:]
            block = logits.view(len(enter), d, d, width)
            block += products[enter, 0].unsqueeze(1)
            block += products[leave, 1].unsqueeze(2)
            gate = torch.sigmoid(block, out=gate_space[:n].view(len(enter), d, d, width))
            norm = (gate * layout.weight[enter].unsqueeze(1)).sum(2)
            total = gate.mul_(sent[enter].unsqueeze(1)).sum(2)
            gathered[leave] = total.div_(norm.add_(GATE_EPSILON))
            if needed:
                _update(convolution, before, logits)
                if located is not None:
                    rows[part] = before
    return gathered


def _update(convolution: Convolution, rows: Tensor, logits: Tensor) -> None:
    """Rows plus SiLU of the normalised logits, which are used up."""
    normal = logits.mul_(convolution.gain).add_(convolution.shift)
    rows += nn.functional.silu(normal, inplace=True)
