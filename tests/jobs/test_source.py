"""A source that is pulled in the background: nothing lost, nothing ahead of its bound, no waits."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator
from itertools import count

import pytest

from jobs.puller import Puller
from jobs.records import Candidate, Failure, MaterialResult
from jobs.sink import FLUSH_S, Sink
from jobs.source import AHEAD, Source

PATIENCE_S = 60.0
"""Nothing takes long, but machines that run tests can be busy."""


def unread(number: int) -> Failure:
    return Failure(str(number), "source", "bad_cif", "no atoms")


def numbered(candidate: Candidate, number: int) -> Candidate:
    return Candidate(str(number), candidate.ion, candidate.crystal)


def taken(source: Source, chunk: int = 8) -> list[str]:
    """Ids of all candidates until the end."""
    ids: list[str] = []
    while source.wait():
        ids += [candidate.material_id for candidate in source.take(chunk)]
    return ids


def test_everything_once_in_order_and_failures_to_the_sink_in_this_thread(
    candidates: list[Candidate],
) -> None:
    threads, written = set(), []

    def write(batch: list[MaterialResult]) -> None:
        threads.add(threading.current_thread())
        written.extend(result.material_id for result in batch)

    n_items = 3 * AHEAD
    with Sink(write) as sink:
        items = (
            unread(number) if number % 3 else numbered(candidates[0], number)
            for number in range(n_items)
        )
        source = Source(items, sink)
        assert taken(source) == [str(number) for number in range(0, n_items, 3)]
    assert source.exhausted
    assert written == [str(number) for number in range(n_items) if number % 3]
    assert threads == {threading.current_thread()}
    assert sink.progress.candidates == n_items


def test_no_more_is_pulled_ahead_than_the_bound(candidates: list[Candidate]) -> None:
    asked, ahead = 0, []

    def items() -> Iterator[Candidate]:
        for number in count():
            ahead.append(number + 1 - asked)
            yield numbered(candidates[0], number)

    source = Source(items(), Sink(lambda batch: None))
    for _ in range(4 * AHEAD):
        asked += 1
        assert source.wait()
        assert len(list(source.take(1))) == 1
    source.close()
    assert max(ahead) <= AHEAD + 1  # the one that the consumer has in hand


def test_a_source_that_waits_holds_up_nobody(candidates: list[Candidate]) -> None:
    go_on = threading.Event()

    def items() -> Iterator[Candidate]:
        yield candidates[0]
        assert go_on.wait(PATIENCE_S)
        yield candidates[1]

    source = Source(items(), Sink(lambda batch: None))
    assert source.wait()
    assert [candidate.material_id for candidate in source.take(8)] == [candidates[0].material_id]
    assert not source.ready
    assert not source.wait(0.01)
    assert not source.exhausted
    assert list(source.take(8)) == []
    go_on.set()
    assert taken(source) == [candidates[1].material_id]


def test_failures_are_written_while_the_first_candidate_is_waited_for(
    candidates: list[Candidate],
) -> None:
    now, written = 0.0, threading.Event()

    def items() -> Iterator[Candidate | Failure]:
        nonlocal now
        yield unread(0)
        now += FLUSH_S
        assert written.wait(PATIENCE_S)
        yield candidates[0]

    source = Source(items(), Sink(lambda batch: written.set(), clock=lambda: now))
    assert source.wait()


def test_an_error_comes_out_as_itself_after_all_that_came_before(
    candidates: list[Candidate],
) -> None:
    error = ConnectionError("the server went away")

    def items() -> Iterator[Candidate]:
        yield from candidates
        raise error

    source = Source(items(), Sink(lambda batch: None))
    source.raise_error()  # not yet
    assert taken(source, 1) == [candidate.material_id for candidate in candidates]
    assert source.exhausted
    with pytest.raises(ConnectionError) as raised:
        source.raise_error()
    assert raised.value is error
    assert "items" in [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_closing_closes_a_generator_that_waits_for_room() -> None:
    full, closed, asked = threading.Event(), threading.Event(), 0

    def items() -> Iterator[int]:
        nonlocal asked
        try:
            for asked in range(1, 100):
                if asked == 5:
                    full.set()
                yield asked
        finally:
            closed.set()

    puller = Puller(items(), 5)
    assert full.wait(PATIENCE_S)
    puller.close()
    assert closed.is_set()
    assert asked == 5
    puller.close()
    assert [puller.get() for _ in range(7)] == [(1,), (2,), (3,), (4,), (5,), (), ()]


def test_closing_leaves_behind_what_is_blocked_and_has_it_closed_when_it_comes_back() -> None:
    blocked, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        try:
            blocked.set()
            assert go_on.wait(PATIENCE_S)
            yield 1
            raise AssertionError("asked for more")
        finally:
            closed.set()

    puller = Puller(items(), 5)
    assert blocked.wait(PATIENCE_S)
    began = time.monotonic()
    puller.close()
    assert time.monotonic() - began < 3
    assert not closed.is_set()
    go_on.set()
    assert closed.wait(PATIENCE_S)
