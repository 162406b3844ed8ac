"""A pool of Ray actors behind a schedule: submit pieces, wait on the references, collect.

Actors are not restarted by Ray but replaced here, so that it is known which call died with which
process, and a replacement gets work only once it has answered: one that a busy or shrunken cluster
cannot place leaves its share to the others instead of holding it. Which workers there are is said
anew whenever machines come or go; one that takes too long over a call is ended.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jobs.errors import EngineError
from jobs.outcomes import Answered, Outcome, Started, Unanswered, cause_of, fate_of
from jobs.plan import Slot
from jobs.schedule import Piece, Schedule
from jobs.stages import one_line, reason_of

T = TypeVar("T")

START_TIMEOUT_S = 300.0
_DEATHS_IN_A_ROW = 20
_LOOK_EVERY_S = 0.5
"""How often workers are looked at for one that hangs."""


@dataclass(frozen=True, eq=False)
class _Call(Generic[T]):
    lane: int
    piece: Piece[T] | None
    """None for the call that starts a worker."""
    rest: Sequence[Any] = ()


@dataclass(eq=False)
class _Worker:
    """Who works a lane now."""

    slot: Slot
    actor: Any
    since: float = 0.0
    """When it came to the oldest of the pieces that it holds."""


class Pool(Generic[T]):
    """Actors of one kind, each with a bounded number of calls in flight."""

    def __init__(
        self,
        name: str,
        create: Callable[[Slot], Any],
        call: Callable[[Any, Sequence[T]], Sequence[Any]],
        limit_s: Callable[[Sequence[T]], float],
        depth: int = 2,
    ) -> None:
        """A pool without workers; ``resize`` brings them.

        Args:
            name: For messages.
            create: Makes an actor that has a method ``start``.
            call: Sends items to an actor and returns the references of the call's return values.
            limit_s: How long an actor may take for such items before it is ended.
            depth: Calls in flight per actor.
        """
        self._name = name
        self._create = create
        self._call = call
        self._limit_s = limit_s
        self._schedule: Schedule[T] = Schedule(depth)
        self._calls: dict[Any, _Call[T]] = {}
        self._workers: dict[int, _Worker] = {}
        self._deaths = 0
        self._ready_at = time.monotonic()
        self._look_at = 0.0

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

    @property
    def size(self) -> int:
        """How many workers there are to be, up or not."""
        return sum(not lane.retired for lane in self._schedule.lanes.values())

    @property
    def busy_share(self) -> float:
        """Which share of the workers that are up has work; 0 where none is up."""
        held = [bool(lane.held) for lane in self._schedule.lanes.values() if lane.ready]
        return sum(held) / len(held) if held else 0.0

    def resize(self, slots: Sequence[Slot]) -> None:
        """Have one worker for each slot, without waiting: new ones start, others end their work."""
        missing = Counter(slots)
        lanes = self._schedule.lanes
        # Those that are up and at work stay before others of the same slot.
        for lane in sorted(lanes, key=lambda lane: (not lanes[lane].ready, -len(lanes[lane].held))):
            slot = self._workers[lane].slot
            lanes[lane].retired = missing[slot] == 0
            missing[slot] -= not lanes[lane].retired
        for slot in missing.elements():
            self._start(self._schedule.open_lane(), slot)
        self._sweep()
        self._assign()

    def lose(self, alive: Collection[str]) -> list[Outcome[T]]:
        """Take it that all workers on machines other than these are gone."""
        outcomes: list[Outcome[T]] = []
        for lane, worker in list(self._workers.items()):
            if worker.slot.node_id not in alive:
                outcomes += self._gone(lane)
        self._assign()
        return outcomes

    def submit(self, items: Sequence[T]) -> None:
        """Queue a piece of at least one item."""
        self._schedule.add(items)
        self._assign()

    def collect(self, reference: Any) -> list[Outcome[T]]:
        """What a ready reference came to.

        Raises:
            EngineError: workers die one after another without answering anything.
            Exception: what a worker's ``start`` raised, such as a model that cannot be read.
        """
        import ray

        call = self._calls.pop(reference, None)
        if call is None:  # its worker died, and with it everything it held
            return []
        try:
            value = ray.get(reference)
        except Exception as error:
            match fate_of(error):
                case "machine":
                    outcomes = self._gone(call.lane)
                case "worker" | "memory" as fate:
                    outcomes = self._died(call.lane, fate, error)
                case _:
                    outcomes = self._no_answer(call, error)
        else:
            outcomes = self._answer(call, value)
        self._sweep()
        self._assign()
        return outcomes

    def check(self) -> list[Outcome[T]]:
        """End workers that take too long over a call; what has to be given up with that.

        Raises:
            EngineError: no worker has been up for minutes, or they only hang.
        """
        now = time.monotonic()
        lanes = self._schedule.lanes
        if any(lane.ready for lane in lanes.values()):
            self._ready_at = now
        elif now - self._ready_at > START_TIMEOUT_S:
            raise EngineError(
                f"no {self._name} worker has been up for {START_TIMEOUT_S:g} s: Ray has no free "
                "CPUs or GPUs for it, or has itself died; try again, or ask for fewer (num_cpus, "
                "num_gpus)"
            )
        if now < self._look_at:
            return []
        self._look_at = now + _LOOK_EVERY_S
        outcomes: list[Outcome[T]] = []
        for index, lane in list(lanes.items()):
            if lane.held and now - self._workers[index].since > self._limit_s(lane.held[0].items):
                outcomes += self._hung(index)
        self._assign()
        return outcomes

    def stop(self) -> None:
        """End all workers at once, whatever they are doing."""
        for worker in self._workers.values():
            _kill(worker.actor)
        self._calls.clear()

    def _start(self, lane: int, slot: Slot) -> None:
        actor = self._create(slot)
        self._workers[lane] = _Worker(slot, actor)
        self._calls[actor.start.remote()] = _Call(lane, None)

    def _end(self, lane: int) -> None:
        """End a lane's worker and forget what was asked of it."""
        _kill(self._workers.pop(lane).actor)
        self._calls = {ref: call for ref, call in self._calls.items() if call.lane != lane}

    def _sweep(self) -> None:
        """End the retired workers that hold nothing more."""
        for index, lane in list(self._schedule.lanes.items()):
            if lane.retired and not lane.held:
                self._end(index)
                self._schedule.close_lane(index)

    def _assign(self) -> None:
        for lane, piece in self._schedule.assign():
            worker = self._workers[lane]
            if len(self._schedule.lanes[lane].held) == 1:
                worker.since = time.monotonic()
            first, *rest = self._call(worker.actor, piece.items)
            self._calls[first] = _Call(lane, piece, rest)

    def _answer(self, call: _Call[T], value: Any) -> list[Outcome[T]]:
        if call.piece is None:
            self._schedule.lanes[call.lane].ready = True
            return [Started(value)]
        self._deaths = 0
        self._workers[call.lane].since = time.monotonic()
        self._schedule.done(call.lane, call.piece)
        return [Answered(call.piece.items, value, call.rest)]

    def _no_answer(self, call: _Call[T], error: Exception) -> list[Outcome[T]]:
        cause = cause_of(error)
        if call.piece is None:
            raise cause from None
        self._workers[call.lane].since = time.monotonic()
        if fate_of(error) == "object":  # not the fault of the items: they can be made again
            self._schedule.done(call.lane, call.piece)
            return [Unanswered(call.piece.items, "object_lost", one_line(cause))]
        given_up = self._schedule.failed(call.lane, call.piece)
        return [Unanswered(given_up, reason_of(cause), one_line(cause))] if given_up else []

    def _died(self, lane: int, fate: str, error: Exception) -> list[Outcome[T]]:
        """A worker died: put a new one in its place, and its pieces back in the queue."""
        self._count_death(one_line(error))
        given_up = self._schedule.died(lane)
        self._replace(lane)
        if not given_up:
            return []
        if fate == "memory":
            return [Unanswered(given_up, "out_of_memory", one_line(error))]
        detail = f"the {self._name} worker's process died whenever it came to this one"
        return [Unanswered(given_up, "killed_worker", detail)]

    def _hung(self, lane: int) -> list[Outcome[T]]:
        """A worker takes too long: end it, and put a new one in its place."""
        limit_s = self._limit_s(self._schedule.lanes[lane].held[0].items)
        detail = f"the {self._name} worker was not done with this one within {limit_s:g} s"
        self._count_death(detail)
        given_up = self._schedule.hung(lane)
        self._replace(lane)
        return [Unanswered(given_up, "deadline", detail)] if given_up else []

    def _gone(self, lane: int) -> list[Outcome[T]]:
        """A worker's machine is gone, and its lane with it."""
        given_up = self._schedule.lost(lane)
        self._end(lane)
        self._schedule.close_lane(lane)
        detail = f"the {self._name} worker's machine died whenever it came to this one"
        return [Unanswered(given_up, "killed_worker", detail)] if given_up else []

    def _replace(self, lane: int) -> None:
        slot = self._workers[lane].slot
        self._end(lane)
        if self._schedule.lanes[lane].retired:
            self._schedule.close_lane(lane)
        else:
            self._start(lane, slot)

    def _count_death(self, last: str) -> None:
        self._deaths += 1
        if self._deaths > _DEATHS_IN_A_ROW + 2 * len(self._workers):
            raise EngineError(
                f"{self._deaths} {self._name} workers died one after another without an answer: "
                f"look for missing memory or a broken installation; the last: {last}"
            )


def _kill(actor: Any) -> None:
    import ray

    with contextlib.suppress(Exception):  # it may be gone, or the cluster with it
        ray.kill(actor)
