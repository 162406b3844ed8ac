"""A blend that learns from more labels: it carries its own training bands, so none are forgotten.

The new model is fitted on the old bands and the new ones together. Whether that helps is judged on
new bands that neither model has learnt from: folds of the new bands, whole hosts together, are
predicted by the old model and by voters of the old bands and the other folds' new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.blend import Blend, Rows
from models.blend_training import KINDS, BlendRecipe, predict_held_out, train_blend
from models.calibration import error_features, to_ev
from models.functionals import count_functionals
from models.refit_comparison import Judged, compare
from models.twins import known_already, sort_twins
from pathways.types import FloatArray

LEAST_NEW = 5
"""Fewer new bands than this are too few to fold and to tell a change from chance."""
MOST_FOLDS = 5

_HOW_COMPARED = (
    "New bands in {folds} {kind} folds, each predicted by the old model as it is and by voters "
    "fitted on the old bands and the new ones of the other folds. Intervals of both come from the "
    "calibration of the old model, which has seen none of the new bands. {difference}"
)
DIFFERENCE = (
    "Intervals of the difference are of resampled hosts, or of bands where there is one host."
)
OnFit = Callable[[int, int, str], None]
"""Of fits done, fits in all, and what comes next."""


@dataclass(frozen=True, eq=False)
class Joined:
    """Old and new bands of which no two are the same."""

    old: Rows
    """Without those whose label is replaced."""
    new: Rows
    seen: npt.NDArray[np.bool_]
    """(new,), whether the old model has learnt from the band, with another label."""
    replaced: tuple[str, ...]
    """Names of old bands whose label is replaced."""
    left_out: tuple[tuple[str, str], ...]
    """Name and reason of every new band that brings nothing new."""


def join(old: Rows, new: Rows, replace: bool = False) -> Joined:
    """Put new bands beside old ones; a path that the model knows keeps its label.

    Args:
        old: what the model has learnt from.
        new: what came back.
        replace: whether a known path takes the new label instead.
    """
    again, fresh, left_out = sort_twins(new.names, new.numbers, old.names, old.numbers)
    if not replace:
        left_out += [(new.names[i], known_already(old.names[j])) for i, j in again.items()]
        again = {}
    dropped = set(again.values())
    kept = sorted([*fresh, *again])
    return Joined(
        old=old.take([i for i in range(len(old)) if i not in dropped]),
        new=new.take(kept),
        seen=np.array([i in again for i in kept], dtype=bool),
        replaced=tuple(old.names[i] for i in sorted(dropped)),
        left_out=tuple(left_out),
    )


def refit_blend(
    model: Blend,
    joined: Joined,
    name: str,
    recipe: BlendRecipe,
    on_fit: OnFit | None = None,
) -> tuple[Blend, dict[str, Any]]:
    """Compare on held-out folds of the new bands, then fit on all.

    Args:
        model: to start from.
        joined: its bands and the new ones.
        name: of the new model.
        recipe: the folds that score the new model; its seed draws those of the comparison too.
        on_fit: called after every fit.

    Returns:
        The new model and its card, whose scores are of all bands, old and new. ``refit`` holds the
        comparison, None where the old model has learnt from all but a few of the new bands.

    Raises:
        ValueError: fewer than 5 new bands.
        models.dataset.DatasetError: fewer than 20 in all, or fewer hosts than folds.
    """
    require_new(len(joined.new))
    plan = plan_folds(
        [group for group, seen in zip(joined.new.groups, joined.seen, strict=True) if not seen]
    )
    before = plan.folds if plan else 0
    total = before + len(KINDS) * recipe.repeats * recipe.folds

    def report(done: int, words: str) -> None:
        if on_fit is not None:
            on_fit(done, total, words)

    comparison = None
    if plan is not None:
        comparison = _compare(model, joined, plan, recipe.seed, lambda n: report(n, "comparison"))
    fitted, card = train_blend(
        joined.old + joined.new,
        name,
        recipe,
        {"source": "old and new bands"},
        lambda done, _, words: report(before + done, words),
    )
    card["refit"] = {
        "new_bands": len(joined.new),
        "replaced": list(joined.replaced),
        "left_out": [list(item) for item in joined.left_out],
        "comparison": comparison,
    }
    return fitted, card


def require_new(n: int) -> None:
    """Refuse to learn from next to nothing.

    Raises:
        ValueError: fewer than 5 new bands.
    """
    if n < LEAST_NEW:
        raise ValueError(f"{n} new bands, expected at least {LEAST_NEW}; pass more labelled bands")


@dataclass(frozen=True)
class FoldPlan:
    """Into what new bands are split to compare by."""

    kind: str
    """``group``, or ``random`` where there is one host only."""
    folds: int
    hosts: int


def plan_folds(groups: Sequence[str]) -> FoldPlan | None:
    """The folds of new bands that the old model has not seen; None where they are too few.

    Args:
        groups: host of each band.
    """
    if len(groups) < LEAST_NEW:
        return None
    hosts = len(set(groups))
    if hosts == 1:
        return FoldPlan("random", MOST_FOLDS, hosts)
    return FoldPlan("group", min(MOST_FOLDS, hosts), hosts)


def _compare(
    model: Blend, joined: Joined, plan: FoldPlan, seed: int, on_fold: Callable[[int], None]
) -> dict[str, Any]:
    new = joined.new.take(np.flatnonzero(~joined.seen).tolist())
    recipe = BlendRecipe(plan.folds, 1, seed)
    held_out = predict_held_out(new, recipe, plan.kind, on_fold, beside=model.rows)
    told = model.voters(new.numbers)
    old = _judge(model, new, told.mean, told.likeness)
    after = _judge(model, new, held_out.mean[0], held_out.likeness[0])
    how = _HOW_COMPARED.format(folds=plan.folds, kind=plan.kind, difference=DIFFERENCE)
    return {"how": how, **described(plan, len(new)), **compare(new.em_ev, old, after, new.groups)}


def described(plan: FoldPlan, n: int) -> dict[str, Any]:
    """The folds as a card has them."""
    return {"kind": plan.kind, "folds": plan.folds, "hosts": plan.hosts, "bands": n}


def _judge(model: Blend, rows: Rows, mean: FloatArray, likeness: FloatArray) -> Judged:
    """Predictions with the intervals of the old model's calibration."""
    sigma = model.sigma(error_features(rows.length_a, rows.clearance_a, mean), likeness)
    return Judged(to_ev(mean), *model.calibration.interval_ev(mean, sigma))


