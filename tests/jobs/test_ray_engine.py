"""What only Ray can do to a run: workers that die, objects that are lost, clusters that are not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import EngineError
from jobs.outcomes import Answered, Outcome, Unanswered
from jobs.pipeline import run
from jobs.plan import Slot
from jobs.pool import Pool
from jobs.records import Candidate, MaterialResult
from jobs.session import Resources, _check_reachable, _connect, ray_session
from jobs.settings import RunSettings
from jobs.stages import PredictorFactory

ROOT = Path(__file__).parents[2]


def drain(pool: Pool[int], limit_s: float = 240.0) -> tuple[list[int], list[Unanswered[int]]]:
    """Collect until nothing is asked of any worker: what was answered, what was given up."""
    import ray

    answered: list[int] = []
    given_up: list[Unanswered[int]] = []

    def take(outcomes: list[Outcome[int]]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Answered):
                assert outcome.value == [item * item for item in outcome.items]
                answered.extend(outcome.items)
            elif isinstance(outcome, Unanswered):
                given_up.append(outcome)

    end = time.monotonic() + limit_s
    while pool.references:
        assert time.monotonic() < end
        ready, _ = ray.wait(pool.references, num_returns=1, timeout=0.2)
        for reference in ready:
            take(pool.collect(reference))
        take(pool.check())
    return answered, given_up


def squares(
    size: int,
    exits: Sequence[int] = (),
    raises: Sequence[int] = (),
    start_error: str = "",
    hangs: Sequence[int] = (),
    limit_s: float = 60.0,
) -> Pool[int]:
    """Workers that square integers; some integers kill them."""
    import ray

    class Worker:
        def start(self) -> None:
            if start_error:
                raise LookupError(start_error)

        def square(self, items: Sequence[int]) -> list[int]:
            if set(items) & set(exits):
                os._exit(1)
            while set(items) & set(hangs):
                time.sleep(1)
            if set(items) & set(raises):
                raise ArithmeticError(f"not {items}")
            return [item * item for item in items]

    remote: Any = ray.remote(Worker)

    def call(actor: Any, items: Sequence[int]) -> Sequence[Any]:
        return [actor.square.remote(list(items))]

    return pool_of(size, lambda slot: remote.options(num_cpus=0).remote(), call, limit_s)


def pool_of(size: int, create: Any, call: Any, limit_s: float = 60.0) -> Pool[int]:
    pool: Pool[int] = Pool("square", create, call, lambda _: limit_s)
    pool.resize([Slot("here", 0)] * size)
    return pool


def test_pool_gives_up_exactly_the_items_that_kill(cluster: Resources) -> None:
    pool = squares(2, exits=[3], raises=[8])
    for start in range(0, 12, 4):
        pool.submit(range(start, start + 4))
    answered, given_up = drain(pool)
    pool.stop()
    assert sorted(answered) == [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]
    assert {(*unanswered.items, unanswered.reason) for unanswered in given_up} == {
        (3, "killed_worker"),
        (8, "arithmetic_error"),
    }
    assert all("\n" not in unanswered.detail for unanswered in given_up)


def test_pool_ends_workers_that_hang_and_gives_up_what_they_hang_on(cluster: Resources) -> None:
    pool = squares(2, hangs=[3], limit_s=1.0)
    for start in range(0, 12, 4):
        pool.submit(range(start, start + 4))
    answered, (given_up,) = drain(pool)
    pool.stop()
    assert sorted(answered) == [0, 1, 2, *range(4, 12)]
    assert (given_up.items, given_up.reason) == ([3], "deadline")
    assert "within 1 s" in given_up.detail


def test_pool_that_shrinks_ends_its_work_and_one_that_grows_shares_it(cluster: Resources) -> None:
    pool = squares(2)
    for item in range(8):
        pool.submit([item])
    pool.resize([Slot("here", 0)])
    assert pool.size == 1
    assert sorted(drain(pool)[0]) == list(range(8))
    pool.resize([Slot("here", 0), Slot("there", 0)])
    for item in range(8):
        pool.submit([item])
    assert pool.lose({"here"}) == []
    assert pool.size == 1
    assert sorted(drain(pool)[0]) == list(range(8))
    pool.stop()


def test_pool_whose_workers_only_die_ends(
    cluster: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.pool._DEATHS_IN_A_ROW", 1)
    pool = squares(1, exits=range(8))
    pool.submit(range(8))
    with pytest.raises(EngineError, match="died one after another"):
        drain(pool)
    pool.stop()


def test_pool_whose_workers_cannot_start_says_why(cluster: Resources) -> None:
    pool = squares(1, start_error="no such weights")
    with pytest.raises(LookupError, match="no such weights"):
        drain(pool)
    pool.stop()


def test_pool_without_a_worker_for_minutes_ends(
    cluster: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = squares(1)
    pool.check()
    monkeypatch.setattr("jobs.pool.START_TIMEOUT_S", -1.0)
    with pytest.raises(EngineError, match="no square worker has been up"):
        pool.check()
    monkeypatch.undo()
    assert drain(pool) == ([], [])
    pool.check()
    pool.stop()


def test_lost_arguments_are_told_apart(lost: Any) -> None:
    import ray

    class Worker:
        def start(self) -> None: ...

        def work(self, data: bytes) -> int:
            return len(data)

    remote: Any = ray.remote(Worker)
    pool = pool_of(
        1, lambda _: remote.options(num_cpus=0).remote(), lambda a, _: [a.work.remote(lost)]
    )
    pool.submit([7])
    _, (given_up,) = drain(pool)
    pool.stop()
    assert (given_up.items, given_up.reason) == ([7], "object_lost")


def test_lost_graphs_are_made_again_a_few_times(
    cluster: Resources,
    candidates: list[Candidate],
    predictors: Callable[..., PredictorFactory],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collect, losses = Pool.collect, 2

    def lossy(pool: Pool[Any], reference: Any) -> list[Any]:
        """Every answer to the first material is lost, and two of the others'."""
        nonlocal losses
        outcomes = collect(pool, reference)
        for at, outcome in enumerate(outcomes):
            if pool._name == "model" and isinstance(outcome, Answered):
                first = outcome.items[0].material == 0
                losses -= int(not first)
                if first or losses >= 0:
                    outcomes[at] = Unanswered(outcome.items, "object_lost", "its node went away")
        return outcomes

    monkeypatch.setattr(Pool, "collect", lossy)
    found: list[MaterialResult] = []
    settings = RunSettings(num_cpus=1, num_gpus=0, batch_cost=1)
    progress = run(candidates[3:], found.extend, settings, None, predictors())
    assert losses < 0
    assert progress.written == len(found) == len(candidates[3:])
    for result in found:
        assert result.network is not None
        whole, nothing = len(result.network.hops), 0
        if result.material_id == candidates[3].material_id:
            whole, nothing = nothing, whole
        assert (len(result.hops), len(result.failures)) == (whole, nothing)
        assert {failure.reason for failure in result.failures} <= {"object_lost"}


