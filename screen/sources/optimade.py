"""Any OPTIMADE server as a source: pulled once, kept, parsed beside the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from jobs.parallel import mapped
from jobs.records import Candidate, Failure
from screen.sources.base import Query, Source
from screen.sources.cache import Policy
from screen.sources.http import Notice
from screen.sources.optimade_feed import StructureFeed
from screen.sources.optimade_pages import Parser
from screen.sources.optimade_providers import find_provider
from screen.sources.optimade_query import filters
from screen.sources.pull import Pull
from screen.sources.selection import Examined, admit


class Optimade(Source):
    """Structures of one OPTIMADE database.

    Args:
        spec: A provider's name or a base URL, with or without ``optimade:`` before it.
        policy: How the cache is used.
        notice: Is told what the user should know.

    Raises:
        UserError: No such provider is known, or the URL is none.
    """

    def __init__(self, spec: str, policy: Policy, notice: Notice) -> None:
        self._provider = find_provider(spec.removeprefix("optimade:"))
        self._policy = policy
        self._notice = notice
        self._known: dict[Query, list[tuple[StructureFeed, Pull]]] = {}

    @property
    def name(self) -> str:
        """``optimade:`` and the provider's name."""
        return f"optimade:{self._provider.name}"

    def version(self, query: Query) -> str:
        """The day of the pull: the protocol has no version of a database's content."""
        return ", ".join(sorted({pull.version for _, pull in self._pulls(query)}))

    def candidates(self, query: Query) -> Iterator[Candidate | Failure]:
        """Stream the structures, in the order of the server."""
        return admit(self._examined(query), query)

    def count(self, query: Query) -> int | None:
        """How many structures the server has for the query, without pulling them.

        Those of several patterns count with each; None where the server does not say.
        """
        total = 0
        for feed, pull in self._pulls(query):
            found = pull.total
            if found is None and not pull.is_complete and not self._policy.offline:
                found = feed.total()
            if found is None:
                return None
            total += found
        return total if query.limit is None else min(total, query.limit)

    def left_out(self, query: Query) -> dict[str, int]:
        """How many structures the server left out, by reason, as far as it has been asked."""
        refused: dict[str, int] = {}
        for _, pull in self._pulls(query):
            for reason, n in pull.facts.get("refused", {}).items():
                refused[reason] = refused.get(reason, 0) + n
        return refused

    def _pulls(self, query: Query) -> list[tuple[StructureFeed, Pull]]:
        query = replace(self._as_here(query), limit=None)
        if query not in self._known:
            self._say_what_is_not_known(query)
            provider, notice = self._provider, self._notice
            feeds = [StructureFeed(provider, one, notice) for one in filters(query, provider)]
            self._known[query] = [(feed, Pull(feed, self._policy, notice)) for feed in feeds]
        return self._known[query]

    def _examined(self, query: Query) -> Iterator[Examined | None]:
        """What was found, each entry once: the pages of several patterns overlap."""
        query = self._as_here(query)
        seen: set[str] = set()
        for _, pull in self._pulls(query):
            for entries in mapped(Parser(self._provider, query, pull.version), pull.pages()):
                for material_id, one in entries:
                    if material_id not in seen:
                        seen.add(material_id)
                        yield one

    def _as_here(self, query: Query) -> Query:
        """The query with this source's custom: energies are asked for where there are any."""
        if query.unknown_ehull is not None:
            return query
        is_known = self._provider.energy_above_hull is not None
        return replace(query, unknown_ehull="reject" if is_known else "keep")

    def _say_what_is_not_known(self, query: Query) -> None:
        title = self._provider.title
        if query.max_ehull_ev is not None and self._provider.energy_above_hull is None:
            outcome = (
                "--unknown-ehull reject leaves nothing"
                if query.unknown_ehull == "reject"
                else "--max-ehull holds where they are"
            )
            self._notice(f"energies above the hull are not known for {title}; {outcome}")
        if query.band_gap_min_ev is not None and self._provider.band_gap is None:
            self._notice(f"band gaps are not known for {title}; --band-gap-min leaves nothing")
