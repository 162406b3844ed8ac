"""Where candidates come from, one by one."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator

from jobs.puller import Puller
from jobs.records import Candidate, Failure
from jobs.sink import Sink
from jobs.stages import pass_through

AHEAD = 256
"""Items that are pulled before they are asked for: of 1 to 10 KB each."""
_TICK_S = 0.2


class Source:
    """The candidates still to come, pulled in the background; failures go straight to the sink.

    Only the pulling happens in another thread: counts, and what the sink does, in the caller's.
    """

    def __init__(self, candidates: Iterable[Candidate | Failure], sink: Sink) -> None:
        """Begin to pull; ``close`` ends it."""
        self._puller: Puller[Candidate | Failure] = Puller(candidates, AHEAD)
        self._sink = sink
        self._next: Candidate | None = None

    @property
    def ready(self) -> bool:
        """Whether a candidate can be taken now."""
        self._receive()
        return self._next is not None

    @property
    def exhausted(self) -> bool:
        """Whether no candidate is left: the end has come, or an error, and all are taken."""
        return not self.ready and self._puller.ended

    def wait(self, timeout_s: float = math.inf) -> bool:
        """Wait for a candidate, or for the end, while the sink ticks; is there a candidate?"""
        end = time.monotonic() + timeout_s
        while not self.ready and not self._puller.ended:
            left_s = end - time.monotonic()
            if left_s <= 0:
                return False
            self._receive(min(left_s, _TICK_S))
            self._sink.tick()
        return self._next is not None

    def take(self, count: int) -> Iterator[Candidate]:
        """Up to ``count`` candidates that are ready; never waits."""
        for _ in range(count):
            self._receive()
            candidate, self._next = self._next, None
            if candidate is None:
                return
            self._puller.allow()
            yield candidate

    def raise_error(self) -> None:
        """Raise what the candidates' iterable raised instead of ending, if it did."""
        self._puller.raise_error()

    def close(self) -> None:
        """Pull no more; takes a second at most, may be called again."""
        self._puller.close()

    def _receive(self, timeout_s: float = 0.0) -> None:
        """Have the next candidate at hand, if there is one. Bounded: failures may never cease."""
        for _ in range(AHEAD):
            if self._next is not None:
                return
            received = self._puller.get(timeout_s)
            if not received:
                return
            timeout_s = 0.0
            self._sink.count(candidates=1)
            if isinstance(received[0], Candidate):
                self._next = received[0]
            else:
                self._puller.allow()
                self._sink.add(pass_through(received[0]))
