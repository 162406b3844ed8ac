"""An ensemble of networks that learns from more labels, beside the old ones again.

Every member starts from one of the old model and learns on from old and new bands together, so that
the new ones do not make it forget. The old model has seen the old bands: no fold of them tests the
new one. Scores and comparison are of the new bands alone, each predicted by members that were
trained without it and its host, and the error scale stays that of the old model. Only where there
are no old bands are scores and error scale those of the training itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.calibration import features, to_ev
from models.dataset import LabelledBands, check_enough, merge_bands
from models.ensemble import OnEpoch, Recipe, held_out_targets, train_ensemble
from models.graph import BandGraph, GraphSettings, build_graph
from models.metrics import scores
from models.networks import Ensemble
from models.refit import (
    DIFFERENCE,
    FoldPlan,
    described,
    plan_folds,
    require_new,
)
from models.refit_comparison import Judged, compare
from models.twins import known_already, sort_twins
from pathways.types import FloatArray, PathwayError

_HOW_COMPARED = (
    "Each new band is predicted by the old model, all members together, and by the members that "
    "were trained on without its {kind} fold, of {folds}. Intervals of both come from the "
    "calibration of the old model, which has seen none of the new bands. {difference}"
)
_HOW_SCORED = (
    "New bands alone, each predicted by the members that were trained on without its fold; group "
    "folds keep all bands of one host formula (without the mobile ion) together. The old bands "
    "test nothing: the networks that training started from have seen them. Intervals come from the "
    "calibration of the model before, which stays."
)


@dataclass(frozen=True, eq=False)
class JoinedBands:
    """Old and new bands of which no two are the same."""

    old: LabelledBands | None
    """To learn from again; None where they are not at hand."""
    new: LabelledBands
    seen: tuple[bool, ...]
    """Of each new band, whether the old model has learnt from it, with another label."""
    replaced: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def all(self) -> LabelledBands:
        """All of them, the new ones last."""
        return self.new if self.old is None else merge_bands([self.old, self.new])


def join_bands(
    old: LabelledBands | None, new: LabelledBands, settings: GraphSettings, replace: bool = False
) -> JoinedBands:
    """As ``refit.join`` for networks, which read graphs; a band without a graph is left out."""
    new, numbers, left_out = _described(new, settings)
    if old is None:
        first, old_numbers = new.take([]), np.empty((0, 0))
    else:
        first, old_numbers, _ = _described(old, settings)
    again, fresh, repeated = sort_twins(new.names, numbers, first.names, old_numbers)
    left_out += repeated
    if not replace:
        left_out += [(new.names[i], known_already(first.names[j])) for i, j in again.items()]
        again = {}
    dropped, kept = set(again.values()), sorted([*fresh, *again])
    return JoinedBands(
        old=None if old is None else first.take([i for i in range(len(first)) if i not in dropped]),
        new=new.take(kept),
        seen=tuple(i in again for i in kept),
        replaced=tuple(first.names[i] for i in sorted(dropped)),
        left_out=tuple(left_out),
    )


def _described(
    data: LabelledBands, settings: GraphSettings
) -> tuple[LabelledBands, FloatArray, list[tuple[str, str]]]:
    """Bands that have a graph, their descriptors, and name and reason of the others."""
    kept, rows, refused = [], [], []
    for index, band in enumerate(data.bands):
        try:
            rows.append(build_graph(band, settings).descriptor)
        except PathwayError as error:
            refused.append((data.names[index], str(error)))
            continue
        kept.append(index)
    return data.take(kept), np.array(rows), refused


def refit_networks(
    model: Ensemble,
    joined: JoinedBands,
    recipe: Recipe,
    work_dir: Path,
    name: str,
    *,
    device: str = "cpu",
    workers: int = 1,
    on_epoch: OnEpoch | None = None,
) -> tuple[Ensemble, dict[str, Any]]:
    """Train on from a model, and compare on the new bands.

    Args:
        model: to start from, as ``recipe.fit.start`` names it.
        joined: its bands and the new ones.
        recipe: graphs and sizes of the model, schedule and folds.
        work_dir: finished members; the same call continues it.
        name: of the new model.
        device: where to train.
        workers: processes that train side by side.
        on_epoch: called with member and finished epoch.

    Returns:
        The new model and its card, with ``refit`` as ``refit.refit_blend`` has it.

    Raises:
        ValueError: fewer than 5 new bands.
        models.dataset.DatasetError: fewer than 20 in all, or fewer hosts than folds.
    """
    require_new(len(joined.new))
    data = joined.all
    check_enough(data.source, data.groups, recipe.folds)
    fitted, card = train_ensemble(
        data, recipe, work_dir, name, device=device, workers=workers, on_epoch=on_epoch
    )
    fresh = [i for i, seen in enumerate(joined.seen) if not seen]
    plan = plan_folds([joined.new.groups[i] for i in fresh])
    comparison, judged = None, dict[str, Judged]()
    new = joined.new.take(fresh)
    if plan is not None:
        at = [len(data) - len(joined.new) + i for i in fresh]
        held_out = {
            kind: held_out_targets(data, recipe, work_dir, kind)[at] for kind in ("random", "group")
        }
        graphs = [build_graph(band, recipe.graph) for band in new.bands]
        judged = {kind: _judge(model, graphs, held_out, kind) for kind in held_out}
        plan = replace(plan, folds=recipe.folds)
        comparison = _compare(model, new, graphs, plan, judged[plan.kind])
    if joined.old is not None:
        fitted = replace(fitted, calibration=model.calibration)
        _rescore(card, new, judged)
    card["refit"] = {
        "new_bands": len(joined.new),
        "replay": joined.old is not None,
        "replaced": list(joined.replaced),
        "left_out": [list(item) for item in joined.left_out],
        "comparison": comparison,
    }
    return fitted, card


def _judge(
    model: Ensemble, graphs: Sequence[BandGraph], held_out: dict[str, FloatArray], kind: str
) -> Judged:
    mean = held_out[kind]
    spread = np.abs(held_out["random"] - held_out["group"]) / np.sqrt(2.0)
    sigma = model.calibration.sigma(features(graphs, mean), spread)
    return Judged(to_ev(mean), *model.calibration.interval_ev(mean, sigma))


def _compare(
    model: Ensemble,
    new: LabelledBands,
    graphs: Sequence[BandGraph],
    plan: FoldPlan,
    after: Judged,
) -> dict[str, Any]:
    estimate = model.estimate(graphs)
    ends = model.calibration.interval_ev(estimate.mean, estimate.sigma)
    old = Judged(to_ev(estimate.mean), *ends)
    how = _HOW_COMPARED.format(kind=plan.kind, folds=plan.folds, difference=DIFFERENCE)
    return {"how": how, **described(plan, len(new)), **compare(new.em_ev, old, after, new.groups)}


def _rescore(card: dict[str, Any], new: LabelledBands, judged: dict[str, Judged]) -> None:
    """Put scores of the new bands in the place of those that old bands flatter."""
    for key in [key for key in card if key.startswith(("random_folds", "group_folds"))]:
        del card[key]
    card.pop("applicability", None)
    for kind, one in judged.items():
        card[f"{kind}_folds"] = scores(new.em_ev, *one)
    card["how_scored"] = _HOW_SCORED
