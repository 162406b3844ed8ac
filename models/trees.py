"""Ensembles of regression trees: grown by scikit-learn, kept as arrays, predicted without it.

Extremely randomised trees (Geurts, Ernst and Wehenkel 2006, doi:10.1007/s10994-006-6226-1) or
gradient boosting (Friedman 2001). A shipped model must not hold a pickle, nor ask for scikit-learn
to predict; all nodes of all trees are a few flat arrays, and a prediction walks every row down
every tree at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pathways.types import FloatArray, IntArray

Growth = Literal["extra", "boosting"]
_ROWS = 4096
"""Rows walked at once: (rows, trees) indices stay within a core's cache for a few hundred trees."""


@dataclass(frozen=True)
class TreeSettings:
    """How trees are grown."""

    growth: Growth = "extra"
    trees: int = 200
    share: float = 0.33
    """Numbers looked at for each split, as a share of all."""
    leaf: int = 2
    """Least training rows in a leaf."""
    depth: int | None = None
    """Most splits from root to leaf; None grows until the leaves are small."""
    rate: float = 0.05
    """Weight of each boosted tree."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.growth not in ("extra", "boosting"):
            raise ValueError(f"growth is {self.growth!r}, must be 'extra' or 'boosting'")
        if self.trees < 1 or self.leaf < 1 or not 0 < self.share <= 1 or not self.rate > 0:
            raise ValueError(
                f"{self.trees} trees, leaf {self.leaf}, share {self.share:g}, rate {self.rate:g}: "
                "need at least 1, at least 1, in (0, 1], and positive"
            )


@dataclass(frozen=True, eq=False)
class TreeModel:
    """Grown trees; node indices run through all trees."""

    root: IntArray
    """(trees,), first node of each tree."""
    feature: npt.NDArray[np.int32]
    """(nodes,), number that a node looks at; a leaf looks at 0."""
    threshold: FloatArray
    """(nodes,), a row goes left where its number, in float32, is at most this."""
    left: npt.NDArray[np.int32]
    """(nodes,), next node; a leaf's is the leaf itself."""
    right: npt.NDArray[np.int32]
    """(nodes,), like ``left``."""
    value: FloatArray
    """(nodes,), share of the prediction; the tree's weight is in it."""
    offset: float
    """Prediction without any tree."""
    depth: int
    """Most splits from a root to a leaf."""
    size: int
    """Numbers in a row."""

    def __call__(self, rows: FloatArray) -> FloatArray:
        """(m,) predictions of (m, size) descriptors, as they come."""
        total: FloatArray = self.by_tree(rows).sum(axis=1) + self.offset
        return total

    def by_tree(self, rows: FloatArray) -> FloatArray:
        """(m, trees): what each tree adds to the prediction."""
        # scikit-learn compares float32 numbers with float64 thresholds.
        values = np.asarray(rows).astype(np.float32)
        if values.ndim != 2 or values.shape[1] != self.size:
            raise ValueError(f"rows {values.shape}, expected (m, {self.size})")
        found = [self._walk(values[i : i + _ROWS]) for i in range(0, len(values), _ROWS)]
        return np.concatenate(found) if found else np.empty((0, len(self.root)))

    def _walk(self, values: npt.NDArray[np.float32]) -> FloatArray:
        node = np.broadcast_to(self.root, (len(values), len(self.root)))
        row = np.arange(len(values))[:, None]
        for _ in range(self.depth):
            goes_left = values[row, self.feature[node]] <= self.threshold[node]
            node = np.where(goes_left, self.left[node], self.right[node])
        leaves: FloatArray = self.value[node]
        return leaves

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of the model as named arrays, for safetensors."""
        fields = ("root", "feature", "threshold", "left", "right", "value")
        return {
            **{name: np.ascontiguousarray(getattr(self, name)) for name in fields},
            "offset": np.array([self.offset]),
            "shape": np.array([self.depth, self.size]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> TreeModel:
        """The inverse of ``arrays``.

        Raises:
            KeyError: an array is missing.
            ValueError: the arrays do not belong together.
        """
        fields = {
            name: arrays[name]
            for name in ("root", "feature", "threshold", "left", "right", "value")
        }
        depth, size = arrays["shape"].tolist()
        nodes = len(fields["feature"])
        for name, array in fields.items():
            if name != "root" and array.shape != (nodes,):
                raise ValueError(f"tree array {name} is {array.shape}, expected ({nodes},)")
        for name, bound in (("root", nodes), ("left", nodes), ("right", nodes), ("feature", size)):
            found = fields[name]
            if len(found) and not 0 <= found.min() <= found.max() < bound:
                raise ValueError(f"tree array {name} points outside 0 to {bound - 1}")
        return cls(**fields, offset=float(arrays["offset"][0]), depth=depth, size=size)


def fit_trees(
    rows: FloatArray, target: FloatArray, settings: TreeSettings | None = None
) -> TreeModel:
    """Grow trees with scikit-learn and keep them as arrays.

    Args:
        rows: (n, d), descriptors as they come.
        target: (n,), such as log(Em / eV + 0.1).
        settings: how to grow them.
    """
    return export(_grow(rows, target, settings or TreeSettings()))


def _grow(rows: FloatArray, target: FloatArray, settings: TreeSettings) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor

    common: dict[str, Any] = {
        "n_estimators": settings.trees,
        "max_features": settings.share,
        "min_samples_leaf": settings.leaf,
        "max_depth": settings.depth,
        "random_state": settings.seed,
    }
    if settings.growth == "extra":
        return ExtraTreesRegressor(**common).fit(rows, target)
    boosted = {**common, "max_depth": settings.depth or 4, "subsample": 0.6}
    return GradientBoostingRegressor(learning_rate=settings.rate, **boosted).fit(rows, target)


def export(forest: Any) -> TreeModel:
    """A fitted scikit-learn ensemble as arrays.

    Args:
        forest: ``ExtraTreesRegressor``, ``RandomForestRegressor`` or, with the squared error and
            its default start, ``GradientBoostingRegressor``; one target.
    """
    if hasattr(forest, "learning_rate"):
        trees = [tree.tree_ for tree in forest.estimators_[:, 0]]
        weight, offset = float(forest.learning_rate), float(forest.init_.constant_[0, 0])
    else:
        trees = [tree.tree_ for tree in forest.estimators_]
        weight, offset = 1.0 / len(trees), 0.0
    root = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    feature, threshold, left, right, value = [], [], [], [], []
    for tree, first in zip(trees, root, strict=True):
        own = np.arange(tree.node_count)
        leaf = tree.children_left < 0
        feature.append(np.where(leaf, 0, tree.feature))
        threshold.append(np.where(leaf, 0.0, tree.threshold))
        left.append(first + np.where(leaf, own, tree.children_left))
        right.append(first + np.where(leaf, own, tree.children_right))
        value.append(weight * tree.value[:, 0, 0])
    return TreeModel(
        root=root,
        feature=np.concatenate(feature).astype(np.int32),
        threshold=np.concatenate(threshold),
        left=np.concatenate(left).astype(np.int32),
        right=np.concatenate(right).astype(np.int32),
        value=np.concatenate(value),
        offset=offset,
        depth=max(tree.max_depth for tree in trees),
        size=int(forest.n_features_in_),
    )
