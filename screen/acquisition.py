"""Which barrier to compute next: what knowing it may bring, and what computing it costs.

A predicted barrier is spread as ``screen.ranking`` draws it: in u = log(Em / eV + 0.1) a normal
distribution of one width above the prediction and another below, with the same 5 % and 95 % points
as its interval. The cost is the user's price of one image of 100 atoms, scaled by the number of
images and atoms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from models.metrics import GOOD_EV
from pathways.elements import atomic_number
from pathways.supercell import BandSettings, determinant, find_supercell
from pathways.types import Crystal, FloatArray
from screen.ranking import OFFSET_EV

Strategy = Literal["top", "uncertainty", "expected-improvement"]

NEB_WIDTH_A = 10.0
"""Least distance between opposite faces of the supercell that a barrier is computed in, Å."""
NEB_IMAGES = 5
"""Images between the two ends where the user does not say."""
COST_EXPONENT = 2.5
"""Of the number of atoms: an assumption, between the square of small plane-wave calculations and
the cube of large ones."""
_PRICED_ATOMS = 100
_MOST_ATOMS = 10_000
_Z95 = float(ndtri(0.95))
_WIDEST = 10.0
_NARROWEST = 1e-9
"""Widths in u: what is wider is no number to reckon with, what is narrower is certain."""


@dataclass(frozen=True, eq=False)
class Barriers:
    """Predicted barriers with their 90 % intervals, (n,) each, eV; nan: an end is not known."""

    em_ev: FloatArray
    low_ev: FloatArray
    high_ev: FloatArray

    @property
    def middle(self) -> FloatArray:
        """(n,) medians in u."""
        return _learned(self.em_ev)

    @property
    def below(self) -> FloatArray:
        """(n,) standard deviations in u of the lower half; 0 where the end is not known."""
        return _width(self.middle - _learned(self.low_ev))

    @property
    def above(self) -> FloatArray:
        """(n,) standard deviations in u of the upper half."""
        return _width(_learned(self.high_ev) - self.middle)

    @property
    def sigma(self) -> FloatArray:
        """(n,) standard deviations in u, of both halves together."""
        sigma: FloatArray = (self.below + self.above) / 2
        return sigma

    def chance_below(self, threshold_ev: float) -> FloatArray:
        """(n,) probability that Em is at most the threshold."""
        gap = _learned(np.array(threshold_ev)) - self.middle
        width = np.maximum(np.where(gap < 0, self.below, self.above), _NARROWEST)
        chance: FloatArray = np.where(gap == 0, 0.5, ndtr(gap / width))
        return chance


def lowest(barriers: Barriers, threshold_ev: float = GOOD_EV) -> FloatArray:
    """(n,) the lower the barrier, the better; eV. The threshold plays no part."""
    return -barriers.em_ev


def uncertainty(barriers: Barriers, threshold_ev: float = GOOD_EV) -> FloatArray:
    """(n,) how open it is on which side of the threshold a barrier lies, in u.

    That is sigma exp(-((u - u_threshold) / sigma)^2 / 2): large where the spread is wide and the
    prediction is near.
    """
    sigma = np.maximum(barriers.sigma, _NARROWEST)
    gap = barriers.middle - _learned(np.array(threshold_ev))
    score: FloatArray = np.where(
        barriers.sigma > _NARROWEST, sigma * np.exp(-((gap / sigma) ** 2) / 2), 0.0
    )
    return score


def expected_improvement(barriers: Barriers, threshold_ev: float = GOOD_EV) -> FloatArray:
    """(n,) mean of how far Em lies under the threshold, 0 where it lies above; eV.

    E[max(threshold - Em, 0)] (Jones, Schonlau and Welch 1998, doi:10.1023/A:1008306431147) over the
    two halves of the distribution; what reaches below 0 eV counts as 0 eV.
    """
    middle, top = barriers.middle, threshold_ev + OFFSET_EV
    below = np.maximum(barriers.below, _NARROWEST)
    above = np.maximum(barriers.above, _NARROWEST)
    floor = np.minimum((np.log(OFFSET_EV) - middle) / below, 0.0)
    at_zero = threshold_ev * ndtr(floor)
    to_top = np.minimum((np.log(top) - middle) / below, 0.0)
    lower = _gain(top, middle, below, floor, np.maximum(to_top, floor))
    beyond = np.maximum((np.log(top) - middle) / above, 0.0)
    upper = _gain(top, middle, above, np.zeros_like(beyond), beyond)
    gain: FloatArray = np.maximum(at_zero + lower + upper, 0.0)
    return gain


SCORES: dict[Strategy, Callable[[Barriers, float], FloatArray]] = {
    "top": lowest,
    "uncertainty": uncertainty,
    "expected-improvement": expected_improvement,
}
"""How each strategy judges barriers against a threshold, both in eV: more is better."""


def node_hours(atoms: int, images: int, per_image: float) -> float:
    """Price of one barrier: all images and both ends, each as (atoms / 100)^2.5.

    Args:
        atoms: of the supercell with the ion.
        images: between the two ends.
        per_image: node-hours that one image of 100 atoms takes until it is relaxed.
    """
    return float((images + 2) * (atoms / _PRICED_ATOMS) ** COST_EXPONENT * per_image)


@dataclass(frozen=True)
class NebCell:
    """What a hop is to be computed in."""

    supercell: tuple[int, ...]
    """9 integers, row by row, of the symmetrised primitive crystal."""
    atoms: int
    """With the ion."""


def neb_cell(crystal: Crystal, ion: str, mechanism: str, length_a: float) -> NebCell:
    """The smallest supercell at least 10 Å wide, and twice the hop's length.

    Args:
        crystal: symmetrised, primitive, all sites of the ion filled.
        ion: element symbol.
        mechanism: ``vacancy`` or ``dilute``, see ``pathways.types.MECHANISMS``.
        length_a: of the hop, Å.

    Raises:
        PathwayError: ``too_many_atoms`` where it would hold more than 10,000.
    """
    width_a = BandSettings(min_width_a=NEB_WIDTH_A).required_width_a(length_a)
    matrix = find_supercell(crystal.lattice, width_a, _MOST_ATOMS // len(crystal))
    supercell = tuple(int(entry) for entry in matrix.ravel())
    cells = determinant(supercell)
    if mechanism == "dilute":
        host = int((crystal.numbers != atomic_number(ion)).sum())
        return NebCell(supercell, cells * host + 1)
    return NebCell(supercell, cells * len(crystal) - 1)


def _learned(em_ev: FloatArray) -> FloatArray:
    """Barriers in eV in the scale that errors are even in."""
    learned: FloatArray = np.log(np.maximum(em_ev, 0.0) + OFFSET_EV)
    return learned


def _width(to_quantile: FloatArray) -> FloatArray:
    width: FloatArray = (np.nan_to_num(to_quantile) / _Z95).clip(0.0, _WIDEST)
    return width


def _gain(
    top: float, middle: FloatArray, width: FloatArray, begin: FloatArray, end: FloatArray
) -> FloatArray:
    """Integral of top - exp(middle + width z) over the normal density of z, begin to end."""
    flat = top * (ndtr(end) - ndtr(begin))
    rising = np.exp(middle + width**2 / 2) * (ndtr(end - width) - ndtr(begin - width))
    gain: FloatArray = flat - rising
    return gain
