"""Two models on the same materials: who goes up, who goes down, and what it would have cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from screen.errors import NothingToShow, UserError
from screen.reader import Reader

Record = dict[str, Any]

_MODELS = """
select model_id, max(ranked_at) as ranked_at from material_ranking
group by model_id order by ranked_at desc, model_id desc
"""
_PAIRS = """
select a.material_id, m.formula, a.ion, a.mechanism,
    a.em_{d}d_ev as em_a_ev, b.em_{d}d_ev as em_b_ev,
    row_number() over (order by a.em_{d}d_ev nulls last, a.dimension desc, a.material_id, a.ion,
        a.mechanism desc) as rank_a,
    row_number() over (order by b.em_{d}d_ev nulls last, b.dimension desc, b.material_id, b.ion,
        b.mechanism desc) as rank_b
from material_ranking a
join material_ranking b using (material_id, ion, mechanism)
left join materials m using (material_id)
where a.model_id = $a and b.model_id = $b order by rank_b
"""
"""In the order of the view ``ranked_materials``, among what both models have ranked."""
_ALONE = """
select count(*) as n from material_ranking a
anti join (select * from material_ranking where model_id = $other) b
    using (material_id, ion, mechanism)
where a.model_id = $own
"""


@dataclass(frozen=True)
class ModelComparison:
    """What another model makes of a database; barriers are in the dimension asked for."""

    model_a: str
    model_b: str
    dimension: int
    n: int
    """Of each model's best materials: as many as were asked for, if so many have a way through."""
    materials: tuple[Record, ...]
    """What both have ranked, best of B first: ``material_id``, ``formula``, ``ion``,
    ``mechanism``, ``em_a_ev``, ``em_b_ev`` (None: no way through), ``rank_a``, ``rank_b`` and
    ``change`` (places gained with B)."""
    only_a: int
    """Materials that A alone has ranked."""
    only_b: int
    spearman: float | None
    """Of the barriers, where both have one; None for fewer than two of them, or all alike."""
    mean_shift_ev: float | None
    """Mean of B less A, eV."""
    regret_ev: float | None
    """Mean by B over A's best n less that over B's own best n, eV: what it costs, if B is right,
    to have gone by A. Of those of A's that have a way through by B."""
    without_way: int
    """Of A's best n, those that have none."""

    @property
    def entered(self) -> list[Record]:
        """In B's best n, not in A's; best first."""
        return [row for row in self.materials if row["rank_b"] <= self.n < row["rank_a"]]

    @property
    def left(self) -> list[Record]:
        """In A's best n, not in B's; A's best first."""
        gone = [row for row in self.materials if row["rank_a"] <= self.n < row["rank_b"]]
        return sorted(gone, key=lambda row: int(row["rank_a"]))

    def record(self) -> Record:
        """For JSON, without the materials that are in neither's best n."""
        numbers = ("model_a", "model_b", "dimension", "n", "only_a", "only_b", "spearman")
        more = ("mean_shift_ev", "regret_ev", "without_way")
        return {
            **{name: getattr(self, name) for name in (*numbers, *more)},
            "compared": len(self.materials),
            "entered": self.entered,
            "left": self.left,
            "materials": [
                row for row in self.materials if min(row["rank_a"], row["rank_b"]) <= self.n
            ],
        }


def compare_models(
    reader: Reader, model_a: str, model_b: str | None = None, n: int = 50, dimension: int = 1
) -> ModelComparison:
    """Compare two models on what both have ranked.

    Args:
        reader: of the database.
        model_a: its id, or its name where one model of that name has ranked.
        model_b: likewise; None takes the one that has ranked last.
        n: how many best materials.
        dimension: 1, 2 or 3, in which the ion must get through.

    Raises:
        NothingToShow: one of them has ranked nothing, or nothing that the other has, or both are
            the same.
        UserError: several models are of one name.
    """
    known = [row["model_id"] for row in reader.records(_MODELS)]
    a = _model(model_a, known, reader)
    b = _model(model_b or known[0], known, reader)
    if a == b:
        raise NothingToShow(
            f"{a} is both models, expected two; the database has rankings of {', '.join(known)}, "
            "and `screen rescore --model` makes those of another"
        )
    rows = reader.records(_PAIRS.format(d=dimension), {"a": a, "b": b})
    if not rows:
        raise NothingToShow(
            f"{a} and {b} have no material in common; `screen rescore --model` gives one model's "
            "predictions for all stored hops"
        )
    for row in rows:
        row["change"] = row["rank_a"] - row["rank_b"]
    return _compared(
        (a, b),
        rows,
        n,
        dimension,
        tuple(
            reader.records(_ALONE, {"own": own, "other": other})[0]["n"]
            for own, other in ((a, b), (b, a))
        ),
    )


def _model(wanted: str, known: Sequence[str], reader: Reader) -> str:
    """The id of a model, given that or its name."""
    if wanted in known:
        return wanted
    found = [model_id for model_id in known if model_id.rpartition("@")[0] == wanted]
    if len(found) > 1:
        raise UserError(f"{wanted}: {len(found)} models, expected one id: {', '.join(found)}")
    if not found:
        of = f"of {', '.join(known)}" if known else "of no model"
        raise NothingToShow(
            f"{reader.path}: no predictions of {wanted}, only {of}; "
            f"`screen rescore --model {wanted} --db {reader.path}` makes them"
        )
    return found[0]


def _compared(
    ids: tuple[str, str],
    rows: Sequence[Record],
    n: int,
    dimension: int,
    alone: tuple[int, ...],
) -> ModelComparison:
    both = [row for row in rows if row["em_a_ev"] is not None and row["em_b_ev"] is not None]
    a_ev = [row["em_a_ev"] for row in both]
    b_ev = [row["em_b_ev"] for row in both]
    n_ways = [sum(row[name] is not None for row in rows) for name in ("em_a_ev", "em_b_ev")]
    n = min(n, *n_ways)
    chosen_ev = [row["em_b_ev"] for row in rows if row["rank_a"] <= n]
    kept_ev = [em_ev for em_ev in chosen_ev if em_ev is not None]
    best_ev = [row["em_b_ev"] for row in rows if row["rank_b"] <= n]
    return ModelComparison(
        model_a=ids[0],
        model_b=ids[1],
        dimension=dimension,
        n=n,
        materials=tuple(rows),
        only_a=alone[0],
        only_b=alone[1],
        spearman=_spearman(a_ev, b_ev),
        mean_shift_ev=fmean(b_ev) - fmean(a_ev) if both else None,
        regret_ev=fmean(kept_ev) - fmean(best_ev) if kept_ev else None,
        without_way=len(chosen_ev) - len(kept_ev),
    )


def _spearman(a_ev: Sequence[float], b_ev: Sequence[float]) -> float | None:
    if len(set(a_ev)) < 2 or len(set(b_ev)) < 2:
        return None
    from scipy.stats import spearmanr

    value = float(spearmanr(a_ev, b_ev).statistic)
    return value if math.isfinite(value) else None
