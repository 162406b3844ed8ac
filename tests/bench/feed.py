"""Whether the CPUs of a machine keep a fast device busy: the engine with a model of fixed speed."""

from __future__ import annotations

from tests.bench.child import in_child
from tests.bench.figures import Figure

TARGET = 0.90


def run(n_candidates: int = 500, ms_per_band: float = 60.0) -> list[Figure]:
    """Share of the time that the model worker is at work, from its first batch to its last.

    Hops, bands and graphs are real; the model is a worker in the place of a GPU that takes a fixed
    time per band without using a CPU. Feature workers have two CPUs.
    """
    found = in_child("feed_child", n_candidates, ms_per_band)
    share = found["busy_s"] / found["span_s"]
    return [
        Figure(
            name="feed",
            what=f"utilisation of one model worker of {1e3 / ms_per_band:.0f} bands/s",
            unit="%",
            target=f">= {100 * TARGET:g} %",
            value=100 * share,
            met=share >= TARGET,
            note=f"{found['bands']:,} bands in {found['batches']:,} batches, "
            f"{found['span_s']:.0f} s; {found['candidate_ms']:.1f} ms CPU to prepare a candidate",
        )
    ]
