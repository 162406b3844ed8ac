"""Batches that fit into a device's memory, found by trying."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

_WELL = 8
"""Batches without a shortage after which twice as much is tried again."""


@dataclass
class Backoff:
    """Work in batches that shrink where the device's memory runs out, and grow back."""

    most: int
    """Cost of a batch at most."""
    limit: int = field(init=False)
    """What is tried at present."""
    _well: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.limit = self.most

    def run(self, costs: Sequence[int], work: Callable[[list[int]], None]) -> list[int]:
        """Do all items, dearest first.

        Args:
            costs: of each item.
            work: does the items of some indices; may be called for them again after it raised
                ``torch.cuda.OutOfMemoryError``. All else that it raises goes through.

        Returns:
            Items that did not fit even alone.
        """
        waiting = deque(sorted(range(len(costs)), key=lambda index: -costs[index]))
        refused: list[int] = []
        while waiting:
            batch = [waiting.popleft()]
            cost = costs[batch[0]]
            while waiting and cost + costs[waiting[0]] <= self.limit:
                cost += costs[waiting[0]]
                batch.append(waiting.popleft())
            if self._fits(work, batch):
                continue
            if len(batch) == 1:
                refused += batch
            else:
                self._well, self.limit = 0, max(1, min(self.limit, cost) // 2)
                waiting.extendleft(reversed(batch))
        return refused

    def _fits(self, work: Callable[[list[int]], None], batch: list[int]) -> bool:
        try:
            work(batch)
        except torch.cuda.OutOfMemoryError:
            short = True
        else:
            short = False
        if short:
            # Only here, where the error no longer holds on to the arrays of the failed batch.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return False
        self._well += 1
        if self._well >= _WELL and self.limit < self.most:
            self._well, self.limit = 0, min(self.most, 2 * self.limit)
        return True
