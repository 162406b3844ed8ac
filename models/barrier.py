"""The barrier network: the trunk on a band, a readout along the path, a head in log(eV)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from models.alignn import Trunk, TrunkConfig, mean_by_graph
from models.batch import GraphBatch
from models.descriptors import SIZE
from models.graph import Parts
from models.variants import AttentionReadout, Combine, DeltaReadout, EndsReadout

TARGET_OFFSET_EV = 0.1
"""The target is log(Em + 0.1 eV): barriers span three decades and errors grow with them."""

_MOST_SPREADS = 4.0
"""Standardised descriptors are cut here: a strange path must not drive the head."""
_CONSTANT = 1e-6
_MUTE = 1e6
"""A descriptor that varies less than this in training says nothing and is muted."""

Readout = Literal["mean", "path"]
Target = Literal["log", "linear"]
Variant = Literal["model1", "model2", "model3", "model4"]
_PARTS: dict[Variant, Parts] = {"model1": "ends", "model2": "ends", "model4": "local"}


@dataclass(frozen=True)
class BarrierConfig:
    """Sizes of a barrier network, and which of the systems it is."""

    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    readout: Readout = "path"
    """Without a ``variant``, which has its own. ``mean``: over all atoms. ``path``: the ion's
    images, ends, quarters and middle apart, beside the mean over the kept environment and the
    path's descriptor."""
    head: tuple[int, ...] = (128, 128)
    dropout: float = 0.0
    """Of the head's hidden layers; a third of it on what the head reads."""
    variant: Variant | None = None
    """A system of arXiv 2508.06436. ``model1``: initial and final structure, ``combine``d.
    ``model2``: initial structure, and a side trunk's difference to the final one. ``model3``: mean
    over the band in one cell. ``model4``: attention over band and surroundings of the ion."""
    combine: Combine = "concatenate"
    """What ``model1`` does with the vectors of its two structures."""
    symmetric: bool = True
    """Whether ``model1`` and ``model2`` take the mean over the hop and its reverse, in training as
    in prediction. Without it (as published) the two may get different barriers; ``model1`` that
    adds, and all else, gives them the same anyway."""
    readout_activation: bool = False
    """SiLU on what the head reads, as published; the variants always have it."""

    target: Target = "log"
    """What the head gives: log(Em / eV + 0.1), or Em in eV, as imported networks do."""

    def __post_init__(self) -> None:
        for name, known in (("readout", Readout), ("combine", Combine), ("target", Target)):
            if getattr(self, name) not in get_args(known):
                expected = " or ".join(map(repr, get_args(known)))
                raise ValueError(f"{name} is {getattr(self, name)!r}, must be {expected}")
        if self.variant is not None and self.variant not in get_args(Variant):
            expected = ", ".join(get_args(Variant))
            raise ValueError(f"variant is {self.variant!r}, must be None or one of {expected}")

    @property
    def parts(self) -> Parts:
        """The graphs that the network reads, for ``GraphSettings``."""
        return "whole" if self.variant is None else _PARTS.get(self.variant, "whole")

    @property
    def reads_path(self) -> bool:
        """Whether the head reads the ion's images apart and the path's descriptor."""
        return self.variant is None and self.readout == "path"


def to_target(em_ev: Tensor) -> Tensor:
    """Barriers in eV to the scale that is learned."""
    return torch.log(em_ev.clamp_min(0.0) + TARGET_OFFSET_EV)


class BarrierNetwork(nn.Module):
    """The graphs of bands in, their migration barriers out: trunk, readout and head.

    The target's mean and spread are buffers, so a checkpoint carries the scale it was trained in.
    A band and its reverse have the same images, hence the same barrier; for what tells the ends
    apart see ``BarrierConfig.symmetric``.
    """

    target_mean: Tensor
    target_std: Tensor
    descriptor_mean: Tensor
    descriptor_std: Tensor

    def __init__(self, config: BarrierConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk)
        self.reader = _reader(config)
        path = config.reads_path
        n_read = 4 * config.trunk.width + SIZE if path else config.trunk.width
        layers: list[nn.Module] = [nn.Dropout(config.dropout / 3)]
        for n_in, n_out in pairwise((n_read, *config.head)):
            layers += [nn.Linear(n_in, n_out), nn.SiLU(), nn.Dropout(config.dropout)]
        self.head = nn.Sequential(*layers, nn.Linear((n_read, *config.head)[-1], 1))
        self.register_buffer("target_mean", torch.zeros(()))
        self.register_buffer("target_std", torch.ones(()))
        self.register_buffer("descriptor_mean", torch.zeros(SIZE if path else 0))
        self.register_buffer("descriptor_std", torch.ones(SIZE if path else 0))

    def fit_scale(self, target: Tensor, descriptors: Tensor) -> None:
        """Take the mean and spread of the training targets (n,) and descriptors (n, SIZE)."""
        self.target_mean.copy_(target.mean())
        self.target_std.copy_(target.std())
        if self.config.reads_path:
            self.descriptor_mean.copy_(descriptors.mean(0))
            spread = descriptors.std(0)
            self.descriptor_std.copy_(torch.where(spread > _CONSTANT, spread, _MUTE))

    def forward(self, batch: GraphBatch) -> Tensor:
        """(bands,) log(Em / eV + 0.1).

        Raises:
            ValueError: the graphs are of other parts than the network reads.
        """
        self.check_parts(batch)
        return self.from_atoms(self.trunk(batch), batch)

    def check_parts(self, batch: GraphBatch) -> None:
        """Refuse graphs of other parts than the network reads, with a ValueError."""
        if batch.parts != self.config.parts:
            raise ValueError(
                f"graphs of parts {batch.parts!r}, the network reads {self.config.parts!r}; "
                f"build them with GraphSettings(parts={self.config.parts!r})"
            )

    def from_atoms(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """What readout and head make of the trunk's features (atoms, width): (bands,) as above."""
        read = self._read(x, batch)
        if self.config.readout_activation or self.config.variant is not None:
            read = nn.functional.silu(read)
        # One row per direction in which the readout went along the hop.
        standardised: Tensor = self.head(read).view(-1, len(batch)).mean(0)
        value = standardised * self.target_std + self.target_mean
        return value if self.config.target == "log" else to_target(value)

    def _read(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """What the head reads: (bands, n), or (2 x bands, n) with the reversed hops last."""
        if self.reader is not None:
            read: Tensor = self.reader(x, batch)
            return read
        pooled = mean_by_graph(x, batch.graph_of_atom, len(batch))
        if not self.config.reads_path:
            return pooled
        images = x[batch.images]
        ends = (images[:, 0] + images[:, 4]) / 2
        quarters = (images[:, 1] + images[:, 3]) / 2
        standard = (batch.descriptors - self.descriptor_mean) / self.descriptor_std
        standard = standard.clamp(-_MOST_SPREADS, _MOST_SPREADS)
        return torch.cat([ends, quarters, images[:, 2], pooled, standard], dim=1)


def _reader(config: BarrierConfig) -> nn.Module | None:
    """The readout of a variant that has parameters or two graphs."""
    if config.variant == "model1":
        return EndsReadout(config.trunk.width, config.combine, symmetric=config.symmetric)
    if config.variant == "model2":
        return DeltaReadout(config.trunk, symmetric=config.symmetric)
    if config.variant == "model4":
        return AttentionReadout(config.trunk.width)
    return None
