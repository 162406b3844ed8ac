"""Scenarios of generalisation: what of a held-out band a model has not met before.

An unseen pathway of a known structure (A), an unseen composition of a known framework (B), unseen
chemistry (C); after arXiv 2508.06436. In B and C, as in group folds, no host formula is on both
sides, so that the charged and the discharged state of one host stay together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.dataset import LabelledBands, group_folds
from models.descriptors import REACH_A, image_distances_a
from pathways.elements import SYMBOLS
from pathways.types import N_IMAGES, Band, FloatArray, IntArray

_SAME_PATH_A = 0.05
_NEAREST = 4
_MIN_TEST = 5
_MIN_TRAIN_SHARE = 0.5
_NON_METALS = frozenset({"H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "Te", "I"})


@dataclass(frozen=True, eq=False)
class Fold:
    """One way to hold bands out; indices into the labelled bands, both ascending."""

    name: str
    train: IntArray
    test: IntArray


def unseen_pathway(data: LabelledBands, structures: Sequence[str], k: int, seed: int) -> list[Fold]:
    """Scenario A: every held-out path is new, but its structure has another path in training.

    Structures with one path always train. Paths whose lengths and nearest distances agree within
    0.05 Å in the same host count as one path.
    """
    paths = _paths(data)
    folds = np.full(len(data), -1)
    rng = np.random.default_rng(seed)
    of_structure = _members(structures)
    for structure in rng.permutation(sorted(of_structure)):
        own = np.unique(paths[of_structure[structure]])
        if len(own) > 1:
            start = rng.integers(k)
            for turn, path in enumerate(rng.permutation(own)):
                members = paths == path
                folds[members & (folds < 0)] = (start + turn) % k
    return _where_known(folds, structures, "a", k)


def unseen_composition(
    data: LabelledBands, frameworks: Sequence[str], k: int, seed: int
) -> list[Fold]:
    """Scenario B: every held-out host is new, but another host of its framework is in training."""
    return _where_known(group_folds(data.groups, k, seed), frameworks, "b", k)


def _where_known(folds: IntArray, context: Sequence[str], letter: str, k: int) -> list[Fold]:
    """Folds that test only what has company of the same context in training."""
    names = np.array(context)
    found = []
    for fold in range(k):
        train = np.flatnonzero(folds != fold)
        test = np.flatnonzero((folds == fold) & np.isin(names, names[train]))
        if len(test):
            found.append(Fold(f"scenario-{letter}-{fold}", train, test))
    return found


def unseen_chemistry(data: LabelledBands, labels: Sequence[frozenset[str]]) -> list[Fold]:
    """Scenario C: one fold per label; its bands are held out, and their hosts do not train.

    Labels of fewer than 5 bands, or that leave less than half of the bands to train on, have none.

    Args:
        data: the bands.
        labels: of each band, such as its elements or its structural class.
    """
    groups = np.array(data.groups)
    found = []
    for label in sorted(frozenset().union(*labels)):
        held = np.array([label in own for own in labels])
        train = np.flatnonzero(~(held | np.isin(groups, groups[held])))
        if held.sum() >= _MIN_TEST and len(train) >= _MIN_TRAIN_SHARE * len(data):
            found.append(Fold(f"without {label}", train, np.flatnonzero(held)))
    return found


def elements_of(band: Band) -> frozenset[str]:
    """The moving ion and every element of the host."""
    return frozenset(SYMBOLS[z] for z in {band.ion_number, *band.host_numbers.tolist()})


def anion_class(band: Band) -> frozenset[str]:
    """The non-metals of the host as one label: ``O`` an oxide, ``O-P`` a phosphate."""
    return frozenset({"-".join(sorted(elements_of(band) & _NON_METALS)) or "none"})


def _paths(data: LabelledBands) -> IntArray:
    """(n,) which path each band is; images of one path in one host share a number."""
    rows = [_path_profile(band) for band in data.bands]
    paths = np.arange(len(data))
    ions = [band.ion_number for band in data.bands]
    for members in _members(list(zip(data.groups, ions, strict=True))).values():
        for i in members:
            for j in members[members > i]:
                if np.abs(rows[i] - rows[j]).max() < _SAME_PATH_A:
                    paths[paths == paths[j]] = paths[i]
    return paths


def _path_profile(band: Band) -> FloatArray:
    """Length and nearest host distances at ends, quarters and middle, Å; as of the reverse."""
    distances = image_distances_a(band.folded)[:, :, N_IMAGES:]
    near = distances.transpose(1, 0, 2).reshape(N_IMAGES, -1)
    near = np.concatenate([near, np.full((N_IMAGES, _NEAREST), REACH_A)], axis=1)
    near = np.sort(near, axis=1)[:, :_NEAREST]
    return np.append((near + near[::-1])[:3].ravel() / 2, band.length_a)


def _members(labels: Sequence[Any]) -> dict[Any, IntArray]:
    found: dict[Any, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        found[label].append(index)
    return {label: np.array(indices) for label, indices in found.items()}
