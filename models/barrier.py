"""The barrier network: the trunk on a band, a readout along the path, a head in log(eV)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from models.alignn import Trunk, TrunkConfig, mean_by_graph
from models.batch import GraphBatch
from models.descriptors import SIZE

TARGET_OFFSET_EV = 0.1
"""The target is log(Em + 0.1 eV): barriers span three decades and errors grow with them."""

_MOST_SPREADS = 4.0
"""Standardised descriptors are cut here: a strange path must not drive the head."""
_CONSTANT = 1e-6
_MUTE = 1e6
"""A descriptor that varies less than this in training says nothing and is muted."""

Readout = Literal["mean", "path"]


@dataclass(frozen=True)
class BarrierConfig:
    """Sizes of a barrier network."""

    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    readout: Readout = "path"
    """``mean``: over all atoms, as in MODEL-3. ``path``: the ion's images, ends, quarters and
    middle apart, beside the mean over the kept environment and the path's descriptor."""
    head: tuple[int, ...] = (128, 128)
    dropout: float = 0.0
    """Of the head's hidden layers; a third of it on what the head reads."""

    def __post_init__(self) -> None:
        if self.readout not in ("mean", "path"):
            raise ValueError(f"readout is {self.readout!r}, must be 'mean' or 'path'")


def to_target(em_ev: Tensor) -> Tensor:
    """Barriers in eV to the scale that is learned."""
    return torch.log(em_ev.clamp_min(0.0) + TARGET_OFFSET_EV)


class BarrierNetwork(nn.Module):
    """MODEL-3 (arXiv 2508.06436): a band folded into one cell in, its migration barrier out.

    The target's mean and spread are buffers, so a checkpoint carries the scale it was trained in.
    A band and its reverse have the same images, hence the same barrier.
    """

    target_mean: Tensor
    target_std: Tensor
    descriptor_mean: Tensor
    descriptor_std: Tensor

    def __init__(self, config: BarrierConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk)
        path = config.readout == "path"
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
        if self.config.readout == "path":
            self.descriptor_mean.copy_(descriptors.mean(0))
            spread = descriptors.std(0)
            self.descriptor_std.copy_(torch.where(spread > _CONSTANT, spread, _MUTE))

    def forward(self, batch: GraphBatch) -> Tensor:
        """(graphs,) log(Em / eV + 0.1)."""
        x = self.trunk(batch)
        pooled = mean_by_graph(x, batch.graph_of_atom, len(batch))
        if self.config.readout == "path":
            images = x[batch.images]
            ends = (images[:, 0] + images[:, 4]) / 2
            quarters = (images[:, 1] + images[:, 3]) / 2
            standard = (batch.descriptors - self.descriptor_mean) / self.descriptor_std
            standard = standard.clamp(-_MOST_SPREADS, _MOST_SPREADS)
            pooled = torch.cat([ends, quarters, images[:, 2], pooled, standard], dim=1)
        standardised: Tensor = self.head(pooled).squeeze(1)
        return standardised * self.target_std + self.target_mean
