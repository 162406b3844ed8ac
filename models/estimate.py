"""What every kind of model gives, and what a folder needs to bring one back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from models.calibration import Calibration
from models.graph import BandGraph, GraphSettings
from pathways.types import FloatArray


class Estimate(NamedTuple):
    """Barriers in the learned scale u = log(Em / eV + 0.1), before calibration speaks of eV."""

    mean: FloatArray
    """(n,)."""
    sigma: FloatArray
    """(n,), expected error."""
    applicability: FloatArray
    """(n,), 0 (unlike anything the model was trained on) to 1."""
    nearest: Sequence[str | None]
    """(n,), the training entry most alike, where the model knows its entries."""


class BarrierModel(Protocol):
    """A model of any kind."""

    @property
    def name(self) -> str:
        """Of the model."""
        ...

    @property
    def graph(self) -> GraphSettings:
        """How its graphs are built."""
        ...

    @property
    def calibration(self) -> Calibration:
        """What its errors are worth."""
        ...

    def estimate(self, graphs: Sequence[BandGraph]) -> Estimate:
        """One estimate per graph, in their order."""
        ...

    def config(self) -> dict[str, Any]:
        """What the folder's config says of this kind of model, as JSON."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Its arrays by name."""
        ...
