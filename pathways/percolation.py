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

from pathways.lattice_vectors import ORIGIN, Span, Vector, add, subtract
from pathways.types import FloatArray, IntArray


class PeriodicUnion:
    """Sites joined by hops, with the lattice vectors that closed walks cover."""

    def __init__(self) -> None:
        self.dimension = 0
        """Highest dimension of any connected component so far, 0-3."""
        self._parent: dict[int, int] = {}
        self._offset: dict[int, Vector] = {}  # cell of a site relative to its parent's
        self._size: dict[int, int] = {}
        self._span: dict[int, Span] = {}

    def add(self, edges: IntArray) -> None:
        """Join sites; ``edges`` (m, 5) holds i, j and the image of j."""
        for i, j, a, b, c in edges.tolist():
            self.join(i, j, (a, b, c))

    def join(self, i: int, j: int, image: Vector) -> Vector | None:
        """Join two sites; the lattice vector of the closed walk if they already were, else None."""
        root, cell_i = self.find(i)
        other, cell_j = self.find(j)
        gap = subtract(add(cell_i, image), cell_j)  # from root's cell to other's
        if root == other:
            self._span[root] = self._span[root].with_vector(gap)
            self.dimension = max(self.dimension, self._span[root].rank)
            return gap
        if self._size[root] < self._size[other]:
            root, other, gap = other, root, subtract(ORIGIN, gap)
        self._parent[other], self._offset[other] = root, gap
        self._size[root] += self._size[other]
        self._span[root] = self._span[root].joined(self._span.pop(other))
        self.dimension = max(self.dimension, self._span[root].rank)
        return None

    def find(self, site: int) -> tuple[int, Vector]:
        """Root of a site and the cell of the site as seen from the root; flattens the path."""
        if site not in self._parent:
            self._parent[site], self._offset[site] = site, ORIGIN
            self._size[site], self._span[site] = 1, Span()
        path = []
        while self._parent[site] != site:
            path.append(site)
            site = self._parent[site]
        offset = ORIGIN
        for below in reversed(path):
            offset = add(offset, self._offset[below])
            self._parent[below], self._offset[below] = site, offset
        return site, offset

    def components(self) -> dict[int, Span]:
        """What the closed walks of each component span, by the component's root."""
        return dict(self._span)

    def sites(self) -> list[int]:
        """All sites of any hop so far."""
        return list(self._parent)


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
    barriers, hops = cheapest_first(orbits, em_ev)
    thresholds = [np.nan, np.nan, np.nan]
    union = PeriodicUnion()
    for hop in hops:
        reached = union.dimension
        union.add(orbits[hop])
        thresholds[reached : union.dimension] = [float(barriers[hop])] * (union.dimension - reached)
        if union.dimension == 3:
            break
    return thresholds[0], thresholds[1], thresholds[2]


def cheapest_first(
    orbits: Sequence[IntArray], em_ev: npt.ArrayLike
) -> tuple[FloatArray, list[int]]:
    """Barriers as an array, and the indices of the hops with a finite one, lowest first.

    Raises:
        ValueError: as many barriers as orbits were expected.
    """
    barriers = np.asarray(em_ev, dtype=np.float64)
    if barriers.shape != (len(orbits),):
        raise ValueError(
            f"barriers of shape {barriers.shape} for {len(orbits)} orbits, expected one each"
        )
    order = np.argsort(barriers, kind="stable")
    return barriers, [int(hop) for hop in order if np.isfinite(barriers[hop])]
