"""The process in which ``startup`` measures; prints one line of JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from jobs.records import Progress
from jobs.settings import RunSettings
from models import DEFAULT_MODEL
from screen.campaign import Campaign, Ticker, run_campaign
from screen.sources.base import Query
from screen.store import Store
from tests.bench.workload import CatalogAgain

QUERY = Query((), "Mg")


class FirstPrediction(Ticker):
    """Notes when the first prediction was there, and the driver's CPU time until then."""

    at = 0.0
    cpu_s = 0.0

    def update(self, progress: Progress) -> None:
        if progress.predictions and not self.at:
            self.at, self.cpu_s = time.time(), time.process_time()


def main(engine: str) -> dict[str, Any]:
    """Time of day of the first prediction, and CPU seconds."""
    settings = RunSettings(engine="inline" if engine == "inline" else "ray")
    first = FirstPrediction()
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(Path(folder) / "bench.duckdb") as store,
    ):
        campaign = Campaign(CatalogAgain(2), QUERY, settings, DEFAULT_MODEL)
        run_campaign(campaign, store, ticker=first)
    return {"first_at": first.at, "driver_cpu_s": first.cpu_s}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
