"""Signals end a run between writes, and leave the process as it was."""

from __future__ import annotations

import io
import os
import signal
import threading

import pytest
from rich.console import Console

from jobs.records import Progress
from screen.interrupts import Interrupts
from screen.progress import RunProgress


def write_while_signalled(number: signal.Signals, steps: list[str]) -> None:
    with Interrupts() as interrupts:
        with interrupts.held():
            os.kill(os.getpid(), number)
            steps.append("written")
        steps.append("too late")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_a_write(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        write_while_signalled(number, steps)
    assert steps == ["written"]
    assert signal.getsignal(number) is before


def test_a_signal_ends_what_is_not_held() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGTERM)


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_progress_shows_counts_rate_and_time_left() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160)
    with RunProgress(console) as ticker:
        ticker.begin("c1", done_before=10, expected=100)
        for step in range(1, 5):
            ticker.update(Progress(candidates=step, hops=9 * step, failures=1, written=step))
            threading.Event().wait(0.15)
    shown = screen.getvalue()
    assert "10 of 100 candidates are done" in shown
    assert "14/100" in shown
    assert "36 hops" in shown
    assert "bands/s" in shown
    assert "1 failures" in shown


def test_progress_outside_a_terminal_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screen.progress._LINE_EVERY_S", 0.0)
    log = io.StringIO()
    with RunProgress(Console(file=log, width=160)) as ticker:
        ticker.begin("c1", done_before=0, expected=50)
        ticker.update(Progress(hops=9, predictions=9, written=5))
    (line,) = log.getvalue().splitlines()
    assert line.startswith("5 of 50 candidates · 9 hops · ")
    assert line.endswith("min left")
