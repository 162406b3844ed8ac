"""How the relaxation of a shortlist is going, on stderr."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console

from screen.neb_relax.hops import BandFolder
from screen.progress import LiveBar

_LINE_EVERY_S = 30.0
_REFRESH_S = 2.0
_SHOWN = 2
"""Hops under way that are told one by one."""


class RelaxProgress(LiveBar):
    """A live bar in a terminal, now and then a line elsewhere."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, "hops")
        self._total = self._done_before = 0

    def begin(self, total: int, done_before: int) -> None:
        """Work starts or goes on."""
        self._total, self._done_before = total, done_before
        self._began = self._line_at = time.monotonic()
        self._bar.update(self._task, completed=done_before, total=total)
        if done_before:
            self._console.print(f"{done_before} of {total} hops are done", highlight=False)

    def tick(self, done: int, failed: int, under_way: Sequence[BandFolder]) -> None:
        """Show the hops that are done, of this run, and where those under way are."""
        now = time.monotonic()
        wait_s = _REFRESH_S if self._console.is_terminal else _LINE_EVERY_S
        if now - self._line_at < wait_s and under_way:
            return
        self._line_at = now
        told = [*self._rate(done, len(under_way), now), *_stages(under_way)]
        news = " · ".join(told) or "starting"
        if failed:
            news = f"{failed} failed · {news}"
        completed = self._done_before + done
        self._bar.update(self._task, completed=completed, news=news)
        if not self._console.is_terminal:
            self._console.print(f"{completed} of {self._total} hops · {news}", highlight=False)

    def _rate(self, done: int, remaining: int, now: float) -> list[str]:
        seconds = now - self._began
        if not done or seconds <= 0:
            return []
        minutes_left = seconds / done * remaining / 60
        return [f"{3600 * done / seconds:,.1f} hops/h", f"about {minutes_left:,.0f} min left"]


def _stages(under_way: Sequence[BandFolder]) -> list[str]:
    """Stage, step and force of those that have begun."""
    found = []
    for hop in under_way:
        said = hop.progress
        if said:
            stage = said.get("stage")
            steps = (said.get("steps") or {}).get(stage, 0)
            force = float(said.get("max_force_ev_a") or 0)
            found.append(f"{hop.folder.parent.name[:24]}: {stage} {steps}, {force:.2f} eV/Å")
    return found[:_SHOWN]
