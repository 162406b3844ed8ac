"""Results in order, wherever they are made: here, on Ray, or both in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.parallel import _Task, mapped
from jobs.puller import Puller
from jobs.session import Resources

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


def where() -> Callable[[int], tuple[int, int]]:
    """A function that says in which process it ran. Made here, so that it is pickled by value."""

    def square(number: int) -> tuple[int, int]:
        import os

        return number * number, os.getpid()

    return square


def test_without_ray_an_item_is_taken_when_its_result_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    log: list[str] = []

    def items() -> Iterator[int]:
        for number in range(3):
            log.append(f"take {number}")
            yield number

    def double(number: int) -> int:
        log.append(f"do {number}")
        return 2 * number

    results = mapped(double, items())
    log.extend(f"got {result // 2}" for result in results)
    assert log == [f"{verb} {number}" for number in range(3) for verb in ("take", "do", "got")]
    assert "ray" not in sys.modules


def test_on_ray_results_come_in_order_from_workers(cluster: Resources) -> None:
    results = list(mapped(where(), iter(range(20))))
    assert [square for square, _ in results] == [number * number for number in range(20)]
    assert os.getpid() not in {pid for _, pid in results}


def test_large_items_and_arrays_come_back_as_they_would_here(cluster: Resources) -> None:
    pages = [bytes([number]) * 3_000_000 for number in range(3)]
    for page, array in zip(
        pages, mapped(lambda page: np.frombuffer(page, np.uint8) + 0, pages), strict=True
    ):
        assert array.tobytes() == page
        assert array.flags.writeable


@pytest.mark.parametrize("ahead", [1, 2, 8])
def test_on_ray_no_more_is_taken_ahead_than_asked_for(cluster: Resources, ahead: int) -> None:
    done, in_flight = 0, []

    def items() -> Iterator[int]:
        for number in range(12):
            in_flight.append(number + 1 - done)
            yield number

    for _ in mapped(where(), items(), ahead):
        done += 1
    assert done == 12
    assert max(in_flight) <= min(ahead, cluster.cpus) + 1  # the one that was just got


def test_an_item_that_is_long_in_coming_holds_up_no_result(cluster: Resources) -> None:
    got = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        yield 2
        assert got.wait(PATIENCE_S)
        yield 3

    squares = []
    for square, _ in mapped(where(), items()):
        squares.append(square)
        if len(squares) == 2:
            got.set()
    assert squares == [1, 4, 9]


def test_an_error_of_the_function_comes_out_as_itself(cluster: Resources) -> None:
    def fussy(number: int) -> int:
        if number == 3:
            raise OSError(28, "no room for", str(number))
        return number

    results = mapped(fussy, range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="no room for") as raised:
        next(results)
    assert type(raised.value) is OSError
    assert (raised.value.errno, raised.value.filename) == (28, "3")
    assert list(results) == []


def test_an_error_of_the_items_comes_after_the_results_before_it(cluster: Resources) -> None:
    error = ConnectionError("the server went away")

    def items() -> Iterator[int]:
        yield from range(3)
        raise error

    results, squares = mapped(where(), items()), []
    with pytest.raises(ConnectionError) as raised:
        squares.extend(square for square, _ in results)
    assert raised.value is error
    assert squares == [0, 1, 4]


def test_an_item_whose_worker_dies_is_done_again_on_another(
    cluster: Resources, tmp_path: Path
) -> None:
    def dies_once(number: int) -> tuple[int, int]:
        import os

        mark = tmp_path / "died"
        if number == 2 and not mark.exists():
            mark.touch()
            os._exit(1)
        return number, os.getpid()

    results = list(mapped(dies_once, range(5)))
    assert [number for number, _ in results] == list(range(5))
    assert os.getpid() not in {pid for _, pid in results}
    assert (tmp_path / "died").exists()


def test_what_kills_every_worker_is_done_here(cluster: Resources) -> None:
    here = os.getpid()

    def dies(number: int) -> tuple[int, int]:
        import os

        if number == 1 and os.getpid() != here:
            os._exit(1)
        return number, os.getpid()

    results = list(mapped(dies, range(3)))
    assert [number for number, _ in results] == [0, 1, 2]
    assert [pid == here for _, pid in results] == [False, True, False]


def test_a_result_that_is_lost_is_made_again(lost: Any) -> None:
    task = _Task(where(), 7)
    task._reference = lost
    end = time.monotonic() + PATIENCE_S
    while not (result := task.get(1.0)):
        assert time.monotonic() < end
    ((square, pid),) = result
    assert square == 49
    assert pid != os.getpid()


def test_closing_ends_the_items_and_leaves_nothing_in_the_store(cluster: Resources) -> None:
    from ray._private.worker import global_worker

    def known_objects() -> set[Any]:
        return set(global_worker.core_worker.get_all_reference_counts())

    closed = threading.Event()

    def items() -> Iterator[bytes]:
        try:
            for number in range(100):
                yield bytes([number]) * 1_000_000
        finally:
            closed.set()

    before = known_objects()
    results = mapped(lambda page: page, items())
    while not known_objects() - before:  # until one is on its way behind the one just got
        assert len(next(results)) == 1_000_000
    results.close()
    assert closed.is_set()
    end = time.monotonic() + PATIENCE_S
    while known_objects() - before:  # a task that runs has its item until it ends
        assert time.monotonic() < end
        time.sleep(0.05)


def test_closing_what_pulls_it_does_not_wait_for_a_worker(
    cluster: Resources, tmp_path: Path
) -> None:
    def waits(number: int) -> int:
        import time

        (tmp_path / "began").touch()
        while number and not (tmp_path / "go_on").exists():
            time.sleep(0.05)
        return number

    ended = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from mapped(waits, range(5))
            raise AssertionError("taken for the end")
        finally:
            ended.set()

    puller = Puller(source(), 10)
    assert puller.get(PATIENCE_S) == (0,)
    began = time.monotonic()
    puller.close()
    assert time.monotonic() - began < 3
    assert ended.is_set()
    (tmp_path / "go_on").touch()


TURNS = """
import os, sys, time
from itertools import count
from jobs.parallel import mapped
from jobs.puller import Puller
from jobs.ray_engine import _session
from jobs.settings import RunSettings

mark = sys.argv[1]

def parse(number):
    import os, time
    import pathways.types
    if number == 7 and not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(1)
    time.sleep(0.02)
    return number, os.getpid()

settings = RunSettings(num_cpus=1, num_gpus=0)
results = mapped(parse, count())
turns = [next(results) for _ in range(3)]
assert "ray" not in sys.modules
with _session(settings):
    turns += [next(results) for _ in range(8)]
turns += [next(results) for _ in range(3)]

puller = Puller(results, 20)  # Ray stops while another thread uses it
with _session(settings):
    while turns[-1][1] == os.getpid():
        turns += puller.get(60)
        puller.allow()
for _ in range(30):
    turns += puller.get(60)
    puller.allow()
puller.close()
assert [number for number, _ in turns] == list(range(len(turns))), turns
print("".join("h" if pid == os.getpid() else "w" for _, pid in turns))
"""


def test_ray_that_starts_and_stops_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "pathways").mkdir()  # a user's own, where the program is run
    (tmp_path / "pathways" / "__init__.py").write_text("")
    script = tmp_path / "bin" / "turns.py"
    script.parent.mkdir()
    script.write_text(TURNS)
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "died")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    # Not a word about the worker that died on stdout, which belongs to results.
    (turns,) = ran.stdout.splitlines()
    assert turns[:14] == "hhh" + "w" * 8 + "hhh"
    assert "w" in turns[14:]
    assert turns[-1] == "h"
