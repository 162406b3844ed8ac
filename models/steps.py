"""What one step of a training sees: which graphs, in which parts, with which displacements."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import torch

from models.batch import GraphBatch
from models.graph import BandGraph


def steps_of(order: list[int], size: int, *, merge_last: bool = False) -> Iterator[list[int]]:
    """An epoch's graphs, step by step.

    Args:
        order: of the graphs.
        size: of a step.
        merge_last: a last step of less than half the size joins the one before it.
    """
    bounds = [*range(0, len(order), size), len(order)]
    if merge_last and len(bounds) > 2 and 2 * (bounds[-1] - bounds[-2]) < size:
        del bounds[-2]
    for start, end in pairwise(bounds):
        yield order[start:end]


def parts_of(
    chosen: list[int], graphs: Sequence[BandGraph], max_cost: int | None
) -> list[list[int]]:
    """A step in parts of about equal cost, small and large graphs in each, at least two."""
    cost = sum(graphs[i].cost for i in chosen)
    if max_cost is None or cost <= max_cost:
        return [chosen]
    n_parts = max(1, min(math.ceil(cost / max_cost), len(chosen) // 2))
    ordered = sorted(chosen, key=lambda i: -graphs[i].cost)
    return [ordered[first::n_parts] for first in range(n_parts)]


def shaken(batch: GraphBatch, noise_a: float) -> GraphBatch:
    """The batch with every atom displaced a little, spread in Å; its edges stay."""
    noise = (torch.randn(len(batch.atoms), 3) * noise_a).to(batch.vector)
    moved = batch.vector + noise[batch.edges.destination] - noise[batch.edges.source]
    return replace(batch, vector=moved)
