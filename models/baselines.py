"""Classical baselines: what few numbers of a hop and a standard learner give on the same folds.

Numbers: composition alone, path geometry alone, both, both with the radial distribution of the
host around the path, and all of these with the curved path. Learners: a support vector machine, a
Gaussian process, extremely randomised trees, and the mean of the latter two, which err differently.
All learn log(Em / eV + 0.1), and fit every scale in the fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from models.barrier import TARGET_OFFSET_EV
from models.calibration import to_ev
from models.compare import Predicted
from models.descriptors import image_distances_a
from models.kernel import fit_kernel
from models.numbers import COMPOSITION, GEOMETRY, SIZE, SURROUNDINGS, number_groups, path_numbers
from models.trees import TreeSettings, fit_trees
from pathways.curved import NAMES
from pathways.types import Band, FloatArray, IntArray

Numbers = Literal["composition", "geometry", "both", "surroundings", "curved"]
Learner = Literal["svr", "gp", "trees", "blend"]

_MOST_SPREADS = 4.0
_SVR_EPSILON, _SVR_C, _SVR_GAMMA = 0.1, (1.0, 3.0, 10.0), (0.3, 1.0, 3.0, 10.0)
"""Tube, and what is tried inside each fold: penalties, and widths times the count of numbers."""
_INNER_FOLDS = 4


COLUMNS: Mapping[Numbers, IntArray] = {
    "composition": COMPOSITION,
    "geometry": GEOMETRY,
    "both": np.concatenate([GEOMETRY, COMPOSITION]),
    "surroundings": SURROUNDINGS,
    "curved": np.arange(SIZE),
}
"""Which of the numbers that ``describe`` gives a baseline sees."""


def describe(bands: Sequence[Band]) -> FloatArray:
    """(n, ``SIZE``) numbers of bands, see ``models.numbers``."""
    return np.array([_numbers(band) for band in bands]).reshape(len(bands), SIZE)


@lru_cache(maxsize=4096)
def _numbers(band: Band) -> FloatArray:
    """Kept, since every baseline asks for the same bands in every fold."""
    return path_numbers(band, image_distances_a(band.folded))


@dataclass(frozen=True)
class Baseline:
    """One choice of numbers with one learner; a ``compare.System``."""

    numbers: Numbers
    learner: Learner
    seed: int = 0

    @property
    def name(self) -> str:
        """Such as ``svr-geometry``."""
        return f"{self.learner}-{self.numbers}"

    @property
    def settings(self) -> str:
        """See ``compare.System``."""
        return repr((self, SIZE, NAMES, TreeSettings(), _SVR_EPSILON, _SVR_C, _SVR_GAMMA))

    def fit_predict(
        self, train: Sequence[Band], em_ev: FloatArray, test: Sequence[Band]
    ) -> Predicted:
        """See ``compare.System``."""
        chosen = COLUMNS[self.numbers]
        seen, unseen = describe(train)[:, chosen], describe(test)[:, chosen]
        target = np.log(em_ev + TARGET_OFFSET_EV)
        if self.learner == "svr":
            return Predicted(to_ev(_support_vectors(seen, target, unseen)))
        if self.learner == "trees":
            return Predicted(to_ev(self._trees(seen, target, unseen)))
        _, groups = np.unique(number_groups()[chosen], return_inverse=True)
        mean, std = fit_kernel(seen, target, groups)(unseen)
        if self.learner == "blend":
            mean = (mean + self._trees(seen, target, unseen)) / 2
        # d Em = (Em + 0.1 eV) d log(Em / eV + 0.1).
        return Predicted(to_ev(mean), std * (to_ev(mean) + TARGET_OFFSET_EV))

    def _trees(self, seen: FloatArray, target: FloatArray, unseen: FloatArray) -> FloatArray:
        return fit_trees(seen, target, TreeSettings(seed=self.seed))(unseen)


def _support_vectors(seen: FloatArray, target: FloatArray, unseen: FloatArray) -> FloatArray:
    """Predictions of the machine that does best on folds of the training rows."""
    from sklearn.model_selection import GridSearchCV, KFold
    from sklearn.svm import SVR

    centre, spread = seen.mean(axis=0), seen.std(axis=0)
    varies = spread > 1e-6
    scaled = [
        np.clip((x[:, varies] - centre[varies]) / spread[varies], -_MOST_SPREADS, _MOST_SPREADS)
        for x in (seen, unseen)
    ]
    gamma = [width / max(int(varies.sum()), 1) for width in _SVR_GAMMA]
    search = GridSearchCV(
        SVR(epsilon=_SVR_EPSILON),
        {"C": _SVR_C, "gamma": gamma},
        scoring="neg_mean_absolute_error",
        cv=KFold(_INNER_FOLDS, shuffle=True, random_state=0),
    )
    predicted: FloatArray = search.fit(scaled[0], target).predict(scaled[1])
    return predicted


_NUMBERS: tuple[Numbers, ...] = ("composition", "geometry", "both", "surroundings", "curved")
_LEARNERS: tuple[Learner, ...] = ("svr", "gp", "trees")

BASELINES: Mapping[str, Baseline] = {
    system.name: system
    for system in (
        *(Baseline(numbers, learner) for numbers in _NUMBERS for learner in _LEARNERS),
        Baseline("curved", "blend"),
    )
}
"""All by name."""
