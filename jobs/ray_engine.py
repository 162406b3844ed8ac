"""The stages on Ray: feature workers on CPUs feed model workers on GPUs, or on CPUs.

The driver holds the source, the materials on their way and the sink; graphs go from worker to
worker through the object store. It takes a candidate from the source only when one is ready, a
feature worker can start on it and the model workers are not behind, so that memory is bounded
whatever the length of the source, and a slow source holds up no work. Workers, and the machines
they are on, may come and go meanwhile.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jobs.crew import Crew
from jobs.materials import Keyed, Materials, WaitingGraph
from jobs.nodes import Nodes
from jobs.outcomes import Answered, Outcome, Started, Unanswered
from jobs.parallel import no_calls
from jobs.records import Candidate, Failure
from jobs.session import Resources, ray_session
from jobs.settings import RunSettings
from jobs.sink import Sink
from jobs.source import Source
from jobs.stages import PredictorFactory, Refusal
from jobs.weights import read_graph_settings, read_model

_WAIT_S = 0.2
_GATHER_S = 0.05
"""An idle model worker is given less than a batch this often, divided among all of them: a call
costs the driver a millisecond or two, whatever it carries."""


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
    graphs = None if predictor_factory else read_graph_settings(settings.model)
    model = predictor_factory or read_model(settings.model)
    with _session(settings) as resources:
        import ray

        gpus = settings.num_gpus if settings.ray_address else resources.gpus
        with contextlib.closing(Nodes(settings, gpus)) as nodes:
            nodes.look()
            engine = _Engine(source, sink, settings, Crew(settings, nodes, ray.put(model), graphs))
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


class _Engine:
    def __init__(self, source: Source, sink: Sink, settings: RunSettings, crew: Crew) -> None:
        self._source = source
        self._sink = sink
        self._settings = settings
        self._crew = crew
        self._materials = Materials(sink)
        self._sent_at = 0.0
        self._chunks = 0

    def run(self) -> None:
        """Until the source is at its end and every material taken from it is with the sink."""
        while self._materials or not self._source.exhausted:
            more = self._take_chunk()
            self._send_batches()
            for reference in self._wait(0.0 if more else self._patience_s()):
                self._take_features(self._crew.features.collect(reference))
                self._take_models(self._crew.models.collect(reference))
            given_up_candidates, given_up_graphs = self._crew.tend()
            self._take_features(given_up_candidates)
            self._take_models(given_up_graphs)
            self._sink.tick()

    def close(self) -> None:
        """Stop all workers."""
        self._crew.stop()

    @property
    def _gather_s(self) -> float:
        return _GATHER_S / max(1, self._crew.models.size)

    def _patience_s(self) -> float:
        """How long to wait for an answer before something else may be due."""
        if self._materials.waiting_cost and self._crew.models.has_idle:
            return self._gather_s
        if self._crew.features.has_room and not self._source.ready and not self._source.exhausted:
            return _GATHER_S  # what a feature worker could do may come at any time
        return _WAIT_S

    def _wait(self, timeout_s: float) -> Sequence[Any]:
        """References that are ready, having waited for one, or else for the source."""
        import ray

        references = self._crew.features.references + self._crew.models.references
        if references:
            # All that are ready, since each turn of the loop costs the same whatever it collects.
            done, waiting = ray.wait(references, num_returns=1, timeout=timeout_s)
            if done and waiting:
                done += ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
            return list(done)
        if self._source.ready or self._source.exhausted:  # there is no worker yet
            time.sleep(timeout_s)
        else:
            self._source.wait(timeout_s)
        return []

    def _take_chunk(self) -> bool:
        """Give one chunk of candidates to the feature workers if there is room; is there more?"""
        if self._crew.graph_settings is None or not self._has_room():
            return False
        # Small chunks at first, so that no worker waits long for its first graphs.
        rounds = self._chunks // max(1, self._crew.features.size)
        size = min(self._settings.chunk, 1 << min(16, rounds))
        self._crew.features.submit(self._materials.add(self._source.take(size)))
        self._chunks += 1
        return self._has_room()

    def _has_room(self) -> bool:
        most_waiting = 2 * max(1, self._crew.models.size) * self._crew.batch_cost
        return (
            self._crew.features.has_room
            and self._materials.waiting_cost < most_waiting
            and self._source.ready
        )

    def _send_batches(self) -> None:
        """Full batches where there is room for them; now and then less to a worker that is idle."""
        models, limit = self._crew.models, self._crew.batch_cost
        while self._materials.waiting_cost and models.has_room:
            now = time.monotonic()
            if self._materials.waiting_cost < limit and not (
                models.has_idle and now - self._sent_at >= self._gather_s
            ):
                return
            models.submit(self._materials.next_batch(limit))
            self._sent_at = now

    def _take_features(self, outcomes: Sequence[Outcome[Keyed]]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Answered):
                (chunk,) = outcome.rest
                self._materials.take_prepared(outcome.items, outcome.value, chunk)
            elif isinstance(outcome, Unanswered):
                self._materials.give_up(outcome.items, outcome.reason, outcome.detail)

    def _take_models(self, outcomes: Sequence[Outcome[WaitingGraph]]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Started):
                self._crew.graph_settings = outcome.value
            elif isinstance(outcome, Answered):
                for graph, barrier in zip(outcome.items, outcome.value, strict=True):
                    self._materials.take_answer(graph, barrier)
            elif outcome.reason == "object_lost":
                again = self._materials.to_make_again(outcome.items, outcome.reason, outcome.detail)
                for one in again:
                    self._crew.features.submit([one])
            else:
                for graph in outcome.items:
                    self._materials.take_answer(graph, Refusal(outcome.reason, outcome.detail))
