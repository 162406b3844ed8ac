"""Where candidates come from, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobs.records import Candidate, Failure
from jobs.sink import Sink
from jobs.stages import pass_through


class Source:
    """The candidates still to come; failures among them go straight to the sink."""

    def __init__(self, candidates: Iterable[Candidate | Failure], sink: Sink) -> None:
        self._items = iter(candidates)
        self._sink = sink
        self._next = self._pull()

    @property
    def exhausted(self) -> bool:
        """Whether no candidate is left."""
        return self._next is None

    def take(self, count: int) -> Iterator[Candidate]:
        """Up to ``count`` candidates. One more has always been pulled, to know of the end."""
        while count > 0 and self._next is not None:
            candidate = self._next
            self._next = self._pull()
            count -= 1
            yield candidate

    def _pull(self) -> Candidate | None:
        for item in self._items:
            self._sink.count(candidates=1)
            if isinstance(item, Candidate):
                return item
            self._sink.add(pass_through(item))
        return None
