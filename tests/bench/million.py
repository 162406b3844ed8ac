"""A campaign of very many light candidates: its rate, its memory, and a database of a million.

``python -m tests.bench.million [--candidates N] [--rows N]`` runs it at a size of one's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from screen.snapshots import EVERY_S, pause_s
from tests.bench.child import in_child
from tests.bench.figures import Figure

MILLION = 1_000_000
TARGET_GROWTH = 0.10
TARGET_TOP_S = 1.0
TARGET_SNAPSHOT_S = 0.02 * EVERY_S
WEEK_S = 7 * 24 * 3600
MEMORY_BYTES = 16 * 2**30
DISK_BYTES = 10**12


def run(n_candidates: int = 5_000, n_rows: int = MILLION, engine: str = "ray") -> list[Figure]:
    """So many candidates through the engine with the default model, then so many rows.

    The rows beyond the run's own are copies of them under other names, made by SQL: what is written
    after them is written into a database of that size.
    """
    found = in_child("million_child", engine, n_candidates, n_rows)
    return [
        *_engine_figures(found, engine),
        *_store_figures(found),
        *(_command_figure(found, name) for name in ("top", "status", "sql")),
        _first_limit(found),
    ]


def _engine_figures(found: dict[str, Any], engine: str) -> list[Figure]:
    n = found["candidates"]
    growth = found["late_mib"] / found["early_mib"] - 1
    hours = MILLION * found["seconds"] / n / 3600
    return [
        Figure(
            name="million-rate",
            what=f"light candidates per second, default model, engine {engine}",
            unit="/s",
            target="stated",
            value=n / found["seconds"],
            note=f"{n:,} in {found['seconds']:.0f} s on {found['cpus']} CPUs, {found['failures']} "
            f"failures; a million, extrapolated from {n:,}: {hours:.1f} h",
        ),
        Figure(
            name="million-driver",
            what="CPU time of the driver per candidate, source and store included",
            unit="ms",
            target="stated",
            value=1e3 * found["driver_cpu_s"] / n,
            note=f"{n:,} candidates, start of the engine included",
        ),
        Figure(
            name="million-memory",
            what=f"growth of the driver's memory from {n // 10:,} to {n:,} candidates",
            unit="%",
            target=f"flat: <= {100 * TARGET_GROWTH:g} %",
            value=100 * growth,
            met=growth <= TARGET_GROWTH,
            note=f"{found['early_mib']:.0f} to {found['late_mib']:.0f} MiB",
        ),
    ]


def _store_figures(found: dict[str, Any]) -> list[Figure]:
    n, rows = found["candidates"], found["rows"]
    return [
        Figure(
            name="million-write",
            what=f"a write of 64 new materials into a database of {rows:,}",
            unit="ms CPU",
            target="stated",
            value=1e3 * found["write_big_s"],
            note=f"{1e3 * found['write_small_s']:.1f} ms into one of {n:,}; of 1,024 new ones "
            f"{1e3 * found['write_many_s']:.0f} ms, of 1,024 that it has "
            f"{1e3 * found['write_again_s']:.0f} ms, ranking included",
        ),
        Figure(
            name="million-snapshot",
            what=f"a live snapshot of {rows:,} materials, 1,024 of them new",
            unit="s CPU",
            target=f"<= {TARGET_SNAPSHOT_S:g} s",
            value=found["next_cpu_s"],
            met=found["next_cpu_s"] <= TARGET_SNAPSHOT_S,
            note=f"one comes every {EVERY_S:g} s; {found['whole_cpu_s']:.1f} s CPU for a whole "
            f"one, after which the next comes in {pause_s(found['whole_s'], 0.0):.0f} s",
        ),
    ]


def _command_figure(found: dict[str, Any], name: str) -> Figure:
    return Figure(
        name=f"million-{name}",
        what=f"`screen {name}` of {found['rows']:,} materials",
        unit="s CPU",
        target=f"< {TARGET_TOP_S:g} s",
        value=found[f"{name}_cpu_s"],
        met=found[f"{name}_cpu_s"] < TARGET_TOP_S,
        note=f"{found[f'{name}_wall_s']:.1f} s wall for the whole command",
    )


def _first_limit(found: dict[str, Any]) -> Figure:
    """At how many materials something that grows with them is too much, whichever is first."""
    n = found["candidates"]
    file_bytes = found["db_bytes"] / n
    limits = {
        "a week of time": WEEK_S * n / found["seconds"],
        "16 GiB of memory to go on with it": MEMORY_BYTES / found["done_bytes"],
        "a terabyte of disk": DISK_BYTES / file_bytes,
    }
    first = min(limits, key=lambda name: limits[name])
    return Figure(
        name="million-first-limit",
        what="materials at which a campaign comes to its first limit",
        unit="million",
        target="stated",
        value=limits[first] / 1e6,
        note=f"{first}; "
        + ", ".join(f"{name}: {most / 1e6:.0f}" for name, most in limits.items())
        + f"; {file_bytes:,.0f} bytes of file and, to go on, {found['done_bytes']:.0f} of memory "
        f"per material ({found['done_cpu_s']:.1f} s CPU); {found['full_mib']:,.0f} MiB in all "
        f"at {found['rows']:,}",
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure at the size that is asked for, print JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.million", description=__doc__)
    parser.add_argument("--candidates", type=int, default=5_000)
    parser.add_argument("--rows", type=int, default=MILLION)
    parser.add_argument("--engine", choices=["ray", "inline"], default="ray")
    options = parser.parse_args(arguments)
    for figure in run(options.candidates, options.rows, options.engine):
        value = f"{figure.value:.3g} {figure.unit}"
        print(json.dumps({"what": figure.what, "value": value, "how": figure.note}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
