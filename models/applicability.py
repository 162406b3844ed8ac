"""How much of a band the model has seen before: a number between 0 (nothing) and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.graph import BandGraph

_CLOSE_A = 1.2
"""Straight chords that pass an atom closer than this are a poor picture of the path."""
_ENOUGH = 5.0
"""Training bands after which an element counts as half known."""


@dataclass(frozen=True)
class Applicability:
    """What the training set held, by atomic number."""

    ions: dict[int, int]
    """Training bands of each mobile ion."""
    elements: dict[int, int]
    """Training bands in whose graph each element occurs."""
    lengths_a: tuple[float, float]
    """1st and 99th percentile of the hop lengths, Å."""

    def __call__(self, graph: BandGraph) -> float:
        """Product of four shares: ion known, rarest element known, length inside, chord clear."""
        ion = known_share(self.ions.get(int(graph.numbers[0]), 0))
        present = np.unique(graph.numbers)
        rarest = min(known_share(self.elements.get(int(number), 0)) for number in present)
        low, high = self.lengths_a
        beyond = max(low - graph.length_a, graph.length_a - high, 0.0)
        return float(ion * rarest * np.exp(-beyond) * chord_clear(graph.clearance_a))


def chord_clear(clearance_a: float) -> float:
    """1 for a straight chord with room, towards 0 for one that runs through an atom."""
    return min(clearance_a / _CLOSE_A, 1.0)


def known_share(count: int) -> float:
    """0 for what the training graphs never held, towards 1 for what many hold."""
    return count / (count + _ENOUGH)


def fit_applicability(graphs: Sequence[BandGraph]) -> Applicability:
    """Count what the training graphs hold."""
    ions: dict[int, int] = {}
    elements: dict[int, int] = {}
    for graph in graphs:
        ion = int(graph.numbers[0])
        ions[ion] = ions.get(ion, 0) + 1
        for number in np.unique(graph.numbers).tolist():
            elements[number] = elements.get(number, 0) + 1
    low, high = np.percentile([graph.length_a for graph in graphs], [1, 99])
    return Applicability(
        dict(sorted(ions.items())), dict(sorted(elements.items())), (float(low), float(high))
    )
