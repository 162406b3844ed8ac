"""A Gaussian process and trees on a path's numbers, averaged: the model that ships.

They err differently: the process smooths between similar paths, the trees cut where one number
decides. Their mean, in log(Em / eV + 0.1), beats either and, on a few hundred literature barriers,
every network tried. The process also knows the training entry that a path is most like; that
likeness scales the expected error and, less where the straight chord runs into an atom, is the
applicability. The model keeps the numbers and labels it was trained on, so that it can be fitted
again with more of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.applicability import chord_clear
from models.barrier import TARGET_OFFSET_EV
from models.calibration import Calibration, features
from models.estimate import Estimate
from models.graph import BandGraph, GraphSettings
from models.kernel import KernelModel, fit_kernel
from models.numbers import number_groups
from models.trees import TreeModel, TreeSettings, fit_trees
from pathways.types import FloatArray

GRAPH = GraphSettings(parts="numbers")
"""What a blend reads of a band."""
_ARRAYS = ("numbers", "length_a", "clearance_a", "em_ev")
_WORDS = ("names", "groups", "xc")
"""Fields of ``Rows``."""
_THE_SAME = 1.0 - 1e-6
"""Likeness of a band to itself, written another way."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Bands as numbers, with their labels: all that a blend learns from."""

    numbers: FloatArray
    """(n, ``numbers.SIZE``), as they come."""
    length_a: FloatArray
    """(n,), Å."""
    clearance_a: FloatArray
    """(n,), Å."""
    em_ev: FloatArray
    """(n,), eV."""
    names: tuple[str, ...]
    groups: tuple[str, ...]
    """Host formula without the mobile ion."""
    xc: tuple[str, ...]
    """Functional of each label; empty where it is not known."""

    def __len__(self) -> int:
        return len(self.em_ev)

    @property
    def target(self) -> FloatArray:
        """(n,), log(Em / eV + 0.1)."""
        target: FloatArray = np.log(np.maximum(self.em_ev, 0.0) + TARGET_OFFSET_EV)
        return target

    def take(self, kept: Sequence[int]) -> Rows:
        """Some of the rows, by their indices."""
        chosen = list(kept)
        some: dict[str, Any] = {key: getattr(self, key)[chosen] for key in _ARRAYS}
        some |= {key: tuple(getattr(self, key)[i] for i in chosen) for key in _WORDS}
        return Rows(**some)

    def __add__(self, other: Rows) -> Rows:
        both: dict[str, Any] = {
            key: np.concatenate([getattr(self, key), getattr(other, key)]) for key in _ARRAYS
        }
        both |= {key: getattr(self, key) + getattr(other, key) for key in _WORDS}
        return Rows(**both)


class Told(NamedTuple):
    """What voters say of some bands."""

    mean: FloatArray
    """(m,), log(Em / eV + 0.1)."""
    nearest: list[str]
    """(m,), the training entry most alike."""
    likeness: FloatArray
    """(m,), to that entry, 0 to 1."""


@dataclass(frozen=True, eq=False)
class Voters:
    """The fitted pair."""

    kernel: KernelModel
    trees: TreeModel

    def __call__(self, numbers: FloatArray) -> Told:
        """What they say of (m, ``numbers.SIZE``) numbers."""
        mean, nearest, likeness = self.kernel.mean_and_nearest(numbers)
        return Told((mean + self.trees(numbers)) / 2, nearest, likeness)


def fit_voters(rows: Rows, seed: int = 0) -> Voters:
    """Fit both on all rows; every scale is fitted here."""
    kernel = fit_kernel(rows.numbers, rows.target, number_groups(), rows.names)
    return Voters(kernel, fit_trees(rows.numbers, rows.target, TreeSettings(seed=seed)))


@dataclass(frozen=True, eq=False)
class Blend:
    """The model that ships: voters, what is known of their errors, and what they learnt from."""

    name: str
    graph: GraphSettings
    voters: Voters
    calibration: Calibration
    least_likeness: float
    """Of the training bands when they were held out, to what was left."""
    rows: Rows

    def estimate(self, graphs: Sequence[BandGraph]) -> Estimate:
        """See ``models.estimate.BarrierModel``."""
        numbers = np.stack([_numbers(graph) for graph in graphs])
        told = self.voters(numbers)
        sigma = self.sigma(features(graphs, told.mean), told.likeness)
        clear = np.array([chord_clear(graph.clearance_a) for graph in graphs])
        return Estimate(told.mean, sigma, told.likeness * clear, told.nearest)

    def sigma(self, rows: FloatArray, likeness: FloatArray) -> FloatArray:
        """(n,) expected error by what it depends on (n, 4) and the likeness.

        What is like nothing counts as the least alike of the training bands: errors are not known
        to go on growing, and intervals of 30 eV help nobody.
        """
        bounded = np.maximum(likeness, self.least_likeness)
        return self.calibration.sigma(np.column_stack([rows, bounded]))

    def known(self, graphs: Sequence[BandGraph]) -> int:
        """How many of the bands are training entries, whatever their labels and names."""
        _, likeness = self.voters.kernel.nearest(np.stack([_numbers(graph) for graph in graphs]))
        return int((likeness > _THE_SAME).sum())

    def config(self) -> dict[str, Any]:
        """See ``models.estimate.BarrierModel``."""
        words = {key: list(getattr(self.rows, key)) for key in _WORDS}
        return {"least_likeness": self.least_likeness, **words}

    def weights(self) -> dict[str, Tensor]:
        """See ``models.estimate.BarrierModel``."""
        arrays = {f"kernel.{key}": value for key, value in self.voters.kernel.arrays().items()}
        arrays |= {f"trees.{key}": value for key, value in self.voters.trees.arrays().items()}
        for key in _ARRAYS:
            arrays[f"rows.{key}"] = getattr(self.rows, key)
        return {key: torch.from_numpy(value.copy()) for key, value in arrays.items()}

    @classmethod
    def restore(
        cls,
        name: str,
        graph: GraphSettings,
        calibration: Calibration,
        config: Mapping[str, Any],
        weights: Mapping[str, Tensor],
    ) -> Blend:
        """From what the folder holds.

        Raises:
            KeyError, TypeError, ValueError: config or weights are not of one model.
        """
        if graph.parts != "numbers":
            raise ValueError(f"graphs of {graph.parts!r} for a model that reads 'numbers'")
        parts: dict[str, dict[str, Any]] = {"kernel": {}, "trees": {}, "rows": {}}
        for key, value in weights.items():
            part, _, rest = key.partition(".")
            parts[part][rest] = value.cpu().numpy()
        labels: dict[str, Any] = {key: tuple(config[key]) for key in _WORDS}
        rows = Rows(**parts["rows"], **labels)
        if any(len(one) != len(rows) for one in (*parts["rows"].values(), *labels.values())):
            raise ValueError("the training entries do not belong together")
        voters = Voters(
            KernelModel.from_arrays(parts["kernel"]), TreeModel.from_arrays(parts["trees"])
        )
        return cls(name, graph, voters, calibration, float(config["least_likeness"]), rows)


def _numbers(graph: BandGraph) -> FloatArray:
    if graph.parts != "numbers" or graph.descriptor is None:
        raise ValueError(
            f"a graph of parts {graph.parts!r}, the model reads 'numbers'; "
            "build graphs with the model's own settings"
        )
    return graph.descriptor
