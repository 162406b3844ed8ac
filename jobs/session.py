"""Ray itself: started on this machine, joined at an address, or found running; left as found."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import EngineError
from jobs.hardware import cpu_count, gpu_count, memory_bytes
from jobs.settings import RunSettings
from jobs.stages import one_line

_MAX_OBJECT_STORE_BYTES = 2**30
_CONNECT_TIMEOUT_S = 5.0
_SETTINGS_FRAME = b"\x04"
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + _SETTINGS_FRAME + bytes(5)
_ENVIRONMENT = {  # read by Ray when it is first imported, and by what it starts
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a call after the end must not start another Ray
    # Ray prints the death of every worker to stdout, which belongs to results.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    # Ray's 15 leaves workers less than a hundredth of a CPU beside an ordinary busy process.
    "RAY_worker_niceness": "0",
    # A machine that has gone away is noticed after 3 to 5 s instead of 15.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass(frozen=True)
class Resources:
    """What a run may use of the cluster it is on."""

    cpus: int
    gpus: float


@contextlib.contextmanager
def ray_session(settings: RunSettings) -> Iterator[Resources]:
    """A Ray to run on, shut down at the end unless it ran before.

    Raises:
        EngineError: it cannot be started or reached, or has less than the settings ask for.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield _resources(settings)
        return
    try:
        _connect(settings)
        yield _resources(settings)
    finally:
        ray.shutdown()


def _connect(settings: RunSettings) -> None:
    """Start or join Ray quietly, leaving this process's signal handler and folder as they are."""
    import ray

    address = settings.ray_address
    on_main_thread = threading.current_thread() is threading.main_thread()
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        # Ray puts the driver's folder first on its workers' import path, where a user's own
        # "models" folder would hide ours; from here, it puts ours there.
        with contextlib.chdir(Path(__file__).resolve().parents[1]):
            if address is None:
                with _on_loopback():
                    ray.init(
                        address="local",  # whatever RAY_ADDRESS says
                        num_cpus=settings.num_cpus or cpu_count(),
                        include_dashboard=False,
                        object_store_memory=_object_store_bytes(),
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                    )
            else:
                _check_reachable(address)
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        place = f"reached at {address}" if address else "started on this machine"
        raise EngineError(
            f"Ray cannot be {place}: {one_line(error)}; the inline engine does without"
        ) from error
    finally:
        if on_main_thread and on_terminate is not None:
            signal.signal(signal.SIGTERM, on_terminate)


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Ray that starts in here can be reached from this machine only.

    Whoever reaches its ports can run code. The switch is Ray's own for systems without clusters,
    ``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER``, read when Ray is imported; joining a cluster must not be
    bound by it.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _check_reachable(address: str) -> None:
    """Raise OSError where no Ray can be listening, which Ray itself takes minutes to find out."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    where = (host.strip("[]"), int(port))
    with socket.create_connection(where, _CONNECT_TIMEOUT_S) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return
        # Ray's head speaks gRPC: it answers the greeting of HTTP/2 with a frame of settings.
        connection.sendall(_HTTP2_GREETING)
        frame = connection.recv(9)
        if frame[3:4] != _SETTINGS_FRAME:
            raise ConnectionError("something other than a Ray head answers there")


def _object_store_bytes() -> int:
    """At most 1 GiB and a fifth of the memory: the graphs on their way are bounded well below."""
    memory = memory_bytes()
    return min(_MAX_OBJECT_STORE_BYTES, memory // 5) if memory else _MAX_OBJECT_STORE_BYTES


def _resources(settings: RunSettings) -> Resources:
    """What the cluster has, within what the settings allow.

    A cluster that is joined may grow: what it lacks is asked of its autoscaler, not refused.
    """
    import ray

    total = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = int(total.get("CPU", 0)), float(total.get("GPU", 0))
    joined = settings.ray_address is not None
    if cpus < 1 and not joined:
        raise EngineError("the Ray cluster has no CPUs: add a node, or use the inline engine")
    if gpus > 0 and settings.num_gpus != 0 and not joined:
        gpus = min(gpus, gpu_count())  # seen by Ray, but is torch built for them?
    if settings.num_gpus is not None and settings.num_gpus > gpus and not joined:
        raise EngineError(
            f"num_gpus is {settings.num_gpus:g}, but {gpus:g} can be used here: "
            "ask for as many or fewer, or leave it out"
        )
    return Resources(
        cpus=min(cpus, settings.num_cpus or cpus),
        gpus=gpus if settings.num_gpus is None else settings.num_gpus,
    )
