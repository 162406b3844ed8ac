"""A smooth function of a cosine as a table: four lines of it give any value in between.

The first triplet features of a trunk, and what its first convolution makes of them, depend on
nothing but the angle. Cubic interpolation through four neighbouring lines (Lagrange) is exact to
single precision with some hundred lines, far less work than the layers that it stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_LINES = 4
_FEWEST_CELLS = 128
_MOST_NUMBERS = 2**21
"""Of a table: beyond them it would not stay in a cache, and the layers themselves are run."""


@dataclass(frozen=True, eq=False)
class CosineTable:
    """Values on evenly spaced cosines, one cell beyond either end."""

    values: Tensor
    """(cells + 3, columns)."""
    error: float
    """Largest interpolation error found, in the scale of the largest value."""

    @property
    def cells(self) -> int:
        """Cells between -1 and 1."""
        return len(self.values) - _LINES + 1

    def locate(self, cosine: Tensor) -> tuple[Tensor, Tensor]:
        """First of the four lines (n,), and the share of each (n, 4), for cosines (n,)."""
        return _locate(cosine, self.cells)

    def look_up(self, cell: Tensor, share: Tensor) -> Tensor:
        """(n, columns) values where ``locate`` said."""
        lines = cell.unsqueeze(1) + torch.arange(_LINES)
        found: Tensor = torch.nn.functional.embedding_bag(
            lines, self.values, mode="sum", per_sample_weights=share
        )
        return found


def tabulate(
    function: Callable[[Tensor], Tensor], tolerance: float, dtype: torch.dtype
) -> CosineTable | None:
    """The coarsest table that is good enough, found by doubling.

    Args:
        function: cosines (n,) in float64 to values (n, columns).
        tolerance: most that an interpolated value may be off, in the scale of the largest value.
        dtype: of the table.

    Returns:
        None where no table of a size worth having is so good.
    """
    cells = _FEWEST_CELLS
    while True:
        step = 2.0 / cells
        lines = function(torch.arange(-1, cells + 2, dtype=torch.float64) * step - 1.0)
        if lines.numel() > _MOST_NUMBERS:
            return None
        between = torch.arange(0, cells, dtype=torch.float64).unsqueeze(1)
        between = ((between + torch.tensor([0.25, 0.5, 0.75])) * step - 1.0).view(-1)
        table = CosineTable(lines, 0.0)
        scale = float(lines.abs().max()) or 1.0
        gap = table.look_up(*table.locate(between)) - function(between)
        error = float(gap.abs().max()) / scale
        if error <= tolerance:
            return CosineTable(lines.to(dtype).contiguous(), error)
        cells *= 2


def _locate(cosine: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    place = (cosine + 1.0) * (cells / 2)
    cell = place.long().clamp_(0, cells - 1)
    t = place - cell
    before, after, beyond = t + 1.0, 1.0 - t, 2.0 - t
    share = torch.stack(
        [
            t * after * beyond / -6.0,
            before * after * beyond / 2.0,
            before * t * beyond / 2.0,
            before * t * after / -6.0,
        ],
        dim=1,
    )
    return cell, share
