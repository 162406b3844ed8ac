"""Bands in, migration barriers in eV out: the only door that ``jobs`` uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models import checkpoint
from models.batch import collate, split_by_cost
from models.calibration import features
from models.graph import BandGraph, GraphSettings, build_graph
from models.precision import route_matmuls
from pathways.types import Band, FloatArray

_BATCH_COST = {"cpu": 60_000, "cuda": 6_000_000}
"""Edges plus triplets of one forward pass: small for a core's cache, large to keep a GPU busy;
the latter is an estimate."""


@dataclass(frozen=True)
class Prediction:
    """Migration barrier of one hop with its uncertainty."""

    em_ev: float
    """Migration barrier Em, eV."""
    em_std_ev: float
    """Standard deviation, eV."""
    em_low_ev: float
    """Lower end of the 90 % interval, eV."""
    em_high_ev: float
    """Upper end of the 90 % interval, eV."""
    p_good: float
    """Probability that Em <= 0.65 eV."""
    applicability: float
    """0 (unlike anything the model was trained on) to 1 (well inside)."""


class Predictor:
    """A loaded model on a device."""

    def __init__(
        self, ensemble: checkpoint.Ensemble, model_id: str, device: str | torch.device = "cpu"
    ) -> None:
        self.ensemble = ensemble
        self.model_id = model_id
        self.device = torch.device(device)
        if self.device.type == "cpu":
            route_matmuls()

    @classmethod
    def load(cls, name_or_path: str | Path = "model3", device: str = "cpu") -> Predictor:
        """A shipped model by name or any model by its folder.

        Raises:
            models.checkpoint.ModelError: it is not there or cannot be read.
        """
        folder = checkpoint.find_model(name_or_path)
        return cls(checkpoint.load(folder, device), checkpoint.model_id(folder), device)

    @property
    def graph_settings(self) -> GraphSettings:
        """How this model's graphs are built; all that feature workers need."""
        return self.ensemble.graph

    def graph(self, band: Band) -> BandGraph:
        """The graph of a band as this model wants it."""
        return build_graph(band, self.graph_settings)

    def __call__(self, bands: Sequence[Band]) -> list[Prediction]:
        """One prediction per band."""
        return self.predict([self.graph(band) for band in bands])

    def predict(self, graphs: Sequence[BandGraph]) -> list[Prediction]:
        """One prediction per graph, in their order."""
        if not graphs:
            return []
        votes = self.votes(graphs)
        mean, spread = votes.mean(axis=0), votes.std(axis=0, ddof=1 if len(votes) > 1 else 0)
        calibration = self.ensemble.calibration
        sigma = calibration.sigma(features(graphs, mean), spread)
        low, high = calibration.interval_ev(mean, sigma)
        columns = (
            calibration.median_ev(mean),
            calibration.std_ev(mean, sigma),
            low,
            high,
            calibration.p_good(mean, sigma),
            np.array([self.ensemble.applicability(graph) for graph in graphs]),
        )
        return [Prediction(*row) for row in np.stack(columns, axis=1).tolist()]

    @torch.inference_mode()
    def votes(self, graphs: Sequence[BandGraph]) -> FloatArray:
        """(members, graphs), each member's log(Em / eV + 0.1)."""
        votes = torch.empty(len(self.ensemble.members), len(graphs))
        for chosen in split_by_cost(graphs, _BATCH_COST[self.device.type]):
            batch = collate([graphs[i] for i in chosen], self.device)
            for row, member in zip(votes, self.ensemble.members, strict=True):
                row[chosen] = member(batch).cpu()
        return votes.double().numpy()
