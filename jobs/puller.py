"""An iterable that is pulled in a thread of its own, a bounded number of items ahead."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Generator, Iterable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_CLOSE_S = 1.0
_current: contextvars.ContextVar[Puller[Any] | None] = contextvars.ContextVar(
    "puller", default=None
)


def check_wanted() -> None:
    """Raise GeneratorExit where the puller whose thread this is has been closed.

    For generators that wait in its thread, where nobody can close them from without.
    """
    puller = _current.get()
    if puller is not None and puller.is_closed:
        raise GeneratorExit


class Puller(Generic[T]):
    """Items of an iterable, in order, pulled by a daemon thread while others are in use.

    Everything that the iterable does happens in that thread. Whoever takes the items says with
    ``allow`` when one is done with, which lets one more be pulled. All other methods are for one
    thread, and may be interrupted by a signal anywhere: there is no lock that could stay held.
    """

    def __init__(self, items: Iterable[T], ahead: int) -> None:
        """Begin to pull at once, ``ahead`` items at most until the first ``allow``."""
        self._items = items
        self._pulled: SimpleQueue[tuple[T] | None] = SimpleQueue()
        self._permits: SimpleQueue[None] = SimpleQueue()
        self.allow(ahead)
        self._error: BaseException | None = None
        self._ended = False
        self._closed = False
        self._parent = _current.get()
        self._thread = threading.Thread(target=self._pull, name="puller", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether ``get`` has come to the end."""
        return self._ended

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is wanted; also where this is so of the puller it was made in."""
        return self._closed or (self._parent is not None and self._parent.is_closed)

    def allow(self, count: int = 1) -> None:
        """Let so many more items be pulled."""
        for _ in range(count):
            self._permits.put(None)

    def get(self, timeout_s: float = 0.0) -> tuple[T] | tuple[()]:
        """The next item, having waited so long for it; empty where none came, or none ever will."""
        if self._ended:
            return ()
        try:
            item = self._pulled.get(timeout=timeout_s) if timeout_s else self._pulled.get_nowait()
        except Empty:
            return ()
        if item is None:
            self._ended = True
            return ()
        return item

    def raise_error(self) -> None:
        """Raise what the iterable raised instead of ending, if it did."""
        if self._ended and self._error is not None:
            raise self._error

    def close(self) -> None:
        """Ask for no item more, and have a generator closed; may be called again.

        Waits a second at most: an iterable that is busy until then is left behind, and closed once
        it comes back.
        """
        if not self._closed:
            self._closed = True
            self._permits.put(None)
            self._thread.join(_CLOSE_S)

    def _pull(self) -> None:
        _current.set(self)
        try:
            iterator = iter(self._items)
            try:
                while True:
                    self._permits.get()
                    if self.is_closed:
                        break
                    self._pulled.put((next(iterator),))
            except StopIteration:
                pass
            finally:
                if isinstance(iterator, Generator):
                    iterator.close()
        except BaseException as error:
            self._error = error
        self._pulled.put(None)
