"""The stages on Ray: feature workers on CPUs feed model workers on GPUs, or on CPUs.

The driver holds the source, the materials on their way and the sink; graphs go from worker to
worker through the object store. It takes a candidate from the source only when one is ready, a
feature worker can start on it and the model workers are not behind, so that memory is bounded
whatever the length of the source, and a slow source holds up no work.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jobs.hardware import WorkerPlan, plan_workers
from jobs.parallel import no_calls
from jobs.pool import Answered, Pool, Started, Unanswered
from jobs.records import Candidate, Failure
from jobs.session import Resources, ray_session
from jobs.settings import BATCH_COST, RunSettings
from jobs.sink import Sink
from jobs.source import Source
from jobs.stages import (
    PredictorFactory,
    Prepared,
    Refusal,
    assemble,
    batches,
)
from jobs.workers import FeatureWorker, ModelWorker, has_networks, load_predictor
from models.graph import GraphSettings
from models.predict import Prediction

_WAIT_S = 0.2
_GATHER_S = 0.05
"""An idle model worker is given less than a batch this often, divided among all of them: a call
costs the driver a millisecond or two, whatever it carries."""
_MAX_TRIES = 3
"""How often a material's graphs are made again when the object store loses them."""


def run_ray(
    candidates: Iterable[Candidate | Failure],
    sink: Sink,
    settings: RunSettings,
    predictor_factory: PredictorFactory | None,
) -> None:
    """Run all candidates on a Ray that is started, joined or found; raises as ``pipeline.run``."""
    with contextlib.closing(Source(candidates, sink)) as source, sink:
        if source.wait():  # else Ray need not start at all
            _run_on_ray(source, sink, settings, predictor_factory)
        source.raise_error()


def _run_on_ray(
    source: Source,
    sink: Sink,
    settings: RunSettings,
    predictor_factory: PredictorFactory | None,
) -> None:
    with _session(settings) as resources:
        networks = predictor_factory is not None or has_networks(settings.model)
        plan = plan_workers(resources.cpus, resources.gpus, networks)
        factory = predictor_factory or functools.partial(
            load_predictor, _model_for_workers(settings.model), plan.device
        )
        engine = _Engine(source, sink, settings, plan, factory)
        # What is finished is written before workers, source and Ray take their time to stop.
        with (
            contextlib.closing(source),
            contextlib.closing(engine),
            contextlib.closing(sink),
        ):
            engine.run()


@contextlib.contextmanager
def _session(settings: RunSettings) -> Iterator[Resources]:
    """Ray, which neither fails to start nor stops while the source's thread is in a call to it."""
    with contextlib.ExitStack() as session:
        with no_calls():
            resources = session.enter_context(ray_session(settings))
        try:
            yield resources
        finally:
            with no_calls():
                session.close()


def _model_for_workers(model: str) -> str:
    """A model's name as it is, a folder as an absolute path: workers run in another one."""
    from models.checkpoint import find_model

    path = Path(model).resolve()
    return str(path) if find_model(model).resolve() == path else model


@dataclass(eq=False)
class _Open:
    """A material on its way."""

    candidate: Candidate
    prepared: Prepared | None = None
    answers: dict[int, Prediction | Refusal] = field(default_factory=dict)
    """By position in ``prepared.ready``."""
    chunk: Any = None
    """Reference of the list that its graphs are in now."""
    tries: int = 0


@dataclass(frozen=True, eq=False)
class _Graph:
    """A graph that waits for the model in the object store."""

    material: int
    """Key of the open material."""
    position: int
    """In its ``Prepared.ready``."""
    cost: int
    chunk: Any
    """Reference of the list that it is in."""
    index: int
    """Where in that list."""


