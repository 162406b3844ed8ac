"""What an online source asks of a server: one query, page by page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Page:
    """One answer of a server."""

    content: bytes = field(repr=False)
    """As received, without the transfer's compression."""
    ids: tuple[str, ...]
    """Of its items, one each."""
    next: str | None
    """Where the next page is; None: this was the last."""
    total: int | None = None
    """Items of all pages, as the server counts them now."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else belongs into the manifest, such as the server's version."""


class Feed(Protocol):
    """One query to one server, page by page."""

    @property
    def source(self) -> str:
        """Name of the source: a folder of the cache."""
        ...

    @property
    def title(self) -> str:
        """What is asked of whom, for messages."""
        ...

    def identity(self) -> dict[str, Any]:
        """All that decides the answer, as JSON types, without any key."""
        ...

    def version(self) -> str:
        """The database's version now, asked of the server; empty where it states none.

        Raises:
            ServerError: There is no answer.
        """
        ...

    def fetch(self, cursor: str | None) -> Page:
        """The page at a cursor, None for the first; raises ``ServerError``."""
        ...

    def ids(self, content: bytes) -> tuple[str, ...]:
        """The ids of a page as received."""
        ...
