"""A query in the words of the Materials Project's client, as far as its server can filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from screen.chemsys import Pattern
from screen.sources.base import Query

_MAX_CHARACTERS = 60
"""Longest list of elements that the server takes."""

_ANY_ENERGY_EV = 1e6


@dataclass(frozen=True)
class Step:
    """A filter that the server applies: the search without it minus the search with it is refused.

    A value that is not known never passes, so the unknown are a step of their own.
    """

    reason: str
    """As in ``filters``."""
    criteria: dict[str, Any]
    """Arguments of ``SummaryRester.search``."""


def systems(query: Query) -> list[dict[str, Any]]:
    """One set of arguments of ``SummaryRester.search`` per pattern, exact systems together."""
    if not query.patterns:
        return [{"elements": [query.ion]}]
    exact = [pattern for pattern in query.patterns if not (pattern.n_open or pattern.n_single)]
    wild = [pattern for pattern in query.patterns if pattern not in exact]
    lists = [{"chemsys": _joined(group)} for group in _groups(sorted(p.text for p in exact))]
    return lists + [_wild(pattern, query) for pattern in wild]


def _wild(pattern: Pattern, query: Query) -> dict[str, Any]:
    elements = list(dict.fromkeys([*pattern.elements, query.ion]))
    if pattern.n_open:
        return {
            "elements": elements,
            "num_elements": (pattern.min_elements, query.max_elements),
        }
    # What the client writes * is exactly one element; the server takes one such pattern at a time.
    criteria: dict[str, Any] = {"chemsys": pattern.text.replace("?", "*")}
    if query.ion not in pattern.elements:
        criteria["elements"] = [query.ion]
    return criteria


def _groups(texts: list[str]) -> Iterator[list[str]]:
    """Texts in groups whose list is not too long for the server."""
    group: list[str] = []
    for text in dict.fromkeys(texts):
        if group and len(",".join([*group, text])) > _MAX_CHARACTERS:
            yield group
            group = []
        group.append(text)
    if group:
        yield group


def _joined(texts: list[str]) -> str | list[str]:
    return texts[0] if len(texts) == 1 else texts


def steps(query: Query) -> list[Step]:
    """The filters that the server can apply, in the order in which ``filters`` has them."""
    found = [Step("deprecated", {"deprecated": False})]
    if not query.theoretical:
        found.append(Step("theoretical", {"theoretical": False}))
    # The server drops materials of unknown energy with those above; to keep them, all are pulled.
    if query.max_ehull_ev is not None and query.unknown_ehull != "keep":
        known = {"energy_above_hull": (None, _ANY_ENERGY_EV)}
        found.append(Step("unknown_ehull", known))
        found.append(Step("above_hull", {"energy_above_hull": (None, query.max_ehull_ev)}))
    found.append(Step("too_many_sites", {"num_sites": (None, query.max_sites)}))
    excluded = sorted(query.exclude)
    if excluded and len(",".join(excluded)) <= _MAX_CHARACTERS:
        found.append(Step("excluded_element", {"exclude_elements": excluded}))
    if query.band_gap_min_ev is not None:
        found.append(Step("band_gap", {"band_gap": (query.band_gap_min_ev, None)}))
    return found
