"""The training loop: one network fitted to labelled bands, restartable at any epoch."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.barrier import BarrierConfig, BarrierNetwork, to_target
from models.batch import GraphBatch, collate, split_by_cost
from models.graph import BandGraph

_SAVE_EVERY_EPOCHS = 5
_PREDICT_COST = 400_000


@dataclass(frozen=True)
class FitSettings:
    """How one network is trained."""

    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 2e-3
    """Peak of the one-cycle schedule."""
    weight_decay: float = 5e-2
    warmup: float = 0.15
    """Share of the steps in which the rate rises."""
    noise_a: float = 0.02
    """Spread of the random displacement of every atom, Å, drawn anew for each step."""
    ema_decay: float = 0.99
    """Weights are averaged over about 1 / (1 - decay) steps."""
    gradient_clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, must be positive")


def fit(
    config: BarrierConfig,
    graphs: Sequence[BandGraph],
    em_ev: np.ndarray,
    settings: FitSettings,
    *,
    device: str = "cpu",
    state_file: Path | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> BarrierNetwork:
    """Train one network on all given graphs.

    Args:
        config: sizes of the network.
        graphs: one per band.
        em_ev: (n,) barriers, eV; their scale is fitted here, on these bands alone.
        settings: schedule and seed. The same seed and data give the same weights on one
            CPU thread; more threads add up in changing order.
        device: where to train.
        state_file: where the state is saved every few epochs; an existing one is continued.
        on_epoch: called with the finished epoch (from 1) and its mean loss.

    Returns:
        The averaged network in eval mode.
    """
    torch.manual_seed(settings.seed)
    network = BarrierNetwork(config).to(device)
    targets = to_target(torch.as_tensor(em_ev, dtype=torch.float32, device=device))
    network.fit_scale(targets, collate(graphs, device).descriptors)
    average = get_ema_multi_avg_fn(settings.ema_decay)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    total = math.ceil(len(graphs) / settings.batch_size) * settings.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=total, pct_start=settings.warmup
    )
    parts = {"network": network, "averaged": averaged, "optimizer": optimizer, "schedule": schedule}
    for epoch in range(_load_state(state_file, parts, settings, config), settings.epochs):
        # Every epoch has its own numbers, so that a restart draws what an unbroken run draws.
        torch.manual_seed(settings.seed * 100_003 + epoch)
        order = torch.randperm(len(graphs)).tolist()
        network.train()
        losses = []
        for start in range(0, len(order), settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            batch = _shaken(collate([graphs[i] for i in chosen], device), settings.noise_a)
            losses.append(_step(network, optimizer, batch, targets[chosen], settings))
            schedule.step()
            averaged.update_parameters(network)
        if on_epoch is not None:
            on_epoch(epoch + 1, float(np.mean(losses)))
        if state_file is not None and (epoch + 1) % _SAVE_EVERY_EPOCHS == 0:
            _save_state(state_file, parts, settings, config, epoch + 1)
    final = averaged.module
    assert isinstance(final, BarrierNetwork)
    return final.eval()


def _step(
    network: BarrierNetwork,
    optimizer: torch.optim.Optimizer,
    batch: GraphBatch,
    target: Tensor,
    settings: FitSettings,
) -> float:
    """One step down the gradient; returns the loss, in spreads of the target."""
    loss = nn.functional.l1_loss(network(batch), target) / network.target_std
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
    optimizer.step()
    return loss.item()


def _shaken(batch: GraphBatch, noise_a: float) -> GraphBatch:
    """The batch with every atom displaced a little; its edges stay."""
    noise = (torch.randn(len(batch.atoms), 3) * noise_a).to(batch.vector)
    moved = batch.vector + noise[batch.edges.destination] - noise[batch.edges.source]
    return replace(batch, vector=moved)


def _run_key(settings: FitSettings, config: BarrierConfig) -> str:
    return f"{settings!r} {config!r}"


def _save_state(
    file: Path, parts: dict[str, Any], settings: FitSettings, config: BarrierConfig, epoch: int
) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{random.randrange(10**9)}.tmp")
    torch.save({"epoch": epoch, "key": _run_key(settings, config), **state}, temporary)
    temporary.replace(file)


def _load_state(
    file: Path | None, parts: dict[str, Any], settings: FitSettings, config: BarrierConfig
) -> int:
    """The epoch to continue from; 0 where there is no state of this very run."""
    if file is None or not file.is_file():
        return 0
    state = torch.load(file, weights_only=True)
    if state["key"] != _run_key(settings, config):
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["epoch"])


@torch.inference_mode()
def predict_targets(
    network: BarrierNetwork, graphs: Sequence[BandGraph], device: str = "cpu"
) -> np.ndarray:
    """(n,) log(Em / eV + 0.1) of every graph, in their order."""
    out: Tensor = torch.empty(len(graphs))
    for chosen in split_by_cost(graphs, _PREDICT_COST):
        out[chosen] = network(collate([graphs[i] for i in chosen], device)).cpu()
    return out.numpy()
