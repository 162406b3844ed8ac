"""Scores of held-out predictions as one flat row, for tables."""

from __future__ import annotations

from typing import Any

from models.metrics import EXTREME_EV, scores
from pathways.types import FloatArray, IntArray

_NINETY = 1.6449
"""Spreads from the middle of a Gaussian's central 90 % to its ends."""
_COLUMNS = (
    "mae_ev",
    "mae_without_extremes_ev",
    "r2",
    "r2_without_extremes",
    "accuracy",
    "precision_good",
    "precision_bad",
    "coverage90",
)
_WITHOUT_EXTREMES = {"mae_ev": "mae_without_extremes_ev", "r2": "r2_without_extremes"}


def score(
    em_ev: FloatArray, predicted_ev: FloatArray, band: IntArray, std_ev: FloatArray | None = None
) -> dict[str, Any]:
    """Scores of predictions of which several may be of one band.

    Args:
        em_ev: (n,) reference barriers, eV.
        predicted_ev: (n,) predictions, eV.
        band: (n,) which band each is of.
        std_ev: (n,) predicted errors, eV; the 90 % intervals are a Gaussian's.

    Returns:
        The scores of ``models.metrics.scores``, MAE and R2 also without labels above 7 eV, each
        with the ends of its interval as ``<name>_low`` and ``<name>_high``.
    """
    half_ev = None if std_ev is None else _NINETY * std_ev
    low_ev, high_ev = (
        (None, None) if half_ev is None else (predicted_ev - half_ev, predicted_ev + half_ev)
    )
    found: dict[str, Any] = scores(em_ev, predicted_ev, low_ev, high_ev, band)
    usual = em_ev < EXTREME_EV
    if usual.any():
        without = scores(em_ev[usual], predicted_ev[usual], band=band[usual])
        for name, renamed in _WITHOUT_EXTREMES.items():
            found[renamed] = without[name]
            found[f"{renamed}_interval"] = without[f"{name}_interval"]
    row: dict[str, Any] = {"n": found.pop("n")}
    for name in _COLUMNS:
        row[name] = found.get(name)
        row[f"{name}_low"], row[f"{name}_high"] = found.get(f"{name}_interval") or (None, None)
    return row
