"""What a stage of a training is beside its tensors, and how its rows are cut into parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.fused_gradients_stage import group_bounds, row_bounds
from models.inference_groups import RowGroups

_CHUNK_NUMBERS = 2**17
"""Of logits between two products by PyTorch: half a MiB a thread."""


@dataclass(frozen=True, eq=False)
class Shape:
    """What a stage is beside its tensors."""

    norm: nn.BatchNorm1d | None
    """Of logits; None where nobody reads what comes out."""
    count: Tensor | None
    """(rows,) multiplicities in the moments; None counts each row once."""
    groups: RowGroups | None = None
    """Of the gate; None without."""
    residual: bool = False
    """Whether inputs are added to what comes out."""

    def total(self, rows: int) -> float:
        """Rows as the moments count them."""
        return float(rows) if self.count is None else float(self.count.sum())

    def chunks(self, rows: int, width: int, whole: bool) -> list[tuple[int, int, int, int]]:
        """First and last group (or row), first and last row, of what is done between two products.

        Args:
            rows: how many there are.
            width: of their logits.
            whole: all at once, where the stage itself makes the product.
        """
        groups = self.groups
        if whole:
            return [(0, rows if groups is None else len(groups.node), 0, rows)]
        most = max(1, torch.get_num_threads() * _CHUNK_NUMBERS // width)
        if groups is not None:
            return groups.chunks(most)
        return [(first, min(first + most, rows)) * 2 for first in range(0, rows, most)]

    def bounds(self, begin: int, end: int) -> list[int]:
        """A chunk's groups or rows cut for threads."""
        if self.groups is not None:
            return group_bounds(self.groups, begin, end)
        return [begin + bound for bound in row_bounds(end - begin)]
