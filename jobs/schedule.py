"""Which piece of work goes to which worker, and what becomes of it when a worker dies.

No Ray in here, so that every rule can be tested by itself. A worker that dies takes the pieces it
held with it and does not say which of them killed it, so each becomes a suspect: suspects run
alone, one per worker. A suspect whose worker dies again is guilty; it is cut in two, the halves are
suspects, and so on to the single item, which is given up. An innocent piece is never given up,
however often its neighbours kill its worker. A worker that hangs is known to hang over its oldest
piece, which is cut at once; what goes with a whole machine is
held innocent at first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

_MAX_LOSSES = 2
"""How many machines may go away under a piece before it is suspected of it."""


@dataclass(eq=False)
class Piece(Generic[T]):
    """Items that go to a worker in one call."""

    items: Sequence[T]
    suspect: bool = False
    """It was with a worker that died, or it hung one."""
    losses: int = 0
    """How often its machine went away under it."""


@dataclass(eq=False)
class Lane(Generic[T]):
    """A worker's place in the schedule; outlives the worker."""

    ready: bool = False
    retired: bool = False
    """It is given nothing more and ends with what it holds."""
    held: list[Piece[T]] = field(default_factory=list)
    """Given to the worker, not yet answered, oldest first."""


class Schedule(Generic[T]):
    """Queues pieces for lanes that come and go, with a bounded number of pieces in each."""

    def __init__(self, depth: int = 2) -> None:
        """``depth`` pieces are with a worker at once: one in work, the rest already at hand."""
        self.lanes: dict[int, Lane[T]] = {}
        self.depth = depth
        self._next_lane = 0
        self._queue: deque[Piece[T]] = deque()
        self._suspects: deque[Piece[T]] = deque()

    @property
    def busy(self) -> bool:
        """Whether anything is queued or with a worker."""
        held = any(lane.held for lane in self.lanes.values())
        return bool(self._queue or self._suspects or held)

    @property
    def has_room(self) -> bool:
        """Whether a piece added now would go to a worker at once."""
        return not self._queue and not self._suspects and self._freest() is not None

    @property
    def has_idle(self) -> bool:
        """Whether a worker that is up has nothing to do, and nothing is queued for it."""
        freest = self._freest()
        return self.has_room and freest is not None and not self.lanes[freest].held

    def open_lane(self) -> int:
        """A new lane, whose worker is not up yet."""
        lane = self._next_lane
        self._next_lane += 1
        self.lanes[lane] = Lane()
        return lane

    def close_lane(self, lane: int) -> None:
        """A lane that holds nothing is no more."""
        assert not self.lanes.pop(lane).held

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
        held = self._emptied(lane)
        return [item for piece in reversed(held) for item in self._suspect(piece)]

    def hung(self, lane: int) -> list[T]:
        """A worker was ended over its oldest piece: that one is guilty, the others are not."""
        guilty, *others = self._emptied(lane)
        self._back(others)
        if len(guilty.items) > 1:
            guilty.suspect = True
        return self._suspect(guilty)

    def lost(self, lane: int) -> list[T]:
        """A worker's machine is gone: as ``died``, but its pieces are innocent a few times over."""
        held = self._emptied(lane)
        for piece in held:
            piece.losses += 1
        self._back([piece for piece in held if piece.losses <= _MAX_LOSSES])
        suspected = [piece for piece in held if piece.losses > _MAX_LOSSES]
        return [item for piece in reversed(suspected) for item in self._suspect(piece)]

    def failed(self, lane: int, piece: Piece[T]) -> list[T]:
        """A worker lives but gave no answer for a piece: the same rules for that piece alone."""
        self.lanes[lane].held.remove(piece)
        return self._suspect(piece)

    def _emptied(self, lane: int) -> list[Piece[T]]:
        """What a lane held whose worker is no longer up."""
        dead = self.lanes[lane]
        dead.ready = False
        held, dead.held = dead.held, []
        return held

    def _back(self, pieces: Sequence[Piece[T]]) -> None:
        """Queue pieces again before all others; suspects remain what they are."""
        for piece in reversed(pieces):
            (self._suspects if piece.suspect else self._queue).appendleft(piece)

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
            for index, lane in self.lanes.items()
            if lane.ready
            and not lane.retired
            and len(lane.held) < self.depth
            and not any(piece.suspect for piece in lane.held)
        ]
        return min(open_lanes)[1] if open_lanes else None
