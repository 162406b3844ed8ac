"""A Gaussian process on descriptors, with one length scale for each group of numbers.

The kernel is Matern 3/2 (Rasmussen and Williams 2006, eq. 4.17) of one distance,
``r^2 = sum over groups g of D_g / l_g^2``, where ``D_g`` is the mean squared difference of the
standardised numbers of group g. A group whose numbers say nothing gets a long scale and drops out;
one scale per group instead of one per number is what a few hundred examples can pay for. The
scales, the amplitude and the noise maximise the marginal likelihood under a weak prior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve
from scipy.optimize import minimize

from pathways.types import FloatArray, IntArray

_ROOT3 = np.sqrt(3.0)
_MOST_SPREADS = 4.0
"""Standardised numbers are cut here: a strange path must not leave the training set behind."""
_CONSTANT = 1e-6
"""A number that spreads less than this in training says nothing and gets no weight."""
_PRIOR_LOG_LENGTH = (0.7, 1.0)
"""Mean and spread of log(length scale): a scale of about 2 spreads, a factor of e either way."""
_STEPS = 60


@dataclass(frozen=True, eq=False)
class KernelModel:
    """A fitted Gaussian process: all that its predictions need, as plain arrays."""

    names: tuple[str, ...]
    """Training entries."""
    centre: FloatArray
    """(d,), mean of each number in training."""
    weight: FloatArray
    """(d,), 1 / (spread x length scale x root of the group's size); 0 for constant numbers."""
    limit: FloatArray
    """(d,), a weighted number is cut to plus or minus this."""
    rows: FloatArray
    """(n, d), weighted training rows: their plain Euclidean distance is r."""
    dual: FloatArray
    """(n,), K^-1 (target - offset)."""
    inverse: FloatArray
    """(n, n), K^-1 with the noise in K."""
    offset: float
    """Mean of the training targets."""
    amplitude: float
    """Prior variance."""
    noise: float
    """Variance of the noise."""
    lengths: FloatArray
    """(groups,), length scales in spreads."""

    def __call__(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (noise included) of the target.

        Args:
            rows: (m, d), descriptors as they come, not standardised.

        Returns:
            (m,) and (m,).
        """
        cross = self.amplitude * self._similarity(rows)
        explained = ((cross @ self.inverse) * cross).sum(axis=1)
        variance = np.maximum(self.amplitude - explained, 0.0) + self.noise
        return self.offset + cross @ self.dual, np.sqrt(variance)

    def mean_and_nearest(self, rows: FloatArray) -> tuple[FloatArray, list[str], FloatArray]:
        """The mean alone, and the most similar training entry of each row, from one comparison.

        Args:
            rows: (m, d), descriptors as they come.

        Returns:
            The (m,) mean; the entries' names; and the (m,) prior correlation with them: 1 for the
            entry itself, towards 0 for what is like nothing in the training set.
        """
        similarity = self._similarity(rows)
        best = similarity.argmax(axis=1)
        mean = self.offset + self.amplitude * similarity @ self.dual
        return mean, [self.names[i] for i in best], similarity[np.arange(len(best)), best]

    def nearest(self, rows: FloatArray) -> tuple[list[str], FloatArray]:
        """Names and likeness of ``mean_and_nearest``."""
        return self.mean_and_nearest(rows)[1:]

    def left_out(self, groups: Sequence[str] | IntArray) -> FloatArray:
        """(n,) prediction of every training row without its whole group, hyperparameters kept.

        The residuals of a group G are ``(K^-1)_GG^-1 (K^-1 y)_G`` (Rasmussen and Williams 2006,
        eq. 5.12, for blocks), so no model has to be fitted again.
        """
        target = np.linalg.solve(self.inverse, self.dual) + self.offset
        labels = np.asarray(groups)
        predicted = np.empty_like(target)
        for label in np.unique(labels):
            out = np.flatnonzero(labels == label)
            residual = solve(self.inverse[np.ix_(out, out)], self.dual[out], assume_a="pos")
            predicted[out] = target[out] - residual
        return predicted

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of the model as named arrays, for safetensors."""
        scalars = np.array([self.offset, self.amplitude, self.noise])
        fields = ("centre", "weight", "limit", "rows", "dual", "inverse", "lengths")
        return {
            "names": np.frombuffer("\n".join(self.names).encode(), dtype=np.uint8),
            "scalars": scalars,
            **{name: np.ascontiguousarray(getattr(self, name)) for name in fields},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> KernelModel:
        """The inverse of ``arrays``.

        Raises:
            KeyError: an array is missing.
            ValueError: the arrays do not belong together.
        """
        names = tuple(bytes(arrays["names"]).decode().split("\n"))
        n, d = arrays["rows"].shape
        expected = {"centre": (d,), "weight": (d,), "limit": (d,), "dual": (n,), "inverse": (n, n)}
        for key, shape in expected.items():
            if arrays[key].shape != shape:
                raise ValueError(f"kernel array {key} is {arrays[key].shape}, expected {shape}")
        if len(names) != n:
            raise ValueError(f"{len(names)} names of training entries for {n} rows")
        offset, amplitude, noise = arrays["scalars"].tolist()
        fields = {key: arrays[key] for key in (*expected, "rows", "lengths")}
        return cls(names=names, offset=offset, amplitude=amplitude, noise=noise, **fields)

    def _similarity(self, rows: FloatArray) -> FloatArray:
        weighted = (np.asarray(rows) - self.centre) * self.weight
        weighted = np.clip(weighted, -self.limit, self.limit)
        return _matern(_squared_distances(weighted, self.rows))


def fit_kernel(
    rows: FloatArray,
    target: FloatArray,
    groups: IntArray,
    names: Sequence[str] | None = None,
) -> KernelModel:
    """Fit length scales, amplitude and noise, and condition on the training rows.

    Args:
        rows: (n, d), descriptors as they come.
        target: (n,), such as log(Em / eV + 0.1).
        groups: (d,), group of each number, 0 to g - 1, such as ``baselines.number_groups`` gives.
        names: (n,), of the training entries, for ``nearest``; their numbers by default.

    Raises:
        ValueError: sizes that do not match, numbers that are not finite, fewer than 3 rows.
    """
    rows, target = np.asarray(rows, dtype=float), np.asarray(target, dtype=float)
    if rows.ndim != 2 or len(rows) < 3 or target.shape != rows[:, 0].shape:
        raise ValueError(f"rows {rows.shape}, target {target.shape}, expected (n > 2, d) and (n,)")
    if groups.shape != (rows.shape[1],):
        raise ValueError(f"groups {groups.shape}, expected ({rows.shape[1]},)")
    if not (np.isfinite(rows).all() and np.isfinite(target).all()):
        raise ValueError("a descriptor or target is not a finite number")
    labels = tuple(names) if names is not None else tuple(str(i) for i in range(len(rows)))
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(spread > _CONSTANT, 1.0 / np.maximum(spread, _CONSTANT), 0.0)
    sizes = np.bincount(groups, weights=scale > 0)
    scale /= np.sqrt(np.maximum(sizes[groups], 1.0))
    limit = _MOST_SPREADS / np.sqrt(np.maximum(sizes[groups], 1.0))
    standard = np.clip((rows - centre) * scale, -limit, limit)
    offset = float(target.mean())
    distances = np.stack(
        [
            _squared_distances(standard[:, groups == g], standard[:, groups == g])
            for g in range(len(sizes))
        ]
    )
    lengths, amplitude, noise = _hyperparameters(distances, target - offset)
    limit, weight, weighted = (x / lengths[groups] for x in (limit, scale, standard))
    covariance = amplitude * _matern(_squared_distances(weighted, weighted))
    covariance[np.diag_indices_from(covariance)] += noise
    inverse: FloatArray = cho_solve(cho_factor(covariance, lower=True), np.eye(len(rows)))
    dual = inverse @ (target - offset)
    return KernelModel(
        labels,
        centre,
        weight,
        limit,
        weighted,
        dual,
        inverse,
        offset,
        amplitude,
        noise,
        lengths,
    )


def _hyperparameters(distances: FloatArray, target: FloatArray) -> tuple[FloatArray, float, float]:
    """Length scales (g,), amplitude and noise from the (g, n, n) squared distances by group."""
    variance = max(float(target.var()), 1e-12)
    n_groups = len(distances)
    start = np.concatenate(
        [np.full(n_groups, _PRIOR_LOG_LENGTH[0]), np.log([variance, 0.2 * variance])]
    )
    bounds = [
        *[(-3.0, 6.0)] * n_groups,
        (np.log(variance) - 4, np.log(variance) + 4),
        (np.log(variance) - 9, np.log(variance) + 1),
    ]
    result = minimize(
        _loss,
        start,
        args=(distances, target),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _STEPS},
    )
    lengths: FloatArray = np.exp(result.x[:n_groups])
    return lengths, float(np.exp(result.x[-2])), float(np.exp(result.x[-1]))


def _loss(logs: FloatArray, distances: FloatArray, target: FloatArray) -> tuple[float, FloatArray]:
    """Negative log posterior of the hyperparameters and its gradient."""
    n, n_groups = len(target), len(distances)
    amplitude, noise = np.exp(logs[n_groups]), np.exp(logs[n_groups + 1])
    shares = np.exp(-2.0 * logs[:n_groups])
    squares = np.tensordot(shares, distances, axes=1)
    covariance = amplitude * _matern(squares)
    covariance[np.diag_indices(n)] += noise
    factor = cho_factor(covariance, lower=True)
    inverse = cho_solve(factor, np.eye(n))
    dual = inverse @ target
    gap = (logs[:n_groups] - _PRIOR_LOG_LENGTH[0]) / _PRIOR_LOG_LENGTH[1]
    value = 0.5 * target @ dual + np.log(np.diag(factor[0])).sum() + 0.5 * (gap**2).sum()
    inner = np.outer(dual, dual) - inverse
    # d k / d log l_g = 3 a exp(-sqrt(3) r) D_g / l_g^2, without a division by r.
    pull = 3.0 * amplitude * np.exp(-_ROOT3 * np.sqrt(squares)) * inner
    gradient = np.empty_like(logs)
    by_group = np.tensordot(distances, pull, axes=([1, 2], [0, 1]))
    gradient[:n_groups] = -0.5 * shares * by_group + gap / _PRIOR_LOG_LENGTH[1]
    explained = float(dual @ target - noise * dual @ dual)
    gradient[n_groups] = -0.5 * (explained - (n - noise * np.trace(inverse)))
    gradient[n_groups + 1] = -0.5 * noise * np.trace(inner)
    return float(value), gradient


def _matern(squares: FloatArray) -> FloatArray:
    scaled = _ROOT3 * np.sqrt(squares)
    correlation: FloatArray = (1.0 + scaled) * np.exp(-scaled)
    return correlation


def _squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    squares: FloatArray = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.maximum(squares, 0.0)
