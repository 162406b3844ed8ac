"""The systems that a comparison holds against each other, by name.

A new one is one entry of ``SYSTEMS``: a function of the options that makes a ``compare.System``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np

from models.alignn import TrunkConfig
from models.barrier import BarrierConfig, Variant
from models.baselines import BASELINES
from models.calibration import to_ev
from models.checkpoint import ModelError
from models.compare import Predicted, System, Unavailable
from models.dataset import LabelledBands
from models.ensemble import Recipe
from models.finetune import Start, load_source
from models.graph import GraphSettings, build_graph
from models.precision import route_matmuls
from models.properties import is_property_model
from models.train import FitSettings, fit, predict_targets
from pathways.types import Band, FloatArray, PathwayError

_DROPOUT = 0.3
_ENVIRONMENT_A = 4.5


@dataclass(frozen=True)
class Pretrained:
    """A network of bulk properties that systems start from."""

    start: Start
    trunk: TrunkConfig
    graph: GraphSettings


def read_pretrained(folder: Path) -> Pretrained:
    """The start that a folder of ``screen train pretrain`` gives: all of its trunk, none frozen.

    Raises:
        models.checkpoint.ModelError: it holds no property network, or one that cannot be read.
    """
    if not is_property_model(folder):
        raise ModelError(
            f"{folder}: no pre-trained network, expected a folder of `screen train pretrain`"
        )
    source = load_source(folder)
    return Pretrained(Start(str(folder.absolute()), source.model_id), source.trunk, source.graph)


@dataclass(frozen=True)
class SystemOptions:
    """What a user may ask of the systems that take long."""

    epochs: int = 40
    trunk: TrunkConfig = field(default_factory=lambda: TrunkConfig(1, 1, width=32, embedding=32))
    """Of the networks that start from random weights; the publication's is ``TrunkConfig()``."""
    graph: GraphSettings = field(default_factory=GraphSettings)
    """Of the same; what a network reads of a band is its own."""
    device: str = "cpu"
    pretrained: Pretrained | None = None
    """What the ``-mpt`` systems start from; they have its sizes and graphs."""


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
    """One barrier network, trained on the bands of the fold."""

    name: str
    recipe: Recipe
    """Its graphs, sizes, schedule and start; folds and repeats are the comparison's."""
    device: str = field(default="cpu", compare=False)

    @property
    def settings(self) -> str:
        """See ``compare.System``."""
        schedule = self.recipe.fit
        if schedule.start is not None:
            # Its id names the weights; where they lie decides nothing.
            schedule = replace(schedule, start=replace(schedule.start, folder=""))
        return repr((self.recipe.graph, self.recipe.network, schedule))

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


@dataclass(frozen=True)
class Absent:
    """A system that the options leave out."""

    name: str
    reason: str
    settings: str = ""

    def fit_predict(
        self, train: Sequence[Band], em_ev: FloatArray, test: Sequence[Band]
    ) -> Predicted:
        """See ``compare.System``."""
        raise Unavailable(self.reason)


def _scratch(variant: Variant | None) -> Callable[[SystemOptions], System]:
    """A network from random weights; without a variant, our local network."""

    def make(options: SystemOptions) -> System:
        fit_settings = FitSettings(epochs=options.epochs)
        recipe = _recipe(variant, options.graph, options.trunk, fit_settings)
        return Network(f"{variant or 'path'}-scratch", recipe, options.device)

    return make


def _pretrained(variant: Variant | None) -> Callable[[SystemOptions], System]:
    """The same network and schedule, with the trunk of a pre-trained one at the start."""
    name = f"{variant or 'path'}-mpt"

    def make(options: SystemOptions) -> System:
        given = options.pretrained
        if given is None:
            return Absent(
                name,
                "no pre-trained network is given; make one with `screen train pretrain` and pass "
                "its folder as --pretrained",
            )
        fit_settings = FitSettings(epochs=options.epochs, start=given.start)
        return Network(
            name, _recipe(variant, given.graph, given.trunk, fit_settings), options.device
        )

    return make


def _recipe(
    variant: Variant | None, graph: GraphSettings, trunk: TrunkConfig, fit_settings: FitSettings
) -> Recipe:
    """A system of arXiv 2508.06436, or ours: the surroundings of the path, read out along it."""
    environment_a = _ENVIRONMENT_A if variant is None else None
    return Recipe(
        replace(graph, environment_a=environment_a),
        BarrierConfig(trunk, variant=variant, dropout=_DROPOUT),
        fit_settings,
    )


def _ready(system: System) -> Callable[[SystemOptions], System]:
    """A system that has no options."""
    return lambda _: system


SYSTEMS: Mapping[str, Callable[[SystemOptions], System]] = {
    "median": _ready(Median()),
    "path-scratch": _scratch(None),
    **{f"{variant}-scratch": _scratch(variant) for variant in get_args(Variant)},
    "path-mpt": _pretrained(None),
    **{f"{variant}-mpt": _pretrained(variant) for variant in get_args(Variant)},
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
