"""How long it takes from the command to the first barrier, with Ray and without."""

from __future__ import annotations

import time

from tests.bench.child import in_child
from tests.bench.figures import Figure

TARGET_S = {"ray": 12.0, "inline": 4.0}


def run(engines: tuple[str, ...] = ("ray", "inline"), repeats: int = 2) -> list[Figure]:
    """Wall seconds from the start of a process, with the default model; the best of a few."""
    figures = []
    for engine in engines:
        times = []
        for _ in range(repeats):
            began = time.time()
            found = in_child("startup_child", engine)
            times.append((found["first_at"] - began, found["driver_cpu_s"]))
        best_s, cpu_s = min(times)
        figures.append(
            Figure(
                name=f"startup-{engine}",
                what=f"from the command to the first prediction, engine {engine}",
                unit="s",
                target=f"< {TARGET_S[engine]:g} s",
                value=best_s,
                met=best_s < TARGET_S[engine],
                note=f"best of {repeats}; {cpu_s:.1f} s of CPU time in the driver",
            )
        )
    return figures
