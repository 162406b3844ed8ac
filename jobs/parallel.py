"""Work of a source spread over Ray's workers: parsing pages or files."""

from __future__ import annotations

import contextlib
import functools
import pickle
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from jobs.puller import Puller, check_wanted

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAIT_S = 0.2
_POLL_S = 0.05
"""How long a new item waits at most while the result of another is waited for."""
_TRANSFER_S = 60.0
_MAX_TRIES = 3
"""How often Ray is given an item that its workers die of, before it is done here."""
_turnstile, _in_call = threading.RLock(), threading.RLock()


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int = 8
) -> Iterator[Result]:
    """``function`` of each item, in order: on Ray's workers where Ray runs, else here. Lazy.

    Without Ray, an item is taken when its result is asked for. Once Ray runs in this process, which
    may be halfway, items are taken in a thread of their own, so that one that is long in coming
    holds up no result of those before it. They are tasks that ask Ray for no CPU, since its actors
    may hold all of them. What Ray cannot do, because workers die or it is shut down, is done here.

    Args:
        function: Picklable, importable on the workers, and without effects that must happen once.
        items: Picklable each.
        ahead: Most items that are taken but not yielded on Ray; fewer where it has fewer CPUs.

    Raises:
        Exception: whatever ``function`` or ``items`` raises, after all results before it.
    """
    iterator = iter(items)
    for item in iterator:
        check_wanted()
        if _is_running():
            yield from _spread(function, item, iterator, ahead)
            return
        yield function(item)


@contextlib.contextmanager
def no_calls() -> Iterator[None]:
    """While in here, ``mapped`` makes no call to Ray in any thread.

    Ray ends the whole process where one thread calls it while another shuts it down.
    """
    with _turnstile, _in_call:
        yield


@contextlib.contextmanager
def _call() -> Iterator[None]:
    """Around every call to Ray."""
    with _turnstile:
        pass  # whoever waits to be in ``no_calls`` comes before the next call
    with _in_call:
        check_wanted()
        yield


def _spread(
    function: Callable[[Item], Result], first: Item, rest: Iterator[Item], ahead: int
) -> Iterator[Result]:
    tasks: deque[_Task[Item, Result]] = deque()
    puller = Puller(rest, min(ahead, _cpu_count()) - 1)
    try:
        tasks.append(_Task(function, first))
        while tasks or not puller.ended:
            check_wanted()
            if received := puller.get(0.0 if tasks else _WAIT_S):
                tasks.append(_Task(function, received[0]))
            elif tasks and (result := tasks[0].get(_WAIT_S if puller.ended else _POLL_S)):
                tasks.popleft()
                puller.allow()
                yield result[0]
        puller.raise_error()
    finally:
        with _in_call:  # Ray is told of references that are dropped
            tasks.clear()
        puller.close()


class _Task(Generic[Item, Result]):
    """One item, on its way through Ray or to be done here."""

    def __init__(self, function: Callable[[Item], Result], item: Item) -> None:
        self._function = function
        self._item = item
        self._tries = 0
        self._session: str | None = None
        self._reference: Any = None
        """None: to be done here."""
        with _call():
            self._submit()

    def get(self, timeout_s: float) -> tuple[Result] | tuple[()]:
        """The result; empty where it has not come within this time, and has to be asked for again.

        To be called no more once it has come.
        """
        if self._reference is None:
            return (self._function(self._item),)
        with _call():
            return self._receive(timeout_s)

    def _submit(self) -> None:
        self._reference = None
        self._session = _session()
        if self._session is not None and self._tries < _MAX_TRIES:
            self._tries += 1
            with contextlib.suppress(Exception):  # its store is full, or it cannot be pickled
                self._reference = _remote().remote(self._function, self._item)

    def _receive(self, timeout_s: float) -> tuple[Result] | tuple[()]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            if self._session == _session():
                # Without its transfer, which Ray might begin anew each time.
                if not ray.wait([self._reference], timeout=timeout_s, fetch_local=False)[0]:
                    return ()
                packed = ray.get(self._reference, timeout=_TRANSFER_S)
                self._reference = None
                return (pickle.loads(packed),)
        except RayTaskError as error:
            if not isinstance(error.cause, RayError):
                self._reference = None
                raise error.cause from None
        except Exception:
            pass  # its worker died, or the result is lost
        self._submit()
        return ()


def _apply(function: Callable[[Item], Result], item: Item) -> bytes:
    """Runs on a worker. The result goes as bytes: arrays that Ray itself sends cannot be written to
    and hold on to its store as long as they live."""
    from ray import cloudpickle

    packed: bytes = cloudpickle.dumps(function(item))  # type: ignore[no-untyped-call]
    return packed


@functools.cache
def _remote() -> Any:
    import ray

    remote: Any = ray.remote(_apply)
    # Tried again here, where it is known how often: Ray never gives up what runs out of memory.
    return remote.options(num_cpus=0, max_retries=0, scheduling_strategy="SPREAD")


def _is_running() -> bool:
    """Whether this process is connected to Ray. Does not import it: that takes seconds."""
    is_initialized = getattr(sys.modules.get("ray"), "is_initialized", None)
    return is_initialized is not None and is_initialized()  # None while it is being imported


def _session() -> str | None:
    """Which Ray this process is connected to, if any."""
    if not _is_running():
        return None
    import ray

    worker_id: str = ray.get_runtime_context().get_worker_id()
    return worker_id


def _cpu_count() -> int:
    """CPUs of Ray's machines, 2 at least: more tasks at once would only wait for each other."""
    import ray

    with _call():
        if not _is_running():
            return 2
        return max(2, int(ray.cluster_resources().get("CPU", 0)))  # type: ignore[no-untyped-call]
