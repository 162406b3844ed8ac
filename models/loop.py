"""The one training loop: any network, any loss, restartable at any epoch with the same result."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.arithmetic import bfloat16_products, deterministic, kept_memory
from models.batch import GraphBatch, collate
from models.checkpoint import ModelError
from models.graph import BandGraph
from models.steps import parts_of, shaken, steps_of

Loss = Callable[[nn.Module, GraphBatch, list[int], list[int]], Tensor]
"""Of network, batch, the graphs in it and the graphs of the whole step, of which the batch may be a
part: the parts' losses add up to the step's."""


@dataclass(frozen=True)
class Schedule:
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
    """Weights are averaged over about 1 / (1 - decay) steps; 0 keeps the last ones."""
    gradient_clip: float = 1.0
    seed: int = 0
    autocast: bool = True
    """Whether the trunk multiplies in bfloat16 while it trains on a GPU; a CPU keeps float32."""
    deterministic: bool = False
    """One thread and deterministic algorithms. On a CPU one thread alone gives the same numbers on
    every run."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, must be positive")


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch."""

    epoch: int
    """From 1."""
    loss: float
    """Mean over the steps, of the training graphs."""
    validation: float | None
    """Of the graphs held out; None without any."""
    learning_rate: float
    """Highest of the groups, after the epoch."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Plan:
    """What beside settings, graphs and loss decides a training."""

    groups: list[dict[str, Any]]
    """Parameters of the optimiser, each group with ``lr`` and ``weight_decay``."""
    frozen: Sequence[nn.Module] = ()
    """Kept in eval mode, so that their running moments stay too."""
    validate: Callable[[nn.Module], float] | None = None
    """Less is better; the weights of the best epoch are kept."""
    patience: int | None = None
    """Epochs without a better validation after which training stops."""
    max_cost: int | None = None
    """Edges plus triplets in memory at once; a dearer step is done in parts."""
    save_every: int = 1
    """Epochs between two states."""
    merge_last: bool = False
    """A last step of less than half the batch size joins the one before it."""


