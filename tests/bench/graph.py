"""The graph of one band, against jarvis' as the published code calls it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from models.graph import GraphSettings, build_graph
from tests import oracle
from tests.bench.figures import Figure, bands_near, best_cpu_s, quiet_garbage

TARGET_MS = 1.5
N_ATOMS = 111


def run(n_bands: int = 8, repeats: int = 5) -> list[Figure]:
    """Median over bands of about 111 atoms, for each of the two rules of ties."""
    bands = bands_near(N_ATOMS, n_bands)
    lacking = oracle.missing()
    quiet_garbage()
    times: list[list[float]] = []
    for band in bands:
        tasks: list[Callable[[], object]] = [
            partial(build_graph, band, GraphSettings(shell="tolerant")),
            partial(build_graph, band, GraphSettings(shell="published")),
        ]
        if not lacking:
            tasks.append(partial(oracle.published_graph, band.folded, line_graph=False))
        times.append([1e3 * seconds for seconds in best_cpu_s(tasks, repeats)])
    median = np.median(times, axis=0)
    sizes = sorted(len(band) for band in bands)
    note = f"{len(bands)} bands of {sizes[0]}-{sizes[-1]} atoms, no line graph in either"
    return [
        Figure(
            name=f"graph-{shell}",
            what=f"graph of one band, {shell} shell",
            unit="ms CPU",
            target=f"<= {TARGET_MS:g} ms",
            value=float(median[index]),
            met=bool(median[index] <= TARGET_MS),
            peer="jarvis",
            peer_value=None if lacking else float(median[2]),
            note=note + (f"; peer: {lacking}" if lacking else ""),
        )
        for index, shell in enumerate(("tolerant", "published"))
    ]
