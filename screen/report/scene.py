"""A crystal with the ways that an ion takes through it, as numbers to draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pathways.curved_field import covalent_radii_a
from pathways.elements import SYMBOLS, atomic_number
from pathways.neighbours import integer_box
from pathways.routes import Route, percolate
from pathways.types import Crystal, FloatArray, Hop, HopNetwork, IntArray

_EDGE = 0.02
"""Of a cell: an atom this near to a face is drawn on the other side, too."""
_NEAR_A = 3.0
"""Atoms outside the cell are drawn this near to a way through."""
_BOND = 1.15
"""Atoms are joined up to the sum of their covalent radii times this."""
_LONG_A, _MOST_TIMES = 8.0, 4
"""A way through is repeated up to about this length, at most so many times."""
_MOST_ATOMS = 700
_MOST_CELLS = 6
"""To either side, that are searched for atoms along a way."""
_MOST_SEGMENTS = 400
_ANIONS = frozenset({1, 6, 7, 8, 9, 15, 16, 17, 33, 34, 35, 52, 53})


@dataclass(frozen=True)
class Scene:
    """What is drawn of one material; lengths in Å, places Cartesian."""

    cell: list[list[float]]
    """3 x 3, rows are the vectors of the primitive cell."""
    elements: list[dict[str, Any]]
    """``symbol``, ``radius`` (Å, covalent), ``anion`` and ``ion``; atoms refer to them."""
    atoms: list[list[float]]
    """x, y, z, index of the element, and where it is shown: the framework. Bit d of the last stands
    for the picture of the way in d dimensions, bit 0 for that of all hops."""
    bonds: list[list[int]]
    """Two atoms each."""
    sites: list[list[float]]
    """Of the ion: x, y, z, and where it is shown."""
    routes: list[dict[str, Any]]
    """In 1, 2 and 3 dimensions, as far as the hops percolate: ``dimension`` and ``steps``, each
    with both ends, the index of the hop and whether it limits."""
    hops: list[list[float]]
    """All hops of the primitive cell: both ends and the index of the hop."""
    n_left_out: int
    """Atoms and hops beyond what is drawn."""

    def record(self) -> dict[str, Any]:
        """As JSON types."""
        return dict(vars(self))


def make_scene(network: HopNetwork, hops: Sequence[Hop], em_ev: Sequence[float]) -> Scene:
    """The crystal of a network with its cheapest ways through.

    Args:
        network: whose crystal it is.
        hops: those with a barrier.
        em_ev: (n,), of each of them.
    """
    crystal = network.crystal
    routes = percolate([hop.orbit for hop in hops], em_ev, crystal.lattice).routes
    drawn = [_route(route, crystal) for route in routes]
    segments = [_ends(crystal, step) for hop in hops for step in _steps(hop.orbit)]
    owner = [number for number, hop in enumerate(hops) for _ in range(len(hop.orbit))]
    ways = {one["dimension"]: [step[:6] for step in one["steps"]] for one in drawn}
    ion = atomic_number(network.ion)
    numbers, places, shown = _atoms(crystal, ways or {0: segments[:_MOST_SEGMENTS]})
    is_ion = numbers == ion
    framework, kinds = places[~is_ion][:_MOST_ATOMS], numbers[~is_ion][:_MOST_ATOMS]
    elements = [int(one) for one in np.unique(kinds)]
    atoms = zip(framework, kinds, shown[~is_ion][:_MOST_ATOMS], strict=True)
    return Scene(
        cell=[_short(vector) for vector in crystal.lattice],
        elements=[_element(number, False) for number in elements] + [_element(ion, True)],
        atoms=[[*_short(at), elements.index(int(n)), int(bits)] for at, n, bits in atoms],
        bonds=_bonds(framework, kinds),
        sites=[
            [*_short(at), int(bits)] for at, bits in zip(places[is_ion], shown[is_ion], strict=True)
        ],
        routes=drawn,
        hops=[[*_short(ends), n] for ends, n in zip(segments, owner, strict=True)][:_MOST_SEGMENTS],
        n_left_out=max(0, int((~is_ion).sum()) - _MOST_ATOMS)
        + max(0, len(segments) - _MOST_SEGMENTS),
    )


def _route(route: Route, crystal: Crystal) -> dict[str, Any]:
    """The steps of a route's walks, short walks some periods long, each step once."""
    steps: dict[tuple[float, ...], list[Any]] = {}
    for walk in route.walks:
        length_a = float(np.linalg.norm(np.array(walk.vector) @ crystal.lattice))
        times = min(_MOST_TIMES, max(1, round(_LONG_A / length_a)))
        cell = -np.array(walk.vector, dtype=np.float64) * (times // 2)
        for hop, i, j, *image in walk.steps * times:
            ends = np.array([crystal.frac[i] + cell, crystal.frac[j] + cell + image])
            places = _short((ends @ crystal.lattice).ravel())
            cell = cell + image
            steps.setdefault(tuple(places), [*places, hop, int(hop == route.bottleneck)])
    return {"dimension": route.dimension, "steps": list(steps.values())}


def _steps(orbit: IntArray) -> Iterable[list[int]]:
    steps: list[list[int]] = orbit.tolist()
    return steps


def _ends(crystal: Crystal, step: Sequence[int]) -> FloatArray:
    """(6,) Cartesian ends of a member of an orbit, Å."""
    i, j, *image = step
    ends = np.array([crystal.frac[i], crystal.frac[j] + image]) @ crystal.lattice
    flat: FloatArray = ends.ravel()
    return flat


def _atoms(
    crystal: Crystal, ways: Mapping[int, Sequence[Sequence[float]]]
) -> tuple[IntArray, FloatArray, IntArray]:
    """All atoms in the cell and along ways, by their dimension: numbers, places (Å), and bits."""
    inside = crystal.frac - np.floor(crystal.frac + 1e-6)
    along = {dimension: _points(way) for dimension, way in ways.items()}
    cells = np.concatenate(list(along.values())) @ np.linalg.inv(crystal.lattice)
    reach = 1 + np.ceil(np.abs(cells).max(axis=0, initial=0.0)).astype(np.int64)
    shifts = integer_box(np.minimum(reach, _MOST_CELLS))
    frac = (inside[None] + shifts[:, None]).reshape(-1, 3)
    numbers = np.tile(crystal.numbers, len(shifts))
    places: FloatArray = frac @ crystal.lattice
    in_cell = ((frac > -_EDGE) & (frac < 1 + _EDGE)).all(axis=1)
    shown = np.where(in_cell, 0b1111, 0)
    for dimension, points in along.items():
        for point in points:
            shown[((places - point) ** 2).sum(axis=1) < _NEAR_A**2] |= 1 << dimension
    order = np.argsort(~in_cell, kind="stable")  # those in the cell are the last to go
    order = order[shown[order] > 0]
    return numbers[order], places[order], shown[order]


def _points(way: Sequence[Sequence[float]]) -> FloatArray:
    """(n, 3) points along the steps of a way, Å, each once."""
    ends = np.array(way, dtype=np.float64).reshape(-1, 2, 3)
    share = np.linspace(0, 1, 7)[:, None, None]
    points: FloatArray = (ends[:, 0] * (1 - share) + ends[:, 1] * share).reshape(-1, 3)
    return np.unique(points.round(3), axis=0)


def _bonds(places: FloatArray, numbers: IntArray) -> list[list[int]]:
    """Pairs of framework atoms, one of them an anion, that touch."""
    radii = covalent_radii_a(numbers)
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
    anion = np.isin(numbers, list(_ANIONS))
    joined = gaps < _BOND * (radii[:, None] + radii[None])
    joined &= anion[:, None] | anion[None]
    first, second = np.nonzero(np.triu(joined, 1))
    return [[int(i), int(j)] for i, j in zip(first, second, strict=True)]


def _element(number: int, ion: bool) -> dict[str, Any]:
    radius = float(covalent_radii_a(np.array([number]))[0])
    symbol = SYMBOLS[number]
    return {"symbol": symbol, "radius": round(radius, 2), "anion": number in _ANIONS, "ion": ion}


def _short(values: Any) -> list[float]:
    return [round(float(value), 3) + 0.0 for value in values]
