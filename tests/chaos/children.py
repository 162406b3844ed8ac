"""Runs in a process of their own whose model, memory or clock goes wrong.

``python -m tests.chaos.children hang|memory|device|limit ray|inline`` prints what came of it as
JSON; ``... clock run ...`` is the program with a clock that jumps.
"""

from __future__ import annotations

import functools
import json
import resource
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import numpy as np

from jobs.pipeline import run
from jobs.records import Candidate, MaterialResult
from jobs.settings import RunSettings
from models.graph import BandGraph, GraphSettings
from models.predict import Prediction
from tests.small_crystals import crystal_of

_DEADLINE_S = 8.0
_HOSTS = ("MgO", "MgAl2O4", "MgMn2O4")
_SPARE_BYTES = 400 * 2**20


class Odd:
    """A predictor that fails on the bands of one length."""

    def __init__(self, kind: str, poison_a: float) -> None:
        self.graph_settings = GraphSettings(parts="numbers")
        self._kind = kind
        self._poison_a = poison_a

    def predict(self, graphs: Sequence[BandGraph]) -> list[Prediction]:
        """Em is a tenth of the hop's length."""
        for graph in graphs:
            if abs(graph.length_a - self._poison_a) < 1e-6:
                self._fail()
        return [Prediction(g.length_a / 10, 0.1, 0.0, g.length_a, 0.5, 1.0) for g in graphs]

    def _fail(self) -> None:
        match self._kind:
            case "hang":
                while True:
                    time.sleep(60)
            case "memory":
                raise MemoryError
            case "device":
                raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
            case "limit":
                np.ones(4 * _SPARE_BYTES // 8)


def candidates() -> list[Candidate]:
    """Known hosts."""
    return [Candidate(name, "Mg", crystal_of(name)) for name in _HOSTS]


def main(kind: str, engine: str) -> dict[str, Any]:
    """Run the hosts with a predictor that is odd about the shortest hop of one of them."""
    inline = RunSettings(engine="inline", num_gpus=0)
    whole: list[MaterialResult] = []
    run(candidates(), whole.extend, inline, None, functools.partial(Odd, "none", 0.0))
    (poison, *_) = next(one.hops for one in whole if one.material_id == "MgMn2O4")
    settings = inline
    if engine == "ray":
        settings = RunSettings(num_cpus=1, num_gpus=0, deadline_s=_DEADLINE_S)
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(sys.modules[__name__])
    if kind == "limit":
        used = int(_status("VmSize")) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (used + _SPARE_BYTES, -1))
    found: list[MaterialResult] = []
    factory = functools.partial(Odd, kind, poison.hop.length_a)
    run(candidates(), found.extend, settings, None, factory)
    failures = [failure for one in found for failure in one.failures]
    answered = {hop.hop_id for one in found for hop in one.hops}
    rows = {failure.hop_id for failure in failures}
    return {
        "reasons": sorted({failure.reason for failure in failures}),
        "materials": sorted(one.material_id for one in found),
        "expected": sorted(_HOSTS),
        "lost_hops": sorted({hop.hop_id for one in whole for hop in one.hops} - answered - rows),
    }


def _status(name: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


class Jumping(datetime):
    """A clock that is a month slow and ten years fast by turns."""

    asked = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        cls.asked += 1
        return datetime.now(tz) + timedelta(days=3650 if cls.asked % 3 else -30)


def jumping(words: list[str]) -> int:
    """The program on such a clock."""
    import screen.database
    from screen.cli import main as program

    true_time = time.time
    time.time = lambda: true_time() + (3e8 if Jumping.asked % 2 else -3e6)
    screen.database.datetime = Jumping  # type: ignore[misc, attr-defined]
    code = program(words)
    assert Jumping.asked > 3, "nobody looked at the clock"
    return code


if __name__ == "__main__":
    if sys.argv[1] == "clock":
        sys.exit(jumping(sys.argv[2:]))
    print(json.dumps(main(sys.argv[1], sys.argv[2])))
