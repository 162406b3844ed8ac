"""What can go wrong between a program and a server, one request at a time.

A server takes the next fault from its queue with every request; None in the queue lets a request
pass as usual.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Exchange(Protocol):
    """One request that is being answered."""

    @property
    def closing(self) -> threading.Event:
        """Set when the server is closed: nobody has to be kept waiting any more."""
        ...

    def usual(self, shuffle: int | None = None) -> Answer:
        """What would be answered; with a seed, in an order other than what was asked for."""
        ...

    def send(self, answer: Answer, pieces: Iterator[bytes] | None = None) -> None:
        """Send an answer; with pieces, those in place of the body that was announced."""
        ...

    def drop(self) -> None:
        """Close the connection."""
        ...


class Fault(Protocol):
    """Something that goes wrong."""

    def play(self, exchange: Exchange) -> None:
        """Answer the request, or do not."""
        ...


@dataclass(frozen=True)
class Status:
    """Another answer: bytes as they are, text as HTML, anything else as JSON."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def play(self, exchange: Exchange) -> None:
        kind, body = "application/json", self.body
        if isinstance(body, str):
            kind, body = "text/html", body.encode()
        elif not isinstance(body, bytes):
            body = json.dumps({"detail": "as told"} if body is None else body).encode()
        exchange.send(Answer(self.status, body, {"Content-Type": kind, **self.headers}))


def too_many(retry_after: str | None = None) -> Status:
    """The rate limit's answer, with or without a word on how long to wait."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Status(429, {"message": "API rate limit exceeded"}, headers)


BLOCKED = Status(
    429,
    {
        "error": "Your IP has been (temporarily) blocked due to rate limits. "
        "Please wait and reduce the number of requests.",
        "version": "blocked",
    },
)
"""What a program gets that was told so too often; the heartbeat, too."""
BAD_GATEWAY = Status(502, "<html><body><h1>502 Bad Gateway</h1></body></html>")
WEB_PAGE = Status(
    200, "<!DOCTYPE html><html><body><p>Welcome to our hotel's network</p></body></html>"
)
"""What answers where there is no such server at all."""
GARBAGE = Status(200, b'{"data": [{"material_id": mp-149}], "meta": {"total_doc": 1}}')
"""Announced as JSON, and none."""


@dataclass(frozen=True)
class Truncated:
    """The connection breaks in the middle of the body."""

    share: float = 0.5
    """Of the body that is sent, below 1."""

    def play(self, exchange: Exchange) -> None:
        answer = exchange.usual()
        exchange.send(answer, iter([answer.body[: int(self.share * len(answer.body))]]))
        exchange.drop()


@dataclass(frozen=True)
class Dropped:
    """The connection is closed without an answer."""

    def play(self, exchange: Exchange) -> None:
        exchange.drop()


@dataclass(frozen=True)
class Silent:
    """Nothing comes, until an event is set, if ever."""

    until: threading.Event | None = None

    def play(self, exchange: Exchange) -> None:
        (self.until or exchange.closing).wait()
        exchange.drop() if self.until is None else exchange.send(exchange.usual())


@dataclass(frozen=True)
class Slow:
    """The body dribbles in; with an event, its second half comes when that is set."""

    pieces: int = 10
    pause_s: float = 0.05
    until: threading.Event | None = None

    def play(self, exchange: Exchange) -> None:
        answer = exchange.usual()
        exchange.send(answer, self._pieces(answer.body, exchange.closing))

    def _pieces(self, body: bytes, closing: threading.Event) -> Iterator[bytes]:
        n_pieces = 2 if self.until is not None else self.pieces
        size = -(-len(body) // n_pieces)
        for start in range(0, len(body), size):
            if start and self.until is not None:
                self.until.wait()
            elif start:
                closing.wait(self.pause_s)
            yield body[start : start + size]


@dataclass(frozen=True)
class Reordered:
    """A page of another order than what was asked for; pages of other seeds overlap."""

    seed: int = 0

    def play(self, exchange: Exchange) -> None:
        exchange.send(exchange.usual(shuffle=self.seed))


@dataclass(frozen=True)
class Meanwhile:
    """Something happens before the answer, such as a new release of the database."""

    action: Callable[[], object]

    def play(self, exchange: Exchange) -> None:
        self.action()
        exchange.send(exchange.usual())
