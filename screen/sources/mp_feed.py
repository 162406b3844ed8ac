"""What is asked of the Materials Project: summaries by chemical system, and electrodes by ion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from screen.sources.base import Query
from screen.sources.cache import pack
from screen.sources.feeds import Page
from screen.sources.mp_client import Client
from screen.sources.mp_pages import ELECTRODE_FIELDS, FIELDS
from screen.sources.mp_query import steps, systems

_PAGE_SIZE = 1000
"""The most that the server gives at once: few large pages are what it is asked for."""


@dataclass(frozen=True)
class SummaryFeed:
    """The materials of one chemical system, or of several exact ones.

    Attributes:
        client: Whom to ask.
        query: For the filters that the server can apply.
        system: Arguments of the client's search that name the system.
        include_gnome: Whether to ask for materials that are not free for commercial use.
    """

    client: Client
    query: Query
    system: dict[str, Any]
    include_gnome: bool = False
    source = "mp"

    @property
    def title(self) -> str:
        """For messages."""
        if self.is_by_id:
            return f"{len(self.system['material_ids']):,} electrodes of the Materials Project"
        named = self.system.get("chemsys") or self.system["elements"]
        systems = named if isinstance(named, str) else ", ".join(named)
        return f"{systems} of the Materials Project"

    @property
    def is_by_id(self) -> bool:
        """Whether single materials are asked for by their ids."""
        return "material_ids" in self.system

    def identity(self) -> dict[str, Any]:
        """All that decides the answer."""
        return {
            "endpoint": self.client.endpoint,
            "route": "summary",
            "criteria": json.loads(json.dumps(self._criteria())),
            "fields": FIELDS,
            "page_size": _PAGE_SIZE,
        }

    def version(self) -> str:
        """Of the database, now."""
        return self.client.version()

    def fetch(self, cursor: str | None) -> Page:
        """One page; with the first, what the server's filters leave out."""
        # Before the page, which is kept as soon as it is there.
        left_out = {"left_out": self.left_out()} if cursor is None else {}
        number = int(cursor or 1)
        answer = self.client.search("summary", number, _PAGE_SIZE, FIELDS, **self._criteria())
        more = bool(answer.documents) and number * _PAGE_SIZE < answer.total
        return Page(
            content=answer.content,
            ids=tuple(str(document.get("material_id")) for document in answer.documents),
            next=str(number + 1) if more else None,
            total=answer.total,
            facts=self.client.facts() | left_out,
        )

    def ids(self, content: bytes) -> tuple[str, ...]:
        """Of a page as received."""
        return tuple(str(one.get("material_id")) for one in json.loads(content)["data"])

    def total(self) -> int:
        """How many materials the server has for this feed."""
        return self.client.count(**self._criteria())

    def spread(self, n_pages: int, page_size: int) -> Iterator[bytes]:
        """A few small pages from all over the list, gzipped; kept nowhere."""
        total = self.total()
        last = max(1, -(-total // page_size))
        numbers = {1 + (last - 1) * at // max(1, n_pages - 1) for at in range(n_pages)}
        for number in sorted(numbers):
            answer = self.client.search("summary", number, page_size, FIELDS, **self._criteria())
            yield pack(answer.content)

    def left_out(self) -> dict[str, int]:
        """How many materials each of the server's filters leaves out, by reason, in order."""
        so_far = {**self.system, "include_gnome": self.include_gnome}
        found: dict[str, int] = {}
        n_left = None
        for step in steps(self.query):
            so_far |= step.criteria
            if step.reason == "deprecated":  # the server never counts these with the others
                found[step.reason] = self.client.count(**{**so_far, "deprecated": True})
                n_left = self.client.count(**so_far)
                continue
            assert n_left is not None
            n_before, n_left = n_left, self.client.count(**so_far)
            found[step.reason] = n_before - n_left
        return {reason: n for reason, n in found.items() if n}

    def _criteria(self) -> dict[str, Any]:
        filters = {name: value for one in steps(self.query) for name, value in one.criteria.items()}
        return {**self.system, **filters, "include_gnome": self.include_gnome}


@dataclass(frozen=True)
class ElectrodeFeed:
    """The insertion electrodes of a working ion."""

    client: Client
    ion: str
    source = "mp"

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.ion} insertion electrodes of the Materials Project"

    def identity(self) -> dict[str, Any]:
        """All that decides the answer."""
        return {
            "endpoint": self.client.endpoint,
            "route": "insertion_electrodes",
            "working_ion": self.ion,
            "fields": ELECTRODE_FIELDS,
            "page_size": _PAGE_SIZE,
        }

    def version(self) -> str:
        """Of the database, now."""
        return self.client.version()

    def fetch(self, cursor: str | None) -> Page:
        """One page."""
        number = int(cursor or 1)
        answer = self.client.search(
            "electrodes", number, _PAGE_SIZE, ELECTRODE_FIELDS, working_ion=self.ion
        )
        more = bool(answer.documents) and number * _PAGE_SIZE < answer.total
        return Page(
            content=answer.content,
            ids=tuple(map(_electrode_id, answer.documents)),
            next=str(number + 1) if more else None,
            total=answer.total,
            facts=self.client.facts(),
        )

    def ids(self, content: bytes) -> tuple[str, ...]:
        """Of a page as received."""
        return tuple(map(_electrode_id, json.loads(content)["data"]))


def _electrode_id(document: dict[str, Any]) -> str:
    """What tells one electrode from another; not every server has a ``battery_id``."""
    names = ("battery_id", "working_ion", "id_charge", "id_discharge")
    return " ".join(str(document.get(name)) for name in names)


def summary_feeds(client: Client, query: Query, include_gnome: bool) -> list[SummaryFeed]:
    """One feed for each search that a query takes."""
    return [SummaryFeed(client, query, system, include_gnome) for system in systems(query)]
