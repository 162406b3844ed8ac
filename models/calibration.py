"""What an error is worth: from held-out residuals to standard deviations, intervals, probabilities.

Everything is measured on predictions of bands (and, for the stored calibration, of host groups)
that the predicting network had not seen, in the learned scale u = log(Em / eV + 0.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.barrier import TARGET_OFFSET_EV
from models.graph import BandGraph
from models.metrics import GOOD_EV
from pathways.types import FloatArray, IntArray

_QUANTILES = 201
_LARGEST = 100.0
_FLOOR = 0.03
"""Residuals smaller than this, in u, teach nothing about the scale of the error."""


@dataclass(frozen=True)
class Calibration:
    """Scale of the error by features of the band, and the distribution of the scaled error."""

    scale: tuple[float, ...]
    """Coefficients of log(scale) on ``features``."""
    quantiles: tuple[float, ...]
    """Quantiles 0..1, evenly spaced, of the held-out residuals divided by their sigma."""

    def sigma(self, features: FloatArray, spread: FloatArray | float = 0.0) -> FloatArray:
        """(n,) spread of u: the expected error of such bands and, of members, the disagreement."""
        expected: FloatArray = np.exp(features @ np.array(self.scale))
        return np.hypot(expected, spread)

    def interval_ev(
        self, mean: FloatArray, sigma: FloatArray, coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Ends of the central interval, eV; never below 0."""
        tail = (1.0 - coverage) / 2
        low, high = np.quantile(self.quantiles, [tail, 1.0 - tail])
        return to_ev(mean + low * sigma), to_ev(mean + high * sigma)

    def median_ev(self, mean: FloatArray) -> FloatArray:
        """(n,) barrier, eV: the median of the predicted distribution."""
        return to_ev(mean)

    def std_ev(self, mean: FloatArray, sigma: FloatArray) -> FloatArray:
        """Standard deviation, eV, of the predicted distribution without its outer 1 % tails."""
        inner = np.quantile(self.quantiles, np.linspace(0.01, 0.99, 99))
        spread: FloatArray = to_ev(mean[:, None] + sigma[:, None] * inner).std(axis=1)
        return spread

    def p_good(self, mean: FloatArray, sigma: FloatArray) -> FloatArray:
        """(n,) probability that Em <= 0.65 eV."""
        threshold = (np.log(GOOD_EV + TARGET_OFFSET_EV) - mean) / sigma
        levels = np.linspace(0.0, 1.0, len(self.quantiles))
        chance: FloatArray = np.interp(threshold, self.quantiles, levels)
        return chance


def to_ev(target: FloatArray) -> FloatArray:
    """The learned scale as barriers in eV, never negative."""
    bounded = np.minimum(target, _LARGEST)  # what hardly trained networks say may not be finite
    barrier: FloatArray = np.maximum(np.exp(bounded) - TARGET_OFFSET_EV, 0.0)
    return barrier


def features(graphs: Sequence[BandGraph], mean: FloatArray) -> FloatArray:
    """(n, 4) ``error_features`` of graphs and their predicted u."""
    length_a = np.array([graph.length_a for graph in graphs])
    clearance_a = np.array([graph.clearance_a for graph in graphs])
    return error_features(length_a, clearance_a, mean)


def error_features(length_a: FloatArray, clearance_a: FloatArray, mean: FloatArray) -> FloatArray:
    """(n, 4): 1, predicted u, hop length / 4 Å, clearance / 2 Å; what an error depends on."""
    room = np.clip(clearance_a, 0, 3) / 2
    return np.stack([np.ones(len(mean)), mean, np.clip(length_a, 1, 9) / 4, room], axis=1)


def calibrate(
    feature_rows: FloatArray, residual: FloatArray, spread: FloatArray | float = 0.0
) -> Calibration:
    """Fit the scale by least squares on log |residual|, then take the scaled residuals as they are.

    Args:
        feature_rows: (n, k), such as ``features`` gives.
        residual: (n,) reference u minus held-out prediction.
        spread: (n,) disagreement of networks that had not seen the band; 0 for other models.
    """
    log_error = np.log(np.maximum(np.abs(residual), _FLOOR))
    coefficients, *_ = np.linalg.lstsq(feature_rows, log_error, rcond=None)
    scale = tuple(float(c) for c in coefficients)
    sigma = Calibration(scale, (0.0,)).sigma(feature_rows, spread)
    # (n + 1)-corrected ends, as in split conformal prediction (Vovk et al. 2005).
    z = np.sort(residual / sigma)
    z = np.concatenate([[z[0] * 1.05], z, [z[-1] * 1.05]])
    quantiles = np.quantile(z, np.linspace(0, 1, _QUANTILES))
    return Calibration(scale, tuple(float(q) for q in quantiles))


def cross_fitted_intervals_ev(
    feature_rows: FloatArray,
    target: FloatArray,
    mean: FloatArray,
    spread: FloatArray,
    folds: IntArray,
) -> tuple[FloatArray, FloatArray]:
    """90 % intervals of every band from a calibration that never saw its fold, eV."""
    low, high = np.empty_like(mean), np.empty_like(mean)
    for fold in np.unique(folds):
        out = folds == fold
        fitted = calibrate(feature_rows[~out], (target - mean)[~out], spread[~out])
        sigma = fitted.sigma(feature_rows[out], spread[out])
        low[out], high[out] = fitted.interval_ev(mean[out], sigma)
    return low, high
