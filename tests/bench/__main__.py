"""``python -m tests.bench [--only NAME]... [--json FILE] [--png FILE] [--quick]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Before numpy and torch start their threads: every figure is of one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jobs.hardware import describe
from tests.bench import (
    acquisition,
    evidence,
    factors,
    feed,
    forward,
    gpu,
    graph,
    growth,
    hops,
    memory,
    million,
    overhead,
    pathways,
    peers,
    pull,
    recall,
    stages,
    startup,
    training,
    voids,
)
from tests.bench.figures import Figure, NotMeasured
from tests.bench.picture import draw

BENCHES: dict[str, Callable[..., list[Figure]]] = {
    "acquisition": acquisition.run,
    "evidence": evidence.run,
    "factors": factors.run,
    "feed": feed.run,
    "hops": hops.run,
    "graph": graph.run,
    "growth": growth.run,
    "forward": forward.run,
    "gpu": gpu.run,
    "overhead": overhead.run,
    "memory": memory.run,
    "million": million.run,
    "pathways": pathways.run,
    "peers": peers.run,
    "pull": pull.run,
    "stages": stages.run,
    "startup": startup.run,
    "training": training.run,
    "recall": recall.run,
    "voids": voids.run,
}
QUICK: dict[str, dict[str, Any]] = {
    "evidence": {"n_bands": 40},
    "acquisition": {"start": 60, "held_out": 50, "batch": 100, "rounds": 1, "seeds": (0,)},
    "factors": {"repeats": 1},
    "feed": {"n_candidates": 100},
    "hops": {"n_crystals": 5, "repeats": 1},
    "graph": {"n_bands": 1, "repeats": 1},
    "forward": {"repeats": 1, "n_bands": 1},
    "growth": {
        "cells": (1, 2),
        "widths_a": (8.0, 12.0),
        "hops": (2, 4),
        "candidates": (4, 8),
        "repeats": 1,
    },
    "gpu": {"n_bands": 64, "repeats": 1},
    "overhead": {"n_bands": 100},
    "memory": {"n_candidates": 400},
    "million": {"n_candidates": 200, "n_rows": 2_000},
    "pathways": {"n_crystals": 60},
    "peers": {"n_bands": 1, "n_crystals": 2, "repeats": 1},
    "pull": {"n_documents": 300, "n_peer": 300},
    "stages": {"n_catalog": 6, "n_snapshot": 0, "models": ("ionscreen-1",)},
    "startup": {"repeats": 1},
    "recall": {"n_bands": 40},
    "training": {"repeats": 1},
    "voids": {"n_bands": 12, "seeds": (0,)},
}


def measure(name: str, quick: bool = False) -> list[Figure]:
    """The figures of one benchmark; one that says why where it cannot run here."""
    try:
        return BENCHES[name](**(QUICK[name] if quick else {}))
    except (NotMeasured, ImportError) as error:
        return [Figure(name, "", "", "", note=f"not measured: {error}")]


def table(figures: list[Figure]) -> str:
    """The figures as a Markdown table."""
    rows = ["| figure | ours | target | peer | ratio | how |", "|---|---|---|---|---|---|"]
    for figure in figures:
        ours = "-" if figure.value is None else f"{figure.value:.3g} {figure.unit}"
        met = {None: "", True: " met", False: " MISSED"}[figure.met]
        peer = f"{figure.peer} {figure.peer_value:.3g}" if figure.peer_value else "-"
        ratio = f"{figure.ratio:.1f}x" if figure.ratio else "-"
        what = figure.what or figure.name
        rows.append(
            f"| {what} | {ours} | {figure.target}{met} | {peer} | {ratio} | {figure.note} |"
        )
    return "\n".join(rows)


def machine() -> dict[str, Any]:
    """Where the figures were taken, and how busy it was."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {**describe(), "load_average": load, "processor": platform.machine()}


def in_words(where: dict[str, Any]) -> str:
    """The machine, its load as the measuring began, and torch, on one line."""
    busy = f", load average {where['load_average']:.1f}" if where["load_average"] else ""
    return (
        f"{where['cpu']['count']} x {where['cpu']['model']}{busy}, "
        f"torch {where['versions']['torch']}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table, write JSON and a picture where asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(BENCHES), metavar="NAME",
                        help=f"one of {', '.join(sorted(BENCHES))}; repeats")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and figures")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw shares, peers and growth")
    parser.add_argument(
        "--quick", action="store_true", help="small runs: does it work, not how fast"
    )
    options = parser.parse_args(arguments)
    where = machine()
    figures: list[Figure] = []
    for name in options.only or BENCHES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        figures += measure(name, options.quick)
    words = in_words(where)
    print(f"{words}\n")
    print(table(figures))
    if options.json:
        rows = [{**asdict(figure), "ratio": figure.ratio} for figure in figures]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": where, "figures": rows}, indent=1) + "\n")
    if options.png:
        options.png.parent.mkdir(parents=True, exist_ok=True)
        draw(figures, words, options.png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
