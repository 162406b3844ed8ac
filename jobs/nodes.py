"""The machines of a cluster while a run is on it: they come and go, and must be able to work."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

from jobs.errors import EngineError
from jobs.plan import Node, within
from jobs.settings import RunSettings
from jobs.stages import one_line
from jobs.versions import difference

_LOOK_EVERY_S = 2.0
_HEAD_PATIENCE_S = 30.0
"""How long a head may be out of reach; Ray itself ends this process after 60 s."""
_CONNECT_TIMEOUT_S = 2.0


class Nodes:
    """What may be used of the cluster now."""

    def __init__(self, settings: RunSettings, wanted_gpus: float | None) -> None:
        """Look for the first time.

        Args:
            settings: with the most CPUs to use, and whether the cluster was joined: only then are
                machines asked for their versions before they are used.
            wanted_gpus: most GPUs to use; None for all.
        """
        import ray

        self._settings = settings
        self._wanted_gpus = wanted_gpus
        self._head: str = ray.get_runtime_context().gcs_address
        self._head_seen_at = time.monotonic()
        self._look_at = 0.0
        self._probes: dict[str, Any] = {}
        """By node: what is asked of it now."""
        self._refusals: dict[str, str] = {}
        """By node that has answered: what is wrong with it, empty if nothing."""
        self._had_any = False
        self.usable: list[Node] = []
        """At most what the settings allow."""
        self.alive: frozenset[str] = frozenset()
        """Every machine that Ray knows to be there."""
        if settings.ray_address is not None:
            _ask_autoscaler(settings.num_cpus, settings.num_gpus)

    def look(self) -> bool:
        """See now and then which machines there are; whether it is another lot than before.

        Raises:
            EngineError: the head is gone, or no machine can work because of its versions.
        """
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + _LOOK_EVERY_S
        if not self._head_answers(now):
            return False
        import ray

        found = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        self.alive = frozenset(found)
        admitted = [
            Node(name, int(have.get("CPU", 0)), float(have.get("GPU", 0.0)))
            for name, have in ((name, node["Resources"]) for name, node in found.items())
            if self._is_admitted(name)
        ]
        if self._probes:
            self._look_at = now  # they answer within a second or two
        self._check_refusals()
        usable = within(admitted, self._settings.num_cpus, self._wanted_gpus)
        changed = usable != self.usable
        self.usable = usable
        return changed

    def close(self) -> None:
        """Ask the autoscaler for no machines any more."""
        if self._settings.ray_address is not None:
            with contextlib.suppress(Exception):  # the head may be gone
                _ask_autoscaler(0, 0)

    def _head_answers(self, now: float) -> bool:
        """Whether there is a head to ask: a call to one that is gone would not come back."""
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S).close()
        except OSError:
            gone_s = now - self._head_seen_at
            if gone_s > _HEAD_PATIENCE_S:
                raise EngineError(
                    f"the Ray head at {self._head} has not answered for {gone_s:.0f} s: start it "
                    "again, then give the same command: it goes on"
                ) from None
            return False
        self._head_seen_at = now
        return True

    def _is_admitted(self, name: str) -> bool:
        """Whether a machine runs the same code; asks it where that is not known yet."""
        if self._settings.ray_address is None:
            return True
        if name in self._refusals:
            return not self._refusals[name]
        if name not in self._probes:
            self._probes[name] = _probe(name)
        answer = _answer(self._probes[name])
        if answer is None:
            return False
        del self._probes[name]
        self._refusals[name] = answer
        return not answer

    def _check_refusals(self) -> None:
        """Machines that cannot work are an error at the start, and later left alone."""
        if self._had_any or self._probes:
            return
        self._had_any = any(not refusal for refusal in self._refusals.values())
        for name, refusal in self._refusals.items():
            if refusal:
                raise EngineError(
                    f"machine {name[:12]} of the cluster has {refusal}: install the same "
                    "versions on all of them, or take it out of the cluster"
                )


def _probe(name: str) -> Any:
    """Asks a machine for its versions; the reference of its answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def ask() -> dict[str, str]:  # goes by value, so that it runs where there is no ionscreen
        try:
            from jobs.versions import versions
        except ImportError:
            return {}
        return versions()

    remote: Any = ray.remote(ask)
    there = NodeAffinitySchedulingStrategy(name, soft=False)
    return remote.options(num_cpus=0, max_retries=3, scheduling_strategy=there).remote()


def _answer(reference: Any) -> str | None:
    """What is wrong with a machine that was asked, empty if nothing; None: no answer yet."""
    import ray

    if not ray.wait([reference], timeout=0)[0]:
        return None
    try:
        found = ray.get(reference)
    except Exception as error:
        return f"no answer ({one_line(error, 120)})"
    return difference(found) if found else "no ionscreen installed"


def _ask_autoscaler(num_cpus: int | None, num_gpus: float | None) -> None:
    """Ask for so many; without an autoscaler nothing comes of it."""
    from ray.autoscaler.sdk import request_resources

    if num_cpus is not None or num_gpus is not None:
        request_resources(num_cpus=num_cpus or 0, bundles=[{"GPU": 1}] * round(num_gpus or 0))
