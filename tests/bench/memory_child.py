"""The process in which ``memory`` measures; prints one line of JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from jobs.records import Progress
from jobs.settings import RunSettings
from pathways.hops import HopSettings
from pathways.supercell import BandSettings
from screen.campaign import Campaign, Ticker, run_campaign
from screen.sources.base import Query
from screen.store import Store
from tests.bench.workload import CheapPredictor, SmallCrystals, resident_bytes


class MemoryMeter(Ticker):
    """Looks at this process's memory each time the run reports."""

    def __init__(self, after: int) -> None:
        self._after = after
        self.early_mib = self.late_mib = 0.0
        self.progress = Progress()

    def update(self, progress: Progress) -> None:
        self.progress = progress
        self.late_mib = resident_bytes() / 2**20
        if progress.written <= self._after or not self.early_mib:
            self.early_mib = self.late_mib


def main(engine: str, n_candidates: int) -> dict[str, Any]:
    """Memory after a tenth of the candidates and at the end, MiB."""
    settings = RunSettings(
        engine="inline" if engine == "inline" else "ray",
        hops=HopSettings(max_hops=1),
        band=BandSettings(min_width_a=4.0),
    )
    campaign = Campaign(SmallCrystals(n_candidates), Query((), "Li"), settings, "cheap@0")
    meter = MemoryMeter(n_candidates // 10)
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(Path(folder) / "bench.duckdb") as store,
    ):
        run_campaign(campaign, store, ticker=meter, predictor_factory=CheapPredictor)
    return {
        "early_mib": meter.early_mib,
        "late_mib": meter.late_mib,
        "predictions": meter.progress.predictions,
        "failures": meter.progress.failures,
        "seconds": meter.progress.seconds,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
