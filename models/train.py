"""One barrier network fitted to labelled bands, from random weights or from a trained network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.barrier import BarrierConfig, BarrierNetwork, to_target
from models.batch import GraphBatch, collate, split_by_cost
from models.finetune import Start, plan_rates, start_barriers
from models.graph import BandGraph
from models.loop import Plan, Schedule, train_network

_SAVE_EVERY_EPOCHS = 5
_PREDICT_COST = 400_000


@dataclass(frozen=True)
class FitSettings(Schedule):
    """How one barrier network is trained."""

    start: Start | None = None
    """A trained network to start from; None starts from random weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        start: object = self.start
        if isinstance(start, dict):  # from a configuration, or out of ``asdict``
            object.__setattr__(self, "start", Start(**start))


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
        em_ev: (n,) barriers, eV; their scale is fitted here, on these bands alone, unless a start
            brings its own.
        settings: schedule, start and seed. The same seed and data give the same weights on one
            CPU thread; more threads add up in changing order.
        device: where to train.
        state_file: where the state is saved every few epochs; an existing one is continued.
        on_epoch: called with the finished epoch (from 1) and its mean loss.

    Returns:
        The averaged network in eval mode.

    Raises:
        ValueError: the start's trunk has other sizes than ``config``.
        models.checkpoint.ModelError: the start cannot be read.
    """
    torch.manual_seed(settings.seed)
    network = BarrierNetwork(config).to(device)
    targets = to_target(torch.as_tensor(em_ev, dtype=torch.float32, device=device))
    network.fit_scale(targets, collate(graphs, device).descriptors)
    plan = _plan(network, settings)

    def loss(net: nn.Module, batch: GraphBatch, chosen: list[int], whole: list[int]) -> Tensor:
        # In spreads of the target; steps are never cut, so chosen is whole.
        error = nn.functional.l1_loss(net(batch), targets[chosen])
        return error / network.target_std

    final, _ = train_network(
        network,
        graphs,
        loss,
        settings,
        plan,
        key=f"{settings!r} {config!r}",
        device=device,
        state_file=state_file,
        on_epoch=None if on_epoch is None else lambda one: on_epoch(one.epoch, one.loss),
    )
    assert isinstance(final, BarrierNetwork)
    return final


def _plan(network: BarrierNetwork, settings: FitSettings) -> Plan:
    """Rates and frozen parts, and the start's weights in the network."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.start is None:
        groups = [{"params": list(network.parameters()), "lr": rate, "weight_decay": decay}]
        return Plan(groups, save_every=_SAVE_EVERY_EPOCHS)
    start_barriers(network, settings.start, settings.seed)
    groups, frozen = plan_rates(network, settings.start, rate, decay)
    return Plan(groups, frozen, save_every=_SAVE_EVERY_EPOCHS)


@torch.inference_mode()
def predict_targets(
    network: BarrierNetwork, graphs: Sequence[BandGraph], device: str = "cpu"
) -> np.ndarray:
    """(n,) log(Em / eV + 0.1) of every graph, in their order."""
    out: Tensor = torch.empty(len(graphs))
    for chosen in split_by_cost(graphs, _PREDICT_COST):
        out[chosen] = network(collate([graphs[i] for i in chosen], device)).cpu()
    return out.numpy()
