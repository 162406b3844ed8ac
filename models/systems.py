"""The systems that a comparison holds against each other, by name.

A new one is one entry of ``SYSTEMS``: a function of the options that makes a ``compare.System``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from models.alignn import TrunkConfig
from models.barrier import BarrierConfig, Variant
from models.baselines import BASELINES
from models.calibration import to_ev
from models.compare import Predicted, System
from models.dataset import LabelledBands
from models.ensemble import Recipe
from models.graph import GraphSettings, build_graph
from models.precision import route_matmuls
from models.train import FitSettings, fit, predict_targets
from pathways.types import Band, FloatArray, PathwayError

_DROPOUT = 0.3


@dataclass(frozen=True)
class SystemOptions:
    """What a user may ask of the systems that take long."""

    epochs: int = 40
    width: int = 32
    layers: int = 1
    """With bond pairs, and as many without; the publication has 4 of width 256."""
    device: str = "cpu"


@dataclass(frozen=True)
class Median:
    """The median of the training barriers for every band: what a system has to beat."""

    name: str = "median"
    settings: str = ""

    def fit_predict(
        self, train: Sequence[Band], em_ev: FloatArray, test: Sequence[Band]
    ) -> Predicted:
        """See ``compare.System``."""
        return Predicted(np.full(len(test), np.median(em_ev)))


@dataclass(frozen=True)
class Network:
    """One barrier network, trained from random weights on the bands of the fold."""

    name: str
    recipe: Recipe
    """Its graphs, sizes and schedule; folds and repeats are the comparison's."""
    device: str = field(default="cpu", compare=False)

    @property
    def settings(self) -> str:
        """See ``compare.System``."""
        return repr((self.recipe.graph, self.recipe.network, self.recipe.fit))

    def fit_predict(
        self, train: Sequence[Band], em_ev: FloatArray, test: Sequence[Band]
    ) -> Predicted:
        """See ``compare.System``."""
        route_matmuls()
        seen, unseen = (
            [build_graph(band, self.recipe.graph) for band in bands] for bands in (train, test)
        )
        network = fit(self.recipe.network, seen, em_ev, self.recipe.fit, device=self.device)
        return Predicted(to_ev(predict_targets(network, unseen, self.device)))


def _path(options: SystemOptions) -> System:
    """Our local network: the surroundings of the path, read out along it."""
    network = BarrierConfig(_trunk(options), readout="path", dropout=_DROPOUT)
    return _network("path-scratch", GraphSettings(environment_a=4.5), network, options)


def _published(variant: Variant) -> Callable[[SystemOptions], System]:
    """A system of arXiv 2508.06436 without its pre-training."""

    def make(options: SystemOptions) -> System:
        network = BarrierConfig(_trunk(options), variant=variant, dropout=_DROPOUT)
        return _network(f"{variant}-scratch", GraphSettings(parts=network.parts), network, options)

    return make


def _trunk(options: SystemOptions) -> TrunkConfig:
    return TrunkConfig(
        options.layers, options.layers, width=options.width, embedding=min(options.width, 64)
    )


def _network(
    name: str, graph: GraphSettings, network: BarrierConfig, options: SystemOptions
) -> System:
    return Network(name, Recipe(graph, network, FitSettings(epochs=options.epochs)), options.device)


def _ready(system: System) -> Callable[[SystemOptions], System]:
    """A system that has no options."""
    return lambda _: system


SYSTEMS: Mapping[str, Callable[[SystemOptions], System]] = {
    "median": _ready(Median()),
    "path-scratch": _path,
    **{f"{variant}-scratch": _published(variant) for variant in get_args(Variant)},
    **{name: _ready(baseline) for name, baseline in BASELINES.items()},
}


def without_bad_graphs(data: LabelledBands) -> LabelledBands:
    """The bands that every system can read; the others are refused, so that all see the same."""
    kept, refused = [], list(data.refused)
    for index, band in enumerate(data.bands):
        try:
            build_graph(band, GraphSettings())
        except PathwayError as error:
            refused.append((data.names[index], str(error)))
        else:
            kept.append(index)
    return replace(data.take(kept), refused=tuple(refused))
