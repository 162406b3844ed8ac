"""The process in which ``stages`` measures; prints one line of JSON."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.records import Candidate
from jobs.settings import RunSettings
from models.predict import Predictor
from screen.campaign import Campaign, run_campaign
from screen.sources.base import Query, Source
from screen.store import Store
from tests.bench.figures import NotMeasured, quiet_garbage
from tests.bench.overhead_child import Clock, LastProgress
from tests.bench.workload import CatalogAgain
from tests.pathways.snapshot import FILE, random_crystals

QUERY = Query((), "Mg")
MAX_ATOMS = 200
WARM_UP = 5
TIMED = (
    ("jobs.stages", "check_crystal", "hops"),
    ("jobs.stages", "enumerate_hops", "hops"),
    ("jobs.stages", "with_mechanisms", "hops"),
    ("jobs.stages", "build_band", "bands"),
    ("jobs.stages", "profile", "curved"),
    ("pathways.curved", "curved_path", "curved"),
    ("jobs.stages", "build_graph", "graph"),
    ("jobs.inline", "score", "model"),
    ("screen.rows", "rank_material", "ranking"),
)
"""Module, function as the run finds it there, and stage."""


class StageClocks:
    """CPU seconds of every stage, less those of the stages that it calls."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = defaultdict(float)
        self._inside = [0.0]

    def around(
        self, function: Callable[..., Any], stage: str, clock: Callable[[], float]
    ) -> Callable[..., Any]:
        """The function, with its time put down to a stage."""

        def call(*arguments: Any, **options: Any) -> Any:
            self._inside.append(0.0)
            began = clock()
            try:
                return function(*arguments, **options)
            finally:
                took = clock() - began
                self.cpu_s[stage] += took - self._inside.pop()
                self._inside[-1] += took

        return call


@dataclass(frozen=True)
class Given(Source):
    """Candidates of another source, with the time that it takes to come by each."""

    make: Callable[[], Iterator[Candidate]]
    clock: Clock
    name: str = "bench"

    def version(self, query: Query) -> str:
        """It never changes."""
        return "1"

    def candidates(self, query: Query) -> Iterator[Candidate]:
        """Every one, whatever is asked for."""
        source = self.make()
        while True:
            with self.clock:
                candidate = next(source, None)
            if candidate is None:
                return
            yield candidate

    def count(self, query: Query) -> None:
        """Not known beforehand."""
        return None


def from_snapshot(count: int) -> Callable[[], Iterator[Candidate]]:
    """Random crystals of the snapshot of the Materials Project, read beforehand."""
    folder = Path(os.environ.get("IONSCREEN_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (folder / FILE).exists():
        raise NotMeasured(f"no {folder / FILE}; set IONSCREEN_DATA to the folder of {FILE}")
    stored = random_crystals(folder, count, MAX_ATOMS)

    def make() -> Iterator[Candidate]:
        for one in stored:
            info = {"source": "bench", "formula": one.formula}
            yield Candidate(one.material_id, one.ion, one.crystal, info)

    return make


@contextlib.contextmanager
def timed_functions(clocks: StageClocks) -> Iterator[None]:
    """The functions of ``TIMED`` with clocks around them, as they were afterwards."""
    places = [(importlib.import_module(module), name, stage) for module, name, stage in TIMED]
    before = [getattr(module, name) for module, name, _ in places]
    for (module, name, stage), function in zip(places, before, strict=True):
        setattr(module, name, clocks.around(function, stage, time.thread_time))
    try:
        yield
    finally:
        for (module, name, _), function in zip(places, before, strict=True):
            setattr(module, name, function)


def screened(make: Callable[[], Iterator[Candidate]], predictor: Predictor) -> dict[str, Any]:
    """One campaign, and the CPU seconds of its stages."""
    clocks, source = StageClocks(), Clock()

    def beside_source() -> float:
        # The database has threads of its own; the source's runs on meanwhile.
        return time.process_time() - source.cpu_s

    last = LastProgress()
    settings = RunSettings(engine="inline")
    campaign = Campaign(Given(make, source), QUERY, settings, predictor.model_id)
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(Path(folder) / "bench.duckdb") as store,
        timed_functions(clocks),
    ):
        vars(store)["write"] = clocks.around(store.write, "store", beside_source)
        snapshots = vars(store.snapshots)
        snapshots["take"] = clocks.around(store.snapshots.take, "store", beside_source)
        began = time.process_time()
        run_campaign(campaign, store, ticker=last, predictor_factory=lambda: predictor)
        total_s = time.process_time() - began
    parts = {"source": source.cpu_s, **clocks.cpu_s}
    return {
        "candidates": last.progress.candidates,
        "predictions": last.progress.predictions,
        "failures": last.progress.failures,
        "cpu_s": {**parts, "rest": max(total_s - sum(parts.values()), 0.0)},
    }


def main(model: str, crystals: str, count: int) -> dict[str, Any]:
    """CPU seconds by stage, after a short run that is not counted."""
    predictor = Predictor.load(model)
    try:
        make = (
            from_snapshot(count)
            if crystals == "snapshot"
            else lambda: CatalogAgain(count).candidates(QUERY)
        )
    except NotMeasured as error:
        return {"lacking": str(error)}
    screened(lambda: CatalogAgain(WARM_UP).candidates(QUERY), predictor)
    quiet_garbage()
    return screened(make, predictor)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
