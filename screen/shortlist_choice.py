"""From candidates to a shortlist: in order, under caps and a budget."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from screen.acquisition import SCORES, Strategy
from screen.errors import NothingToShow
from screen.queries import Record
from screen.reader import Reader
from screen.shortlist import ShortlistQuery, barriers_of, find_candidates
from screen.shortlist_hops import HopPlan, Planner

EXPLORE = "explore"
_CHUNK = 50
_WEIGHED = 5
"""Times n candidates, those of highest score, are looked at under a budget."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A material of the shortlist, by one ion and mechanism, with the hops to compute."""

    row: Record
    """See ``screen.shortlist.Candidates``."""
    why: str
    """The strategy that took it, or ``explore``."""
    plans: tuple[HopPlan, ...]
    """At least one; the limiting hop first."""

    @property
    def node_hours(self) -> float | None:
        """Of all its hops; None without a price."""
        return _cost(self.plans)


@dataclass(frozen=True, eq=False)
class Shortlist:
    """What was chosen, best first, then what explores."""

    query: ShortlistQuery
    choices: tuple[Choice, ...]
    left_out: tuple[tuple[str, str], ...]
    """Hop and reason of each that was looked at but of which no band can be built."""
    capped: int
    """Materials passed over because of the caps."""
    too_dear: int
    """Materials passed over because of the budget."""
    known: int
    """Materials left out because all their barriers have come back."""


def make_shortlist(reader: Reader, query: ShortlistQuery) -> Shortlist:
    """Choose what to compute.

    Raises:
        NothingToShow: no material is left, with what to change.
    """
    candidates = find_candidates(reader, query)
    planner = Planner(reader, query.images, query.node_hours_per_image)
    picker = _Picker(query, planner)
    budget = math.inf if query.budget_node_hours is None else query.budget_node_hours
    picker.take(
        candidates.main,
        query.strategy,
        query.strategy,
        query.n - query.n_explore,
        budget * (1 - query.explore) if query.n_explore else budget,
    )
    picker.take(candidates.explorable, "uncertainty", EXPLORE, query.n_explore, budget)
    # What exploring did not need.
    left = query.n - len(picker.choices)
    picker.take(candidates.main, query.strategy, query.strategy, left, budget)
    if not picker.choices:
        raise NothingToShow(f"no material to shortlist: {picker.why_none()}")
    return Shortlist(
        query=query,
        choices=tuple(sorted(picker.choices, key=lambda choice: choice.why == EXPLORE)),
        left_out=tuple(sorted(planner.refused.items())),
        capped=len(picker.capped - picker.taken),
        too_dear=len(picker.too_dear - picker.taken),
        known=candidates.known,
    )


class _Picker:
    """Takes materials in an order while caps and budget allow; names them by their rank."""

    def __init__(self, query: ShortlistQuery, planner: Planner) -> None:
        self._query = query
        self._planner = planner
        self.choices: list[Choice] = []
        self.taken: set[int] = set()
        self.capped: set[int] = set()
        self.too_dear: set[int] = set()
        self._spent = 0.0
        self._alike: Counter[tuple[str, str]] = Counter()

    def take(
        self, rows: Sequence[Record], strategy: Strategy, why: str, slots: int, budget: float
    ) -> None:
        """Take up to so many more, as long as no more than the budget is spent in all."""
        end = len(self.choices) + slots
        for row, plans in self._ordered(rows, strategy) if slots > 0 else ():
            cost = _cost(plans) or 0.0
            if not plans or self._is_capped(row):
                continue
            if self._spent + cost > budget:
                self.too_dear.add(row["rank"])
                continue
            self.choices.append(Choice(row, why, plans))
            self.taken.add(row["rank"])
            self._alike.update(_kinds(row))
            self._spent += cost
            if len(self.choices) == end:
                return

    def why_none(self) -> str:
        """What to change, for one line."""
        if self.too_dear:
            return f"each of {len(self.too_dear)} costs more than the budget; raise --budget"
        hop_id, reason = next(iter(self._planner.refused.items()))
        return f"no band can be built, first of {hop_id} ({reason}); run again with this version"

    def _ordered(
        self, rows: Sequence[Record], strategy: Strategy
    ) -> Iterator[tuple[Record, tuple[HopPlan, ...]]]:
        """Materials not taken yet, with their hops, best first; ties by id."""
        barriers = barriers_of(rows, self._query.dimension)
        scores = SCORES[strategy](barriers, self._query.threshold_ev).tolist()
        order = sorted(
            (-score, row["material_id"], row["ion"], row["mechanism"], index)
            for index, (score, row) in enumerate(zip(scores, rows, strict=True))
            if row["rank"] not in self.taken
        )
        best = [(-one[0], rows[one[-1]]) for one in order]
        if self._query.budget_node_hours is not None:
            open_ones = (one for one in best if not self._is_capped(one[1]))
            best = list(itertools.islice(open_ones, _WEIGHED * self._query.n))
            if strategy != "top":
                yield from self._by_price(best)
                return
        for begin in range(0, len(best), _CHUNK):
            # What is capped already is not worth a plan.
            chunk = [row for _, row in best[begin : begin + _CHUNK] if not self._is_capped(row)]
            yield from zip(chunk, self._planner.plan(chunk), strict=True)

    def _by_price(
        self, scored: Sequence[tuple[float, Record]]
    ) -> list[tuple[Record, tuple[HopPlan, ...]]]:
        """Most score for the node-hours first."""
        open_ones = (one for one in scored if not self._is_capped(one[1]))
        weighed = list(itertools.islice(open_ones, _WEIGHED * self._query.n))
        plans = self._planner.plan([row for _, row in weighed])
        worth = [
            score / (_cost(own) or math.inf) for (score, _), own in zip(weighed, plans, strict=True)
        ]
        order = sorted(range(len(weighed)), key=lambda index: -worth[index])
        return [(weighed[index][1], plans[index]) for index in order]

    def _is_capped(self, row: Record) -> bool:
        """Whether there are enough like it; remembered."""
        caps = (self._query.per_chemsys, self._query.framework_cap)
        is_capped = any(
            cap is not None and self._alike[kind] >= cap
            for cap, kind in zip(caps, _kinds(row), strict=True)
        )
        if is_capped:
            self.capped.add(row["rank"])
        return is_capped


def _kinds(row: Record) -> tuple[tuple[str, str], tuple[str, str]]:
    """What the caps count: chemical system and framework."""
    return ("chemsys", row["chemsys"] or row["material_id"]), ("framework", row["framework"])


def _cost(plans: Sequence[HopPlan]) -> float | None:
    """Node-hours of all; None without a price, or where there is none."""
    priced = [plan.node_hours for plan in plans if plan.node_hours is not None]
    return sum(priced) if priced else None
