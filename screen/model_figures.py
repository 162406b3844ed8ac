"""Figures of a model's card: what its probabilities and intervals are worth."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from screen.plots.style import COLOURS, MARKS

_KINDS = {"group_folds": "hosts never seen", "random_folds": "random folds"}


def reliability_png(card: Mapping[str, Any]) -> bytes | None:
    """How often hops were good against the probability they were given; None without matplotlib.

    The area of a point is the number of held-out predictions in it; bars are two standard errors
    of the share, each band counted once.

    Args:
        card: with ``<kind>_reliability`` for some kind of folds.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    repeats = card.get("recipe", {}).get("repeats", 1)
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for (kind, title), marker, color in zip(_KINDS.items(), MARKS, COLOURS, strict=False):
        bins = card.get(f"{kind}_reliability", [])
        chance = [one["p_good"] for one in bins]
        share = [one["share_good"] for one in bins]
        error = [_two_errors(one["share_good"], one["n"] / repeats) for one in bins]
        axes.errorbar(chance, share, error, fmt=marker, markersize=3, linewidth=1, color=color)
        sizes = [one["n"] / 2 for one in bins]
        axes.scatter(chance, share, sizes, marker=marker, color=color, alpha=0.35, label=title)
    axes.set(
        xlabel="predicted probability that Em ≤ 0.65 eV",
        ylabel="share of hops with Em ≤ 0.65 eV",
        aspect="equal",
    )
    axes.legend(markerscale=0.6)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()


def _two_errors(share: float, n: float) -> float:
    return float(2 * (share * (1 - share) / n) ** 0.5)
