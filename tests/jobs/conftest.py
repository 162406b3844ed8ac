"""Real crystals, and small predictors that workers can unpickle."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from jobs.records import Candidate
from jobs.session import Resources, ray_session
from jobs.settings import RunSettings
from models.graph import BandGraph, GraphSettings
from models.predict import Prediction
from pathways.types import Crystal
from tests.small_crystals import crystal_of


@dataclass
class EdgePredictor:
    """A barrier from the lengths of a graph's edges; what goes wrong is asked for by barrier."""

    graph_settings: GraphSettings = field(default_factory=GraphSettings)
    poison_ev: float | None = None
    poison: str = ""
    """What the graph with the poison barrier does: ``exit``, ``kill`` (as a system that is out of
    memory does), ``hang``, ``raise``, ``nan`` or ``memory``."""
    max_graphs: int | None = None
    """More than these at once are out of memory."""

    def predict(self, graphs: Sequence[BandGraph]) -> list[Prediction]:
        if self.max_graphs is not None and len(graphs) > self.max_graphs:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return [self._one(graph) for graph in graphs]

    def _one(self, graph: BandGraph) -> Prediction:
        em_ev = float(np.sqrt((graph.vector**2).sum(axis=1)).mean())
        if self.poison_ev is not None and abs(em_ev - self.poison_ev) < 1e-9:
            match self.poison:
                case "exit":
                    os._exit(1)
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "hang":
                    time.sleep(3600)
                case "raise":
                    raise ZeroDivisionError("a mean\nof nothing")
                case "memory":
                    raise RuntimeError("DefaultCPUAllocator: out of memory")
                case "nan":
                    em_ev = float("nan")
        return Prediction(em_ev, 0.1, em_ev - 0.16, em_ev + 0.16, 0.5, 1.0)


def edge_predictor(**options: object) -> Callable[[], EdgePredictor]:
    return functools.partial(EdgePredictor, **options)  # type: ignore[arg-type]


class ExplodingCrystal(Crystal):
    """Kills the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return os._exit, (1,)


@pytest.fixture(scope="session")
def candidates() -> list[Candidate]:
    """Six real hosts: layered, spinel, olivine, rocksalts, fluorite."""
    return [
        Candidate(name, name[:2], crystal_of(name), {"formula": name})
        for name in ("LiCoO2", "MgAl2O4", "LiFePO4", "MgO", "NaCl", "CaF2")
    ]


@pytest.fixture(scope="session")
def broken() -> Candidate:
    """Two atoms at one place."""
    crystal = Crystal(np.eye(3) * 4.0, np.array([3, 8]), np.array([[0.0] * 3, [0.01] * 3]))
    return Candidate("overlap", "Li", crystal)


@pytest.fixture(scope="session")
def predictors() -> Callable[..., Callable[[], EdgePredictor]]:
    """Factories of small predictors, with what shall go wrong."""
    return edge_predictor


@pytest.fixture
def exploding(candidates: list[Candidate]) -> Candidate:
    """A candidate that kills every feature worker it is sent to."""
    crystal = candidates[0].crystal
    return Candidate("bomb", "Li", ExplodingCrystal(crystal.lattice, crystal.numbers, crystal.frac))


class SharedRay:
    """One Ray for the tests of all files, as it takes seconds to start; others can be between."""

    def __init__(self) -> None:
        self._session = contextlib.ExitStack()
        self._resources: Resources | None = None

    def enter(self) -> Resources:
        if self._resources is None:
            settings = RunSettings(num_cpus=2, num_gpus=0)
            self._resources = self._session.enter_context(ray_session(settings))
            from ray import cloudpickle

            # The workers cannot import tests.
            cloudpickle.register_pickle_by_value(sys.modules[__name__])
        return self._resources

    def leave(self) -> None:
        self._session.close()
        self._resources = None


_SHARED = SharedRay()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Leave it after the last test of this folder: other tests are to find none."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        _SHARED.leave()


@pytest.fixture(scope="session")
def shared_ray() -> SharedRay:
    """For tests that want a Ray of their own: they leave this one first."""
    return _SHARED


@pytest.fixture
def cluster(shared_ray: SharedRay) -> Resources:
    """A Ray of two CPUs."""
    return shared_ray.enter()


@pytest.fixture
def lost(cluster: Resources) -> Any:
    """Reference of an object that was lost with its owner."""
    import ray
    from ray.exceptions import ObjectLostError

    class Owner:
        def put(self) -> list[Any]:
            return [ray.put(b"lost with its owner" * 10_000)]

    remote: Any = ray.remote(Owner)
    owner = remote.options(num_cpus=0).remote()
    (reference,) = ray.get(owner.put.remote())
    ray.kill(owner)
    with contextlib.suppress(ObjectLostError):
        while ray.get(reference):  # the news takes a moment
            time.sleep(0.1)
    return reference
