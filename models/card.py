"""The model card: what a model was made of, how it was scored, and the scores."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from models.barrier import to_target
from models.calibration import cross_fitted_intervals_ev, features, to_ev
from models.dataset import LabelledBands
from models.graph import BandGraph
from models.metrics import EXTREME_EV, GOOD_EV, scores
from models.networks import Ensemble
from pathways.types import FloatArray, IntArray

_BINS = 10

HOW_SCORED = (
    "Each band is predicted by the member that did not see its fold; group folds keep all bands of "
    "one host formula (without the mobile ion) together. Every scale is fitted in the fold. "
    "Intervals come from a calibration fitted on the other group folds. No test set was looked at; "
    "sizes and schedule were chosen by group folds of these same bands. The model that predicts "
    "averages all members, which these scores do not."
)


def data_card(data: LabelledBands, more_refused: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Where the labels come from, and what was left out."""
    return {
        "source": data.source,
        "sha256": data.digest,
        "bands": len(data) - len(more_refused),
        "refused": [list(item) for item in (*data.refused, *more_refused)],
    }


def data_digests(card: Mapping[str, Any]) -> frozenset[str]:
    """sha256 of the files that a model of this card was trained on, as far as it says so."""
    data = card.get("data", {})
    found = [data.get("sha256"), *(one.get("sha256") for one in data.get("files", []))]
    return frozenset(digest for digest in found if digest)


def versions() -> dict[str, str]:
    """Of what a fit depends on."""
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def reliability(p_good: FloatArray, em_ev: FloatArray) -> list[dict[str, float | int]]:
    """How often hops turned out good, by the probability they were given, in ten equal bins."""
    bin_of = np.clip((p_good * _BINS).astype(int), 0, _BINS - 1)
    return [
        {
            "n": int((bin_of == index).sum()),
            "p_good": float(p_good[bin_of == index].mean()),
            "share_good": float((em_ev[bin_of == index] <= GOOD_EV).mean()),
        }
        for index in range(_BINS)
        if (bin_of == index).any()
    ]


def model_card(
    data: LabelledBands,
    graphs: list[BandGraph],
    recipe: dict[str, Any],
    held_out: dict[str, FloatArray],
    spread: FloatArray,
    folds: IntArray,
    ensemble: Ensemble,
) -> dict[str, Any]:
    """The card of an ensemble as JSON.

    Args:
        data: the labelled bands.
        graphs: one per band.
        recipe: all settings.
        held_out: by kind of fold, (n,) predictions in the learned scale by networks that had not
            seen the band.
        spread: (n,) disagreement of such networks.
        folds: (n,) group fold of each band, for the cross-fitted intervals.
        ensemble: what is described.
    """
    target = to_target(torch.as_tensor(data.em_ev)).numpy()
    kept = data.em_ev < EXTREME_EV
    card: dict[str, Any] = {
        "summary": f"{len(ensemble.members)} ALIGNN networks on {len(data)} labelled bands",
        "unit": "eV",
        "data": data_card(data),
        "recipe": recipe,
        "how_scored": HOW_SCORED,
        "versions": versions(),
    }
    for kind, mean in held_out.items():
        low, high = cross_fitted_intervals_ev(features(graphs, mean), target, mean, spread, folds)
        predicted = to_ev(mean)
        card[f"{kind}_folds"] = scores(data.em_ev, predicted, low, high)
        card[f"{kind}_folds_without_two_extremes"] = scores(
            data.em_ev[kept], predicted[kept], low[kept], high[kept]
        )
    card["applicability"] = _applicability(data.em_ev, held_out["group"], graphs, ensemble)
    return card


def _applicability(
    em_ev: FloatArray, mean: FloatArray, graphs: list[BandGraph], ensemble: Ensemble
) -> dict[str, float]:
    """Whether low applicability goes with large errors, on group folds."""
    value = np.array([ensemble.applicability(graph) for graph in graphs])
    error = np.abs(em_ev - to_ev(mean))
    low = value < np.median(value)
    return {
        "median": float(np.median(value)),
        "mae_ev_below_median": float(error[low].mean()),
        "mae_ev_above_median": float(error[~low].mean()),
        "rank_correlation_with_error": float(spearmanr(value, error).statistic),
    }
