"""A campaign of very many light candidates: its rate, its memory, and a database of a million.

``python -m tests.bench.million [--candidates N] [--rows N]`` runs it at a size of one's own.
"""

from __future__ import annotations

import argparse
import json
import sys

from tests.bench.child import in_child
from tests.bench.figures import Figure

MILLION = 1_000_000
TARGET_GROWTH = 0.10
TARGET_TOP_S = 1.0


def run(n_candidates: int = 5_000, n_rows: int = MILLION, engine: str = "ray") -> list[Figure]:
    """So many candidates through the engine with the default model, then so many rows.

    The rows beyond the run's own are copies of them under other names, made by SQL: what is written
    after them is written into a database of that size.
    """
    found = in_child("million_child", engine, n_candidates, n_rows)
    n, rows = found["candidates"], found["rows"]
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
            note=f"{1e3 * found['write_small_s']:.1f} ms CPU to write 64 materials after {n:,}, "
            f"{1e3 * found['write_big_s']:.0f} after {rows:,}, "
            f"{1e3 * found['write_many_s']:.0f} for 1,024",
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
        Figure(
            name="million-snapshot",
            what=f"one live snapshot of {rows:,} materials",
            unit="s CPU",
            target="stated",
            value=found["snapshot_cpu_s"],
            note=f"{found['snapshot_s']:.1f} s wall, taken every {found['snapshot_every_s']:.0f} s "
            f"then; the database has {found['db_bytes'] / rows:,.0f} bytes per material",
        ),
        Figure(
            name="million-top",
            what=f"`screen top` of {rows:,} materials",
            unit="s CPU",
            target=f"< {TARGET_TOP_S:g} s",
            value=found["top_cpu_s"],
            met=found["top_cpu_s"] < TARGET_TOP_S,
            note=f"{found['top_wall_s']:.1f} s wall for the whole command",
        ),
    ]


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
