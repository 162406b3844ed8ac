"""Percolation of one network of hops under many draws of their barriers.

Which hop is the bottleneck depends on the order of the barriers alone, so draws of one order share
one search. That search is ``percolation_barriers`` once more, made for speed: only as many edges
as it takes to connect what an orbit connects, and a cell as one integer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pathways.lattice_vectors import ORIGIN, Span, Vector
from pathways.percolation import PeriodicUnion
from pathways.types import FloatArray, IntArray

_Edge = tuple[int, int, int]
"""Site, site, and the cell of the second seen from the first as one integer."""

_BITS = 40
_HALF = 1 << (_BITS - 1)
_EMPTY = Span()


def draw_percolation(orbits: Sequence[IntArray], em_ev: FloatArray) -> FloatArray:
    """Barriers in 1, 2 and 3 dimensions of every draw: ``percolation_barriers``, row by row.

    Args:
        orbits: one (m, 5) array per hop, as in ``Hop.orbit``.
        em_ev: (draws, n), migration barrier of each hop, eV; all finite.

    Returns:
        (draws, 3), ``em_1d <= em_2d <= em_3d``, eV; nan where the hops never percolate so far.

    Raises:
        ValueError: as many barriers as orbits were expected in every draw.
    """
    if em_ev.ndim != 2 or em_ev.shape[1] != len(orbits):
        raise ValueError(
            f"barriers of shape {em_ev.shape} for {len(orbits)} orbits, expected (draws, orbits)"
        )
    search = _Search(orbits)
    known: dict[tuple[int, ...], list[int]] = {}
    bottlenecks = np.empty((len(em_ev), 3), dtype=np.int64)
    for draw, order in enumerate(np.argsort(em_ev, axis=1, kind="stable").tolist()):
        key = tuple(order)
        if key not in known:
            known[key] = search.bottlenecks(order)
        bottlenecks[draw] = known[key]
    with_none = np.column_stack([em_ev, np.full(len(em_ev), np.nan)])  # where -1 points to
    return np.take_along_axis(with_none, bottlenecks, axis=1)


class _Search:
    """Finds the bottlenecks of a network for one order of its hops after the other."""

    def __init__(self, orbits: Sequence[IntArray]) -> None:
        sites = sorted({site for orbit in orbits for site in orbit[:, :2].ravel().tolist()})
        index = {site: k for k, site in enumerate(sites)}
        self._n = len(sites)
        self._edges = [_skeleton(orbit, index) for orbit in orbits]
        whole = PeriodicUnion()
        for orbit in orbits:
            whole.add(orbit)
        self._most = whole.dimension
        self._widened: dict[tuple[Span, int], Span] = {}

    def bottlenecks(self, order: Sequence[int]) -> list[int]:
        """The hops at which the network percolates in 1, 2 and 3 dimensions; -1 for never."""
        root, cell = list(range(self._n)), [0] * self._n
        members, span = [[site] for site in range(self._n)], [_EMPTY] * self._n
        found = [-1, -1, -1]
        reached = 0
        for hop in order if self._most else ():
            for i, j, image in self._edges[hop]:
                low, high = root[i], root[j]
                gap = cell[i] + image - cell[j]  # from low's cell to high's
                if low == high:
                    if not gap:
                        continue
                    wider = self._wider(span[low], gap)
                else:
                    if len(members[low]) < len(members[high]):
                        low, high, gap = high, low, -gap
                    for site in members[high]:
                        root[site] = low
                        cell[site] += gap
                    members[low] += members[high]
                    wider = span[low].joined(span[high]) if span[high].rank else span[low]
                span[low] = wider
                while reached < wider.rank:
                    found[reached] = hop
                    reached += 1
            if reached == self._most:
                break
        return found

    def _wider(self, span: Span, gap: int) -> Span:
        key = (span, gap)
        if key not in self._widened:
            self._widened[key] = span.with_vector(_unpacked(gap))
        return self._widened[key]


def _skeleton(orbit: IntArray, index: dict[int, int]) -> list[_Edge]:
    """A few edges that connect what an orbit connects, and whose cycles span the same."""
    union = PeriodicUnion()
    union.add(orbit)
    edges = []
    for site in union.sites():
        root, cell = union.find(site)
        if site != root:
            edges.append((index[root], index[site], _packed(cell)))
    for root, span in union.components().items():
        edges += [(index[root], index[root], _packed(vector)) for vector in span.vectors()]
    return edges


def _packed(vector: Vector) -> int:
    """A vector as an integer; sums of vectors are sums of these."""
    return (vector[0] << 2 * _BITS) + (vector[1] << _BITS) + vector[2]


def _unpacked(packed: int) -> Vector:
    found = list(ORIGIN)
    for k in (2, 1):
        found[k] = (packed + _HALF) % (2 * _HALF) - _HALF
        packed = (packed - found[k]) >> _BITS
    return packed, found[1], found[2]
