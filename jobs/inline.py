"""The stages one after another in this process: for debugging, and where Ray is not wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from jobs.records import Candidate, Failure
from jobs.settings import BATCH_COST, RunSettings
from jobs.sink import Sink
from jobs.source import Source
from jobs.stages import (
    GraphPredictor,
    PredictorFactory,
    Refusal,
    assemble,
    batches,
    prepare,
    score,
)
from models.predict import Prediction


def run_inline(
    candidates: Iterable[Candidate | Failure],
    sink: Sink,
    settings: RunSettings,
    predictor_factory: PredictorFactory | None,
) -> None:
    """Run every candidate to its end before the next is begun; raises as ``pipeline.run``."""
    device = inline_device(settings)
    predictor = predictor_factory() if predictor_factory else _load(settings.model, device)
    limit = settings.batch_cost or BATCH_COST[device]
    with contextlib.closing(Source(candidates, sink)) as source, sink:
        while source.wait():
            for candidate in source.take(1):
                _screen(candidate, sink, settings, predictor, limit)
        source.raise_error()


def _screen(
    candidate: Candidate,
    sink: Sink,
    settings: RunSettings,
    predictor: GraphPredictor,
    limit: int,
) -> None:
    prepared, graphs = prepare(candidate, settings, predictor.graph_settings)
    sink.count(hops=len(prepared.network.hops) if prepared.network else 0)
    answers: list[Prediction | Refusal] = []
    for batch in batches([ready.cost for ready in prepared.ready], limit):
        answers += score(predictor, graphs[batch.start : batch.stop])
        sink.tick()
    sink.count(predictions=sum(not isinstance(answer, Refusal) for answer in answers))
    sink.add(assemble(candidate, prepared, answers))


def _load(model: str, device: str) -> GraphPredictor:
    from models.predict import Predictor

    return Predictor.load(model, device=device)


def inline_device(settings: RunSettings) -> str:
    """``cuda`` where torch sees a GPU and the settings do not forbid it, else ``cpu``."""
    if settings.num_gpus == 0:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
