"""Where the time of a whole run goes: CPU time per band of each stage, inline."""

from __future__ import annotations

from typing import Any

from tests.bench.child import in_child
from tests.bench.figures import Figure

MODELS = ("ionscreen-1", "model3")
STAGES = {
    "source": "source",
    "hops": "checks, symmetry, hops",
    "bands": "bands",
    "curved": "curved path, bond valence",
    "graph": "graphs or numbers",
    "model": "model",
    "ranking": "ranking",
    "store": "store",
    "rest": "all else",
}
"""In words, in the order of the run."""
CATALOG = 196


def run(
    n_catalog: int = CATALOG, n_snapshot: int = 150, models: tuple[str, ...] = MODELS
) -> list[Figure]:
    """Each model over the catalog, once, and over random crystals of the snapshot.

    The product's own functions, with clocks around them in this benchmark only; a stage's time does
    not hold that of a stage inside it. Loading the model and first imports are left out.
    """
    figures = []
    for model in models:
        for crystals, count in (("catalog", n_catalog), ("snapshot", n_snapshot)):
            if count:
                found = in_child("stages_child", model, crystals, count)
                figures += _figures(found, model, crystals)
    return figures


def _figures(found: dict[str, Any], model: str, crystals: str) -> list[Figure]:
    if "lacking" in found:
        what = f"stages of a run of {model}, {crystals}"
        note = f"not measured: {found['lacking']}"
        return [Figure(f"stages-{model}-{crystals}", what, "", "", note=note)]
    bands, total_s = found["predictions"], sum(found["cpu_s"].values())
    whole = Figure(
        name=f"stages-{model}-{crystals}-whole",
        what=f"a whole run of {model}, {crystals}, per band",
        unit="ms CPU",
        target="stated",
        value=1e3 * total_s / bands,
        note=f"{found['candidates']} crystals, {bands} bands, {found['failures']} failures, "
        f"{bands / total_s:.0f} bands/s and core",
    )
    parts = [
        Figure(
            name=f"stages-{model}-{crystals}-{stage}",
            what=f"{model}, {crystals}: {words}",
            unit="ms CPU",
            target="",
            value=1e3 * found["cpu_s"].get(stage, 0.0) / bands,
            note=f"{100 * found['cpu_s'].get(stage, 0.0) / total_s:.1f} % of the whole",
        )
        for stage, words in STAGES.items()
    ]
    return [whole, *parts]
