"""The ways through a crystal: which hops, one after the other, lead an ion to the next cell.

Hops are added cheapest first, as for a minimum spanning tree. Those that join parts of the crystal
are its branches; one that closes a cycle is, with the branches between its ends, a walk through the
crystal, and the way round over the branches is the one with the lowest highest barrier.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathways.lattice_vectors import ORIGIN, Span, Vector, cross, primitive, shortest_vectors
from pathways.neighbours import tolerance_rank
from pathways.percolation import PeriodicUnion, cheapest_first
from pathways.types import FloatArray, IntArray

Step = tuple[int, int, int, int, int, int]
"""One hop of a walk: index of the hop's orbit, from site i, to site j, image of j seen from i."""

_LENGTH_TOLERANCE_A = 1e-3


@dataclass(frozen=True)
class Walk:
    """Hops one after the other that end on the site they started from, in another cell."""

    steps: tuple[Step, ...]
    """Each starts where the one before ends."""
    vector: Vector
    """Sum of the images: the lattice vector covered."""


@dataclass(frozen=True)
class Route:
    """The cheapest part of the network that percolates in so many dimensions.

    It is made of a minimum spanning tree's branches and the lowest barriers that close its cycles,
    so that where there is a choice below the highest barrier, it takes the lower ones too.
    """

    dimension: int
    """1, 2 or 3."""
    em_ev: float
    """Its highest barrier, eV."""
    bottleneck: int
    """Index of the hop that has it."""
    hops: tuple[int, ...]
    """Indices of all its hops, the bottleneck included, ascending."""
    walks: tuple[Walk, ...]
    """As many closed walks as dimensions, independent of one another."""
    directions: tuple[Vector, ...]
    """The shortest lattice vectors, [uvw] of the cell, that hops up to ``em_ev`` lead along: one
    for each dimension in which the network at that barrier percolates, which may be more than
    ``dimension``. Where symmetry has several of one length, one of them stands for all."""

    @property
    def plane(self) -> Vector | None:
        """Indices (hkl) of the plane that hops up to ``em_ev`` keep to, if they keep to one."""
        if len(self.directions) != 2:
            return None
        return primitive(cross(*self.directions))


@dataclass(frozen=True)
class Percolation:
    """How the hops of a crystal connect it to its images."""

    routes: tuple[Route, ...]
    """In 1, 2 and 3 dimensions, as far as the hops percolate."""

    @property
    def dimension(self) -> int:
        """Highest dimension, 0-3."""
        return len(self.routes)

    @property
    def em_ev(self) -> tuple[float, float, float]:
        """Barrier in 1, 2 and 3 dimensions, eV; nan beyond the highest."""
        found = [route.em_ev for route in self.routes] + [float("nan")] * 3
        return found[0], found[1], found[2]


def percolate(
    orbits: Sequence[IntArray], em_ev: npt.ArrayLike, lattice: FloatArray | None = None
) -> Percolation:
    """The cheapest ways through a crystal in 1, 2 and 3 dimensions.

    Args:
        orbits: one (m, 5) array per hop, as in ``Hop.orbit``.
        em_ev: (n,), migration barrier of each hop, eV; hops without a finite one are left out.
        lattice: (3, 3), Å, of the cell that images count: what is short is measured in it.

    Raises:
        ValueError: as many barriers as orbits were expected.
    """
    barriers, hops = cheapest_first(orbits, em_ev)
    forest = _Forest(barriers, np.eye(3) if lattice is None else lattice)
    routes: list[Route] = []
    for _, tied in itertools.groupby(hops, key=lambda hop: float(barriers[hop])):
        for hop in tied:
            forest.add(hop, orbits[hop])
        if forest.union.dimension > len(routes):
            routes += forest.routes(range(len(routes) + 1, forest.union.dimension + 1))
        if len(routes) == 3:
            break
    return Percolation(tuple(routes))


