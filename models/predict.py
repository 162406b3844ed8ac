"""Bands in, migration barriers in eV out: the only door that ``jobs`` uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """Migration barrier of one hop with its uncertainty."""

    em_ev: float
    """Migration barrier Em, eV."""
    em_std_ev: float
    """Standard deviation, eV."""
    em_low_ev: float
    """Lower end of the 90 % interval, eV."""
    em_high_ev: float
    """Upper end of the 90 % interval, eV."""
    p_good: float
    """Probability that Em <= 0.65 eV."""
    applicability: float
    """0 (unlike anything the model was trained on) to 1 (well inside)."""
