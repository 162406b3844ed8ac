"""Barriers by interatomic potentials, corrected by what DFT says of some of the same hops.

Universal potentials underestimate high energies, barriers among them, and do so systematically
(Deng et al., npj Comput. Mater. 2025, doi:10.1038/s41524-024-01500-6), so that a line fitted
to few pairs takes much of the error away: ``corrected = slope * barrier + offset``.

Fewer than ``LEAST_POINTS`` pairs tell nothing of it. Even then a slope from few pairs, or from
pairs close together, is worse than none, so it is drawn to 1 by as much as it is uncertain: the
mean of the slope found and a prior of 1 ± 0.3, weighted by their variances. What a narrow set
cannot tell is left to the offset. Slope and offset are medians (repeated medians, Siegel,
Biometrika 1982, 69, 242, doi:10.1093/biomet/69.1.242), since one band on another path must not turn
the line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_POINTS = 5
"""Pairs without which nothing is corrected."""
_PRIOR = 0.3
"""Standard deviation of slopes about 1 that is taken for granted."""
_LEAST_SIGMA_EV = 0.01
"""No two codes' bands agree better: how far relaxation leaves them from the saddle."""
_TO_SIGMA = 1.4826
"""From the median of absolute deviations to the standard deviation of a normal distribution."""

PAIRS_SQL = """
with latest as (
    select hop_id, method, label, reference_ev from labelled_barriers
    where converged and reference_ev is not null
    qualify row_number() over (
        partition by hop_id, method, label order by imported_at desc, source) = 1
), dft as (
    select hop_id, label, arg_max(b.reference_ev, b.imported_at) as reference_ev
    from labelled_barriers b
    where method not like 'ase:%' and converged and reference_ev is not null
        and label is not null
    group by all
)
select m.method, d.label, m.reference_ev, d.reference_ev
from latest m join dft d using (hop_id)
where m.method like 'ase:%'
order by m.method, d.label, m.hop_id
"""
"""Calculator, functional of the DFT barrier, and both barriers, eV, of hops that have both."""


@dataclass(frozen=True)
class Correction:
    """A line, and how well it does on pairs that were left out of its fit, each in turn."""

    slope: float
    offset_ev: float
    sigma_ev: float
    """Of a corrected barrier about DFT's: 1.48 times the median error on pairs left out."""
    n_points: int
    mae_raw_ev: float
    """Mean absolute error of the barriers as they are."""
    mae_corrected_ev: float
    """The same corrected, each by a line fitted to the other pairs."""

    @property
    def helps(self) -> bool:
        """Whether corrected barriers were closer to DFT's than the raw ones."""
        return self.mae_corrected_ev < self.mae_raw_ev

    def corrected_ev(self, raw_ev: float) -> float:
        """A barrier corrected, eV, never below 0."""
        return max(0.0, self.slope * raw_ev + self.offset_ev)


def fit_correction(raw_ev: ArrayLike, reference_ev: ArrayLike) -> Correction | None:
    """The correction that pairs of barriers ask for.

    Args:
        raw_ev: (n,), by the potential, eV, all finite.
        reference_ev: (n,), by DFT of the same hops, eV.

    Returns:
        None where there are fewer than ``LEAST_POINTS``.
    """
    x, y = np.asarray(raw_ev, float), np.asarray(reference_ev, float)
    if len(x) < LEAST_POINTS:
        return None
    slope, offset_ev = _line(x, y)
    errors_ev = np.array([_error_left_out(x, y, at) for at in range(len(x))])
    return Correction(
        slope=slope,
        offset_ev=offset_ev,
        sigma_ev=max(_LEAST_SIGMA_EV, _TO_SIGMA * float(np.median(np.abs(errors_ev)))),
        n_points=len(x),
        mae_raw_ev=float(np.abs(x - y).mean()),
        mae_corrected_ev=float(np.abs(errors_ev).mean()),
    )


def corrections(pairs: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str], Correction]:
    """The correction of each calculator to each functional that has enough pairs.

    Args:
        pairs: rows of ``PAIRS_SQL``.
    """
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for method, functional, raw_ev, reference_ev in pairs:
        groups.setdefault((method, functional), []).append((raw_ev, reference_ev))
    fitted = {key: fit_correction(*np.array(found).T) for key, found in groups.items()}
    return {key: one for key, one in fitted.items() if one is not None}


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset."""
    slope = 1.0
    spread = float(((x - x.mean()) ** 2).sum())
    if spread > 0:
        found = _repeated_median(x, y)
        residuals = y - found * x
        scatter = np.abs(residuals - np.median(residuals))
        sigma_ev = _TO_SIGMA * float(np.median(scatter)) * math.sqrt(len(x) / (len(x) - 2))
        # Of medians the variance is π/2 that of means.
        variance = math.pi / 2 * max(_LEAST_SIGMA_EV, sigma_ev) ** 2 / spread
        slope += _PRIOR**2 / (_PRIOR**2 + variance) * (found - 1)
    return slope, float(np.median(y - slope * x))


def _repeated_median(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Median over points of the median slope to all others; not all ``x`` are alike."""
    runs, rises = x[:, None] - x[None], y[:, None] - y[None]
    slopes = np.full(runs.shape, np.nan)
    np.divide(rises, runs, out=slopes, where=runs != 0)
    known = [np.median(row[np.isfinite(row)]) for row in slopes if np.isfinite(row).any()]
    return float(np.median(known))


def _error_left_out(x: NDArray[np.float64], y: NDArray[np.float64], at: int) -> float:
    """Of one point, by the line through the others, eV."""
    slope, offset_ev = _line(np.delete(x, at), np.delete(y, at))
    return float(max(0.0, slope * x[at] + offset_ev) - y[at])
