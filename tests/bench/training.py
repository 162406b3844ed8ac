"""Training on CPUs: an epoch of the published bands, with gradients by hand and by autograd.

Both ways run in turns in one process, on the same batch of bands of average size; an epoch is that
time for all labelled bands' edges and triplets. CPU time where threads are one, else wall time,
because threads that wait count as busy. Memory is kept from step to step for both, as
``models.loop`` keeps it.
"""

from __future__ import annotations

from typing import Any

from tests.bench.child import in_child
from tests.bench.figures import Figure

TARGET_S = 120.0
"""Of an epoch at the paper's width on two cores."""


def run(repeats: int = 3) -> list[Figure]:
    """At the paper's width and that of the model shipped for reference, on one and two threads."""
    return [
        _figure(in_child("training_child", width, threads, repeats))
        for width in (256, 32)
        for threads in (1, 2)
    ]


def _figure(measured: dict[str, Any]) -> Figure:
    width, threads, seconds = measured["width"], measured["threads"], measured["epoch_s"]
    aim = width == 256 and threads == 2
    ours = seconds.get("fused")
    note = f"{measured['layers']}; {measured['n_bands']} bands, {measured['cost']:,} edges and "
    note += f"triplets, a step; scaled to {measured['all_bands']} bands; {measured['how']}"
    if ours is not None:
        note += f"; {measured['ms_per_band']['fused']:.0f} ms a band"
    return Figure(
        name=f"training-{width}-{threads}",
        what=f"an epoch of training, width {width}, threads: {threads}",
        unit="s CPU" if threads == 1 else "s",
        target=f"<= {TARGET_S:g} s" if aim else "faster than autograd",
        value=ours,
        met=None if ours is None else (ours <= TARGET_S if aim else ours < seconds["autograd"]),
        peer="autograd",
        peer_value=seconds["autograd"],
        note=note,
    )
