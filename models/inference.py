"""A trained trunk for prediction only: the same function, with everything frozen made use of.

Batch norms are folded into the linear layers before them, the linear maps of a node are one
product, what nobody reads is not computed, the first layer's angles come from a table, and the
triplets are worked on in parts that stay in a core's cache: by the compiled kernel where it was
built, else by PyTorch. Several networks of one shape run side by side as one wide network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

import torch
from torch import Tensor, nn

from models import fused
from models.alignn import ALIGNNConv, Embedding, RBFExpansion, Trunk
from models.batch import GraphBatch
from models.inference_fold import Convolution, fold_convolutions, fold_layers
from models.inference_rows import Convolve, Located, convolve
from models.inference_table import CosineTable, tabulate

_TABLE_ERROR = {torch.float32: 1e-7, torch.float64: 1e-11}
"""Of the largest value: below single precision's own rounding, or what double precision allows."""
_DOUBLE_LAYERS = 2
"""Convolutions whose products of the atoms are in double precision. At first atoms differ by little
but their element, norms amplify the differences, and round-off with them; there are few atoms."""
_MOST_KEPT_BYTES = 2**28
"""Of the space for triplets that is kept between batches."""


class InferenceTrunk(nn.Module):
    """Trunks of one shape as one, on CPUs; later changes of their weights do not reach it."""

    def __init__(
        self, trunks: Sequence[Trunk], *, compiled: bool = True, bfloat16: bool = False
    ) -> None:
        """Fold the weights.

        Args:
            trunks: of one config and dtype; (atoms, width) come out side by side.
            compiled: whether to use the compiled kernel where it can be.
            bfloat16: multiply the convolutions' matrices in bfloat16 (float32 trunks only).
        """
        super().__init__()
        first = trunks[0]
        self.config = first.config
        self.members = len(trunks)
        dtype = first.atom_embedding.layer[0].weight.dtype
        assert isinstance(dtype, torch.dtype)
        self.dtype = dtype
        width = self.members * self.config.width
        kernel = fused.kernel() if compiled and dtype == torch.float32 else None
        self.convolve: Convolve = convolve if kernel is None or not kernel.takes(width) else kernel
        self._bfloat16 = bfloat16
        self.spaces: list[Tensor] = []
        """For triplets, kept from batch to batch; trunks that take turns may share them."""
        self.atoms = fold_layers([one.atom_embedding for one in trunks], shared_input=True)
        self.distances = _Embedded([one.edge_embedding for one in trunks])
        layers = [[cast(ALIGNNConv, layer) for layer in one.alignn_layers] for one in trunks]
        self.bonds = [
            self._folded([one.node_update for one in same], double_nodes=index < _DOUBLE_LAYERS)
            for index, same in enumerate(zip(*layers, strict=True))
        ]
        # The last layer's bonds are read by the convolutions after it, if there are any.
        read = len(self.bonds) if self.config.gcn_layers else max(len(self.bonds) - 1, 0)
        pairs = [
            fold_convolutions([one.edge_update for one in same])
            for same in zip(*layers, strict=True)
        ]
        # An error in a triplet's gate is divided out again by the gates' sum: two parts suffice.
        gate_parts = 2 if compiled else 0
        self.pairs = [
            pair.to(dtype, gate_parts=gate_parts, bfloat16=bfloat16) for pair in pairs[:read]
        ]
        after = zip(*(one.gcn_layers for one in trunks), strict=True)
        self.last = [self._folded(list(same)) for same in after]
        self.table: CosineTable | None = None
        if self.pairs:
            angles = _Embedded([one.angle_embedding for one in trunks])
            self.table = tabulate(
                _first_rows(angles, pairs[0], with_rows=len(self.pairs) > 1),
                _TABLE_ERROR[dtype],
                dtype,
            )
            self.angles = angles.to(dtype)

    def _folded(self, same: Sequence[nn.Module], *, double_nodes: bool = False) -> Convolution:
        return fold_convolutions(same).to(
            self.dtype, bfloat16=self._bfloat16, double_nodes=double_nodes and not self._bfloat16
        )

    @torch.inference_mode()
    def forward(self, batch: GraphBatch) -> Tensor:
        """(atoms, members x width) features."""
        x = self.atoms(batch.atoms.double()).to(self.dtype)
        y = self.distances(batch.vector.double().norm(dim=1)).to(self.dtype)
        kept, z, located = self._first_triplets(batch)
        for index, bonds in enumerate(self.bonds):
            paired = index < len(self.pairs)
            x = self.convolve(bonds, batch.edges, x, y, rows_needed=paired or bool(self.last))
            if paired:
                y = self.convolve(
                    self.pairs[index],
                    batch.triplets,
                    y,
                    z,
                    rows_needed=index + 1 < len(self.pairs),
                    located=located if index == 0 else None,
                )
        for index, bonds in enumerate(self.last):
            x = self.convolve(bonds, batch.edges, x, y, rows_needed=index + 1 < len(self.last))
        if 0 < kept.nbytes <= _MOST_KEPT_BYTES:
            self.spaces.append(kept)
        return x

    def _first_triplets(self, batch: GraphBatch) -> tuple[Tensor, Tensor, Located | None]:
        """The space that was taken, the triplets' rows in it, and where the table has them."""
        space = batch.vector.new_empty(0)
        if not self.pairs:
            return space, space, None
        cosines = batch.cosines
        if self.table is None:
            return space, self.angles(cosines), None
        located = Located(self.table, *self.table.locate(cosines))
        if len(self.pairs) == 1:
            return space, space, located
        wanted = len(cosines) * self.members * self.config.width
        # Of several threads each takes its own: no looking before the leap.
        with suppress(IndexError):
            space = self.spaces.pop()
        if space.numel() < wanted:
            space = space.new_empty(wanted)
        return space, space[:wanted].view(len(cosines), -1), located


class _Embedded:
    """The embedding of a distance or a cosine, of every member."""

    def __init__(self, embeddings: Sequence[nn.Module]) -> None:
        several = [cast(Embedding, one) for one in embeddings]
        basis = cast(RBFExpansion, several[0][0])
        self.centres, self.gamma = basis.centers.double(), basis.gamma
        self.first = fold_layers([one[1] for one in several], shared_input=True)
        self.second = fold_layers([one[2] for one in several], shared_input=False)

    def to(self, dtype: torch.dtype) -> _Embedded:
        """In the precision that it will be used in."""
        self.centres = self.centres.to(dtype)
        self.first, self.second = self.first.to(dtype), self.second.to(dtype)
        return self

    def __call__(self, value: Tensor) -> Tensor:
        """(rows,) to (rows, members x width)."""
        basis = torch.exp(-self.gamma * (value.unsqueeze(1) - self.centres) ** 2)
        return self.second(self.first(basis))


def _first_rows(
    angles: _Embedded, pair: Convolution, *, with_rows: bool
) -> Callable[[Tensor], Tensor]:
    """Of cosines: the first gate without bias and, where wanted, the embedding itself."""

    def values(cosine: Tensor) -> Tensor:
        rows = angles(cosine)
        gate = pair.gate(rows)
        return torch.cat([gate, rows], dim=1) if with_rows else gate

    return values
