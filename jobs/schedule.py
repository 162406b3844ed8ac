"""Which piece of work goes to which worker, and what becomes of it when a worker dies.

No Ray in here, so that every rule can be tested by itself. A worker that dies takes the pieces it
held with it and does not say which of them killed it, so each becomes a suspect: suspects run
alone, one per worker. A suspect whose worker dies again is guilty; it is cut in two, the halves are
suspects, and so on to the single item, which is given up. An innocent piece is never given up,
however often its neighbours kill its worker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Piece(Generic[T]):
    """Items that go to a worker in one call."""

    items: Sequence[T]
    suspect: bool = False
    """It was with a worker that died."""


@dataclass(eq=False)
class Lane(Generic[T]):
    """A worker's place in the schedule; outlives the worker."""

    ready: bool = False
    held: list[Piece[T]] = field(default_factory=list)
    """Given to the worker, not yet answered."""


class Schedule(Generic[T]):
    """Queues pieces for a fixed number of lanes with a bounded number in each."""

    def __init__(self, n_lanes: int, depth: int = 2) -> None:
        """``depth`` pieces are with a worker at once: one in work, the rest already at hand."""
        self.lanes: list[Lane[T]] = [Lane() for _ in range(n_lanes)]
        self.depth = depth
        self._queue: deque[Piece[T]] = deque()
        self._suspects: deque[Piece[T]] = deque()

    @property
    def busy(self) -> bool:
        """Whether anything is queued or with a worker."""
        return bool(self._queue or self._suspects or any(lane.held for lane in self.lanes))

    @property
    def has_room(self) -> bool:
        """Whether a piece added now would go to a worker at once."""
        return not self._queue and not self._suspects and self._freest() is not None

    @property
    def has_idle(self) -> bool:
        """Whether a worker that is up has nothing to do, and nothing is queued for it."""
        freest = self._freest()
        return self.has_room and freest is not None and not self.lanes[freest].held

    def add(self, items: Sequence[T]) -> None:
        """Queue a piece."""
        self._queue.append(Piece(items))

    def assign(self) -> Iterator[tuple[int, Piece[T]]]:
        """Hand out what can be handed out now: lane by lane, least loaded first."""
        while True:
            # While suspects wait nothing else starts, or no worker would ever be free for them.
            queue = self._suspects or self._queue
            freest = self._freest()
            if not queue or freest is None:
                return
            lane = self.lanes[freest]
            if queue is self._suspects and lane.held:
                return
            piece = queue.popleft()
            lane.held.append(piece)
            yield freest, piece

    def done(self, lane: int, piece: Piece[T]) -> None:
        """A worker has answered a piece."""
        self.lanes[lane].held.remove(piece)

    def died(self, lane: int) -> list[T]:
        """A worker is gone: queue what it held again, and return the items that are given up."""
        dead = self.lanes[lane]
        dead.ready = False
        held, dead.held = dead.held, []
        return [item for piece in reversed(held) for item in self._suspect(piece)]

    def failed(self, lane: int, piece: Piece[T]) -> list[T]:
        """A worker lives but gave no answer for a piece: the same rules for that piece alone."""
        self.lanes[lane].held.remove(piece)
        return self._suspect(piece)

    def _suspect(self, piece: Piece[T]) -> list[T]:
        if not piece.suspect:
            parts = [piece.items]
        elif len(piece.items) == 1:
            return list(piece.items)
        else:
            middle = len(piece.items) // 2
            parts = [piece.items[middle:], piece.items[:middle]]
        self._suspects.extendleft(Piece(part, suspect=True) for part in parts)
        return []

    def _freest(self) -> int | None:
        """The lane that can take one more piece and has fewest; None where none can."""
        open_lanes = [
            (len(lane.held), index)
            for index, lane in enumerate(self.lanes)
            if lane.ready
            and len(lane.held) < self.depth
            and not any(piece.suspect for piece in lane.held)
        ]
        return min(open_lanes)[1] if open_lanes else None
