"""Curved paths: the way around what stands on a straight hop, and what it is like in numbers.

A straight chord says little where it runs into atoms. The same ion led around them, in a potential
made of radii alone, passes a saddle whose height and surroundings say more of the barrier. It costs
milliseconds, needs no charges or tables of pairs, and leaves a path that can be relaxed further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pathways import compiled_paths
from pathways.curved_field import CLASSES, Field, field_of
from pathways.curved_search import grid_path, relax, resample
from pathways.types import Crystal, FloatArray

POINTS = 21
"""Points of a curved path, evenly spaced, start to end."""
FAR_A = 1.5
"""Room beyond this counts as this, Å: atoms further away are not all within reach."""

_HEIGHTS = ("max", "mean", "over_low_end", "over_high_end", "middle")
_TIGHTNESS = tuple(f"room_{kind}" for kind in CLASSES)
_SHAPE = ("detour", "bow", "mean_bow", "breadth", "spread")
_SADDLE = tuple(f"{what}_{kind}" for what in ("saddle", "saddle_room") for kind in CLASSES)

NAMES: tuple[str, ...] = (
    "low_end",
    "high_end",
    *(f"ends_{kind}" for kind in CLASSES),
    "minimax",
    "length",
    *(
        f"{path}_{name}"
        for path in ("best", "from_chord", "chord")
        for name in (*_HEIGHTS, *_TIGHTNESS)
    ),
    *(f"{path}_{name}" for path in ("best", "from_chord") for name in (*_SHAPE, *_SADDLE)),
)
"""Names of the features, in order."""

SIZE = len(NAMES)
"""Length of the feature vector."""


@dataclass(frozen=True, eq=False)
class Profile:
    """One path through the host and what the ion meets on it."""

    path_a: FloatArray
    """(m, 3), Å, Cartesian in the cell's own frame, start to end, unwrapped."""
    energies: FloatArray
    """(m,), repulsion in units of one atom at contact (``pathways.curved_field.Field``)."""
    by_class: FloatArray
    """(m, 3), the parts of the energies by ``pathways.curved_field.CLASSES``."""
    room_a: FloatArray
    """(m, 3), Å: distance to the nearest atom of each class less the sum of both radii."""

    @property
    def length_a(self) -> float:
        """Length along the path, Å."""
        return float(np.linalg.norm(np.diff(self.path_a, axis=0), axis=1).sum())


@dataclass(frozen=True, eq=False)
class CurvedPath:
    """The hop of a band as a curved path, and the ways that were tried."""

    best: Profile
    """The path of least maximum, relaxed: found on a grid around the chord."""
    from_chord: Profile
    """The nearest relaxed path to the straight one."""
    chord: Profile
    """The straight path."""
    minimax: float
    """The highest energy on the best path of the grid, before relaxation, same units."""

    @property
    def path_a(self) -> FloatArray:
        """(m, 3), Å, the best path."""
        return self.best.path_a

    @property
    def energies(self) -> FloatArray:
        """(m,), on the best path."""
        return self.best.energies


def curved_path(crystal: Crystal) -> CurvedPath:
    """The easiest path of a hop around the host's atoms, between the band's own end points.

    Within 2.5 Å of the chord; the host does not move. A hop and its reverse give the same path,
    reversed, up to a choice among paths that symmetry makes equal.

    Args:
        crystal: folded band, the ion's five images first, then the host (``Band.folded``).
    """
    field = field_of(crystal)
    flipped = _starts_at_the_wrong_end(field)
    if flipped:
        field = replace(field, ends_a=field.ends_a[::-1])
    nodes, minimax = grid_path(field)
    chord = resample(field.ends_a[None], POINTS)
    strings = relax(field, np.concatenate([resample(nodes[None], POINTS), chord]))
    origin = crystal.frac[0] @ crystal.lattice - field.ends_a[-1 if flipped else 0]
    paths = np.concatenate([strings, chord])
    best, from_chord, straight = _profiles(field, paths[:, ::-1] if flipped else paths, origin)
    return CurvedPath(best, from_chord, straight, minimax)


def _starts_at_the_wrong_end(field: Field) -> bool:
    """Whether the search has to run from end to start, so that the reverse hop runs alike."""
    first, last = field.energy(field.ends_a).tolist()
    if abs(first - last) > 1e-9 * abs(last):
        return bool(first > last)
    return bool(tuple(np.round(field.axis, 6)) < tuple(np.round(-field.axis, 6)))


def _profiles(field: Field, paths_a: FloatArray, origin_a: FloatArray) -> list[Profile]:
    found = compiled_paths.described(field.host, paths_a, FAR_A)
    by_class, room = _described(field, paths_a) if found is None else found
    each = zip(paths_a + origin_a, by_class.sum(axis=2), by_class, room, strict=True)
    return [Profile(*parts) for parts in each]


