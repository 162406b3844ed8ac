"""The process in which ``overhead`` measures; prints one line of JSON.

The store writes in the driver's own thread, so its wall time holds up the run. The source is pulled
in another, of which the CPU time counts, as it does of what else the driver does (handing out work,
taking answers): the rest of the time it waits for the workers.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from jobs.hardware import cpu_count
from jobs.records import Candidate, Progress
from jobs.settings import RunSettings
from models.checkpoint import ModelError, find_model, model_id
from pathways.hops import enumerate_hops
from pathways.types import PathwayError
from screen import rows
from screen.campaign import Campaign, Ticker, run_campaign
from screen.sources.base import Query
from screen.store import Store
from tests.bench.figures import NotMeasured
from tests.bench.workload import CatalogAgain

QUERY = Query((), "Mg")
MANY = 1_000_000


class Clock:
    """Wall and CPU seconds that one thread spends inside ``with`` blocks."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.thread_time()

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._began
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.thread_time() - cpu


@dataclass(frozen=True)
class TimedCatalog(CatalogAgain):
    """The catalog, with the time it takes to come by each candidate."""

    clock: Clock = field(default_factory=Clock)

    def candidates(self, query: Query) -> Iterator[Candidate]:
        source = super().candidates(query)
        for _ in range(self.n):
            with self.clock:
                candidate = next(source)
            yield candidate


def timed(function: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        with clock:
            return function(*arguments)

    return call


class LastProgress(Ticker):
    """Keeps the last report."""

    progress = Progress()

    def update(self, progress: Progress) -> None:
        self.progress = progress


def enough(n_bands: int) -> int:
    """How many candidates make so many hops."""
    hops = 0
    for n, candidate in enumerate(CatalogAgain(MANY).candidates(QUERY), start=1):
        try:
            hops += len(enumerate_hops(candidate.crystal, candidate.ion).hops)
        except PathwayError:
            continue
        if hops >= n_bands:
            return n
    raise NotMeasured(f"{MANY:,} crystals have fewer than {n_bands:,} hops")


def main(engine: str, n_bands: int, model: str) -> dict[str, Any]:
    """Seconds of the run and of its parts."""
    settings = RunSettings(model=model, engine="inline" if engine == "inline" else "ray")
    try:
        name = model_id(find_model(model))
    except ModelError as error:
        raise NotMeasured(str(error)) from None
    source = TimedCatalog(enough(n_bands))
    writing, ranking = Clock(), Clock()
    last = LastProgress()
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(Path(folder) / "bench.duckdb") as store,
        patch.object(rows, "rank_material", timed(rows.rank_material, ranking)),
    ):
        vars(store)["write"] = timed(store.write, writing)
        vars(store.snapshots)["take"] = timed(store.snapshots.take, writing)
        cpu_began = time.process_time()
        run_campaign(Campaign(source, QUERY, settings, name), store, ticker=last)
        cpu_s = time.process_time() - cpu_began
    # Inline, the science runs in this process too: its CPU time is not the driver's.
    rest_s = cpu_s - source.clock.cpu_s - writing.cpu_s if engine == "ray" else 0.0
    return {
        "model_id": name,
        "predictions": last.progress.predictions,
        "wall_s": last.progress.seconds,
        "source_s": source.clock.cpu_s,
        "write_s": writing.wall_s,
        "ranking_s": ranking.wall_s,
        "rest_s": rest_s,
        "overhead_s": source.clock.cpu_s + writing.wall_s + rest_s,
        "driver_cpu_s": cpu_s,
        "cpus": cpu_count(),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
