"""The processes in which ``pull`` measures; each prints one line of JSON."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jobs.records import Candidate, Progress
from jobs.settings import RunSettings
from pathways.hops import HopSettings
from screen.campaign import Campaign, Ticker, run_campaign
from screen.chemsys import parse
from screen.database import connect, rows
from screen.sources.base import Query
from screen.sources.cache import Policy
from screen.sources.materials_project import MaterialsProject, MaterialsProjectOptions
from screen.store import Store
from tests.bench.workload import CheapPredictor

QUERY = Query((parse("Mg-*"),), "Mg")


def source(url: str, cache: Path) -> MaterialsProject:
    """The source on the stand-in."""
    return MaterialsProject(MaterialsProjectOptions(url), Policy(cache), lambda _: None)


def pull(url: str, folder: str, n_peer: str) -> dict[str, Any]:
    """All that the server has, first from it, then from the cache; then the client alone."""
    took = []
    for _ in range(2):
        began = time.perf_counter()
        items = candidates = 0
        for item in source(url, Path(folder) / "pull").candidates(QUERY):
            items += 1
            candidates += isinstance(item, Candidate)
        took.append(time.perf_counter() - began)
    peak_mib = peak()
    return {
        "items": items,
        "candidates": candidates,
        "seconds": took[0],
        "per_s": items / took[0],
        "again_s": took[1],
        "peak_mib": peak_mib,
        "peer_per_s": peer(url, int(n_peer)),
    }


def peer(url: str, n_documents: int) -> float:
    """Materials per second of the client by itself, as its manual shows."""
    from mp_api.client.routes.materials.summary import SummaryRester

    began = time.perf_counter()
    with SummaryRester(endpoint=url, mute_progress_bars=True) as rester:
        found = rester.search(
            elements=["Mg"],
            energy_above_hull=(0, 0.1),
            num_chunks=max(1, n_documents // 1000),
            fields=["material_id", "structure", "energy_above_hull"],
        )
    return len(found) / (time.perf_counter() - began)


class Teller(Ticker):
    """Prints how many materials are written."""

    def update(self, progress: Progress) -> None:
        print(progress.written, flush=True)


def campaign(url: str, folder: str) -> dict[str, Any]:
    """The campaign, gone on with where it was killed."""
    began = time.perf_counter()
    db = Path(folder) / "killed.duckdb"
    settings = RunSettings(hops=HopSettings(max_hops=1))
    wanted = Campaign(source(url, Path(folder) / "killed"), QUERY, settings, "cheap@0")
    with Store.open(db) as store:
        run_campaign(wanted, store, ticker=Teller(), predictor_factory=CheapPredictor)
    with connect(db, read_only=True) as con:
        ((n_rows, n_ids),) = rows(
            con, "select count(*), count(distinct material_id) from campaign_materials"
        )
        ((n_hops,),) = rows(con, "select count(*) from hops")
    return {
        "rows": n_rows,
        "ids": n_ids,
        "hops": n_hops,
        "db_mb": db.stat().st_size / 1e6,
        "peak_mib": peak(),
        "seconds": time.perf_counter() - began,
    }


def killed(url: str, folder: str, n_candidates: str) -> dict[str, Any]:
    """The campaign in processes that are killed after each third of the candidates, but the last.

    The time is that of all of them.
    """
    began = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.pull_child", "campaign"]
    for is_last in (False, False, True):
        process = subprocess.Popen(
            [*command, url, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        last = ""
        for last in process.stdout:
            if not is_last and last.strip().isdigit() and int(last) >= int(n_candidates) // 3:
                process.kill()
                break
        process.communicate()
    found: dict[str, Any] = json.loads(last)
    return {**found, "seconds": time.perf_counter() - began}


def peak() -> float:
    """Most memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(
        json.dumps(
            {"pull": pull, "killed": killed, "campaign": campaign}[sys.argv[1]](*sys.argv[2:])
        )
    )
