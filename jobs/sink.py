"""Where finished materials wait for ``write``, and where the run is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from jobs.records import MaterialResult, Progress

LEAST_BATCH, MOST_BATCH = 64, 1024
FLUSH_S = 2.0
_MOST_OF_THE_TIME = 0.05
"""Share of a run that writing should take: where it takes longer, more are written at once, since
part of a write costs the same whatever it carries, and for materials that the store has already
more the larger it is."""
_QUICK_S = 0.01
_REPORT_S = 0.25


class Sink:
    """Batches finished materials by number and by time; a context that writes the rest at its end.

    A batch has at least ``LEAST_BATCH`` or what is finished after ``FLUSH_S``, and at most
    ``MOST_BATCH``; between these it is as large as lets writing take little of the time.

    The rest is written also when the run breaks off, unless it is ``write`` that raised: a store
    that has just failed (a full disk) is not asked again. One that was interrupted is, with the
    same batch, so ``write`` must bear a material twice.
    """

    def __init__(
        self,
        write: Callable[[list[MaterialResult]], None],
        report: Callable[[Progress], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._report = report
        self._clock = clock
        self._began = self._written_at = self._reported_at = clock()
        self._write_again_at = self._began
        self._finished: list[MaterialResult] = []
        self._counts = Progress()
        self._write_failed = False

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write the rest and report; may be called again."""
        if not self._write_failed:
            self.flush()
            self._tell()

    @property
    def progress(self) -> Progress:
        """The counters now."""
        return replace(self._counts, seconds=self._clock() - self._began)

    def count(self, *, candidates: int = 0, hops: int = 0, predictions: int = 0) -> None:
        """Add to the counters; failures are counted with the material that has them."""
        counts = self._counts
        self._counts = replace(
            counts,
            candidates=counts.candidates + candidates,
            hops=counts.hops + hops,
            predictions=counts.predictions + predictions,
        )

    def add(self, result: MaterialResult) -> None:
        """Take a finished material; writes when enough are there."""
        self._counts = replace(self._counts, failures=self._counts.failures + len(result.failures))
        self._finished.append(result)
        n = len(self._finished)
        if n >= MOST_BATCH or (n >= LEAST_BATCH and self._clock() >= self._write_again_at):
            self.flush()
        self.tick()

    def tick(self) -> None:
        """Write and report where it is time to; call it a few times per second."""
        now = self._clock()
        if now - self._written_at >= FLUSH_S:
            self.flush()
        if now - self._reported_at >= _REPORT_S:
            self._reported_at = now
            self._tell()

    def flush(self) -> None:
        """Write whatever is finished."""
        batch, self._finished = self._finished, []
        if batch:
            began = self._clock()
            try:
                self._write(batch)
            except Exception:
                self._write_failed = True
                raise
            except BaseException:  # interrupted: not known to be stored, and twice does no harm
                self._finished = batch + self._finished
                raise
            self._counts = replace(self._counts, written=self._counts.written + len(batch))
            took = self._clock() - began
            if took > _QUICK_S:
                self._write_again_at = self._clock() + took / _MOST_OF_THE_TIME
        self._written_at = self._clock()

    def _tell(self) -> None:
        if self._report is not None:
            self._report(self.progress)
