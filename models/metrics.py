"""Scores of predicted barriers, each with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pathways.types import FloatArray

GOOD_EV = 0.65
"""A hop at or under this barrier is called good (arXiv 2508.06436)."""

EXTREME_EV = 7.0
"""Two literature labels lie above: chords that run through a Ru atom. They decide R2 alone."""

_BOOTSTRAPS = 1000


def scores(
    em_ev: FloatArray,
    predicted_ev: FloatArray,
    low_ev: FloatArray | None = None,
    high_ev: FloatArray | None = None,
) -> dict[str, float | int | list[float] | None]:
    """MAE, R2, accuracy and precisions at 0.65 eV and, with intervals given, their coverage.

    Args:
        em_ev: (n,) reference barriers, eV.
        predicted_ev: (n,) predictions, eV.
        low_ev: (n,) lower ends of the 90 % intervals, eV.
        high_ev: (n,) upper ends, eV.

    Returns:
        Scores by name. ``<name>_interval`` is the central 95 % of 1,000 bootstrap resamples of the
        entries (seeded). A precision without a single such prediction is None.
    """
    measures: dict[str, Callable[[np.ndarray], float]] = {
        "mae_ev": lambda i: float(np.abs(em_ev[i] - predicted_ev[i]).mean()),
        "rmse_ev": lambda i: float(np.sqrt(((em_ev[i] - predicted_ev[i]) ** 2).mean())),
        "r2": lambda i: _r2(em_ev[i], predicted_ev[i]),
        "accuracy": lambda i: float(((em_ev[i] <= GOOD_EV) == (predicted_ev[i] <= GOOD_EV)).mean()),
        "precision_good": lambda i: _share(em_ev[i] <= GOOD_EV, predicted_ev[i] <= GOOD_EV),
        "precision_bad": lambda i: _share(em_ev[i] > GOOD_EV, predicted_ev[i] > GOOD_EV),
    }
    if low_ev is not None and high_ev is not None:
        inside = (low_ev <= em_ev) & (em_ev <= high_ev)
        width = high_ev - low_ev
        measures["coverage90"] = lambda i: float(inside[i].mean())
        measures["interval_width_ev"] = lambda i: float(np.median(width[i]))
    n = len(em_ev)
    resamples = np.random.default_rng(0).integers(0, n, size=(_BOOTSTRAPS, n))
    result: dict[str, float | int | list[float] | None] = {"n": n}
    for name, measure in measures.items():
        value = measure(np.arange(n))
        result[name] = None if np.isnan(value) else value
        drawn = np.array([measure(sample) for sample in resamples])
        drawn = drawn[~np.isnan(drawn)]
        interval = np.percentile(drawn, [2.5, 97.5]).tolist() if len(drawn) else None
        result[f"{name}_interval"] = interval
    return result


def _r2(truth: FloatArray, predicted: FloatArray) -> float:
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - float(((truth - predicted) ** 2).sum()) / spread if spread > 0 else float("nan")


def _share(hit: np.ndarray, called: np.ndarray) -> float:
    return float(hit[called].mean()) if called.any() else float("nan")
