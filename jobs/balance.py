"""How many workers of each kind: as many as the rates that are measured ask for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_OVER_S = 3.0
"""Rates are taken over this long."""
_BUSY = 0.9
_GROWTH = 0.25
"""Of a kind that holds up the other, how many more at a time."""


class Balance:
    """Counts how long workers of both kinds have work, and lets that kind grow which is too few.

    Where model workers wait while feature workers all work, there are too few feature workers; the
    other way round, too few model workers. Where neither kind works all the time, the source is
    what is waited for, and nothing changes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = self._began = clock()
        self._features_s = self._models_s = 0.0

    def sample(self, features: float, models: float) -> None:
        """Note which share of the workers of each kind has work at this moment, 0 to 1."""
        now = self._clock()
        self._features_s += features * (now - self._at)
        self._models_s += models * (now - self._at)
        self._at = now

    def more(self, features: int, models: int) -> tuple[int, int]:
        """How many feature and model workers to add to so many; mostly none."""
        seconds = self._at - self._began
        if seconds < _OVER_S:
            return 0, 0
        features_busy, models_busy = self._features_s / seconds, self._models_s / seconds
        self._began, self._features_s, self._models_s = self._at, 0.0, 0.0
        if features_busy >= _BUSY > models_busy:
            return math.ceil(_GROWTH * features), 0
        if models_busy >= _BUSY > features_busy:
            return 0, math.ceil(_GROWTH * models)
        return 0, 0
