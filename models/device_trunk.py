"""A trained trunk for predictions on a GPU: fused convolutions, the angles from a table.

The same function as ``alignn.Trunk`` in evaluation, to rounding. It runs on any device: where the
kernels do not (``triton_conv.kernel_runs_on``) their PyTorch forms do. It has not run on a GPU yet.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from models.alignn import ALIGNNConv, EdgeGatedGraphConv, Trunk
from models.barrier import BarrierNetwork
from models.batch import GraphBatch
from models.triton_conv import (
    STORAGE,
    TILES,
    Arithmetic,
    FusedConv,
    Segments,
    Tiles,
    divisor,
    edge_segments,
    kernel_runs_on,
    triplet_segments,
)

_CHUNK = 2**18
"""Triplets that are embedded at once, where that is not the kernel's work."""
_CELLS = 2**14
"""Of a table: 16 MiB at the published width, a third of an H200's second cache."""
_TABLE_ERROR = 1e-6
"""Of the largest value of an embedding: single precision's rounding, with room for its layers."""
_ROWS_PER_PROGRAM = 32


@dataclass(frozen=True)
class TrunkArithmetic:
    """In what the two kinds of rows are kept and multiplied; atoms are always float32.

    The defaults change nothing. Bond pairs stand ``bfloat16`` far better than bonds do, which want
    ``float16``: check with the trained weights before relying on either.
    """

    pairs: Arithmetic = "float32"
    bonds: Arithmetic = "float32"


EXACT = TrunkArithmetic()


class _Layout(NamedTuple):
    bonds: Segments
    pairs: Segments | None
    cosines: Tensor | None


_LAYOUTS: WeakKeyDictionary[GraphBatch, _Layout] = WeakKeyDictionary()
"""What every network that reads the same batch needs of it."""


def _layout(batch: GraphBatch, *, pairs: bool) -> _Layout:
    known = _LAYOUTS.get(batch)
    if known is None or (pairs and known.pairs is None):
        known = _Layout(
            edge_segments(batch.edges),
            triplet_segments(batch.triplets) if pairs else None,
            batch.triplets.cosines(batch.vector) if pairs else None,
        )
        _LAYOUTS[batch] = known
    return known


class CosineTable(nn.Module):
    """An embedding of cosines by linear interpolation between evenly spaced ones."""

    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def forward(self, cosine: Tensor, dtype: torch.dtype) -> Tensor:
        """(rows,) in [-1, 1] to (rows, width)."""
        rows, width = len(cosine), self.values.shape[1]
        out = torch.empty(rows, width, dtype=dtype, device=cosine.device)
        cells = len(self.values) - 1
        if not kernel_runs_on(out):
            for begin in range(0, rows, _CHUNK):
                part = slice(begin, begin + _CHUNK)
                out[part] = self._interpolated((cosine[part] + 1) * (cells / 2), cells)
            return out
        from models.triton_kernels import interpolated_rows

        columns = divisor(width, 128)
        grid = (-(-rows // _ROWS_PER_PROGRAM), width // columns)
        with torch.cuda.device_of(out):  # type: ignore[no-untyped-call]
            interpolated_rows[grid](
                self.values, cosine, out, rows, -1.0, cells / 2,
                CELLS=cells, WIDTH=width, ROWS=_ROWS_PER_PROGRAM, COLUMNS=columns,
            )  # fmt: skip
        return out

    def _interpolated(self, place: Tensor, cells: int) -> Tensor:
        cell = place.long().clamp_(0, cells - 1)
        share = (place - cell).unsqueeze(1)
        return torch.lerp(self.values[cell], self.values[cell + 1], share.to(self.values.dtype))


def tabulated(embedding: nn.Module) -> CosineTable | None:
    """An embedding of cosines as a table; None where it is too sharp for one."""
    exact = deepcopy(embedding).double().cpu().eval()
    with torch.no_grad():
        values = exact(torch.linspace(-1, 1, 2 * _CELLS + 1, dtype=torch.float64), None)
    table, between = values[::2], values[1::2]
    # Linear interpolation is worst about halfway.
    error = ((table[1:] + table[:-1]) / 2 - between).abs().max() / values.abs().max()
    return CosineTable(table.float().contiguous()) if float(error) <= _TABLE_ERROR else None


class FusedTrunk(nn.Module):
    """Crystal graph in, a vector per atom out; later changes of the trunk do not reach it."""

    def __init__(
        self,
        trunk: Trunk,
        arithmetic: TrunkArithmetic = EXACT,
        tiles: Tiles = TILES,
    ) -> None:
        super().__init__()
        self.config, self.arithmetic = trunk.config, arithmetic
        self.atom_embedding = deepcopy(trunk.atom_embedding)
        self.edge_embedding = deepcopy(trunk.edge_embedding)

        def fused(conv: nn.Module, kind: Arithmetic) -> FusedConv:
            return FusedConv(cast(EdgeGatedGraphConv, conv), kind, tiles)

        layers = [cast(ALIGNNConv, layer) for layer in trunk.alignn_layers]
        self.bonds = nn.ModuleList(fused(one.node_update, arithmetic.bonds) for one in layers)
        # Nobody reads the bonds after the last layer where no other convolution follows.
        read = len(layers) if len(trunk.gcn_layers) else max(len(layers) - 1, 0)
        self.pairs = nn.ModuleList(
            fused(one.edge_update, arithmetic.pairs) for one in layers[:read]
        )
        self.last = nn.ModuleList(fused(one, arithmetic.bonds) for one in trunk.gcn_layers)
        self.angles: nn.Module | None = None
        if read:
            table = tabulated(trunk.angle_embedding)
            self.angles = table or deepcopy(trunk.angle_embedding)
        self.eval()

    @torch.no_grad()
    def forward(self, batch: GraphBatch) -> Tensor:
        """(atoms, width) features."""
        layout = _layout(batch, pairs=bool(self.pairs))
        x: Tensor = self.atom_embedding(batch.atoms)
        y: Tensor = self.edge_embedding(batch.vector.norm(dim=1), None)
        y = y.to(STORAGE[self.arithmetic.bonds])
        z = self._embedded_angles(layout.cosines)
        for index, bonds in enumerate(self.bonds):
            paired = index < len(self.pairs)
            x, y = bonds(layout.bonds, x, y, rows_needed=paired or bool(self.last))
            if paired:
                more = index + 1 < len(self.pairs)
                y, z = self.pairs[index](layout.pairs, y, z, rows_needed=more)
        for index, bonds in enumerate(self.last):
            x, y = bonds(layout.bonds, x, y, rows_needed=index + 1 < len(self.last))
        return x

    def _embedded_angles(self, cosines: Tensor | None) -> Tensor | None:
        if cosines is None or self.angles is None:
            return None
        dtype = STORAGE[self.arithmetic.pairs]
        if isinstance(self.angles, CosineTable):
            return cast(Tensor, self.angles(cosines, dtype))
        parts = [self.angles(part, None).to(dtype) for part in torch.split(cosines, _CHUNK)]
        return torch.cat(parts)


def fuse(
    network: BarrierNetwork,
    arithmetic: TrunkArithmetic = EXACT,
    tiles: Tiles = TILES,
) -> BarrierNetwork:
    """A copy of a trained float32 network whose trunks are fused; for predictions only."""
    copy = deepcopy(network).eval()
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Trunk):
                setattr(parent, name, FusedTrunk(child, arithmetic, tiles))
    return copy.requires_grad_(False)
