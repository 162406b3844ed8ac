"""Whether hops connect a crystal to its periodic images, and up to which barrier that takes.

A union-find over the sites carries for every site the cell in which a walk from its root arrives.
An edge inside one component closes a cycle; the cell it ends in, if not the starting one, is a
lattice vector that the ion can travel. The number of independent such vectors of a component is the
dimension in which it percolates. All of this is exact integer arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pathways.types import IntArray

_Vector = tuple[int, int, int]
_ORIGIN: _Vector = (0, 0, 0)


class PeriodicUnion:
    """Sites joined by hops, with the lattice vectors that closed walks cover."""

    def __init__(self) -> None:
        self.dimension = 0
        """Highest dimension of any connected component so far, 0-3."""
        self._parent: dict[int, int] = {}
        self._offset: dict[int, _Vector] = {}  # cell of a site relative to its parent's
        self._size: dict[int, int] = {}
        self._cycles: dict[int, list[_Vector]] = {}

    def add(self, edges: IntArray) -> None:
        """Join sites; ``edges`` (m, 5) holds i, j and the image of j."""
        for i, j, a, b, c in edges.tolist():
            self._join(i, j, (a, b, c))

    def _find(self, site: int) -> tuple[int, _Vector]:
        """Root of a site and the cell of the site as seen from the root; flattens the path."""
        if site not in self._parent:
            self._parent[site], self._offset[site] = site, _ORIGIN
            self._size[site], self._cycles[site] = 1, []
        path = []
        while self._parent[site] != site:
            path.append(site)
            site = self._parent[site]
        offset = _ORIGIN
        for below in reversed(path):
            offset = _add(offset, self._offset[below])
            self._parent[below], self._offset[below] = site, offset
        return site, offset

    def _join(self, i: int, j: int, image: _Vector) -> None:
        root, cell_i = self._find(i)
        other, cell_j = self._find(j)
        gap = _subtract(_add(cell_i, image), cell_j)  # from root's cell to other's
        if root != other:
            if self._size[root] < self._size[other]:
                root, other, gap = other, root, _subtract(_ORIGIN, gap)
            self._parent[other], self._offset[other] = root, gap
            self._size[root] += self._size[other]
            found = self._cycles.pop(other)
        else:
            found = [gap]
        cycles = self._cycles[root]
        for cycle in found:
            if _independent(cycles, cycle):
                cycles.append(cycle)
        self.dimension = max(self.dimension, len(cycles))


def percolation_dimension(edges: IntArray) -> int:
    """Dimension, 0-3, in which hops connect the crystal to its images.

    Args:
        edges: (m, 5), i, j and image of j for every hop of the primitive cell.
    """
    union = PeriodicUnion()
    union.add(np.reshape(edges, (-1, 5)))
    return union.dimension


def percolation_barriers(
    orbits: Sequence[IntArray], em_ev: npt.ArrayLike
) -> tuple[float, float, float]:
    """Lowest barrier at which the hops up to it percolate in 1, 2 and 3 dimensions.

    Args:
        orbits: one (m, 5) array per hop, as in ``Hop.orbit``.
        em_ev: (n,), migration barrier of each hop, eV; hops without a finite one are left out.

    Returns:
        ``em_1d <= em_2d <= em_3d``, eV; nan where the hops never percolate so far.

    Raises:
        ValueError: as many barriers as orbits were expected.
    """
    barriers = np.asarray(em_ev, dtype=np.float64)
    if barriers.shape != (len(orbits),):
        raise ValueError(
            f"barriers of shape {barriers.shape} for {len(orbits)} orbits, expected one each"
        )
    thresholds = [np.nan, np.nan, np.nan]
    union = PeriodicUnion()
    for hop in np.argsort(barriers, kind="stable"):
        if not np.isfinite(barriers[hop]):
            continue
        reached = union.dimension
        union.add(orbits[hop])
        thresholds[reached : union.dimension] = [float(barriers[hop])] * (union.dimension - reached)
        if union.dimension == 3:
            break
    return thresholds[0], thresholds[1], thresholds[2]


def _add(u: _Vector, v: _Vector) -> _Vector:
    return u[0] + v[0], u[1] + v[1], u[2] + v[2]


def _subtract(u: _Vector, v: _Vector) -> _Vector:
    return u[0] - v[0], u[1] - v[1], u[2] - v[2]


def _cross(u: _Vector, v: _Vector) -> _Vector:
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


def _independent(basis: list[_Vector], vector: _Vector) -> bool:
    """Whether a vector lies outside the span of up to three independent ones."""
    if len(basis) == 3:
        return False
    if not basis:
        return vector != _ORIGIN
    if len(basis) == 1:
        return _cross(basis[0], vector) != _ORIGIN
    normal = _cross(basis[0], basis[1])
    return sum(n * v for n, v in zip(normal, vector, strict=True)) != 0