def train_network(
    network: nn.Module,
    graphs: Sequence[BandGraph],
    loss: Loss,
    schedule: Schedule,
    plan: Plan,
    *,
    key: str,
    device: str = "cpu",
    state_file: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> tuple[nn.Module, list[EpochReport]]:
    """Train a network.

    Args:
        network: on the device, ready to train.
        graphs: to train on.
        loss: of a batch of them.
        schedule: rates, steps and seed. The same seed and data give the same weights on one CPU
            thread; more threads add up in changing order.
        plan: groups, frozen parts, validation, memory.
        key: of this very training; a state with another one is not continued.
        device: where to train.
        state_file: where the state is saved; an existing one is continued.
        on_epoch: called with every epoch that is finished here.
        on_step: called with steps done, steps in all and loss.

    Returns:
        The network in eval mode (averaged; of the best epoch where there is a validation), and a
        report per epoch, those of a continued state among them.

    Raises:
        models.checkpoint.ModelError: the loss is no longer a finite number.
    """
    run = _Run(network, graphs, loss, schedule, plan, device)
    run.load_state(state_file, key)
    on_cpu = torch.device(device).type == "cpu"
    with deterministic(schedule.deterministic), kept_memory(on_cpu):
        while run.epoch < schedule.epochs and not run.patience_is_over:
            report = run.one_epoch(on_step)
            if on_epoch is not None:
                on_epoch(report)
            if state_file is not None and run.epoch % plan.save_every == 0:
                run.save_state(state_file, key)
    return run.result.eval(), run.reports


class _Run:
    """A training under way: all that its state holds."""

    def __init__(
        self,
        network: nn.Module,
        graphs: Sequence[BandGraph],
        loss: Loss,
        schedule: Schedule,
        plan: Plan,
        device: str,
    ) -> None:
        self.graphs, self.loss, self.schedule, self.plan = graphs, loss, schedule, plan
        self.network, self.device = network, device
        self.autocast = schedule.autocast and torch.device(device).type == "cuda"
        self.averaged: AveragedModel | None = None
        if schedule.ema_decay:
            average = get_ema_multi_avg_fn(schedule.ema_decay)  # type: ignore[no-untyped-call]
            self.averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
        self.best = deepcopy(network) if plan.validate is not None else None
        self.optimizer = torch.optim.AdamW(plan.groups)
        self.n_steps = len(self._steps(list(range(len(graphs)))))
        self.rate = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            [group["lr"] for group in plan.groups],
            total_steps=self.n_steps * schedule.epochs,
            pct_start=schedule.warmup,
        )
        self.epoch = self.best_epoch = 0
        self.best_value = math.inf
        self.reports: list[EpochReport] = []

    @property
    def current(self) -> nn.Module:
        return self.network if self.averaged is None else self.averaged.module

    @property
    def result(self) -> nn.Module:
        return self.current if self.best is None else self.best

    @property
    def patience_is_over(self) -> bool:
        patience = self.plan.patience
        return patience is not None and self.epoch - self.best_epoch >= patience

    def one_epoch(self, on_step: Callable[[int, int, float], None] | None) -> EpochReport:
        started = time.perf_counter()
        # Every epoch has its own numbers, so that a restart draws what an unbroken run draws.
        torch.manual_seed(self.schedule.seed * 100_003 + self.epoch)
        order = torch.randperm(len(self.graphs)).tolist()
        self.network.train()
        for module in self.plan.frozen:
            module.eval()
        losses = []
        for chosen in self._steps(order):
            losses.append(self._step(chosen))
            self.rate.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.network)
            if on_step is not None:
                done = self.epoch * self.n_steps + len(losses)
                on_step(done, self.n_steps * self.schedule.epochs, losses[-1])
        self.epoch += 1
        mean_loss = float(np.mean(losses))
        if not math.isfinite(mean_loss):
            raise ModelError(
                f"the loss of epoch {self.epoch} is {mean_loss}; lower the learning rate"
            )
        value = self._validate()
        seconds = time.perf_counter() - started
        rate = max(float(one) for one in self.rate.get_last_lr())
        report = EpochReport(self.epoch, mean_loss, value, rate, seconds)
        self.reports.append(report)
        return report

    def _steps(self, order: list[int]) -> list[list[int]]:
        return list(steps_of(order, self.schedule.batch_size, merge_last=self.plan.merge_last))

    def _step(self, chosen: list[int]) -> float:
        """One step down the gradient; returns the loss."""
        self.optimizer.zero_grad()
        total = 0.0
        for part in parts_of(chosen, self.graphs, self.plan.max_cost):
            batch = collate([self.graphs[i] for i in part], self.device)
            batch = shaken(batch, self.schedule.noise_a)
            with bfloat16_products(self.network) if self.autocast else nullcontext():
                value = self.loss(self.network, batch, part, chosen)
            value.backward()  # type: ignore[no-untyped-call]
            total += value.item()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.gradient_clip)
        self.optimizer.step()
        return total

    def _validate(self) -> float | None:
        """The validation of an epoch; the best weights so far are kept."""
        if self.plan.validate is None or self.best is None:
            return None
        value = self.plan.validate(self.current.eval())
        if value < self.best_value:
            self.best_value, self.best_epoch = value, self.epoch
            self.best.load_state_dict(self.current.state_dict())
        return value

    @property
    def _parts_of_state(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"network": self.network, "averaged": self.averaged}
        parts |= {"best": self.best, "optimizer": self.optimizer, "schedule": self.rate}
        return {name: part for name, part in parts.items() if part is not None}

    def save_state(self, file: Path, key: str) -> None:
        state = {name: part.state_dict() for name, part in self._parts_of_state.items()}
        state |= {"key": key, "epoch": self.epoch, "best_epoch": self.best_epoch}
        state |= {"best_value": self.best_value, "reports": [asdict(one) for one in self.reports]}
        temporary = file.with_name(f".{file.name}.{os.getpid()}.{random.randrange(10**9)}.tmp")
        torch.save(state, temporary)
        temporary.replace(file)

    def load_state(self, file: Path | None, key: str) -> None:
        """Continue where a state of this very training stopped, if there is one."""
        if file is None or not file.is_file():
            return
        state = torch.load(file, weights_only=True)
        if state.get("key") != key:
            return
        for name, part in self._parts_of_state.items():
            part.load_state_dict(state[name])
        self.epoch, self.best_epoch = int(state["epoch"]), int(state["best_epoch"])
        self.best_value = float(state["best_value"])
        self.reports = [EpochReport(**report) for report in state["reports"]]


def parameter_groups(
    parts: Sequence[tuple[Iterable[nn.Parameter], float]], weight_decay: float
) -> list[dict[str, Any]]:
    """Groups of an optimiser: each part at its rate, without decay on norms and biases.

    Args:
        parts: parameters, none twice, and their rate; those without gradient are passed over.
        weight_decay: of the weight matrices.
    """
    groups = []
    for parameters, rate in parts:
        moving = [one for one in parameters if one.requires_grad]
        for decay, chosen in (
            (weight_decay, [one for one in moving if one.ndim > 1]),
            (0.0, [one for one in moving if one.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return groups