def _described(field: Field, paths_a: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Energies and room by class, each (p, m, 3), on paths (p, m, 3), Å."""
    points_a = paths_a.reshape(-1, 3)
    room = field.distances_a(points_a) - field.contact_a
    nearest = [room[:, field.kinds == kind].min(axis=1, initial=FAR_A) for kind in range(3)]
    by_class = field.energy_by_class(points_a)
    return by_class.reshape(paths_a.shape), np.stack(nearest, axis=1).reshape(paths_a.shape)


def curved_features(crystal: Crystal) -> FloatArray:
    """(SIZE,) numbers, named by ``NAMES``, of the curved path of a folded band.

    Equal for a hop and its reverse. Energies are ``log(1 + energy)``, lengths are in Å.

    Args:
        crystal: folded band, images first.
    """
    return features_of(curved_path(crystal))


def features_of(path: CurvedPath) -> FloatArray:
    """(SIZE,) the numbers of a path that is there already."""
    three = _Stack.of(path.best, path.from_chord, path.chord)
    two = _Stack.of(path.best, path.from_chord)
    ends_and_level = [*_ends(path), np.log1p(path.minimax), path.chord.length_a]
    over_paths = np.concatenate([_heights(three), three.room_a.min(axis=1)], axis=1)
    around_saddles = np.concatenate([_shape(two), _saddle(two)], axis=1)
    return np.concatenate([ends_and_level, over_paths.ravel(), around_saddles.ravel()])


@dataclass(frozen=True, eq=False)
class _Stack:
    """Profiles of as many points, one above the other: (p, m, 3), (p, m), (p, m, 3), (p, m, 3)."""

    path_a: FloatArray
    energies: FloatArray
    by_class: FloatArray
    room_a: FloatArray

    @classmethod
    def of(cls, *profiles: Profile) -> _Stack:
        return cls(
            np.array([one.path_a for one in profiles]),
            np.array([one.energies for one in profiles]),
            np.array([one.by_class for one in profiles]),
            np.array([one.room_a for one in profiles]),
        )


def _ends(path: CurvedPath) -> FloatArray:
    ends = path.chord.energies[[0, -1]]
    means = path.chord.by_class[[0, -1]].mean(axis=0)
    return np.asarray(np.log1p(np.concatenate([np.sort(ends), means])))


def _heights(stack: _Stack) -> FloatArray:
    """(p, 5) as ``_HEIGHTS``."""
    energies = stack.energies
    first, last = energies[:, 0], energies[:, -1]
    top, middle = energies.max(axis=1), energies[:, energies.shape[1] // 2]
    over = top - np.minimum(first, last), top - np.maximum(first, last)
    return np.asarray(np.log1p(np.stack([top, energies.mean(axis=1), *over, middle], axis=1)))


def _shape(stack: _Stack) -> FloatArray:
    """(p, 5) detour (Å), largest and mean distance from the chord (Å), and how energy is spread."""
    path, energies = stack.path_a, stack.energies
    hop = path[:, -1] - path[:, 0]
    chord_a = _lengths(hop)
    steps_a = _lengths(path[:, 1:] - path[:, :-1])
    beside = _lengths(_cross(path - path[:, :1], hop[:, None])) / np.maximum(chord_a, 1e-9)[:, None]
    above = energies - energies.min(axis=1, keepdims=True)
    weight = above / np.maximum(above.sum(axis=1, keepdims=True), 1e-9)
    breadth = above.mean(axis=1) / np.maximum(above.max(axis=1), 1e-9)
    spread = (weight * np.linspace(-1.0, 1.0, path.shape[1]) ** 2).sum(axis=1)
    bow = beside.max(axis=1), beside.mean(axis=1)
    return np.stack([steps_a.sum(axis=1) - chord_a, *bow, breadth, spread], axis=1)


def _saddle(stack: _Stack) -> FloatArray:
    """(p, 6) energy by class and room by class at the highest places, blended where two compete."""
    top = stack.energies.max(axis=1, keepdims=True)
    weight = (stack.energies / np.maximum(top, 1e-9)) ** 20
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    weight = weight[:, None]
    by_class, room_a = (weight @ stack.by_class)[:, 0], (weight @ stack.room_a)[:, 0]
    return np.concatenate([np.log1p(by_class), room_a], axis=1)


def _lengths(vectors: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1)))


def _cross(first: FloatArray, second: FloatArray) -> FloatArray:
    """Vector products over the last axis; ``np.cross`` takes longer to look at its arguments."""
    turned, other = first[..., [1, 2, 0]], second[..., [1, 2, 0]]
    return np.asarray((first * other - turned * second)[..., [1, 2, 0]])
