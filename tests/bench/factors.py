"""What each step of prediction on CPUs gains: a ladder from the published form to the product's.

Every step holds all those before it. One band, the paper's 4 + 4 layers of width 256, random
weights, one thread, all steps in turns in one process, whose allocator keeps freed memory: without
that the slow steps would spend their time on page faults.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.bench.child import in_child
from tests.bench.figures import Figure
from tests.bench.forward import TUNED

STEPS = {
    "multigraph": "published form: edges as often as they are found, indices for every triplet",
    "once": "every edge once, with its multiplicity as weight",
    "read": "what nobody reads is not computed",
    "folded": "norms folded into products, a node's four products as one",
    "blocks": "triplets in dense blocks by degree: nothing gathered or scattered",
    "table": "first layer's angles from a table",
    "parts": "triplets in parts that stay in a core's cache",
    "onednn": "products by oneDNN",
    "compiled": "compiled kernel between the products",
    "units": "triplets' gates on matrix units, in two parts",
    "bfloat16": "all of the convolutions' products in bfloat16",
}


def run(repeats: int = 3) -> list[Figure]:
    """A figure for each step that this machine has; its peer is the step before."""
    measured = in_child("factors_child", repeats, environment=TUNED)
    times = measured["ms"]
    figures = [_figure(measured, next(iter(times)), None)]
    figures += [_figure(measured, step, before) for before, step in pairwise(times)]
    for step, reason in measured["absent"].items():
        figures.append(Figure(f"factors-{step}", STEPS[step], "", "", note=f"absent: {reason}"))
    return figures


def _figure(measured: dict[str, Any], step: str, before: str | None) -> Figure:
    times = measured["ms"]
    note = f"relative error {measured['error'][step]:.1e} to float64"
    if before is None:
        note += f"; {measured['n_atoms']} atoms"
    else:
        note += f"; {times['multigraph'] / times[step]:.1f}x in all"
    if step in ("multigraph", "once"):
        index = int(step == "once")
        note += f"; {measured['edges'][index]} edges, {measured['triplets'][index]} triplets"
    return Figure(
        name=f"factors-{step}",
        what=STEPS[step],
        unit="ms CPU",
        target="stated",
        value=times[step],
        peer="the step before" if before else "",
        peer_value=times[before] if before else None,
        note=note,
    )
