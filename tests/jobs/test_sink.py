"""When finished materials are written: by number, by time, at the end; never after write failed."""

from __future__ import annotations

import pytest

from jobs.records import Failure, MaterialResult, Progress
from jobs.sink import FLUSH_S, LEAST_BATCH, MOST_BATCH, Sink


def result(number: int) -> MaterialResult:
    failure = Failure(str(number), "source", "bad_cif", "no atoms")
    return MaterialResult(str(number), "Mg", None, None, failures=(failure,))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_batches_by_number() -> None:
    written: list[int] = []
    with Sink(lambda batch: written.append(len(batch)), clock=Clock()) as sink:
        for number in range(LEAST_BATCH + 1):
            sink.add(result(number))
        assert written == [LEAST_BATCH]
    assert written == [LEAST_BATCH, 1]


def test_a_slow_write_makes_larger_batches_up_to_a_limit() -> None:
    clock, written = Clock(), []

    def write(batch: list[MaterialResult]) -> None:
        written.append(len(batch))
        clock.now += 0.5

    with Sink(write, clock=clock) as sink:
        for number in range(10 * MOST_BATCH):
            clock.now += 0.001
            sink.add(result(number))
    assert written[0] == LEAST_BATCH
    assert set(written[1:-1]) == {MOST_BATCH}  # a thousand a second, and two seconds in between
    assert sum(written) == 10 * MOST_BATCH


def test_batches_by_time() -> None:
    clock, written = Clock(), []
    sink = Sink(lambda batch: written.append(len(batch)), clock=clock)
    sink.add(result(0))
    sink.tick()
    assert written == []
    clock.now += FLUSH_S
    sink.tick()
    assert written == [1]
    clock.now += FLUSH_S
    sink.tick()
    assert written == [1]  # nothing finished, nothing written


def breaks_off(sink: Sink, error: BaseException | None = None) -> None:
    with sink:
        sink.add(result(0))
        if error is not None:
            raise error
        sink.flush()


def test_the_finished_is_written_when_the_run_breaks_off() -> None:
    written: list[int] = []
    sink = Sink(lambda batch: written.append(len(batch)), clock=Clock())
    with pytest.raises(KeyboardInterrupt):
        breaks_off(sink, KeyboardInterrupt())
    assert written == [1]


def test_a_store_that_failed_is_not_asked_again() -> None:
    calls: list[int] = []

    def full(batch: list[MaterialResult]) -> None:
        calls.append(len(batch))
        raise OSError("disk full")

    sink = Sink(full, clock=Clock())
    with pytest.raises(OSError, match="disk full"):
        breaks_off(sink)
    assert calls == [1]
    assert sink.progress.written == 0


def test_a_write_that_was_interrupted_is_tried_again() -> None:
    written: list[list[str]] = []
    interrupts = [KeyboardInterrupt()]

    def write(batch: list[MaterialResult]) -> None:
        if interrupts:
            raise interrupts.pop()
        written.append([material.material_id for material in batch])

    sink = Sink(write, clock=Clock())
    with pytest.raises(KeyboardInterrupt):
        breaks_off(sink)
    assert written == [["0"]]
    assert sink.progress.written == 1


def test_counts_and_reports() -> None:
    clock, seen = Clock(), []
    with Sink(lambda batch: None, seen.append, clock) as sink:
        sink.count(candidates=2, hops=7)
        sink.count(predictions=5)
        sink.add(result(0))
        clock.now += 1.0
        sink.tick()
        sink.tick()
    assert seen == [
        Progress(2, 7, 5, 1, 0, 1.0),
        Progress(2, 7, 5, 1, 1, 1.0),
    ]
