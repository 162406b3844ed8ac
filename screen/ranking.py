"""From the hops of a material to the barrier of its easiest long-range way through.

A material's barrier in d dimensions is the lowest Em at which the hops up to it connect the crystal
to its periodic image in d dimensions. It is a bottleneck, hence monotone in every hop's Em, so the
same construction on the lower (upper) ends of all hops' 90 % intervals gives an interval that holds
where all errors go one way at once; where they are independent it is wider than it need be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jobs.records import MaterialResult, ScoredHop
from pathways.percolation import percolation_barriers

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Ranking:
    """What places a material among others."""

    em_ev: Triple
    """Barrier in 1, 2 and 3 dimensions, eV, ascending; nan where the hops never percolate so."""
    em_low_ev: Triple
    """Lower ends of their intervals, eV."""
    em_high_ev: Triple
    """Upper ends, eV."""
    dimension: int
    """Highest dimension, 0-3, in which the predicted hops percolate."""
    limiting_hop_id: str | None
    """The hop whose Em is the 1D barrier; None where there is no way through."""
    applicability: float
    """Least of the hops that a way through may use (Em up to the 1D barrier); nan without one."""


def rank_material(result: MaterialResult) -> Ranking:
    """The ranking of a material from its scored hops; those without a barrier are left out."""
    hops = result.hops
    orbits = [scored.hop.orbit for scored in hops]
    em_ev = _column(hops, "em_ev")
    barriers = percolation_barriers(orbits, em_ev)
    dimension = int(np.isfinite(barriers).sum())
    limiting = None
    applicability = float("nan")
    if dimension > 0:
        limiting = hops[int(np.flatnonzero(em_ev == barriers[0])[0])].hop_id
        applicability = float(_column(hops, "applicability")[em_ev <= barriers[0]].min())
    return Ranking(
        em_ev=barriers,
        em_low_ev=percolation_barriers(orbits, _column(hops, "em_low_ev")),
        em_high_ev=percolation_barriers(orbits, _column(hops, "em_high_ev")),
        dimension=dimension,
        limiting_hop_id=limiting,
        applicability=applicability,
    )


def _column(hops: tuple[ScoredHop, ...], name: str) -> np.ndarray:
    return np.array([getattr(scored.prediction, name) for scored in hops], dtype=np.float64)
