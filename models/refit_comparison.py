"""A model before and after new labels, on new bands that neither has learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.metrics import GOOD_EV, scores
from pathways.types import FloatArray

SCORES = ("mae_ev", "r2", "accuracy", "coverage90")
"""That are compared."""

_BOOTSTRAPS = 1000


class Judged(NamedTuple):
    """What a model says of bands, eV."""

    mean_ev: FloatArray
    """(n,)."""
    low_ev: FloatArray
    """(n,), lower end of the 90 % interval."""
    high_ev: FloatArray
    """(n,)."""


def compare(em_ev: FloatArray, old: Judged, new: Judged, groups: Sequence[str]) -> dict[str, Any]:
    """Scores of both and their difference, each with its interval.

    Args:
        em_ev: (n,) reference barriers, eV.
        old: predictions of the model as it was.
        new: predictions with the new labels of other folds.
        groups: host of each band. Errors of one host's bands are alike, so hosts are drawn, not
            bands, where there are several.

    Returns:
        ``old`` and ``new`` as ``models.metrics.scores``; ``difference`` new minus old of
        ``SCORES``, with ``<name>_interval``, the central 95 % of seeded bootstrap resamples, in
        each of which both are judged by the same bands; ``verdict``: ``better``, ``worse`` or
        ``alike``, by the interval of the difference in MAE.
    """
    _, unit = np.unique(groups, return_inverse=True)
    if not unit.any():
        unit = np.arange(len(em_ev))
    n = int(unit.max()) + 1
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAPS)
    weight = np.concatenate([np.ones((1, n)), drawn])[:, unit]
    weight /= weight.sum(axis=1, keepdims=True)
    before, after = _values(weight, em_ev, old), _values(weight, em_ev, new)
    difference: dict[str, Any] = {}
    for name in SCORES:
        value = after[name] - before[name]
        resampled = value[1:][np.isfinite(value[1:])]
        known = bool(np.isfinite(value[0])) and len(resampled) > 0
        difference[name] = float(value[0]) if known else None
        interval = np.percentile(resampled, [2.5, 97.5]).tolist() if known else None
        difference[f"{name}_interval"] = interval
    low, high = difference["mae_ev_interval"]
    return {
        "old": scores(em_ev, *old),
        "new": scores(em_ev, *new),
        "difference": difference,
        "verdict": "better" if high < 0 else "worse" if low > 0 else "alike",
    }


def _values(weight: FloatArray, em_ev: FloatArray, judged: Judged) -> dict[str, FloatArray]:
    """(draws,) of each score; R2 is NaN where the barriers drawn do not spread."""
    error = np.abs(judged.mean_ev - em_ev)
    inside = (judged.low_ev <= em_ev) & (em_ev <= judged.high_ev)
    right = (em_ev <= GOOD_EV) == (judged.mean_ev <= GOOD_EV)
    spread = weight @ em_ev**2 - (weight @ em_ev) ** 2
    share = np.full(len(weight), np.nan)
    np.divide(weight @ error**2, spread, out=share, where=spread > 1e-12)
    return {
        "mae_ev": weight @ error,
        "r2": 1.0 - share,
        "accuracy": weight @ right.astype(float),
        "coverage90": weight @ inside.astype(float),
    }


def verdict(comparison: Mapping[str, Any] | None) -> str:
    """What the comparison comes to, in a sentence."""
    if comparison is None:
        return "not compared: the old model has learnt from too many of the new bands"
    change = comparison["difference"]
    low, high = change["mae_ev_interval"]
    words = {
        "better": "the new model is better",
        "worse": "the new model is worse",
        "alike": "no difference in MAE can be told",
    }[comparison["verdict"]]
    return (
        f"{words} on {comparison['bands']} held-out new bands: MAE "
        f"{comparison['old']['mae_ev']:.3f} eV before, {comparison['new']['mae_ev']:.3f} eV after, "
        f"difference {change['mae_ev']:+.3f} [{low:+.3f}, {high:+.3f}]"
    )


def comparison_line(card: Mapping[str, Any]) -> str | None:
    """Of a model's card, where the model is a refit: from which model, and what it brought."""
    refit = card.get("refit")
    if not refit:
        return None
    return f"{refit['from']} with {refit['new_bands']} new bands; {verdict(refit['comparison'])}"
