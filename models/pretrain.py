"""A property network fitted to bulk properties, from random weights or from a trained network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.alignn import TrunkConfig
from models.batch import GraphBatch, collate, split_by_cost
from models.bulk import MIN_LABELS, BulkTable
from models.bulk_split import Scale, Split, fit_scale, split
from models.dataset import DatasetError
from models.finetune import Start, plan_rates, start_properties
from models.graph import BandGraph, GraphSettings, graph_of_crystal
from models.loop import EpochReport, Plan, Schedule, parameter_groups, train_network
from models.precision import route_matmuls
from models.properties import (
    PropertyConfig,
    PropertyModel,
    PropertyNetwork,
    masked_error,
)
from models.property_card import property_card
from pathways.types import FloatArray, PathwayError

_CLOSEST_A = 0.5
_VALIDATE_COST = 400_000


@dataclass(frozen=True)
class PretrainSettings:
    """All that decides a property network beside its data."""

    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    head: tuple[int, ...] = (128, 128)
    graph: GraphSettings = field(default_factory=GraphSettings)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=100,
            batch_size=64,
            learning_rate=1e-3,
            weight_decay=1e-2,
            noise_a=0.0,
            ema_decay=0.0,
        )
    )
    patience: int | None = 20
    """Epochs without a better validation after which training stops."""
    max_cost: int | None = 1_000_000
    """Edges plus triplets in memory at once; a dearer step is done in parts, and each part has its
    own moments in the batch norms."""
    split_seed: int = 0
    """Of the draw that leaves crystals to validate and to test."""
    published: bool = False
    """Whether the published test rows test; else a draw does."""
    size: int | None = None
    """Crystals to learn from (train and validate), drawn; None takes all. The test is the same."""
    start: Start | None = None
    """A trained network to start from."""


def build_graphs(
    table: BulkTable,
    settings: GraphSettings,
    on_graph: Callable[[int, int], None] | None = None,
) -> tuple[BulkTable, list[BandGraph]]:
    """The graphs of all crystals that have one.

    Args:
        table: labelled crystals.
        settings: of the graphs.
        on_graph: called with crystals done and crystals in all.

    Returns:
        The table without the crystals that have none, which are named as refused, and a graph each.
    """
    kept, graphs, refused = [], [], []
    for index, crystal in enumerate(table.crystals):
        try:
            graph = graph_of_crystal(crystal, settings)
            closest = float(np.sqrt((graph.vector**2).sum(axis=1).min()))
            if closest < _CLOSEST_A:
                raise PathwayError(
                    "overlapping_atoms",
                    f"two atoms are {closest:.3f} Å apart, expected at least {_CLOSEST_A:g}",
                )
        except PathwayError as error:
            refused.append((table.names[index], str(error)))
        else:
            kept.append(index)
            graphs.append(graph)
        if on_graph is not None:
            on_graph(index + 1, len(table))
    return table.rows(np.array(kept, dtype=np.int64), refused), graphs


def pretrain(
    table: BulkTable,
    graphs: Sequence[BandGraph],
    settings: PretrainSettings,
    work_dir: Path,
    name: str,
    *,
    device: str = "cpu",
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> tuple[PropertyModel, dict[str, Any], list[EpochReport]]:
    """Train one network on all properties of a table; the same call continues a broken one.

    Args:
        table: labelled crystals, each with a graph.
        graphs: from ``build_graphs``.
        settings: sizes, schedule, split and start.
        work_dir: keeps the state; every training has a file of its own in it.
        name: of the model.
        device: where to train.
        on_epoch: called with every finished epoch.
        on_step: called with steps done, steps in all and loss.

    Returns:
        The model with the weights of its best epoch, its card, and a report per epoch.

    Raises:
        models.dataset.DatasetError: too few labels, or all alike.
        ValueError: the start's trunk has other sizes.
        models.checkpoint.ModelError: the start cannot be read.
    """
    route_matmuls()
    schedule = settings.schedule
    parts = _sampled(split(table, settings.split_seed, settings.published), settings)
    network, scale = _started(table, fit_scale(table, parts.train), settings)
    network.to(device)
    target = scale.to_target(table.labels)
    rows = np.flatnonzero(parts.train.any(axis=1)).tolist()
    plan = _plan(network, settings, _validation(target, parts, graphs, device))
    work_dir.mkdir(parents=True, exist_ok=True)
    key = _key(table, settings)
    trained, reports = train_network(
        network,
        [graphs[i] for i in rows],
        _loss(np.where(parts.train, target, np.nan)[rows], device),
        schedule,
        plan,
        key=key,
        device=device,
        state_file=work_dir / f"{key[:12]}.state",
        on_epoch=on_epoch,
        on_step=on_step,
    )
    assert isinstance(trained, PropertyNetwork)
    model = PropertyModel(name, settings.graph, trained, table.properties, scale)
    recipe = asdict(settings)
    if settings.start is not None:
        recipe["start"]["folder"] = Path(settings.start.folder).name
    card = property_card(table, graphs, parts, recipe, model, reports, device)
    return model, card, reports


def _started(
    table: BulkTable, scale: Scale, settings: PretrainSettings
) -> tuple[PropertyNetwork, Scale]:
    """The network before its first step, and the scale that it learns in."""
    torch.manual_seed(settings.schedule.seed)
    config = PropertyConfig(settings.trunk, len(table.properties), settings.head)
    network = PropertyNetwork(config)
    if settings.start is None:
        return network, scale
    return network, start_properties(network, table.properties, scale, settings.start)


def _key(table: BulkTable, settings: PretrainSettings) -> str:
    """Of this very training."""
    names = [one.name for one in table.properties]
    content = f"{settings!r} {table.digest} {names} {len(table)}"
    return hashlib.sha256(content.encode()).hexdigest()


def _sampled(parts: Split, settings: PretrainSettings) -> Split:
    """The split with as many crystals to learn from as asked for, a tenth of them to validate."""
    if settings.size is None:
        return parts
    pool = np.flatnonzero((parts.train | parts.validation).any(axis=1))
    if not MIN_LABELS <= settings.size <= len(pool):
        raise DatasetError(
            f"size is {settings.size}, expected {MIN_LABELS} to {len(pool)}: "
            "what the test leaves to learn from"
        )
    drawn = np.random.default_rng(settings.schedule.seed).permutation(pool)[: settings.size]
    known = parts.train | parts.validation
    train, validation = np.zeros_like(known), np.zeros_like(known)
    n_validation = max(1, settings.size // 10)
    validation[drawn[:n_validation]] = known[drawn[:n_validation]]
    train[drawn[n_validation:]] = known[drawn[n_validation:]]
    return Split(train, validation, parts.test)


def _loss(
    target: FloatArray, device: str
) -> Callable[[nn.Module, GraphBatch, list[int], list[int]], Tensor]:
    """The mean absolute error over the labels of a step, as a sum over its parts."""
    targets = torch.as_tensor(target, dtype=torch.float32, device=device)
    n_labels = (~np.isnan(target)).sum(axis=1)

    def loss(net: nn.Module, batch: GraphBatch, chosen: list[int], whole: list[int]) -> Tensor:
        assert isinstance(net, PropertyNetwork)
        return masked_error(net, batch, targets[chosen]) / int(n_labels[whole].sum())

    return loss


def _validation(
    target: FloatArray, parts: Split, graphs: Sequence[BandGraph], device: str
) -> Callable[[nn.Module], float]:
    """The same error over the labels that validate."""
    rows = np.flatnonzero(parts.validation.any(axis=1)).tolist()
    held = np.where(parts.validation, target, np.nan)[rows]
    targets = torch.as_tensor(held, dtype=torch.float32, device=device)
    own = [graphs[i] for i in rows]
    batches = list(split_by_cost(own, _VALIDATE_COST))

    @torch.inference_mode()
    def validate(net: nn.Module) -> float:
        assert isinstance(net, PropertyNetwork)
        total = 0.0
        for chosen in batches:
            batch = collate([own[i] for i in chosen], device)
            total += float(masked_error(net, batch, targets[chosen]))
        return total / int((~np.isnan(held)).sum())

    return validate


def _plan(
    network: PropertyNetwork,
    settings: PretrainSettings,
    validate: Callable[[nn.Module], float],
) -> Plan:
    rate, decay = settings.schedule.learning_rate, settings.schedule.weight_decay
    frozen: list[nn.Module] = []
    if settings.start is None:
        groups = parameter_groups([(network.parameters(), rate)], decay)
    else:
        groups, frozen = plan_rates(network, settings.start, rate, decay)
    return Plan(
        groups,
        frozen,
        validate,
        settings.patience,
        settings.max_cost,
        merge_last=True,
    )
