"""Scores of predicted barriers, each with its bootstrap interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from pathways.types import FloatArray, IntArray

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
    band: IntArray | None = None,
) -> dict[str, float | int | list[float] | None]:
    """MAE, R2, accuracy and precisions at 0.65 eV and, with intervals given, their coverage.

    Args:
        em_ev: (n,) reference barriers, eV.
        predicted_ev: (n,) predictions, eV.
        low_ev: (n,) lower ends of the 90 % intervals, eV.
        high_ev: (n,) upper ends, eV.
        band: (n,) which band each prediction is of, where bands are predicted more than once, as in
            repeated folds.

    Returns:
        ``n`` bands, and scores by name. ``<name>_interval`` is the central 95 % of 1,000 seeded
        bootstrap resamples of the bands, in which all predictions of a band stay together. What
        cannot be said, such as a precision without a single such prediction, is None.
    """
    _, inverse = np.unique(np.arange(len(em_ev)) if band is None else band, return_inverse=True)
    n = int(inverse.max()) + 1
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAPS)
    weight = np.concatenate([np.ones((1, n)), drawn])[:, inverse]
    error, good, called = np.abs(predicted_ev - em_ev), em_ev <= GOOD_EV, predicted_ev <= GOOD_EV
    values = {
        "mae_ev": _mean(weight, error),
        "rmse_ev": np.sqrt(_mean(weight, error**2)),
        "r2": _r2(weight, em_ev, error),
        "accuracy": _mean(weight, good == called),
        "precision_good": _mean(weight * called, good),
        "precision_bad": _mean(weight * ~called, ~good),
    }
    if low_ev is not None and high_ev is not None:
        values["coverage90"] = _mean(weight, (low_ev <= em_ev) & (em_ev <= high_ev))
        values["interval_width_ev"] = _median(weight, high_ev - low_ev)
    result: dict[str, float | int | list[float] | None] = {"n": n}
    for name, value in values.items():
        resampled = value[1:][np.isfinite(value[1:])]
        result[name] = float(value[0]) if np.isfinite(value[0]) else None
        interval = np.percentile(resampled, [2.5, 97.5]).tolist() if len(resampled) else None
        result[f"{name}_interval"] = interval
    return result


def _mean(weight: FloatArray, values: Any) -> FloatArray:
    """(draws,) weighted means of (n,) values; NaN where nothing weighs."""
    total = weight.sum(axis=1)
    mean: FloatArray = np.full(len(weight), np.nan)
    np.divide(weight @ np.asarray(values, dtype=float), total, out=mean, where=total > 0)
    return mean


def _median(weight: FloatArray, values: FloatArray) -> FloatArray:
    """(draws,) weighted medians of (n,) values."""
    order = np.argsort(values)
    below = np.cumsum(weight[:, order], axis=1)
    middle: FloatArray = values[order][(below < below[:, -1:] / 2).sum(axis=1)]
    return middle


def _r2(weight: FloatArray, em_ev: FloatArray, error_ev: FloatArray) -> FloatArray:
    spread = _mean(weight, em_ev**2) - _mean(weight, em_ev) ** 2
    share: FloatArray = np.full(len(weight), np.nan)
    np.divide(_mean(weight, error_ev**2), spread, out=share, where=spread > 1e-12)
    return 1.0 - share
