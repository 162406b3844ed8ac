"""The pages of one query: those in the cache, then those that the server still has to give.

A query is asked once; a pull that broke off goes on at the page where it did.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from typing import Any

from screen.errors import FAILED, UserError
from screen.sources.cache import CacheFolder, Entry, Policy, folder_for, pack
from screen.sources.feeds import Feed, Page
from screen.sources.http import Notice

_MAX_ROUNDS = 3
"""How often all pages are asked for while the server's answers do not add up."""


class Pull:
    """One query, as far as it is in the cache and beyond.

    Args:
        feed: Whom to ask what.
        policy: How the cache is used.
        notice: Is told what the user should know.

    Raises:
        UserError: Offline with nothing in the cache; a pull that was begun on another version of
            the database; a manifest that cannot be read.
        ServerError: The server does not answer, and the cache is not complete.
    """

    def __init__(self, feed: Feed, policy: Policy, notice: Notice) -> None:
        self._feed = feed
        self._offline = policy.offline
        self._notice = notice
        self._keeps = True
        self._server_version: str | None = None
        identity = feed.identity()
        folder = folder_for(policy.folder, feed.source, identity)
        self._cache = CacheFolder(folder, identity, ignore=policy.refresh)
        if self._offline and not self._cache.facts:
            raise UserError(
                f"{feed.title}: nothing in the cache {policy.folder}; leave out --offline, or "
                "name the folder that has it with --cache",
                FAILED,
            )
        if not self._offline:
            self._meet_server()

    @property
    def version(self) -> str:
        """Of the database that the pages come from: the server's, else the day of the pull."""
        facts = self._cache.facts
        return str(facts["version"] or f"pulled {facts['started'][:10]}")

    @property
    def is_complete(self) -> bool:
        """Whether every page is in the cache."""
        return self._cache.facts["finished"] is not None

    @property
    def total(self) -> int | None:
        """Items of all pages, where the server has said so."""
        entries = self._cache.entries
        return entries[-1].total if entries else None

    @property
    def facts(self) -> Mapping[str, Any]:
        """The manifest, without its pages."""
        return self._cache.facts

    def pages(self) -> Iterator[bytes]:
        """Every page, gzipped; an item comes twice where the server's pages overlap.

        Raises:
            ServerError: The server stays down; what came before is in the cache.
            UserError: The database changed on the way, or a page of the cache is damaged and there
                is no server to ask.
        """
        seen: set[str] = set()
        was_complete = self.is_complete
        for at in range(len(self._cache.entries)):
            packed = self._from_cache(at)
            if not was_complete:
                seen.update(self._feed.ids(gzip.decompress(packed)))
            yield packed
        if was_complete:
            return
        if self._offline:
            self._notice(f"{self._feed.title}: only {self._so_far()} are in the cache")
            return
        yield from self._from_server(seen)

    def _meet_server(self) -> None:
        """Begin, or go on with what the cache has, with a word where the database has changed."""
        feed, facts = self._feed, self._cache.facts
        try:
            version = feed.version()
        except UserError as error:
            if not (facts and self.is_complete):
                raise
            self._notice(f"{error}; taken from the cache, {self.version}")
            return
        self._server_version = version
        if not facts:
            self._cache.begin(version)
            return
        if facts["version"] == version:
            return
        if not self.is_complete:
            raise UserError(
                f"{feed.title}: {self._so_far()} were pulled from database {self.version}, the "
                f"server has {version} now; --refresh pulls all of them from that",
                FAILED,
            )
        self._notice(
            f"{feed.title}: taken from the cache, database {self.version}; the server has "
            f"{version}, which --refresh pulls"
        )

    def _from_cache(self, at: int) -> bytes:
        """A page of the cache, asked for again where it is missing or damaged."""
        entry = self._cache.entries[at]
        try:
            return self._cache.load(entry)
        except OSError as error:
            path = self._cache.folder / entry.file
            found = f"{path}: damaged ({error.strerror or error})"
        if self._offline:
            raise UserError(f"{found}; without --offline it is asked for again", FAILED)
        if self._server_version != self._cache.facts["version"]:
            raise UserError(f"{found}, and the server has another database; pass --refresh", FAILED)
        self._notice(f"{found}; asked for again")
        page = self._feed.fetch(entry.cursor)
        return self._keep(page, at, entry.cursor, entry.round, entry.new)

    def _from_server(self, seen: set[str]) -> Iterator[bytes]:
        entries = self._cache.entries
        last = entries[-1] if entries else None
        number = last.round if last else 1
        cursor, at_end = (last.next, last.next is None) if last else (None, False)
        while True:
            while not at_end:
                page = self._feed.fetch(cursor)
                new = set(page.ids) - seen
                seen |= new
                yield self._keep(page, len(entries), cursor, number, len(new))
                cursor, at_end = page.next, page.next is None
            if self._adds_up(number, len(seen)) or number == _MAX_ROUNDS:
                break
            number, cursor, at_end = number + 1, None, False
            self._notice(f"{self._feed.title}: the server's answers do not add up; asked again")
        self._finish(len(seen))

    def _adds_up(self, number: int, n_seen: int) -> bool:
        """Whether the pages of a round are of one list, and all of it is there."""
        totals = {entry.total for entry in self._cache.entries if entry.round == number}
        return len(totals) == 1 and (self.total is None or n_seen >= self.total)

    def _finish(self, n_seen: int) -> None:
        title, begun_on = self._feed.title, self._cache.facts["version"]
        version = self._feed.version()
        if version != begun_on:
            raise UserError(
                f"{title}: the database went from {begun_on} to {version} while it was pulled; "
                "--refresh pulls it anew",
                FAILED,
            )
        if self.total is not None and n_seen < self.total:
            self._notice(
                f"{title}: {n_seen:,} of {self.total:,} came in {_MAX_ROUNDS} rounds; "
                "--refresh tries again"
            )
        self._cache.finish()
        self._save()

    def _keep(self, page: Page, at: int, cursor: str | None, number: int, n_new: int) -> bytes:
        packed = pack(page.content)
        self._cache.facts.update(page.facts)
        entry = self._cache.add(
            packed,
            at,
            items=len(page.ids),
            new=n_new,
            total=page.total,
            round=number,
            cursor=cursor,
            next=page.next,
        )
        self._save(entry, packed)
        return packed

    def _save(self, entry: Entry | None = None, packed: bytes = b"") -> None:
        """Keep a page; a run does not end for want of a cache."""
        if not self._keeps:
            return
        try:
            self._cache.save(entry, packed)
        except OSError as error:
            self._keeps = False
            self._notice(
                f"{self._cache.folder}: nothing more can be kept ({error.strerror or error}); "
                "going on without the cache, make room or name another with --cache"
            )

    def _so_far(self) -> str:
        n_items = sum(entry.new for entry in self._cache.entries)
        return f"{n_items:,} of {self.total:,}" if self.total is not None else f"{n_items:,}"