def lineage(
    card: dict[str, Any],
    model_id: str,
    old_card: Mapping[str, Any],
    files: Sequence[Mapping[str, Any]],
    xc: Sequence[str],
    refused: Sequence[tuple[str, str]],
) -> None:
    """Write into a refit's card where model and bands come from.

    Args:
        card: as ``refit_blend`` gives it.
        model_id: of the old model.
        old_card: of the old model.
        files: that the new bands come from, each with ``name`` and ``sha256``.
        xc: functional of every band that the new model has learnt from, old and new.
        refused: name and reason of entries of these files that are no bands.
    """
    known = old_card.get("data", {})
    all_files = [
        *known.get("files", [{"name": known.get("source"), "sha256": known.get("sha256")}]),
        *map(dict, files),
    ]
    digests = " ".join(str(file["sha256"]) for file in all_files)
    card["data"] = {
        "source": " + ".join(str(file["name"]) for file in all_files),
        "sha256": hashlib.sha256(digests.encode()).hexdigest(),
        "files": all_files,
        "bands": len(xc),
        "functionals": count_functionals(xc),
        "refused": [*known.get("refused", []), *map(list, refused)],
    }
    card["refit"] = {"from": model_id, "files": [*map(dict, files)], **card["refit"]}
    card["summary"] += f", {card['refit']['new_bands']} of them new since {model_id}"
