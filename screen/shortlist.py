"""What to compute next: the best of the ranking, not too many alike, and some of what is open.

The ranking is filtered, put in the order of a strategy (``screen.acquisition``) and taken from the
top, under caps per chemical system and framework. A share explores: predictions near the threshold
that may well be wrong. Barriers that have come back are not computed again.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.metrics import GOOD_EV
from screen.acquisition import NEB_IMAGES, SCORES, Barriers, Strategy
from screen.errors import NothingToShow, UserError
from screen.pareto import pareto_front
from screen.queries import Record
from screen.reader import Reader

Hops = Literal["limiting", "path"]

_FRAMEWORK_SHARE = 20
_RANKED = """
select r.*, m.structure->'species' as species from ranked_materials r
left join materials m using (material_id) order by r.rank
"""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class ShortlistQuery:
    """What the user asks for.

    Raises:
        UserError: a budget without a price, or one of them is not above 0.
    """

    n: int = 100
    """Materials, each by one ion and mechanism."""
    max_em_ev: float | None = None
    min_p_good: float | None = None
    dimension: int = 1
    """In how many dimensions a material must let the ion through: 1, 2 or 3."""
    min_applicability: float | None = None
    ion: str | None = None
    per_chemsys: int | None = None
    per_framework: int | None = None
    """None: one in twenty of n, at least 2."""
    explore: float = 0.1
    """Share of n; these need not meet ``max_em_ev`` and ``min_p_good``, which they question."""
    pareto: bool = False
    strategy: Strategy = "top"
    budget_node_hours: float | None = None
    node_hours_per_image: float | None = None
    """Of 100 atoms."""
    images: int = NEB_IMAGES
    """Between the ends of a hop."""
    hops: Hops = "limiting"
    include_known: bool = False
    """Also hops whose barrier has come back."""

    def __post_init__(self) -> None:
        if self.budget_node_hours is not None and self.node_hours_per_image is None:
            raise UserError(
                "--budget without a price; pass --node-hours-per-image, what one image of 100 "
                "atoms takes on your machine"
            )
        for name in ("budget_node_hours", "node_hours_per_image"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{name} {value:g}, expected above 0")

    @property
    def threshold_ev(self) -> float:
        """Between good and bad, eV."""
        return GOOD_EV if self.max_em_ev is None else self.max_em_ev

    @property
    def framework_cap(self) -> int:
        """Most materials of one framework."""
        if self.per_framework is not None:
            return self.per_framework
        return max(2, math.ceil(self.n / _FRAMEWORK_SHARE))

    @property
    def n_explore(self) -> int:
        """Materials that are there to explore."""
        return min(round(self.n * self.explore), self.n)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What there is to choose from, as rows of ``ranked_materials`` with more columns.

    These are ``framework``, ``pareto``, ``p_good``, ``uncertainty``, ``expected_improvement_ev``,
    and ``wanted``, the ids of the hops to compute, the limiting one first.
    """

    main: list[Record]
    """That pass every filter."""
    explorable: list[Record]
    """Those and what ``max_em_ev`` and ``min_p_good`` alone keep out."""
    known: int
    """How many were left out because all their barriers have come back."""


def find_candidates(reader: Reader, query: ShortlistQuery) -> Candidates:
    """The ranking under the filters.

    Raises:
        NothingToShow: no material is left, with what to change.
    """
    rows = reader.records(_RANKED)
    if not rows:
        raise NothingToShow(f"{reader.path}: no material is ranked; `screen status` says why")
    barrier, least = f"em_{query.dimension}d_ev", query.min_applicability
    rows = _kept(rows, "drop --ion", lambda row: query.ion in (None, row["ion"]))
    rows = _kept(rows, "lower --dimension", lambda row: row[barrier] is not None)
    rows = _kept(
        rows,
        "lower --min-applicability",
        lambda row: least is None or (row["applicability"] or 0.0) >= least,
    )
    _judge(rows, query)
    rows = _kept(rows, "drop --pareto", lambda row: row["pareto"] or not query.pareto)
    known = set() if query.include_known else _computed(reader)
    for row in rows:
        row["wanted"] = [hop_id for hop_id in _hops(row, query) if hop_id not in known]
    explorable = _kept(
        rows, "all barriers have come back: pass --include-known", lambda row: row["wanted"]
    )
    highest, chance = query.max_em_ev, query.min_p_good
    main = _kept(
        explorable, "raise --max-em", lambda row: highest is None or row[barrier] <= highest
    )
    main = _kept(main, "lower --min-p-good", lambda row: chance is None or row["p_good"] >= chance)
    return Candidates(main, explorable, len(rows) - len(explorable))


def barriers_of(rows: Sequence[Record], dimension: int) -> Barriers:
    """Barriers of ranked materials in so many dimensions, with their intervals."""
    ends = [f"em_{dimension}d_{end}ev" for end in ("", "low_", "high_")]
    return Barriers(*(np.array([row[end] for row in rows], dtype=np.float64) for end in ends))


def framework_of(row: Record) -> str:
    """Anonymised formula of the host without the ion, and space group: ``AB2 Fd-3m``.

    A material of which either is not known is a framework of its own.
    """
    species = json.loads(row["species"]) if row["species"] else []
    counts = Counter(str(one) for one in species if one != row["ion"]).values()
    if not counts or not row["space_group"]:
        return str(row["material_id"])
    divisor = math.gcd(*counts)
    parts = zip(_LETTERS, sorted(count // divisor for count in counts), strict=False)
    formula = "".join(f"{letter}{'' if n == 1 else n}" for letter, n in parts)
    return f"{formula} {row['space_group']}"


def _kept(rows: list[Record], advice: str, passes: Callable[[Record], object]) -> list[Record]:
    kept = [row for row in rows if passes(row)]
    if not kept:
        raise NothingToShow(f"no material to shortlist: none of {len(rows)} is left; {advice}")
    return kept


def _judge(rows: Sequence[Record], query: ShortlistQuery) -> None:
    """Give every material what it is compared by."""
    barriers = barriers_of(rows, query.dimension)
    threshold_ev = query.threshold_ev
    columns = {
        "pareto": pareto_front(rows, query.dimension),
        "p_good": barriers.chance_below(GOOD_EV).tolist(),
        "uncertainty": SCORES["uncertainty"](barriers, threshold_ev).tolist(),
        "expected_improvement_ev": SCORES["expected-improvement"](barriers, threshold_ev).tolist(),
    }
    for index, row in enumerate(rows):
        row |= {name: values[index] for name, values in columns.items()}
        row["framework"] = framework_of(row)
        if query.dimension == 1 and row["p_good_1d"] is not None:
            row["p_good"] = row["p_good_1d"]  # from draws of all hops


def _computed(reader: Reader) -> set[str]:
    rows = reader.records("select distinct hop_id from barriers where converged")
    return {row["hop_id"] for row in rows}


def _hops(row: Record, query: ShortlistQuery) -> list[str]:
    """The limiting hop, then the others on the way where they are asked for."""
    d = query.dimension
    limiting = row["limiting_hop_id" if d == 1 else f"limiting_hop_{d}d_id"]
    others = row[f"path_{d}d_hop_ids"] if query.hops == "path" else None
    return list(dict.fromkeys(hop_id for hop_id in [limiting, *sorted(others or [])] if hop_id))
