"""From the hops of a material to the barrier of its easiest long-range way through.

A material's barrier in d dimensions is the lowest Em at which the hops up to it connect the crystal
to its periodic image in d dimensions. Its interval comes from draws: in each, every hop has an Em
from its own distribution, and the network percolates where it then does. Of several ways through
the best one wins, so a material with many of them may well be better than each of them is said to
be, and the interval leans that way.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from jobs.records import MaterialResult, ScoredHop
from models.metrics import GOOD_EV
from pathways.diffusion import log10_diffusivity_cm2_s, max_particle_nm
from pathways.lattice_vectors import Vector, direction_text, in_basis, plane_in_basis, plane_text
from pathways.percolation_draws import draw_percolation
from pathways.routes import Route, percolate
from pathways.space_group import CENTRING
from pathways.types import FloatArray

Triple = tuple[float, float, float]

HOST_CORRELATION = 0.17
"""Of the errors, in log(Em / eV + 0.1), of two hops of one ion in one host.

Intraclass correlation of held-out residuals, mean of 3 repeats of 5 folds by host: 556 literature
bands in 278 pairs of host and ion, 113 of which have more than one; Gaussian process and trees on
431 numbers. 95 % bootstrap interval over the pairs: 0.01 to 0.30.
"""

N_DRAWS = 200
OFFSET_EV = 0.1
"""Errors are even in log(Em + this), the scale that models learn (``models.barrier``)."""

_TAIL = 0.05
_WIDEST = 10.0
"""Half an interval, in the learned scale; what is wider is no number to reckon with."""

_NAN = float("nan")


@dataclass(frozen=True)
class Passage:
    """The easiest way through in so many dimensions."""

    em_ev: float = _NAN
    """Highest Em on it, eV; nan where the hops never percolate so."""
    em_low_ev: float = _NAN
    """Lower end of the 90 % interval, eV."""
    em_high_ev: float = _NAN
    """Upper end, eV."""
    limiting_hop_id: str | None = None
    """The hop whose Em that is."""
    hop_ids: tuple[str, ...] | None = None
    """All hops on it, the limiting one included."""
    directions: str | None = None
    """Such as ``[010]``, in the standard conventional cell; see ``pathways.routes.Route``."""
    plane: str | None = None
    """Such as ``(001)``; None where the ways are not all in one plane."""


@dataclass(frozen=True)
class Ranking:
    """What places a material among others; without arguments, of one that has no way through."""

    passages: tuple[Passage, Passage, Passage] = (Passage(), Passage(), Passage())
    """In 1, 2 and 3 dimensions."""
    p_good_1d: float = _NAN
    """Probability that the barrier in one dimension is <= 0.65 eV; nan without a way through."""
    applicability: float = _NAN
    """Least of the hops that a way through may use (Em up to the 1D barrier); nan without one."""
    log10_d_cm2_s: Triple = (_NAN, _NAN, _NAN)
    """Decadic logarithm of D at 300 K along the 1D way, cm^2/s, and the ends of its interval."""
    max_particle_nm: float = _NAN
    """Longest way in a particle that is filled in 2 h at 300 K, nm."""

    @property
    def em_ev(self) -> Triple:
        """Barrier in 1, 2 and 3 dimensions, eV, ascending; nan where the hops never percolate."""
        return self._triple("em_ev")

    @property
    def em_low_ev(self) -> Triple:
        """Lower ends of their intervals, eV."""
        return self._triple("em_low_ev")

    @property
    def em_high_ev(self) -> Triple:
        """Upper ends, eV."""
        return self._triple("em_high_ev")

    @property
    def dimension(self) -> int:
        """Highest dimension, 0-3, in which the predicted hops percolate."""
        return sum(math.isfinite(em_ev) for em_ev in self.em_ev)

    @property
    def dimension_at_065(self) -> int:
        """Highest dimension, 0-3, in which they do with Em <= 0.65 eV."""
        return sum(em_ev <= GOOD_EV for em_ev in self.em_ev)

    @property
    def limiting_hop_id(self) -> str | None:
        """The hop whose Em is the 1D barrier; None where there is no way through."""
        return self.passages[0].limiting_hop_id

    def _triple(self, name: str) -> Triple:
        first, second, third = (getattr(passage, name) for passage in self.passages)
        return first, second, third


def rank_material(result: MaterialResult) -> Ranking:
    """The ranking of a material from its scored hops; those without a barrier are left out."""
    hops = [scored for scored in result.hops if math.isfinite(scored.prediction.em_ev)]
    if result.network is None or not hops:
        return Ranking()
    orbits = [scored.hop.orbit for scored in hops]
    em_ev = _column(hops, "em_ev")
    routes = percolate(orbits, em_ev, result.network.crystal.lattice).routes
    if not routes:
        return Ranking()
    drawn_ev = draw_percolation(orbits, draw_barriers_ev(hops))
    centring = result.network.space_group[0]
    low_ev, high_ev = np.quantile(drawn_ev, [_TAIL, 1 - _TAIL], axis=0, method="hazen").tolist()
    passages = [
        _passage(route, hops, (low_ev[route.dimension - 1], high_ev[route.dimension - 1]), centring)
        for route in routes
    ]
    first, second, third = (passages + [Passage()] * 2)[:3]
    length_a = hops[routes[0].bottleneck].hop.length_a
    return Ranking(
        passages=(first, second, third),
        p_good_1d=float((drawn_ev[:, 0] <= GOOD_EV).mean()),
        applicability=float(_column(hops, "applicability")[em_ev <= first.em_ev].min()),
        log10_d_cm2_s=(
            log10_diffusivity_cm2_s(first.em_ev, length_a),
            log10_diffusivity_cm2_s(first.em_high_ev, length_a),
            log10_diffusivity_cm2_s(first.em_low_ev, length_a),
        ),
        max_particle_nm=max_particle_nm(first.em_ev, length_a),
    )


def draw_barriers_ev(hops: Sequence[ScoredHop]) -> FloatArray:
    """(``N_DRAWS``, n) barriers of hops of one ion in one host, eV; the same on every call.

    Each hop's are spread as its prediction says: a normal distribution in the learned scale, of one
    width above the prediction and another below, with the same 5 % and 95 % points. Between hops
    their order is correlated by ``HOST_CORRELATION``.
    """
    low, middle, high = (
        np.log(np.maximum(_column(hops, name), 0.0) + OFFSET_EV)
        for name in ("em_low_ev", "em_ev", "em_high_ev")
    )
    below, above = np.nan_to_num(middle - low), np.nan_to_num(high - middle)  # nan: not known
    scores = _correlated_scores(len(hops)) / NormalDist().inv_cdf(1 - _TAIL)
    drawn = middle + scores * np.where(scores < 0, below, above).clip(0.0, _WIDEST)
    barriers: FloatArray = np.maximum(np.exp(drawn) - OFFSET_EV, 0.0)
    return barriers


@functools.lru_cache(maxsize=64)
def _correlated_scores(n: int) -> FloatArray:
    """(``N_DRAWS``, n) normal numbers; every column holds the same ones in another order."""
    shared = np.random.default_rng(0).standard_normal((1, N_DRAWS))
    own = np.random.default_rng(1).standard_normal((n, N_DRAWS))
    mixed = math.sqrt(HOST_CORRELATION) * shared + math.sqrt(1 - HOST_CORRELATION) * own
    ranks = mixed.argsort(axis=1).argsort(axis=1)
    levels = (np.arange(N_DRAWS) + 0.5) / N_DRAWS
    return np.array([NormalDist().inv_cdf(level) for level in levels.tolist()])[ranks].T


def _passage(
    route: Route, hops: Sequence[ScoredHop], drawn_ev: tuple[float, float], centring: str
) -> Passage:
    """A route in words; its interval holds the barrier that the hops' own Em give."""
    low_ev, high_ev = drawn_ev
    directions = [_conventional(vector, centring) for vector in route.directions]
    return Passage(
        em_ev=route.em_ev,
        em_low_ev=min(low_ev, route.em_ev),
        em_high_ev=max(high_ev, route.em_ev),
        limiting_hop_id=hops[route.bottleneck].hop_id,
        hop_ids=tuple(hops[hop].hop_id for hop in route.hops),
        directions=direction_text(directions),
        plane=_plane_text(route.plane, centring) if route.plane else None,
    )


@functools.lru_cache(maxsize=4096)
def _conventional(vector: Vector, centring: str) -> Vector:
    """A lattice vector in the standard conventional cell; few occur, again and again."""
    return in_basis(vector, CENTRING[centring])


@functools.lru_cache(maxsize=4096)
def _plane_text(normal: Vector, centring: str) -> str:
    return plane_text(plane_in_basis(normal, CENTRING[centring]))


def _column(hops: Sequence[ScoredHop], name: str) -> FloatArray:
    return np.array([getattr(scored.prediction, name) for scored in hops], dtype=np.float64)
