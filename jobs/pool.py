"""A pool of Ray actors behind a schedule: submit pieces, wait on the references, collect.

Actors are not restarted by Ray but replaced here, so that it is known which call died with which
process, and a replacement gets work only once it has answered: one that a busy or shrunken cluster
cannot place leaves its share to the others instead of holding it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jobs.errors import EngineError
from jobs.schedule import Piece, Schedule
from jobs.stages import one_line, reason_of

T = TypeVar("T")

START_TIMEOUT_S = 300.0
_DEATHS_IN_A_ROW = 20


@dataclass(frozen=True)
class Started:
    """A worker is up; ``value`` is what its ``start`` returned."""

    value: Any


@dataclass(frozen=True)
class Answered(Generic[T]):
    """A piece is done."""

    items: Sequence[T]
    value: Any
    """The call's first return value."""
    rest: Sequence[Any]
    """References to its other return values, not fetched."""


@dataclass(frozen=True)
class Unanswered(Generic[T]):
    """Items that are given up, and why."""

    items: Sequence[T]
    reason: str
    """``killed_worker``, ``object_lost``, or the code of an exception."""
    detail: str


@dataclass(frozen=True, eq=False)
class _Call(Generic[T]):
    lane: int
    piece: Piece[T] | None
    """None for the call that starts a worker."""
    rest: Sequence[Any] = ()


class Pool(Generic[T]):
    """Actors of one kind, each with a bounded number of calls in flight."""

    def __init__(
        self,
        name: str,
        size: int,
        create: Callable[[], Any],
        call: Callable[[Any, Sequence[T]], Sequence[Any]],
        depth: int = 2,
    ) -> None:
        """Start the workers without waiting for them.

        Args:
            name: For messages.
            size: Number of actors.
            create: Makes an actor that has a method ``start``.
            call: Sends items to an actor and returns the references of the call's return values.
            depth: Calls in flight per actor.
        """
        self._name = name
        self._create = create
        self._call = call
        self._schedule: Schedule[T] = Schedule(size, depth)
        self._calls: dict[Any, _Call[T]] = {}
        self._deaths = 0
        self._ready_at = time.monotonic()
        self._actors: list[Any] = [None] * size
        for lane in range(size):
            self._start(lane)

    @property
    def references(self) -> list[Any]:
        """What to wait on; hand each one that is ready to ``collect``."""
        return list(self._calls)

    @property
    def has_room(self) -> bool:
        """Whether a piece submitted now would go to a worker at once."""
        return self._schedule.has_room

    @property
    def has_idle(self) -> bool:
        """Whether a worker waits for work."""
        return self._schedule.has_idle

    def submit(self, items: Sequence[T]) -> None:
        """Queue a piece of at least one item."""
        self._schedule.add(items)
        self._assign()

    def collect(self, reference: Any) -> list[Started | Answered[T] | Unanswered[T]]:
        """What a ready reference came to.

        Raises:
            EngineError: workers die one after another without answering anything.
            Exception: what a worker's ``start`` raised, such as a model that cannot be read.
        """
        import ray
        from ray.exceptions import (
            NodeDiedError,
            ObjectLostError,
            OutOfMemoryError,
            RayActorError,
            RayTaskError,
            WorkerCrashedError,
        )

        call = self._calls.pop(reference, None)
        if call is None:  # its worker died, and with it everything it held
            return []
        try:
            value = ray.get(reference)
        except (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError) as error:
            outcomes = self._replace(call.lane, error)
        except Exception as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            if call.piece is None:
                raise cause from None
            lost = isinstance(cause, ObjectLostError)
            outcomes = self._no_answer(call.lane, call.piece, cause, lost)
        else:
            outcomes = self._answer(call, value)
        self._assign()
        return outcomes

    def check(self) -> None:
        """Raise EngineError where no worker has been up for minutes."""
        if any(lane.ready for lane in self._schedule.lanes):
            self._ready_at = time.monotonic()
        elif time.monotonic() - self._ready_at > START_TIMEOUT_S:
            raise EngineError(
                f"no {self._name} worker has been up for {START_TIMEOUT_S:g} s: Ray has no free "
                "CPUs or GPUs for it, or has itself died; try again, or ask for fewer (num_cpus, "
                "num_gpus)"
            )

    def stop(self) -> None:
        """End all workers at once, whatever they are doing."""
        for actor in self._actors:
            _kill(actor)
        self._calls.clear()

    def _start(self, lane: int) -> None:
        actor = self._create()
        self._actors[lane] = actor
        self._calls[actor.start.remote()] = _Call(lane, None)

    def _assign(self) -> None:
        for lane, piece in self._schedule.assign():
            first, *rest = self._call(self._actors[lane], piece.items)
            self._calls[first] = _Call(lane, piece, rest)

    def _answer(self, call: _Call[T], value: Any) -> list[Started | Answered[T] | Unanswered[T]]:
        if call.piece is None:
            self._schedule.lanes[call.lane].ready = True
            return [Started(value)]
        self._deaths = 0
        self._schedule.done(call.lane, call.piece)
        return [Answered(call.piece.items, value, call.rest)]

    def _no_answer(
        self, lane: int, piece: Piece[T], cause: Exception, lost: bool
    ) -> list[Started | Answered[T] | Unanswered[T]]:
        if lost:  # not the fault of the items: their maker can be asked for them again
            self._schedule.done(lane, piece)
            return [Unanswered(piece.items, "object_lost", one_line(cause))]
        given_up = self._schedule.failed(lane, piece)
        return [Unanswered(given_up, reason_of(cause), one_line(cause))] if given_up else []

    def _replace(self, lane: int, error: Exception) -> list[Started | Answered[T] | Unanswered[T]]:
        """A worker died: put a new one in its place, and its pieces back in the queue."""
        self._deaths += 1
        if self._deaths > _DEATHS_IN_A_ROW + 2 * len(self._actors):
            raise EngineError(
                f"{self._deaths} {self._name} workers died one after another without an answer: "
                f"look for missing memory or a broken installation; the last: {one_line(error)}"
            )
        _kill(self._actors[lane])
        self._calls = {ref: call for ref, call in self._calls.items() if call.lane != lane}
        given_up = self._schedule.died(lane)
        self._start(lane)
        detail = f"the {self._name} worker's process died whenever it came to this one"
        return [Unanswered(given_up, "killed_worker", detail)] if given_up else []


def _kill(actor: Any) -> None:
    import contextlib

    import ray

    with contextlib.suppress(Exception):  # it may be gone, or the cluster with it
        ray.kill(actor)