def test_hop_and_candidate_that_kill_their_workers_are_one_row_each(
    cluster: Resources,
    candidates: list[Candidate],
    exploding: Candidate,
    predictors: Callable[..., PredictorFactory],
) -> None:
    expected: list[MaterialResult] = []
    settings = RunSettings(num_cpus=1, num_gpus=0, chunk=1, batch_cost=1)
    candidates = candidates[3:]
    run(candidates, expected.extend, RunSettings(engine="inline", num_gpus=0), None, predictors())
    by_id = {hop.hop_id: hop.prediction.em_ev for result in expected for hop in result.hops}
    poison_id, poison_ev = sorted(by_id.items())[1]
    found: list[MaterialResult] = []
    run(
        [*candidates[:1], exploding, *candidates[1:]],
        found.extend,
        settings,
        None,
        predictors(poison="exit", poison_ev=poison_ev),
    )
    del by_id[poison_id]
    assert {hop.hop_id: hop.prediction.em_ev for result in found for hop in result.hops} == by_id
    rows = {
        (failure.material_id, failure.hop_id, failure.stage, failure.reason)
        for result in found
        for failure in result.failures
    }
    assert rows == {
        ("bomb", "", "hops", "killed_worker"),
        (poison_id.partition(":")[0], poison_id, "model", "killed_worker"),
    }
    assert len(found) == len(candidates) + 1


