"""A query in OPTIMADE's filter language, as far as servers can filter.

Every filter is applied here again: servers differ in what they understand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from screen.chemsys import Pattern
from screen.sources.base import Query
from screen.sources.optimade_providers import Provider

_MAX_CHARACTERS = 1500
"""Longest list of patterns in one filter: addresses are cut off at a few thousand characters."""
_MAX_EXCLUDED = 20


@dataclass(frozen=True)
class Condition:
    """One condition that every entry has to meet."""

    reason: str
    """Of an entry that does not, as in ``filters``."""
    text: str
    is_own: bool = False
    """Whether it is of an attribute of the provider's own."""


@dataclass(frozen=True)
class Filter:
    """What one feed asks for."""

    name: str
    """The chemical systems as the user writes them, for messages."""
    elements: str
    """All that is asked of the elements; every server understands it."""
    systems: str
    """The chemical systems."""
    conditions: tuple[Condition, ...]

    def text(self, n_conditions: int | None = None, own: bool = True) -> str:
        """The filter with its first conditions, all unless said otherwise.

        Args:
            n_conditions: How many.
            own: Whether with those of the provider's own attributes.
        """
        kept = [one.text for one in self.conditions[:n_conditions] if own or not one.is_own]
        return " AND ".join([self.systems, *kept])


def filters(query: Query, provider: Provider) -> list[Filter]:
    """The filters whose entries together are those of the query; mostly one."""
    conditions = tuple(_conditions(query, provider))
    if not query.patterns:
        everything = _has([query.ion])
        return [Filter(query.ion, everything, everything, conditions)]
    found = []
    for group in _groups(query):
        name = ", ".join(pattern.text for pattern in group)
        elements = _any_of(dict.fromkeys(_has(_elements(one, query)) for one in group))
        systems = _any_of(_system(one, query) for one in group)
        found.append(Filter(name, elements, systems, conditions))
    return found


def _groups(query: Query) -> Iterator[list[Pattern]]:
    """Patterns in groups whose filter is not too long for an address."""
    group: list[Pattern] = []
    length = 0
    for pattern in dict.fromkeys(query.patterns):
        own_length = len(_system(pattern, query))
        if group and length + own_length > _MAX_CHARACTERS:
            yield group
            group, length = [], 0
        group.append(pattern)
        length += own_length
    yield group


def _system(pattern: Pattern, query: Query) -> str:
    has = _has(_elements(pattern, query))
    if pattern.n_open:
        least, most = pattern.min_elements, query.max_elements
        return f"{has} AND nelements>={least} AND nelements<={most}"
    return f"{has} AND nelements={pattern.min_elements}"


def _elements(pattern: Pattern, query: Query) -> list[str]:
    return list(dict.fromkeys([*pattern.elements, query.ion]))


def _has(elements: Iterable[str], how: str = "ALL") -> str:
    return f"elements HAS {how} " + ",".join(f'"{element}"' for element in elements)


def _any_of(texts: Iterable[str]) -> str:
    listed = list(texts)
    return listed[0] if len(listed) == 1 else "(" + " OR ".join(f"({one})" for one in listed) + ")"


def _conditions(query: Query, provider: Provider) -> Iterator[Condition]:
    energy, gap = provider.energy_above_hull, provider.band_gap
    # Servers drop what is not known with what is above; to keep it, all is pulled.
    is_asked = query.max_ehull_ev is not None and query.unknown_ehull == "reject"
    if is_asked and energy is not None and energy.condition is not None:
        text = f"{energy.condition}<={query.max_ehull_ev}"
        yield Condition("above_hull", text, is_own=True)
    yield Condition("too_many_sites", f"nsites<={query.max_sites}")
    if 0 < len(query.exclude) <= _MAX_EXCLUDED:
        yield Condition("excluded_element", f"NOT ({_has(sorted(query.exclude), 'ANY')})")
    if query.band_gap_min_ev and gap is not None and gap.condition is not None:
        yield Condition("band_gap", f"{gap.condition}>={query.band_gap_min_ev}", is_own=True)
