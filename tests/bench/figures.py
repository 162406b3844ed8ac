"""What a benchmark gives back, and how it takes time."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.dataset import LabelledBands, load_bands
from pathways.types import Band


class NotMeasured(Exception):  # noqa: N818 - an outcome, no error
    """A benchmark that cannot run here, and why."""


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, what it should be, and how another program does."""

    name: str
    what: str
    unit: str
    target: str
    """In words and numbers, such as ``<= 5 ms``."""
    value: float | None = None
    met: bool | None = None
    """Whether the target is met; None where nothing was measured."""
    peer: str = ""
    """The other program; empty where there is none."""
    peer_value: float | None = None
    """Same unit."""
    note: str = ""
    """How it was measured, or why it was not."""
    points: tuple[tuple[float, float], ...] = ()
    """Sizes and CPU times in ms of a figure of growth; not in the table, but drawn."""

    @property
    def ratio(self) -> float | None:
        """How many times ours the peer takes."""
        return self.peer_value / self.value if self.peer_value and self.value else None


def best_cpu_s(tasks: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Least CPU time of each task in seconds, the tasks taking turns, after one unmeasured turn."""
    best = [float("inf")] * len(tasks)
    for turn in range(repeats + 1):
        for index, task in enumerate(tasks):
            began = time.process_time()
            task()
            took = time.process_time() - began
            if turn:
                best[index] = min(best[index], took)
    return best


def quiet_garbage() -> None:
    """Keep the collector from walking over what is loaded already while something is timed."""
    gc.collect()
    gc.freeze()


def labelled_bands() -> LabelledBands:
    """The published training bands with their barriers.

    Raises:
        NotMeasured: the file is not there.
    """
    folder = os.environ.get("IONSCREEN_DATA") or Path(__file__).parents[3] / "shared" / "data"
    path = Path(folder) / "em_bands_train.json"
    if not path.exists():
        raise NotMeasured(f"no {path}; set IONSCREEN_DATA to the folder of em_bands_train.json")
    return load_bands(path)


def bands_near(n_atoms: int, count: int) -> list[Band]:
    """Published bands whose number of atoms is nearest to one wanted.

    Raises:
        NotMeasured: the file of bands is not there.
    """
    bands = labelled_bands().bands
    order = np.argsort([abs(len(band) - n_atoms) for band in bands], kind="stable")
    return [bands[index] for index in order[:count]]
