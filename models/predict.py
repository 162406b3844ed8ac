"""Bands in, migration barriers in eV out: the only door that ``jobs`` uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models import DEFAULT_MODEL, checkpoint
from models.estimate import BarrierModel
from models.graph import BandGraph, GraphSettings, build_graph
from models.precision import route_matmuls
from pathways.types import Band


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
    nearest: str | None = None
    """The training entry most alike, where the model knows its entries."""


class Predictor:
    """A loaded model on a device."""

    def __init__(self, model: BarrierModel, model_id: str) -> None:
        self.model = model
        self.model_id = model_id
        if model.graph.parts != "numbers":  # others multiply nothing in single precision
            route_matmuls()

    @classmethod
    def load(cls, name_or_path: str | Path = DEFAULT_MODEL, device: str = "cpu") -> Predictor:
        """A shipped model by name or any model by its folder.

        Raises:
            models.checkpoint.ModelError: it is not there or cannot be read.
        """
        folder = checkpoint.find_model(name_or_path)
        return cls(checkpoint.load(folder, device), checkpoint.model_id(folder))

    @property
    def graph_settings(self) -> GraphSettings:
        """How this model's graphs are built; all that feature workers need."""
        return self.model.graph

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
        estimate = self.model.estimate(graphs)
        mean, sigma, calibration = estimate.mean, estimate.sigma, self.model.calibration
        low, high = calibration.interval_ev(mean, sigma)
        columns = (
            calibration.median_ev(mean),
            calibration.std_ev(mean, sigma),
            low,
            high,
            calibration.p_good(mean, sigma),
            estimate.applicability,
        )
        rows = zip(*(column.tolist() for column in columns), estimate.nearest, strict=True)
        return [Prediction(*row) for row in rows]
