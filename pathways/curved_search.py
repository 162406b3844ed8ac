"""The easiest way between two places: search on a grid along the chord, then string relaxation."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from pathways import compiled_paths
from pathways.curved_field import CAPSULE_A, Field
from pathways.neighbours import integer_box
from pathways.types import FloatArray, IntArray

_Grid = tuple[FloatArray, FloatArray, FloatArray]
_Ends = tuple[tuple[int, int, int], tuple[int, int, int]]

_SPACING_A = 0.3
_MAX_NODES = 30_000
_TEMPERATURE = 0.1
"""How sharply the search avoids high places, in units of the level that joins the ends."""
_MARGIN = 2.0
"""Places up to this many temperatures above the level are searched."""
_PATH_COST = 0.02
"""Cost of a low place against one at the level, so that no detour is free."""
_TIE_A = 1e-3
_OFF_CHORD_A = 0.5
_BISECTIONS = 6
_STEPS = 30
_RESPACED = 3
_GAIN_A2 = 0.03
_MAX_STEP_A = 0.1
_SMOOTHING = 0.05
_TINY = 1e-12
_SETTINGS = compiled_paths.GridSearch(
    capsule_a=CAPSULE_A,
    sharpness=_TEMPERATURE,
    margin=_MARGIN,
    path_cost=_PATH_COST,
    bisections=_BISECTIONS,
    tiny=_TINY,
)


def grid_path(field: Field) -> tuple[FloatArray, float]:
    """The path of least soft maximum on a grid around the chord.

    First a level, hardly above the least, at which the places below it join both ends; then the
    cheapest path among the places up to just above it, where cost rises steeply with energy. The
    first step leaves the second few places: it is what keeps the search to milliseconds.

    Returns:
        Nodes (k, 3), Å, start to end, and the highest energy on them.
    """
    axes = _axes(field)
    spacing = max(_SPACING_A, (_volume(field.length_a) / _MAX_NODES) ** (1 / 3))
    steps = max(2, int(np.ceil(field.length_a / spacing)))
    along = max(field.length_a, _TINY) / steps  # the ends are nodes, and the middle is a mirror
    pad = int(CAPSULE_A / spacing)
    ticks = np.asarray(np.arange(-pad, steps + pad + 1) - steps / 2, dtype=np.float64) * along
    across = np.arange(-pad, pad + 1) * spacing
    grid = ticks, across, across
    ends = (pad, pad, pad), (pad + steps, pad, pad)
    found = compiled_paths.cheapest(field.turned(axes), grid, ends, _SETTINGS)
    (i, j, k), highest = _cheapest_on(field, axes, grid, ends) if found is None else found
    nodes = np.stack([ticks[i], across[j], across[k]], axis=1) @ axes
    nodes[[0, -1]] = field.ends_a
    return nodes, highest


def _cheapest_on(
    field: Field, axes: FloatArray, grid: _Grid, ends: _Ends
) -> tuple[tuple[IntArray, ...], float]:
    """Grid indices (k,), one array per axis, of the path, and the highest energy on it."""
    ticks, across, _ = grid
    energy = field.energy_on_grid(axes, grid)
    beyond = np.maximum(np.abs(ticks) - field.length_a / 2, 0.0)[:, None, None]
    square_gap = beyond**2 + across[:, None] ** 2 + across**2
    energy[square_gap > CAPSULE_A**2] = np.inf
    spacings_a = np.array([ticks_a[1] - ticks_a[0] for ticks_a in grid])
    nodes = _cheapest(energy, ends, _level(energy, ends), spacings_a)
    return nodes, float(energy[nodes].max())


def resample(paths: FloatArray, points: int) -> FloatArray:
    """Evenly spaced points (p, points, 3) on polygons (p, m, 3), ends kept."""
    if (found := compiled_paths.resampled(paths, points, _TINY)) is not None:
        return found
    lengths = np.linalg.norm(np.diff(paths, axis=1), axis=2)
    marks = np.concatenate([np.zeros((len(paths), 1)), np.cumsum(lengths, axis=1)], axis=1)
    wanted = marks[:, -1:] * np.linspace(0.0, 1.0, points)
    left = (marks[:, None, 1:-1] <= wanted[:, :, None]).sum(axis=2)  # segment of each point
    row = np.arange(len(paths))[:, None]
    share = (wanted - marks[row, left]) / np.maximum(lengths[row, left], _TINY)
    return np.asarray(
        paths[row, left] + share[:, :, None] * (paths[row, left + 1] - paths[row, left])
    )


def relax(field: Field, paths: FloatArray) -> FloatArray:
    """Strings (p, m, 3) after a fixed number of steps downhill across their own direction, Å.

    Steps follow the gradient of the logarithm of the energy, which has the scale of a length, so
    that one gain serves every host; every few steps the points are spread evenly again (simplified
    string method; E, Ren and Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007)).
    """
    found = compiled_paths.relaxed(
        field.host,
        paths,
        steps=_STEPS,
        respaced=_RESPACED,
        gain_a2=_GAIN_A2,
        most_step_a=_MAX_STEP_A,
        smoothing=_SMOOTHING,
        tiny=_TINY,
    )
    if found is not None:
        return found
    for step in range(_STEPS):
        inner = paths[:, 1:-1]
        energy, gradient = field.energy_and_gradient(inner.reshape(-1, 3))
        slope = (gradient / np.maximum(energy, _TINY)[:, None]).reshape(inner.shape)
        tangent = paths[:, 2:] - paths[:, :-2]
        share = (slope * tangent).sum(axis=2) / np.maximum((tangent**2).sum(axis=2), _TINY)
        move = _GAIN_A2 * (share[:, :, None] * tangent - slope)
        size = np.sqrt((move**2).sum(axis=2, keepdims=True))
        move *= _MAX_STEP_A / np.maximum(size, _MAX_STEP_A)
        paths = np.concatenate([paths[:, :1], inner + move, paths[:, -1:]], axis=1)
        bend = paths[:, 2:] + paths[:, :-2] - 2.0 * paths[:, 1:-1]
        paths[:, 1:-1] += _SMOOTHING * bend
        if (step + 1) % _RESPACED == 0:
            paths = resample(paths, paths.shape[1])
    return paths


def _volume(length_a: float) -> float:
    """Volume of the box around the capsule, Å^3."""
    return (length_a + 2 * CAPSULE_A) * (2 * CAPSULE_A) ** 2


def _axes(field: Field) -> FloatArray:
    """(3, 3), orthonormal rows: the chord, towards the nearest atom beside it, across both.

    Taken from the atoms, the grid turns with the crystal.
    """
    axis = field.axis
    along = field.places_a @ axis
    across = field.places_a - along[:, None] * axis
    off_chord = np.sqrt((across * across).sum(axis=1))
    gap = np.hypot(off_chord, np.maximum(np.abs(along) - field.length_a / 2, 0.0))
    gap[off_chord < _OFF_CHORD_A] = np.inf
    least = gap.min(initial=np.inf)
    if np.isfinite(least):
        nearest = np.flatnonzero(gap < least + _TIE_A)
        aside = across[nearest[np.argmin(np.abs(along[nearest]))]]
    else:
        unit = np.eye(3)[np.argmin(np.abs(axis))]
        aside = unit - (unit @ axis) * axis
    aside = aside / np.linalg.norm(aside)
    (a, b, c), (d, e, f) = axis.tolist(), aside.tolist()
    return np.array([axis, aside, (b * f - c * e, c * d - a * f, a * e - b * d)])


def _level(energy: FloatArray, ends: _Ends) -> float:
    """A level, hardly above the least, at which the places below it join both ends."""
    (first, j, k), (last, _, _) = ends
    low = max(float(energy[ends[0]]), float(energy[ends[1]]))
    high = max(low, float(energy[first : last + 1, j, k].max()))
    if high <= low or _joins(energy, low, ends):
        return low
    for _ in range(_BISECTIONS):
        middle = float(np.sqrt(low * high))
        if _joins(energy, middle, ends):
            high = middle
        else:
            low = middle
    return high


def _joins(energy: FloatArray, level: float, ends: _Ends) -> bool:
    pieces, _ = ndimage.label(energy <= level, structure=np.ones((3, 3, 3)))
    return bool(pieces[ends[0]] == pieces[ends[1]])


def _cheapest(
    energy: FloatArray,
    ends: _Ends,
    level: float,
    spacings_a: FloatArray,
) -> tuple[IntArray, ...]:
    """Grid indices (k,), one array per axis, of the cheapest path between the ends."""
    temperature = max(_TEMPERATURE * level, _TINY)
    padded = np.pad(energy, 1, constant_values=np.inf)
    nodes = np.flatnonzero(padded <= level + _MARGIN * temperature)
    index = np.full(padded.size, -1)
    index[nodes] = np.arange(len(nodes))
    moves = integer_box(np.ones(3, dtype=np.int64))
    moves = moves[moves.any(axis=1)]
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    neighbours = index[nodes[:, None] + moves @ strides]  # (nodes, 26), -1 for none
    real = neighbours >= 0
    cost = np.exp((padded.ravel()[nodes] - level) / temperature) + _PATH_COST
    weight = (cost[:, None] + cost[neighbours]) * np.linalg.norm(moves * spacings_a, axis=1)
    bounds = np.concatenate([[0], np.cumsum(real.sum(axis=1))])
    graph = csr_array((weight[real], neighbours[real], bounds), shape=(len(nodes), len(nodes)))
    start, end = (index[(np.array(place) + 1) @ strides] for place in ends)
    _, before = dijkstra(graph, indices=start, return_predecessors=True)
    walk = [end]
    while walk[-1] != start:
        walk.append(before[walk[-1]])
    found = np.unravel_index(nodes[walk[::-1]], padded.shape)
    return tuple(np.asarray(part) - 1 for part in found)
