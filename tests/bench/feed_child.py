"""The process in which ``feed`` measures; prints one line of JSON."""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.pipeline import run
from jobs.session import _ENVIRONMENT
from jobs.settings import RunSettings
from jobs.stages import prepare
from models.graph import BandGraph, GraphSettings
from models.predict import Prediction
from pathways.hops import HopSettings
from pathways.supercell import BandSettings
from screen.sources.base import Query
from tests.bench.workload import SmallCrystals

FEEDERS = 2


@dataclass
class FixedTime:
    """Takes so long for each band, whatever is in it; writes down when it worked."""

    seconds: float
    log: str
    graph_settings: GraphSettings

    def predict(self, graphs: Sequence[BandGraph]) -> list[Prediction]:
        """One prediction per graph."""
        began = time.monotonic()
        time.sleep(self.seconds * len(graphs))
        with Path(self.log).open("a") as log:
            log.write(f"{began} {time.monotonic()} {len(graphs)}\n")
        return [Prediction(0.5, 0.1, 0.3, 0.7, 0.9, 1.0) for _ in graphs]


def main(n_candidates: int, ms_per_band: float) -> dict[str, Any]:
    """Seconds at work and from begin to end, of the model worker."""
    import os

    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    settings = RunSettings(
        ray_address="auto",
        batch_cost=5_000,
        hops=HopSettings(max_hops=1),
        band=BandSettings(min_width_a=4.0),
    )
    graphs = GraphSettings(k=2)
    candidates = list(SmallCrystals(n_candidates).candidates(Query((), "Li")))
    began = time.process_time()
    for candidate in candidates[:50]:
        prepare(candidate, settings, graphs)
    candidate_ms = 20 * (time.process_time() - began)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "batches"
        ray.init(
            address="local", num_cpus=FEEDERS + 1, num_gpus=1, include_dashboard=False,
            object_store_memory=2**28, log_to_driver=False,
        )  # fmt: skip
        factory = functools.partial(FixedTime, ms_per_band / 1e3, str(log), graphs)
        run(candidates, lambda batch: None, settings, None, factory)
        ray.shutdown()
        rows = [[float(word) for word in line.split()] for line in log.read_text().splitlines()]
    return {
        "bands": int(sum(row[2] for row in rows)),
        "batches": len(rows),
        "busy_s": sum(row[2] for row in rows) * ms_per_band / 1e3,
        "span_s": rows[-1][1] - rows[0][0],
        "candidate_ms": candidate_ms,
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), float(sys.argv[2]))))
