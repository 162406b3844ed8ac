"""Scores of held-out predictions where a band is predicted more than once, as in repeated folds."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.metrics import EXTREME_EV, GOOD_EV
from pathways.types import FloatArray, IntArray

_BOOTSTRAPS = 1000
_NINETY = 1.6449
"""Spreads from the middle of a Gaussian's central 90 % to its ends."""


def score(
    em_ev: FloatArray, predicted_ev: FloatArray, band: IntArray, std_ev: FloatArray | None = None
) -> dict[str, Any]:
    """Scores of predictions of which several may be of one band.

    Args:
        em_ev: (n,) reference barriers, eV.
        predicted_ev: (n,) predictions, eV.
        band: (n,) which band each is of.
        std_ev: (n,) predicted errors, eV.

    Returns:
        ``n`` bands, and by name MAE (eV), R2, both also without labels above 7 eV, accuracy and
        precisions at 0.65 eV, and the coverage of Gaussian 90 % intervals. ``<name>_low`` and
        ``<name>_high`` bound the central 95 % of 1,000 seeded bootstrap resamples of the bands,
        in which all predictions of a band stay together. What cannot be said is None.
    """
    _, inverse = np.unique(band, return_inverse=True)
    n = int(inverse.max()) + 1
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAPS)
    weight = np.concatenate([np.ones((1, n)), drawn])[:, inverse]
    error, good, called = np.abs(predicted_ev - em_ev), em_ev <= GOOD_EV, predicted_ev <= GOOD_EV
    usual = weight * (em_ev < EXTREME_EV)
    values = {
        "mae_ev": _mean(weight, error),
        "mae_without_extremes_ev": _mean(usual, error),
        "r2": _r2(weight, em_ev, error),
        "r2_without_extremes": _r2(usual, em_ev, error),
        "accuracy": _mean(weight, good == called),
        "precision_good": _mean(weight * called, good),
        "precision_bad": _mean(weight * ~called, ~good),
    }
    inside = np.full(len(error), np.nan) if std_ev is None else error <= _NINETY * std_ev
    values["coverage90"] = _mean(weight, inside)
    result: dict[str, Any] = {"n": n}
    for name, value in values.items():
        resampled = value[1:][np.isfinite(value[1:])]
        low, high = np.percentile(resampled, [2.5, 97.5]) if len(resampled) else (np.nan, np.nan)
        for key, number in ((name, value[0]), (f"{name}_low", low), (f"{name}_high", high)):
            result[key] = float(number) if np.isfinite(number) else None
    return result


def _mean(weight: FloatArray, values: Any) -> FloatArray:
    """(draws,) weighted means of (n,) values; NaN where nothing weighs."""
    total = weight.sum(axis=1)
    mean: FloatArray = np.full(len(weight), np.nan)
    np.divide(weight @ np.asarray(values, dtype=float), total, out=mean, where=total > 0)
    return mean


def _r2(weight: FloatArray, em_ev: FloatArray, error_ev: FloatArray) -> FloatArray:
    spread = _mean(weight, em_ev**2) - _mean(weight, em_ev) ** 2
    share: FloatArray = np.full(len(weight), np.nan)
    np.divide(_mean(weight, error_ev**2), spread, out=share, where=spread > 1e-12)
    return 1.0 - share
