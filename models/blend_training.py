"""A blend from labelled bands: held-out predictions first, from them scores and error scale.

Random folds and folds of whole hosts are drawn several times; in each, every band is predicted by
voters that had not seen it (or its host). The model that is written is fitted on all bands. So it
knows a little more than those that were scored, and its intervals are those of hosts not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from models.applicability import chord_clear
from models.blend import GRAPH, Blend, Rows, fit_voters
from models.calibration import Calibration, calibrate, error_features, to_ev
from models.card import reliability, versions
from models.dataset import LabelledBands, check_enough, folds_by
from models.graph import build_graph
from models.metrics import EXTREME_EV, GOOD_EV, scores
from models.trees import TreeSettings
from pathways.types import FloatArray, IntArray, PathwayError

KINDS = ("random", "group")
_LABEL_RANGES_EV = (0.0, 0.3, GOOD_EV, 1.2, 2.0, np.inf)

_HOW_SCORED = (
    "Every band is predicted by a model fitted without its fold; group folds keep all bands of one "
    "host formula (without the mobile ion) together. Folds are drawn {repeats} times with other "
    "seeds. Every scale and both voters are fitted in the fold. Intervals come from a calibration "
    "fitted on the other group folds. No test set was looked at. The model that predicts is fitted "
    "on all bands."
)


@dataclass(frozen=True)
class BlendRecipe:
    """How often and into what the bands are split; nothing else is chosen."""

    folds: int = 5
    repeats: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.folds < 2 or self.repeats < 1:
            raise ValueError(f"{self.folds} folds, {self.repeats} repeats: need at least 2 and 1")

    def draw(self, rows: Rows, kind: str, repeat: int) -> IntArray:
        """(n,) fold of each row."""
        return folds_by(kind, rows.groups, self.folds, self.seed + repeat)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What voters say of rows they had not seen, repeat by repeat."""

    mean: FloatArray
    """(repeats, n), log(Em / eV + 0.1)."""
    likeness: FloatArray
    """(repeats, n), to the nearest row that they had seen."""


def rows_of(data: LabelledBands) -> tuple[Rows, list[tuple[str, str]]]:
    """Bands as numbers, and name and reason of those of which none can be made."""
    kept, graphs, refused = [], [], []
    for index, band in enumerate(data.bands):
        try:
            graphs.append(build_graph(band, GRAPH))
        except PathwayError as error:
            refused.append((data.names[index], str(error)))
            continue
        kept.append(index)
    data = data.take(kept)
    return Rows(
        numbers=np.array([graph.descriptor for graph in graphs]),
        length_a=np.array([graph.length_a for graph in graphs]),
        clearance_a=np.array([graph.clearance_a for graph in graphs]),
        em_ev=np.asarray(data.em_ev, dtype=float),
        names=data.names,
        groups=data.groups,
        xc=data.xc,
    ), refused


def train_blend(
    rows: Rows,
    name: str,
    recipe: BlendRecipe,
    data: Mapping[str, Any],
    on_fold: Callable[[int, int, str], None] | None = None,
) -> tuple[Blend, dict[str, Any]]:
    """Score by folds, calibrate, and fit on all rows.

    Args:
        rows: labelled bands as numbers.
        name: of the model.
        recipe: the folds.
        data: what the card says of where the rows come from, see ``card.data_card``.
        on_fold: called with folds done, folds in all and what comes next.

    Returns:
        The model and its card.

    Raises:
        models.dataset.DatasetError: fewer than 20 rows, or fewer hosts than folds.
    """
    check_enough(str(data.get("source", "the data")), rows.groups, recipe.folds)
    total = len(KINDS) * recipe.repeats * recipe.folds
    held_out: dict[str, HeldOut] = {}
    for position, kind in enumerate(KINDS):
        done = position * recipe.repeats * recipe.folds

        def report(fold: int, kind: str = kind, done: int = done) -> None:
            if on_fold is not None:
                on_fold(done + fold, total, f"{kind} folds")

        held_out[kind] = predict_held_out(rows, recipe, kind, report)
    features = _features(rows, held_out["group"])
    error = np.tile(rows.target, recipe.repeats) - held_out["group"].mean.ravel()
    least_likeness = float(held_out["group"].likeness.min())
    voters = fit_voters(rows, recipe.seed)
    model = Blend(name, GRAPH, voters, calibrate(features, error), least_likeness, rows)
    return model, _card(rows, recipe, data, held_out)


def predict_held_out(
    rows: Rows,
    recipe: BlendRecipe,
    kind: str,
    on_fold: Callable[[int], None] | None = None,
    beside: Rows | None = None,
) -> HeldOut:
    """Predict every row by voters that had not seen its fold.

    Args:
        rows: to split.
        recipe: the folds.
        kind: ``random`` or ``group``.
        on_fold: told how many folds are done.
        beside: rows that the voters see in every fold.
    """
    shape = recipe.repeats, len(rows)
    mean, likeness = np.empty(shape), np.empty(shape)
    for repeat in range(recipe.repeats):
        folds = recipe.draw(rows, kind, repeat)
        for fold in range(recipe.folds):
            seen, out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            training = rows.take(seen.tolist())
            voters = fit_voters(training if beside is None else beside + training, recipe.seed)
            mean[repeat, out], _, likeness[repeat, out] = voters(rows.numbers[out])
            if on_fold is not None:
                on_fold(repeat * recipe.folds + fold + 1)
    return HeldOut(mean, likeness)


