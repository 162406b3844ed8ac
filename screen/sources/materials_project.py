"""The Materials Project as a source: pulled once, kept, parsed beside the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

from jobs.parallel import mapped
from jobs.records import BOTH, Candidate, Failure
from screen.sources.base import BY_ELECTRODE, Query, Source
from screen.sources.cache import Policy
from screen.sources.http import Notice
from screen.sources.mp_client import Client, checked_key
from screen.sources.mp_feed import ElectrodeFeed, SummaryFeed, summary_feeds
from screen.sources.mp_hosts import (
    Filled,
    Pairs,
    electrode_pairs,
    filled_crystals,
    filled_feeds,
    host_feeds,
)
from screen.sources.mp_pages import Parser, electrodes
from screen.sources.pull import Pull
from screen.sources.selection import Examined, admit

_SAMPLE_PAGES = 4


@dataclass(frozen=True)
class MaterialsProjectOptions:
    """What to ask of the Materials Project besides the query."""

    endpoint: str
    """As ``mp_client.find_endpoint`` returns it."""
    include_gnome: bool = False
    """Whether materials are taken whose licence, BY-NC, forbids commercial use."""
    electrodes: bool = False
    """Whether voltage and capacity come along."""


class MaterialsProject(Source):
    """Summaries of the Materials Project.

    Args:
        options: What to ask of whom.
        policy: How the cache is used.
        notice: Is told what the user should know.

    Raises:
        UserError: There is no key, or one that cannot be right, and the cache alone will not do.
    """

    name = "mp"

    def __init__(self, options: MaterialsProjectOptions, policy: Policy, notice: Notice) -> None:
        if not policy.offline:
            checked_key()
        self._options = options
        self._policy = policy
        self._notice = notice
        self._client = Client(options.endpoint, notice)
        self._known: dict[Query, list[tuple[SummaryFeed, Pull]]] = {}
        self._electrodes_of: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self._filled_of: dict[Query, Filled] = {}

    def version(self, query: Query) -> str:
        """The database's: of what is in the cache, else of the server."""
        return ", ".join(sorted({pull.version for _, pull in self._pulls(query)}))

    def settings(self) -> dict[str, Any]:
        """How the source was opened."""
        return asdict(self._options)

    def candidates(self, query: Query) -> Iterator[Candidate | Failure]:
        """Stream the materials, in the order of their ids for each chemical system."""
        return admit(self._examined(query), query)

    def count(self, query: Query) -> int:
        """How many materials the server has for the query; asks where the cache does not know."""
        totals = [
            feed.total() if pull.total is None and not self._policy.offline else pull.total or 0
            for feed, pull in self._pulls(query)
        ]
        return sum(totals) if query.limit is None else min(sum(totals), query.limit)

    def left_out(self, query: Query) -> dict[str, int]:
        """How many materials the server left out, by reason.

        A material of several of the query's patterns counts with each.
        """
        left_out: dict[str, int] = {}
        for feed, pull in self._pulls(query):
            has_begun = self._policy.offline or "left_out" in pull.facts
            found = pull.facts.get("left_out", {}) if has_begun else feed.left_out()
            for reason, n in found.items():
                left_out[reason] = left_out.get(reason, 0) + n
        return left_out

    def sample(self, query: Query, size: int) -> list[Candidate]:
        """Candidates from all over the list, whose order is that of their discovery."""
        if self._policy.offline:
            return super().sample(query, size)
        found: dict[str, Candidate] = {}
        query = _as_here(query)
        for feed, pull in self._pulls(query):
            parse = self._parser(query, feed, pull)
            for documents in map(parse, feed.spread(_SAMPLE_PAGES, -(-size // _SAMPLE_PAGES))):
                items = [one.item for _, one in documents if one is not None]
                found |= {item.material_id: item for item in items if isinstance(item, Candidate)}
        return list(found.values())[:size]

    def _pulls(self, query: Query) -> list[tuple[SummaryFeed, Pull]]:
        query = replace(_as_here(query), limit=None)
        if query not in self._known:
            feeds = summary_feeds(self._client, query, self._options.include_gnome)
            if query.sites == BY_ELECTRODE:
                feeds += host_feeds(*self._asked(query), self._pairs(query.ion))
            self._known[query] = [(feed, Pull(feed, self._policy, self._notice)) for feed in feeds]
        return self._known[query]

    def _examined(self, query: Query) -> Iterator[Examined | None]:
        """What was found, each material once: the pages of several patterns overlap."""
        query = _as_here(query)
        seen: set[str] = set()
        for feed, pull in self._pulls(query):
            for documents in mapped(self._parser(query, feed, pull), pull.pages()):
                for material_id, one in documents:
                    if material_id not in seen:
                        seen.add(material_id)
                        yield self._with_electrode(one, query.ion)

    def _with_electrode(self, one: Examined | None, ion: str) -> Examined | None:
        if not self._options.electrodes or one is None or not isinstance(one.item, Candidate):
            return one
        data = self._electrodes(ion).get(one.item.material_id)
        if data is None:
            return one
        info = {**one.item.info, **data}
        return replace(one, item=replace(one.item, info=info, mechanisms=BOTH))

    def _electrodes(self, ion: str) -> Mapping[str, Mapping[str, Any]]:
        """Electrode data by material id."""
        if ion not in self._electrodes_of:
            self._electrodes_of[ion] = electrodes(self._electrode_pages(ion), ion)
        return self._electrodes_of[ion]

    def _electrode_pages(self, ion: str) -> Iterator[bytes]:
        return Pull(ElectrodeFeed(self._client, ion), self._policy, self._notice).pages()

    def _pairs(self, ion: str) -> Pairs:
        return electrode_pairs(self._electrode_pages(ion), ion)

    def _filled(self, query: Query) -> Filled:
        """The crystals with the ion in them of all charged electrodes."""
        if query not in self._filled_of:
            pairs = self._pairs(query.ion)
            feeds = filled_feeds(*self._asked(query), pairs)
            pulls = [Pull(feed, self._policy, self._notice) for feed in feeds]
            pages = chain.from_iterable(pull.pages() for pull in pulls)
            self._filled_of[query] = filled_crystals(pages, pairs)
        return self._filled_of[query]

    def _asked(self, query: Query) -> tuple[Client, Query, bool]:
        return self._client, query, self._options.include_gnome

    def _parser(self, query: Query, feed: SummaryFeed, pull: Pull) -> Parser:
        discharged = self._filled(query) if feed.is_by_id else {}
        return Parser(query, pull.version, str(pull.facts["started"]), discharged)


def _as_here(query: Query) -> Query:
    """The query with this source's custom for materials of unknown energy above the hull."""
    return replace(query, unknown_ehull=query.unknown_ehull or "reject")
