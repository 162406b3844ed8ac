"""The process in which ``million`` measures; prints one line of JSON."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.hardware import cpu_count
from jobs.inline import run_inline
from jobs.records import MaterialResult
from jobs.settings import RunSettings
from jobs.sink import Sink
from models import DEFAULT_MODEL
from pathways.hops import HopSettings
from pathways.supercell import BandSettings
from screen.campaign import Campaign, run_campaign
from screen.sources.base import Query
from screen.store import Store
from tests.bench.memory_child import MemoryMeter
from tests.bench.workload import SmallCrystals, resident_bytes

QUERY = Query((), "Li")
TABLES = ("materials", "hops", "predictions", "material_ranking", "campaign_materials")
NAMES = ("material_id", "hop_id", "limiting_hop_id")
FIRST = "bench-0"
SMALL, MANY = 64, 1_024
"""Materials of a write: the fewest and the most that a run writes at once."""
COMMANDS = {
    "top": ["top"],
    "status": ["status"],
    "sql": ["sql", "select count(*) from predictions"],
}


def settings(engine: str) -> RunSettings:
    return RunSettings(
        engine="inline" if engine == "inline" else "ray",
        hops=HopSettings(max_hops=1),
        band=BandSettings(min_width_a=4.0),
    )


def main(engine: str, n_candidates: int, n_rows: int) -> dict[str, Any]:
    """Seconds, bytes and mebibytes of all that the figures are made of."""
    campaign = Campaign(SmallCrystals(n_candidates), QUERY, settings(engine), DEFAULT_MODEL)
    meter = MemoryMeter(n_candidates // 10)
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder) / "bench.duckdb"
        with Store.open(db) as store:
            began = time.process_time()
            outcome = run_campaign(campaign, store, ticker=meter)
            found: dict[str, Any] = {
                "driver_cpu_s": time.process_time() - began,
                "candidates": n_candidates,
                "cpus": cpu_count(),
                "rows": max(n_rows, n_candidates),
                "early_mib": meter.early_mib,
                "late_mib": meter.late_mib,
                "seconds": outcome.seconds,
                "failures": meter.progress.failures,
            }
            store._con.execute("checkpoint")
            found["db_bytes"] = db.stat().st_size  # of the run's own rows: copies take less
            found |= _store_figures(store, outcome.campaign_id, n_candidates, n_rows)
        return found | _command_figures(db)


def _store_figures(
    store: Store, campaign_id: str, n_candidates: int, n_rows: int
) -> dict[str, float]:
    """What writes and snapshots cost, before and after the tables are filled up."""
    one = _one_result()
    found = {"write_small_s": _write_s(store, one, n_candidates, SMALL)}
    _fill(store, n_candidates + SMALL, n_rows)
    found["write_big_s"] = _write_s(store, one, n_rows, SMALL)
    found["write_many_s"] = _write_s(store, one, n_rows + SMALL, MANY)
    found["write_again_s"] = _write_s(store, one, n_rows + SMALL, MANY)
    store.snapshots.note_changed()
    found["whole_s"], found["whole_cpu_s"] = _taken(store)
    _write_s(store, one, n_rows + SMALL + MANY, MANY)
    found["next_s"], found["next_cpu_s"] = _taken(store)
    began = time.process_time()
    done = store.done(campaign_id)
    found["done_cpu_s"] = time.process_time() - began
    own = sum(sys.getsizeof(key) + sys.getsizeof(key[0]) for key in done)
    found["done_bytes"] = (sys.getsizeof(done) + own) / len(done)
    found["full_mib"] = resident_bytes() / 2**20
    return found


def _taken(store: Store) -> tuple[float, float]:
    """Wall and CPU seconds of one snapshot."""
    began, cpu_began = time.perf_counter(), time.process_time()
    store.snapshots.take()
    return time.perf_counter() - began, time.process_time() - cpu_began


def _one_result() -> MaterialResult:
    found: list[MaterialResult] = []
    candidates = SmallCrystals(1).candidates(QUERY)
    run_inline(candidates, Sink(found.extend), settings("inline"), None)
    return found[0]


def _write_s(store: Store, one: MaterialResult, first: int, count: int) -> float:
    """CPU seconds to write so many new materials."""
    results = [_renamed(one, f"bench-{first + number}") for number in range(count)]
    began = time.process_time()
    store.write("bench", DEFAULT_MODEL, results)
    return time.process_time() - began


def _renamed(result: MaterialResult, name: str) -> MaterialResult:
    assert result.candidate is not None
    hops = tuple(replace(hop, hop_id=hop.hop_id.replace(FIRST, name)) for hop in result.hops)
    candidate = replace(result.candidate, material_id=name)
    return replace(result, material_id=name, candidate=candidate, hops=hops)


def _fill(store: Store, first: int, end: int) -> None:
    """Copies of the first material's rows under the names from ``first`` to ``end``."""
    for table in TABLES:
        columns = [
            name
            for (name,) in store._rows(
                "select column_name from duckdb_columns() where table_name = ?",
                [table],
            )
        ]
        values = ", ".join(
            f"replace({name}, '{FIRST}', 'bench-' || i)" if name in NAMES else name
            for name in columns
        )
        key = next(name for name in NAMES if name in columns)
        store._con.execute(
            f"insert into {table} ({', '.join(columns)}) select {values} "
            f"from {table}, range({first}, {end}) r(i) "
            f"where {key} = '{FIRST}' or {key} like '{FIRST}:%'"
        )
    # Barriers unlike each other, or there would be nothing to rank.
    store._con.execute(
        "update material_ranking set em_1d_ev = em_1d_ev + hash(material_id) % 1000 / 1e3"
    )


def _command_figures(db: Path) -> dict[str, float]:
    """CPU and wall seconds of whole commands."""
    found = {}
    for name, words in COMMANDS.items():
        command = [sys.executable, "-m", "screen.cli", *words, "--db", str(db)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        found[f"{name}_wall_s"] = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found[f"{name}_cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
