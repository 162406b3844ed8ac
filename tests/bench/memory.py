"""Resident memory of the driver, store included, early and late in a long run."""

from __future__ import annotations

from tests.bench.child import in_child
from tests.bench.figures import Figure

TARGET_GROWTH = 0.10


def run(n_candidates: int = 20_000, engines: tuple[str, ...] = ("ray", "inline")) -> list[Figure]:
    """Growth between a tenth of the run and its end, for each engine."""
    figures = []
    for engine in engines:
        measured = in_child("memory_child", engine, n_candidates)
        early, late = measured["early_mib"], measured["late_mib"]
        growth = late / early - 1
        figures.append(
            Figure(
                name=f"memory-{engine}",
                what=f"growth of the driver's memory from {n_candidates // 10:,} to "
                f"{n_candidates:,} candidates, engine {engine}",
                unit="%",
                target=f"flat: <= {100 * TARGET_GROWTH:g} %",
                value=100 * growth,
                met=growth <= TARGET_GROWTH,
                note=f"{early:.0f} to {late:.0f} MiB; {measured['predictions']:,} predictions, "
                f"{measured['failures']} failures in {measured['seconds']:.0f} s",
            )
        )
    return figures
