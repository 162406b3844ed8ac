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
from models.descriptors import SIZE, image_distances_a, path_descriptor
from models.kernel import fit_kernel
from models.trees import TreeSettings, fit_trees
from pathways.curved import NAMES, curved_features
from pathways.types import Band, FloatArray, IntArray

Numbers = Literal["composition", "geometry", "both", "surroundings", "curved"]
Learner = Literal["svr", "gp", "trees", "blend"]

# The blocks of ``path_descriptor``: for each of three species a radial distribution and the nearest
# distances, then length and density of the framework, then ion and framework by element.
_N_SPECIES, _N_SHELLS, _N_NEAREST, _N_HOP, _N_ELEMENT = 3, 56, 8, 2, 92
_SPECIES = np.repeat(np.arange(_N_SPECIES), _N_SHELLS + _N_NEAREST)
_IS_NEAREST = np.tile(np.repeat([False, True], [_N_SHELLS, _N_NEAREST]), _N_SPECIES)
_START_ION = len(_SPECIES) + _N_HOP
_CURVED_PATHS = ("best", "from_chord", "chord")
_MOST_SPREADS = 4.0
_SVR_EPSILON, _SVR_C, _SVR_GAMMA = 0.1, (1.0, 3.0, 10.0), (0.3, 1.0, 3.0, 10.0)
"""Tube, and what is tried inside each fold: penalties, and widths times the count of numbers."""
_INNER_FOLDS = 4


def number_groups() -> IntArray:
    """Group of each number that ``describe`` gives, for the kernel's length scales.

    0 to 2: the surroundings by species (anions, moving species, others); 3: length and density;
    4: the ion; 5: the framework's composition; 6: the ends in the radii's potential; 7 to 9: the
    best path, that from the chord, and the chord in it.
    """
    straight = np.repeat([3, 4, 5], [_N_HOP, _N_ELEMENT, _N_ELEMENT])
    curved = [
        next((7 + i for i, path in enumerate(_CURVED_PATHS) if name.startswith(path)), 6)
        for name in NAMES
    ]
    return np.concatenate([_SPECIES, straight, np.array(curved)])


def columns(numbers: Numbers) -> IntArray:
    """Which of the numbers that ``describe`` gives a baseline sees."""
    geometry = [*np.flatnonzero(_IS_NEAREST), *range(len(_SPECIES), _START_ION)]
    composition = list(range(_START_ION, SIZE))
    chosen = {
        "composition": composition,
        "geometry": geometry,
        "both": [*geometry, *composition],
        "surroundings": range(SIZE),
        "curved": range(SIZE + len(NAMES)),
    }
    return np.array(chosen[numbers], dtype=np.int64)


def describe(bands: Sequence[Band]) -> FloatArray:
    """(n, ``SIZE`` + curved) numbers of bands: ``path_descriptor``, then ``curved_features``."""
    return np.array([_numbers(band) for band in bands]).reshape(len(bands), SIZE + len(NAMES))


@lru_cache(maxsize=4096)
def _numbers(band: Band) -> FloatArray:
    """Kept, since every baseline asks for the same bands in every fold."""
    crystal = band.folded
    straight = path_descriptor(crystal, image_distances_a(crystal))
    return np.concatenate([straight, curved_features(crystal)])


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
        chosen = columns(self.numbers)
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