@pytest.mark.parametrize(("poison", "reason"), [("hang", "deadline"), ("kill", "killed_worker")])
def test_a_hop_that_hangs_or_is_ended_by_the_system_is_one_row(
    cluster: Resources,
    candidates: list[Candidate],
    predictors: Callable[..., PredictorFactory],
    poison: str,
    reason: str,
) -> None:
    expected: list[MaterialResult] = []
    run(candidates[3:], expected.extend, RunSettings(engine="inline"), None, predictors())
    by_id = {hop.hop_id: hop.prediction.em_ev for result in expected for hop in result.hops}
    poison_id, poison_ev = sorted(by_id.items())[1]
    found: list[MaterialResult] = []
    settings = RunSettings(num_cpus=1, num_gpus=0, deadline_s=8.0)
    factory = predictors(poison=poison, poison_ev=poison_ev)
    run(candidates[3:], found.extend, settings, None, factory)
    del by_id[poison_id]
    assert {hop.hop_id: hop.prediction.em_ev for result in found for hop in result.hops} == by_id
    ((failure,),) = [result.failures for result in found if result.failures]
    assert (failure.hop_id, failure.stage, failure.reason) == (poison_id, "model", reason)


def test_more_gpus_than_there_are_is_an_error_not_a_wait(cluster: Resources) -> None:
    with (
        pytest.raises(EngineError, match="num_gpus is 99, but"),
        ray_session(RunSettings(num_gpus=99)),
    ):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379"])
def test_address_where_nobody_listens_is_an_error_in_seconds(address: str) -> None:
    began = time.monotonic()
    with pytest.raises(EngineError, match=f"cannot be reached at {address}") as refused:
        _connect(RunSettings(ray_address=address))
    assert time.monotonic() - began < 10
    assert "\n" not in str(refused.value)


DRIVER = """
import os, signal, sys, time
from jobs.session import ray_session
from jobs.settings import RunSettings

def on_terminate(*_): raise KeyboardInterrupt
signal.signal(signal.SIGTERM, on_terminate)
with ray_session(RunSettings(num_cpus=1, num_gpus=0)):
    import ray
    assert signal.getsignal(signal.SIGTERM) is on_terminate
    assert os.getcwd() == sys.argv[1]

    class Where:
        def start(self):
            import models
            return models.__file__

    print(ray.get(ray.remote(Where).options(num_cpus=0).remote().start.remote()), flush=True)
    time.sleep(60)
"""


def test_killed_driver_leaves_no_ray_and_a_users_folders_do_not_hide_ours(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    # A script, since "python -c" would put the folder on the driver's own path.
    script = tmp_path / "bin" / "driver.py"
    script.parent.mkdir()
    script.write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        cwd=tmp_path,
        env=environment | {"IONSCREEN_TEST_MARK": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    try:
        assert driver.stdout.readline().strip() == str(ROOT / "models" / "__init__.py")
        assert len(marked(str(tmp_path))) > 2
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    end = time.monotonic() + 30
    while (left := marked(str(tmp_path))) and time.monotonic() < end:
        time.sleep(0.5)
    assert not left


def marked(mark: str) -> list[str]:
    """Processes that have inherited a value in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        name = ""
        try:
            if mark.encode() in (process / "environ").read_bytes():
                name = (process / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            continue
        # Ray's own agents give up by themselves, but only after a minute.
        if name and not name.startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent")):
            found.append(name[:80])
    return found


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_port_of_something_else_is_refused(cluster: Resources, answer: bytes) -> None:
    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ConnectionError, match="other than a Ray head"):
            _check_reachable(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_a_ray_head_is_reachable(cluster: Resources) -> None:
    import ray

    _check_reachable(ray.get_runtime_context().gcs_address)
