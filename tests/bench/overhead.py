"""What a run costs beside its science: the source, the driver and the store."""

from __future__ import annotations

from tests.bench.child import in_child
from tests.bench.figures import Figure

TARGET_SHARE = 0.10


def run(n_bands: int = 2_000, engine: str = "ray", model: str = "model3") -> list[Figure]:
    """Share of a run's wall time, with the shipped model."""
    measured = in_child("overhead_child", engine, n_bands, model)
    share = measured["overhead_s"] / measured["wall_s"]
    parts = ", ".join(
        f"{name} {measured[f'{name}_s']:.1f} s" for name in ("source", "write", "rest")
    )
    figures = [
        Figure(
            name="overhead",
            what=f"driver and store, share of a run of {n_bands:,} bands, engine {engine}",
            unit="% of wall time",
            target=f"<= {100 * TARGET_SHARE:g} %",
            value=100 * share,
            met=share <= TARGET_SHARE,
            note=f"{measured['predictions']:,} bands in {measured['wall_s']:.0f} s "
            f"({measured['predictions'] / measured['wall_s']:.1f}/s) with {measured['model_id']}; "
            f"in the driver: {parts}; of writing, {measured['ranking_s']:.1f} s to rank materials",
        )
    ]
    if engine == "ray":  # inline, the science runs in the same process
        given_s = measured["cpus"] * measured["wall_s"]
        figures.append(
            Figure(
                name="overhead-cpu",
                what="CPU time of the same driver, store and start of Ray included",
                unit="% of all processors",
                target="stated",
                value=100 * measured["driver_cpu_s"] / given_s,
                note=f"{measured['driver_cpu_s']:.1f} s; workers use the rest while it writes",
            )
        )
    return figures
