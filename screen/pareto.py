"""The Pareto front of a ranking: materials that no other beats in everything at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pathways.types import FloatArray
from screen.queries import Record

_LESS = ("energy_above_hull_ev",)
_MORE = ("voltage_v", "capacity_mah_g")


def pareto_front(rows: Sequence[Record], dimension: int) -> list[bool]:
    """Which materials are on the front of their ion.

    Wanted are a low barrier, a low energy above the hull, and a high voltage and capacity. What is
    not known counts as worse than anything known, so a material never wins by an unknown.

    Args:
        rows: of ``ranked_materials``, all with a barrier in so many dimensions.
        dimension: 1, 2 or 3.
    """
    barrier = f"em_{dimension}d_ev"
    columns = [[row[name] for row in rows] for name in (barrier, *_LESS, *_MORE)]
    sign = np.array([1.0] * (1 + len(_LESS)) + [-1.0] * len(_MORE))
    costs = np.nan_to_num(np.array(columns, dtype=np.float64).T * sign, nan=np.inf)
    on_front = np.zeros(len(rows), dtype=bool)
    for ion in {row["ion"] for row in rows}:
        own = np.array([index for index, row in enumerate(rows) if row["ion"] == ion])
        on_front[own[_front(costs[own])]] = True
    return [bool(one) for one in on_front]


def _front(costs: FloatArray) -> list[int]:
    """Rows of (n, k) costs that no other undercuts; of rows that are the same, all."""
    front: list[int] = []
    # In this order no row can be undercut by a later one, so those found are all to compare with.
    for index in np.lexsort(costs.T[::-1]).tolist():
        found = costs[front]
        undercut = (found <= costs[index]).all(axis=1) & (found < costs[index]).any(axis=1)
        if not undercut.any():
            front.append(index)
    return front
