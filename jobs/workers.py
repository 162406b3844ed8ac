"""What runs inside Ray's processes: thin classes around the stages, nothing of Ray in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.records import Candidate
from jobs.settings import RunSettings
from jobs.stages import GraphPredictor, PredictorFactory, Prepared, Refusal, prepare, score
from jobs.weights import ModelFiles, load_predictor
from models.graph import BandGraph, GraphSettings

if TYPE_CHECKING:  # so that who predicts nothing need not import the networks
    from models.predict import Prediction


class FeatureWorker:
    """Turns candidates into graphs on one CPU."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings

    def start(self) -> None:
        """Answer once the process is up."""

    def prepare(
        self, graph_settings: GraphSettings, candidates: Sequence[Candidate]
    ) -> tuple[list[Prepared], list[BandGraph]]:
        """A chunk of candidates: what each came to, and all their graphs one after another.

        The two are returned apart, so that graphs go from worker to worker and only the small
        first part to the driver.
        """
        chunk: list[Prepared] = []
        graphs: list[BandGraph] = []
        for candidate in candidates:
            prepared, built = prepare(candidate, self._settings, graph_settings)
            chunk.append(prepared)
            graphs += built
        return chunk, graphs


class ModelWorker:
    """Holds one copy of the model on one device."""

    def __init__(self, model: ModelFiles | PredictorFactory, device: str, threads: int) -> None:
        self._model = model
        self._device = device
        self._threads = threads
        self._predictor: GraphPredictor | None = None

    def start(self) -> GraphSettings:
        """Load the model, and say which graphs it takes."""
        model = self._model
        self._predictor = model() if callable(model) else load_predictor(model, self._device)
        torch = sys.modules.get("torch")
        if torch is not None:
            # One worker per CPU: more threads than that would only wait for each other.
            torch.set_num_threads(self._threads)
        return self._predictor.graph_settings

    def score(
        self, positions: Sequence[Sequence[int]], *chunks: Sequence[BandGraph]
    ) -> list[Prediction | Refusal]:
        """Barriers of the graphs at the given positions of each chunk, one after another."""
        assert self._predictor is not None, "start() comes first"
        graphs = [
            chunk[position]
            for chunk, wanted in zip(chunks, positions, strict=True)
            for position in wanted
        ]
        return score(self._predictor, graphs)
