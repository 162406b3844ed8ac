"""What calls to workers come to, and what of it Ray's errors mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")

_NODE_DIED = "node has died"
"""How Ray words the death of an actor whose machine is gone."""
_LOW_MEMORY = "running low on memory"
"""How it words that it has ended a worker itself."""


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
    """``killed_worker``, ``out_of_memory``, ``deadline``, ``object_lost``, or the code of an
    exception."""
    detail: str


Outcome = Started | Answered[T] | Unanswered[T]


def fate_of(error: Exception) -> Literal["machine", "worker", "memory", "object", "call"]:
    """What an error of a call means to be lost: the machine, its worker (for want of memory), an
    object that the call was given, or nothing but the call."""
    from ray.exceptions import (
        ActorUnschedulableError,
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        RayActorError,
        WorkerCrashedError,
    )

    if isinstance(error, ActorUnschedulableError | NodeDiedError):
        return "machine"
    if isinstance(error, RayActorError) and _NODE_DIED in str(error):
        return "machine"
    if isinstance(error, OutOfMemoryError):
        return "memory"
    if isinstance(error, RayActorError | WorkerCrashedError):
        return "memory" if _LOW_MEMORY in str(error) else "worker"
    return "object" if isinstance(cause_of(error), ObjectLostError) else "call"


def cause_of(error: Exception) -> Exception:
    """What was raised in the worker, where that is what came back."""
    from ray.exceptions import RayTaskError

    cause = error.cause if isinstance(error, RayTaskError) else error
    return cause if isinstance(cause, Exception) else error
