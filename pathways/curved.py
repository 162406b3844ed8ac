"""Curved paths: the way around what stands on a straight hop, and what it is like in numbers.

A straight chord says little where it runs into atoms. The same ion led around them, in a potential
made of radii alone, passes a saddle whose height and surroundings say more of the barrier. It costs
milliseconds, needs no charges or tables of pairs, and leaves a path that can be relaxed further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

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
    best, from_chord, straight = (
        _profile(field, path[::-1] if flipped else path, origin) for path in (*strings, *chord)
    )
    return CurvedPath(best, from_chord, straight, minimax)


def _starts_at_the_wrong_end(field: Field) -> bool:
    """Whether the search has to run from end to start, so that the reverse hop runs alike."""
    first, last = field.energy(field.ends_a)
    if not np.isclose(first, last, rtol=1e-9, atol=0.0):
        return bool(first > last)
    return bool(tuple(np.round(field.axis, 6)) < tuple(np.round(-field.axis, 6)))


def _profile(field: Field, path_a: FloatArray, origin_a: FloatArray) -> Profile:
    by_class = field.energy_by_class(path_a)
    room = field.distances_a(path_a) - field.contact_a
    nearest = [room[:, field.kinds == kind].min(axis=1, initial=FAR_A) for kind in range(3)]
    return Profile(path_a + origin_a, by_class.sum(axis=1), by_class, np.stack(nearest, axis=1))


def curved_features(crystal: Crystal) -> FloatArray:
    """(SIZE,) numbers, named by ``NAMES``, of the curved path of a folded band.

    Equal for a hop and its reverse. Energies are ``log(1 + energy)``, lengths are in Å.

    Args:
        crystal: folded band, images first.
    """
    return features_of(curved_path(crystal))


def features_of(path: CurvedPath) -> FloatArray:
    """(SIZE,) the numbers of a path that is there already."""
    parts = [_ends(path), np.array([np.log1p(path.minimax), path.chord.length_a])]
    for profile in (path.best, path.from_chord, path.chord):
        parts += [_heights(profile), _tightness(profile)]
    for profile in (path.best, path.from_chord):
        parts += [_shape(profile), _saddle(profile)]
    return np.concatenate(parts)


def _ends(path: CurvedPath) -> FloatArray:
    ends = path.chord.energies[[0, -1]]
    means = path.chord.by_class[[0, -1]].mean(axis=0)
    return np.asarray(np.log1p(np.concatenate([np.sort(ends), means])))


def _heights(profile: Profile) -> FloatArray:
    energies = profile.energies
    ends = energies[[0, -1]]
    top, middle = energies.max(), energies[len(energies) // 2]
    over = top - ends.min(), top - ends.max()
    return np.asarray(np.log1p(np.array([top, energies.mean(), *over, middle])))


def _tightness(profile: Profile) -> FloatArray:
    return np.asarray(profile.room_a.min(axis=0))


def _shape(profile: Profile) -> FloatArray:
    """Detour (Å), largest and mean distance from the chord (Å), and how the energy is spread."""
    path, energies = profile.path_a, profile.energies
    hop = path[-1] - path[0]
    chord_a = float(np.linalg.norm(hop))
    beside = np.linalg.norm(np.cross(path - path[0], hop), axis=1) / max(chord_a, 1e-9)
    above = energies - energies.min()
    weight = above / max(above.sum(), 1e-9)
    place = np.linspace(-1.0, 1.0, len(path))
    breadth = above.mean() / max(above.max(), 1e-9)
    spread = float((weight * place**2).sum())
    return np.array([profile.length_a - chord_a, beside.max(), beside.mean(), breadth, spread])


def _saddle(profile: Profile) -> FloatArray:
    """Energy by class and room by class at the highest places, blended where two compete."""
    weight = profile.energies / max(profile.energies.max(), 1e-9)
    weight = weight**20
    weight /= max(weight.sum(), 1e-9)
    return np.concatenate([np.log1p(weight @ profile.by_class), weight @ profile.room_a])
