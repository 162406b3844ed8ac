"""Which workers of each kind a run may have, on which machines, and what each asks of Ray."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TypeVar

T = TypeVar("T")

_CPUS_PER_FEATURE_WORKER = 4
"""Where the model runs on CPUs: preparing a hop takes about a tenth of the time of its forward."""
_FEATURE_WORKERS_PER_LIGHT_MODEL = 32
"""Where it is no network: a prediction takes about a fortieth of the time of its numbers."""
_LEAST_SHARE = 1e-3
"""Of a GPU; less than that is rounding."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, and what may be used of it."""

    node_id: str
    cpus: int
    gpus: float = 0.0


@dataclass(frozen=True)
class Slot:
    """Where a worker runs and what it asks of Ray there."""

    node_id: str
    cpus: int
    gpus: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Slots for both kinds of workers, in the order in which they are to be filled."""

    device: str
    """``cuda`` or ``cpu``, of the model workers."""
    models: tuple[Slot, ...]
    features: tuple[Slot, ...]
    first_models: int
    """Those to begin with; more where they turn out to hold up the others."""
    first_features: int


def plan_workers(nodes: Sequence[Node], networks: bool = True, gpu_share: float = 1.0) -> Plan:
    """Divide the machines among workers.

    With GPUs: one model worker for each or for each share of one, and all CPUs left over, on
    machines without a GPU too, prepare graphs. Without: one model worker per CPU, and a few feature
    workers that share the CPUs with them, asking Ray for none, since a worker that waits for a CPU
    which the others never give back would wait for ever. A model without networks takes next to no
    time: few workers of it beside a feature worker per CPU.

    Args:
        nodes: with what may be used of each, which is never exceeded.
        networks: whether predictions take long enough to be spread.
        gpu_share: of a GPU that a model worker asks for, up to 1.
    """
    if not networks:
        return _light(nodes)
    if any(node.gpus > 0 for node in nodes):
        return _on_gpus(nodes, gpu_share)
    models = [[Slot(node.node_id, 1)] * node.cpus for node in nodes]
    features = [[Slot(node.node_id, 0)] * node.cpus for node in nodes]
    first = sum(max(1, node.cpus // _CPUS_PER_FEATURE_WORKER) for node in nodes if node.cpus)
    spread = tuple(_in_turns(models))
    return Plan("cpu", spread, tuple(_in_turns(features)), len(spread), first)


def _light(nodes: Sequence[Node]) -> Plan:
    features = tuple(_in_turns([Slot(node.node_id, 1)] * node.cpus for node in nodes))
    models = tuple(_in_turns([Slot(node.node_id, 0)] * node.cpus for node in nodes))
    first = min(len(models), 1 + len(features) // _FEATURE_WORKERS_PER_LIGHT_MODEL)
    return Plan("cpu", models, features, first, len(features))


def _on_gpus(nodes: Sequence[Node], gpu_share: float) -> Plan:
    shares = {node.node_id: _shares(node.gpus, gpu_share) for node in nodes}
    # A model worker has a CPU of its own where every such machine can spare it.
    spare = all(node.cpus > len(shares[node.node_id]) for node in nodes if shares[node.node_id])
    models = [
        [Slot(node.node_id, int(spare), share) for share in shares[node.node_id]] for node in nodes
    ]
    features = [
        [Slot(node.node_id, 1)] * (node.cpus - len(shares[node.node_id]) * int(spare))
        for node in nodes
    ]
    if not spare:  # those of a machine with GPUs ask for none either
        features = [
            [replace(slot, cpus=0) if shares[slot.node_id] else slot for slot in slots]
            for slots in features
        ]
    if not any(features):
        features = [[Slot(next(node.node_id for node in nodes if node.gpus > 0), 0)]]
    all_models, all_features = tuple(_in_turns(models)), tuple(_in_turns(features))
    return Plan("cuda", all_models, all_features, len(all_models), len(all_features))


def _shares(gpus: float, share: float) -> list[float]:
    """A machine's GPUs in parts of at most ``share``."""
    whole = int(gpus / share + _LEAST_SHARE)
    rest = gpus - whole * share
    return [share] * whole + ([round(rest, 4)] if rest > _LEAST_SHARE else [])


def within(nodes: Iterable[Node], num_cpus: int | None, num_gpus: float | None) -> list[Node]:
    """Machines with no more than so many CPUs and GPUs in all; those with GPUs come first."""
    cpus_left = float("inf") if num_cpus is None else num_cpus
    gpus_left = float("inf") if num_gpus is None else num_gpus
    taken = []
    for node in sorted(nodes, key=lambda node: (-node.gpus, node.node_id)):
        cpus, gpus = int(min(node.cpus, cpus_left)), min(node.gpus, gpus_left)
        if cpus or gpus:
            taken.append(replace(node, cpus=cpus, gpus=gpus))
        cpus_left -= cpus
        gpus_left -= gpus
    return taken


def _in_turns(rows: Iterable[Sequence[T]]) -> Iterable[T]:
    """The first of every row, then the second of every row, and so on."""
    for column in zip_longest(*rows):
        yield from (item for item in column if item is not None)