class _Forest:
    """Hops added cheapest first: those that join parts of the crystal, and those that close."""

    def __init__(self, em_ev: FloatArray, lattice: FloatArray) -> None:
        self.union = PeriodicUnion()
        self._em_ev = em_ev
        self._lattice = lattice
        self._tree: dict[int, list[Step]] = {}
        self._closing: list[tuple[Step, Vector]] = []

    def add(self, hop: int, orbit: IntArray) -> None:
        """Add all hops of an orbit."""
        for i, j, a, b, c in orbit.tolist():
            gap = self.union.join(i, j, (a, b, c))
            step: Step = (hop, i, j, a, b, c)
            if gap is None:
                self._tree.setdefault(i, []).append(step)
                self._tree.setdefault(j, []).append(_reversed(step))
            elif gap != ORIGIN:
                self._closing.append((step, gap))

    def routes(self, dimensions: Iterable[int]) -> Iterator[Route]:
        """Routes of the component of highest rank, of several that of the first site."""
        ranks = {root: span.rank for root, span in self.union.components().items()}
        wanted = max(ranks.values())
        root = next(
            root
            for root in (self.union.find(site)[0] for site in sorted(self.union.sites()))
            if ranks[root] == wanted
        )
        closing = [c for c in self._closing if self.union.find(c[0][1])[0] == root]
        directions = shortest_vectors((gap for _, gap in closing), self._lattice)
        for dimension in dimensions:
            yield self._route(dimension, closing, directions)

    def _route(
        self,
        dimension: int,
        closing: Sequence[tuple[Step, Vector]],
        directions: tuple[Vector, ...],
    ) -> Route:
        chosen = self._cheapest(closing, dimension)
        hops = tuple(sorted(self._core([step for step, _ in chosen])))
        em_ev = float(self._em_ev[list(hops)].max())
        return Route(
            dimension=dimension,
            em_ev=em_ev,
            bottleneck=next(hop for hop in hops if self._em_ev[hop] == em_ev),
            hops=hops,
            walks=tuple(Walk((step, *self._path(step[2], step[1])), gap) for step, gap in chosen),
            directions=directions,
        )

    def _cheapest(
        self, closing: Sequence[tuple[Step, Vector]], dimension: int
    ) -> list[tuple[Step, Vector]]:
        """Independent cycles, those of lowest barrier first, of these the shortest."""
        length_a = np.linalg.norm(np.array([gap for _, gap in closing]) @ self._lattice, axis=1)
        rank = tolerance_rank(length_a, _LENGTH_TOLERANCE_A)
        em_ev = self._em_ev[[step[0] for step, _ in closing]]
        span, chosen = Span(), []
        for k in np.lexsort([rank, em_ev]).tolist():
            wider = span.with_vector(closing[k][1])
            if wider.rank > span.rank:
                span = wider
                chosen.append(closing[k])
            if span.rank == dimension:
                break
        return chosen

    def _core(self, closing: Sequence[Step]) -> set[int]:
        """Hops of the cycles that some steps close, and of what links these cycles."""
        edges: list[Step] = list(closing)
        seen, front = {closing[0][1]}, [closing[0][1]]
        while front:
            fresh = [step for step in self._tree.get(front.pop(), []) if step[2] not in seen]
            seen.update(step[2] for step in fresh)
            front += [step[2] for step in fresh]
            edges += fresh
        while True:  # cut what ends blindly
            ends = Counter(site for step in edges for site in step[1:3])
            kept = [step for step in edges if ends[step[1]] > 1 and ends[step[2]] > 1]
            if len(kept) == len(edges):
                return {step[0] for step in edges}
            edges = kept

    def _path(self, start: int, end: int) -> tuple[Step, ...]:
        """The steps of the tree from one site to another."""
        came: dict[int, Step] = {}
        front = [start]
        while end not in came and front and start != end:
            for step in self._tree.get(front.pop(), []):
                if step[2] != start and step[2] not in came:
                    came[step[2]] = step
                    front.append(step[2])
        steps: list[Step] = []
        while end != start:
            steps.append(came[end])
            end = came[end][1]
        return tuple(reversed(steps))


def _reversed(step: Step) -> Step:
    hop, i, j, a, b, c = step
    return hop, j, i, -a, -b, -c
