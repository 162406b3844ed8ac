"""One barrier network fitted to labelled bands, from random weights or from a trained network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.barrier import BarrierConfig, BarrierNetwork, to_target
from models.batch import GraphBatch, collate, split_by_cost
from models.dataset import DatasetError
from models.finetune import Start, plan_rates, start_barriers
from models.graph import BandGraph
from models.loop import EpochReport, Loss, Plan, Schedule, parameter_groups, train_network

_SAVE_EVERY_EPOCHS = 5
_PREDICT_COST = 400_000
_FEWEST = 3
"""Bands to train and validate with: one of them validates, and a spread needs two."""


@dataclass(frozen=True)
class FitSettings(Schedule):
    """How one barrier network is trained."""

    start: Start | None = None
    """A trained network to start from; None starts from random weights."""
    patience: int | None = None
    """Epochs without a better validation after which training stops, with the weights of the best
    epoch; None trains on all bands to the last epoch."""
    validation_share: float = 0.1
    """Of the bands, held out to validate where there is a ``patience``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience is {self.patience}, must be at least 1")
        if not 0 < self.validation_share <= 0.5:
            raise ValueError(
                f"validation_share is {self.validation_share}, must be above 0 and at most 0.5"
            )
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
    """The network alone of ``fit_with_curve``; ``on_epoch`` is told the epoch and its loss."""

    def report(one: EpochReport) -> None:
        if on_epoch is not None:
            on_epoch(one.epoch, one.loss)

    network, _ = fit_with_curve(
        config, graphs, em_ev, settings, device=device, state_file=state_file, on_epoch=report
    )
    return network


def fit_with_curve(
    config: BarrierConfig,
    graphs: Sequence[BandGraph],
    em_ev: np.ndarray,
    settings: FitSettings,
    *,
    groups: Sequence[str] | None = None,
    device: str = "cpu",
    state_file: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> tuple[BarrierNetwork, list[EpochReport]]:
    """Train one network on the given graphs: on all, or on those that do not validate.

    Args:
        config: sizes of the network.
        graphs: one per band.
        em_ev: (n,) barriers, eV; their scale is fitted here, on the bands that train alone, unless
            a start brings its own.
        settings: schedule, start, validation and seed. The same seed and data give the same weights
            on one CPU thread; more threads add up in changing order.
        groups: (n,) hosts, whose bands train or validate together; None draws band by band.
        device: where to train.
        state_file: where the state is saved every few epochs; an existing one is continued.
        on_epoch: called with every epoch that is finished here.

    Returns:
        The averaged network in eval mode (of the best epoch where there is a validation), and a
        report per epoch, those of a continued state among them.

    Raises:
        ValueError: the start's trunk has other sizes than ``config``.
        models.checkpoint.ModelError: the start cannot be read.
        models.dataset.DatasetError: too few bands or hosts to hold some out.
    """
    torch.manual_seed(settings.seed)
    network = BarrierNetwork(config).to(device)
    em_ev = np.asarray(em_ev)
    held = np.zeros(len(graphs), dtype=bool)
    if settings.patience is not None:
        held = validation_part(len(graphs), settings.validation_share, settings.seed, groups)
    own = [graphs[i] for i in np.flatnonzero(~held).tolist()]
    aside = [graphs[i] for i in np.flatnonzero(held).tolist()]
    targets = to_target(torch.as_tensor(em_ev[~held], dtype=torch.float32, device=device))
    network.fit_scale(targets, collate(own, device).descriptors)
    validate = _validation(aside, em_ev[held], device) if aside else None
    final, reports = train_network(
        network,
        own,
        _loss(targets, network.target_std),
        settings,
        _plan(network, settings, validate),
        key=f"{settings!r} {config!r}",
        device=device,
        state_file=state_file,
        on_epoch=on_epoch,
    )
    assert isinstance(final, BarrierNetwork)
    return final, reports


def _loss(targets: Tensor, spread: Tensor) -> Loss:
    """The mean absolute error, in spreads of the target."""

    def loss(net: nn.Module, batch: GraphBatch, chosen: list[int], whole: list[int]) -> Tensor:
        # Steps are never cut, so chosen is whole.
        return nn.functional.l1_loss(net(batch), targets[chosen]) / spread

    return loss


def validation_part(
    n: int, share: float, seed: int, groups: Sequence[str] | None = None
) -> npt.NDArray[np.bool_]:
    """Which of n bands are held out to validate.

    Args:
        n: bands to learn from.
        share: of them to hold out; at least one band.
        seed: of the draw.
        groups: (n,) hosts, held out whole: as many as fit into the share, and at least the smallest
            one. None draws band by band.

    Raises:
        models.dataset.DatasetError: fewer than two bands would be left to train on.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n) if groups is None else np.array(groups)
    names, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2 or n < _FEWEST:
        hosts = "" if groups is None else f" of {len(names)} hosts"
        raise DatasetError(
            f"{n} bands{hosts} to learn from cannot also validate, expected at least {_FEWEST} of "
            "2 hosts; train without patience, or add bands of other hosts"
        )
    wanted = max(1, round(share * n))
    order = rng.permutation(len(names))
    chosen, taken = [], 0
    for one in order:
        if taken + counts[one] <= wanted:
            chosen.append(one)
            taken += counts[one]
    return np.isin(inverse, chosen or [order[np.argmin(counts[order])]])


def _validation(
    graphs: Sequence[BandGraph], em_ev: np.ndarray, device: str
) -> Callable[[nn.Module], float]:
    """The mean absolute error over the bands held out, in spreads of the training targets."""
    target = to_target(torch.as_tensor(em_ev, dtype=torch.float32)).numpy()

    def validate(net: nn.Module) -> float:
        assert isinstance(net, BarrierNetwork)
        error = np.abs(predict_targets(net, graphs, device) - target)
        return float(error.mean()) / float(net.target_std)

    return validate


def _plan(
    network: BarrierNetwork, settings: FitSettings, validate: Callable[[nn.Module], float] | None
) -> Plan:
    """Rates and frozen parts, and the start's weights in the network."""
    rate, decay = settings.learning_rate, settings.weight_decay
    frozen: list[nn.Module] = []
    if settings.start is None:
        groups = parameter_groups([(network.parameters(), rate)], decay)
    else:
        start_barriers(network, settings.start, settings.seed)
        groups, frozen = plan_rates(network, settings.start, rate, decay)
    return Plan(groups, frozen, validate, settings.patience, save_every=_SAVE_EVERY_EPOCHS)


@torch.inference_mode()
def predict_targets(
    network: BarrierNetwork, graphs: Sequence[BandGraph], device: str = "cpu"
) -> np.ndarray:
    """(n,) log(Em / eV + 0.1) of every graph, in their order."""
    out: Tensor = torch.empty(len(graphs))
    for chosen in split_by_cost(graphs, _PREDICT_COST):
        out[chosen] = network(collate([graphs[i] for i in chosen], device)).cpu()
    return out.numpy()