def _features(rows: Rows, held_out: HeldOut, least_likeness: float = 0.0) -> FloatArray:
    """(repeats x n, 5): what the errors of all repeats depend on, as ``Blend.sigma`` has it."""
    repeats = len(held_out.mean)
    length_a, clearance_a = (np.tile(x, repeats) for x in (rows.length_a, rows.clearance_a))
    plain = error_features(length_a, clearance_a, held_out.mean.ravel())
    return np.column_stack([plain, np.maximum(held_out.likeness.ravel(), least_likeness)])


def _card(
    rows: Rows, recipe: BlendRecipe, data: Mapping[str, Any], held_out: Mapping[str, HeldOut]
) -> dict[str, Any]:
    repeats = recipe.repeats
    em_ev, band = np.tile(rows.em_ev, repeats), np.tile(np.arange(len(rows)), repeats)
    kept = em_ev < EXTREME_EV
    folds = np.tile(recipe.draw(rows, "group", 0), repeats)
    card: dict[str, Any] = {
        "summary": f"Gaussian process and {TreeSettings().trees} trees on straight and curved "
        f"path, {len(rows)} labelled bands",
        "unit": "eV",
        "data": dict(data),
        "recipe": {"folds": recipe.folds, "repeats": repeats, "seed": recipe.seed},
        "how_scored": _HOW_SCORED.format(repeats=repeats),
        "versions": versions(),
    }
    calibrations = _cross_fitted(rows, held_out["group"], folds)
    least = float(held_out["group"].likeness.min())
    for kind, found in held_out.items():
        predicted = _predict(_features(rows, found, least), found.mean.ravel(), calibrations, folds)
        mean_ev, low_ev, high_ev = to_ev(found.mean.ravel()), *predicted[:2]
        card[f"{kind}_folds"] = scores(em_ev, mean_ev, low_ev, high_ev, band)
        card[f"{kind}_folds_without_two_extremes"] = scores(
            em_ev[kept], mean_ev[kept], low_ev[kept], high_ev[kept], band[kept]
        )
        inside = (low_ev <= em_ev) & (em_ev <= high_ev)
        card[f"{kind}_folds_by_prediction"] = _thirds(mean_ev, mean_ev, em_ev, inside)
        applicability = found.likeness * [chord_clear(a) for a in rows.clearance_a.tolist()]
        card[f"{kind}_folds_by_applicability"] = _thirds(
            applicability.ravel(), mean_ev, em_ev, inside
        )
        card[f"{kind}_folds_by_label"] = _by_label(mean_ev, em_ev)
        card[f"{kind}_folds_reliability"] = reliability(predicted[2], em_ev)
    return card


def _cross_fitted(rows: Rows, held_out: HeldOut, folds: IntArray) -> list[Calibration]:
    """One calibration per group fold, fitted on the other folds."""
    features, mean = _features(rows, held_out), held_out.mean.ravel()
    error = np.tile(rows.target, len(held_out.mean)) - mean
    return [
        calibrate(features[folds != fold], error[folds != fold])
        for fold in range(int(folds.max()) + 1)
    ]


def _predict(
    features: FloatArray, mean: FloatArray, calibrations: list[Calibration], folds: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Ends of the 90 % intervals, eV, and the probability of a good hop."""
    low_ev, high_ev, p_good = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
    for fold, calibration in enumerate(calibrations):
        out = folds == fold
        sigma = calibration.sigma(features[out])
        low_ev[out], high_ev[out] = calibration.interval_ev(mean[out], sigma)
        p_good[out] = calibration.p_good(mean[out], sigma)
    return low_ev, high_ev, p_good


def _by_label(mean_ev: FloatArray, em_ev: FloatArray) -> list[dict[str, float]]:
    """Error and bias by the size of the label: what is high is predicted too low."""
    ranges = []
    for low, high in pairwise(_LABEL_RANGES_EV):
        part = (em_ev > low) & (em_ev <= high) if low else em_ev <= high
        if part.any():
            error = (mean_ev - em_ev)[part]
            mae_ev, bias_ev = float(np.abs(error).mean()), float(error.mean())
            highest = min(high, float(em_ev.max()))
            ranges.append({"from": low, "to": highest, "mae_ev": mae_ev, "bias_ev": bias_ev})
    return ranges


def _thirds(
    key: FloatArray, mean_ev: FloatArray, em_ev: FloatArray, inside: np.ndarray
) -> list[dict[str, float]]:
    """Error and coverage in each third of what the predictions are sorted by."""
    parts = np.array_split(np.argsort(key, kind="stable"), 3)
    return [
        {
            "from": float(key[part].min()),
            "to": float(key[part].max()),
            "mae_ev": float(np.abs(mean_ev - em_ev)[part].mean()),
            "coverage90": float(inside[part].mean()),
        }
        for part in parts
    ]