class _Engine:
    def __init__(
        self,
        source: Source,
        sink: Sink,
        settings: RunSettings,
        plan: WorkerPlan,
        factory: PredictorFactory,
    ) -> None:
        self._source = source
        self._sink = sink
        self._settings = settings
        self._batch_cost = settings.batch_cost or BATCH_COST[plan.device]
        self._max_waiting = 2 * plan.model_workers * self._batch_cost
        self._gather_s = _GATHER_S / plan.model_workers
        self._sent_at = 0.0
        self._graph_settings: GraphSettings | None = None
        self._open: dict[int, _Open] = {}
        self._waiting: deque[_Graph] = deque()
        self._waiting_cost = 0
        self._next_key = 0
        self._chunks = 0
        self._plan = plan
        self._models: Pool[_Graph] = Pool(
            "model",
            plan.model_workers,
            lambda: _actor(
                ModelWorker, plan.model_cpus, plan.model_gpus, factory, max(1, plan.model_cpus)
            ),
            self._send_graphs,
        )
        self._features: Pool[tuple[int, Candidate]] = Pool(
            "feature",
            plan.feature_workers,
            lambda: _actor(FeatureWorker, plan.feature_cpus, 0, settings),
            self._send_candidates,
        )

    def run(self) -> None:
        """Until the source is at its end and every material taken from it is with the sink."""
        while self._open or not self._source.exhausted:
            more = self._take_chunk()
            self._send_batches()
            for reference in self._wait(0.0 if more else self._patience_s()):
                self._collect(reference)
            self._features.check()
            self._models.check()
            self._sink.tick()

    def close(self) -> None:
        """Stop all workers."""
        self._features.stop()
        self._models.stop()

    def _patience_s(self) -> float:
        """How long to wait for an answer before something else may be due."""
        if self._waiting and self._models.has_idle:
            return self._gather_s
        if self._features.has_room and not self._source.ready and not self._source.exhausted:
            return _GATHER_S  # what a feature worker could do may come at any time
        return _WAIT_S

    def _wait(self, timeout_s: float) -> Sequence[Any]:
        """References that are ready, having waited for one, or else for the source."""
        import ray

        references = self._features.references + self._models.references
        if references:
            done: Sequence[Any] = ray.wait(references, num_returns=1, timeout=timeout_s)[0]
            return done
        if self._source.exhausted:
            time.sleep(timeout_s)
        else:
            self._source.wait(timeout_s)
        return []

    def _take_chunk(self) -> bool:
        """Give one chunk of candidates to the feature workers if there is room; is there more?"""
        if self._graph_settings is None or not self._has_room():
            return False
        # Small chunks at first, so that no worker waits long for its first graphs.
        size = min(self._settings.chunk, 1 << min(16, self._chunks // self._plan.feature_workers))
        chunk = []
        for candidate in self._source.take(size):
            self._open[self._next_key] = _Open(candidate)
            chunk.append((self._next_key, candidate))
            self._next_key += 1
        self._chunks += 1
        self._features.submit(chunk)
        return self._has_room()

    def _has_room(self) -> bool:
        return (
            self._features.has_room
            and self._waiting_cost < self._max_waiting
            and self._source.ready
        )

    def _send_batches(self) -> None:
        """Full batches where there is room for them; now and then less to a worker that is idle."""
        while self._waiting and self._models.has_room:
            now = time.monotonic()
            if self._waiting_cost < self._batch_cost and not (
                self._models.has_idle and now - self._sent_at >= self._gather_s
            ):
                return
            batch = next(batches([graph.cost for graph in self._waiting], self._batch_cost))
            graphs = [self._waiting.popleft() for _ in batch]
            self._waiting_cost -= sum(graph.cost for graph in graphs)
            self._models.submit(graphs)
            self._sent_at = now

    def _send_candidates(self, actor: Any, chunk: Sequence[tuple[int, Candidate]]) -> Sequence[Any]:
        # Arrays only: what the source knows besides can be larger than the crystal.
        candidates = [replace(candidate, info={}) for _, candidate in chunk]
        call = actor.prepare.options(num_returns=2)
        references: Sequence[Any] = call.remote(self._graph_settings, candidates)
        return references

    def _send_graphs(self, actor: Any, graphs: Sequence[_Graph]) -> Sequence[Any]:
        positions: dict[Any, list[int]] = {}
        for graph in graphs:
            positions.setdefault(graph.chunk, []).append(graph.index)
        return [actor.score.remote(list(positions.values()), *positions)]

    def _collect(self, reference: Any) -> None:
        """Take in what a feature or model worker answered."""
        for outcome in self._features.collect(reference):
            if isinstance(outcome, Answered):
                self._take_prepared(outcome)
            elif isinstance(outcome, Unanswered):
                self._give_up_candidates(outcome)
        for answer in self._models.collect(reference):
            if isinstance(answer, Started):
                self._graph_settings = answer.value
            elif isinstance(answer, Answered):
                for graph, barrier in zip(answer.items, answer.value, strict=True):
                    self._take_answer(graph, barrier)
            elif answer.reason == "object_lost":
                self._prepare_again(answer)
            else:
                for graph in answer.items:
                    self._take_answer(graph, Refusal(answer.reason, answer.detail))

    def _take_prepared(self, outcome: Answered[tuple[int, Candidate]]) -> None:
        (chunk,) = outcome.rest
        index = 0
        for (key, _), prepared in zip(outcome.items, outcome.value, strict=True):
            material = self._open[key]
            material.prepared, material.chunk = prepared, chunk
            if material.tries == 0:
                self._sink.count(hops=len(prepared.network.hops) if prepared.network else 0)
            for position, ready in enumerate(prepared.ready):
                if position not in material.answers:
                    self._waiting.append(_Graph(key, position, ready.cost, chunk, index + position))
                    self._waiting_cost += ready.cost
            index += len(prepared.ready)
            self._finish_if_done(key)

    def _give_up_candidates(self, outcome: Unanswered[tuple[int, Candidate]]) -> None:
        for key, candidate in outcome.items:
            failure = Failure(candidate.material_id, "hops", outcome.reason, outcome.detail)
            material = self._open[key]
            material.prepared = Prepared(None, failures=(failure,))
            material.answers.clear()
            self._finish_if_done(key)

    def _take_answer(self, graph: _Graph, answer: Prediction | Refusal) -> None:
        material = self._open.get(graph.material)
        if material is None or graph.position in material.answers:
            return  # a second answer to graphs that were made again
        material.answers[graph.position] = answer
        self._sink.count(predictions=int(not isinstance(answer, Refusal)))
        self._finish_if_done(graph.material)

    def _prepare_again(self, lost: Unanswered[_Graph]) -> None:
        """The object store lost graphs, with a node or under pressure: make them again."""
        for graph in lost.items:
            material = self._open.get(graph.material)
            if material is None or material.chunk is not graph.chunk:
                continue  # finished meanwhile, or made again already
            if material.tries == _MAX_TRIES:
                self._take_answer(graph, Refusal(lost.reason, lost.detail))
            else:
                material.tries += 1
                material.prepared = material.chunk = None
                self._features.submit([(graph.material, material.candidate)])

    def _finish_if_done(self, key: int) -> None:
        material = self._open[key]
        prepared = material.prepared
        if prepared is None or len(material.answers) < len(prepared.ready):
            return
        del self._open[key]
        answers = [material.answers[position] for position in range(len(prepared.ready))]
        self._sink.add(assemble(material.candidate, prepared, answers))


def _actor(worker: type, cpus: int, gpus: float, *arguments: Any) -> Any:
    """An actor of a class that Ray places but never restarts: its pool does."""
    import ray

    remote: Any = ray.remote(worker)
    return remote.options(num_cpus=cpus, num_gpus=gpus, max_restarts=0).remote(*arguments)
