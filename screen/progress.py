"""How a run is going, on stderr: a live bar in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from jobs.records import Progress
from screen.campaign import Ticker

_LINE_EVERY_S = 30.0
_RATE_OVER_S = 20.0


class LiveBar:
    """A bar with news beside it, drawn in terminals only; a context, so that the terminal is left
    as it was."""

    def __init__(self, console: Console, what: str, *more: ProgressColumn) -> None:
        self._console = console
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn(what),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[news]}"),
            TimeElapsedColumn(),
            *more,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, news="starting")
        self._began = self._line_at = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


class RunProgress(LiveBar, Ticker):
    """The progress of a campaign."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, "candidates", TimeRemainingColumn())
        self._done_before = 0
        self._expected: int | None = None
        self._recent: deque[tuple[float, int]] = deque()

    def begin(self, campaign_id: str, done_before: int, expected: int | None) -> None:
        """The campaign starts or goes on."""
        self._done_before, self._expected = done_before, expected
        self._began = self._line_at = time.monotonic()
        self._bar.update(self._task, completed=done_before, total=expected)
        if done_before:
            of = f" of {expected:,}" if expected is not None else ""
            self._console.print(
                f"campaign {campaign_id} goes on: {done_before:,}{of} candidates are done",
                highlight=False,
            )

    def update(self, progress: Progress) -> None:
        """Show the counters of this run."""
        now = time.monotonic()
        completed = self._done_before + progress.written
        news = (
            f"{progress.hops:,} hops · {self._rate(now, progress.predictions):,.0f} bands/s · "
            f"{progress.failures:,} failures"
        )
        self._bar.update(self._task, completed=completed, news=news)
        if not self._console.is_terminal and now - self._line_at >= _LINE_EVERY_S:
            self._line_at = now
            of = f" of {self._expected:,}" if self._expected is not None else ""
            left = self._left(now, progress.written)
            self._console.print(f"{completed:,}{of} candidates · {news}{left}", highlight=False)

    def _rate(self, now: float, predictions: int) -> float:
        """Predictions per second over the last while."""
        self._recent.append((now, predictions))
        while now - self._recent[0][0] > _RATE_OVER_S:
            self._recent.popleft()
        then, before = self._recent[0]
        return (predictions - before) / (now - then) if now > then else 0.0

    def _left(self, now: float, written: int) -> str:
        if self._expected is None or written == 0:
            return ""
        remaining = max(0, self._expected - self._done_before - written)
        minutes = (now - self._began) / written * remaining / 60
        return f" · about {minutes:,.0f} min left"
