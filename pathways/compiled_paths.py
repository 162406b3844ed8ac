"""The compiled search for curved paths (``curved.c``, ``curved_grid.c``).

Each function returns None where there is no library.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from pathways import compiled
from pathways.compiled import INTEGER, POINTER, REAL, Arguments
from pathways.types import FloatArray, IntArray

_MOST_IMAGES = 1024
_MOST_NODES = 1024


class _Images(ctypes.Structure):
    """``Images`` of ``curved.c``, field by field."""

    _fields_ = (
        ("n", INTEGER),
        *((name, POINTER) for name in ("home", "reach")),
        ("shifts", INTEGER),
        ("shift", POINTER),
        ("axis", REAL * 3),
        ("half", REAL),
        ("most", INTEGER),
        *((name, POINTER) for name in ("which", "place")),
        ("found", INTEGER),
    )


class _Strings(ctypes.Structure):
    """``Strings`` of ``curved.c``."""

    _fields_ = (
        ("n", INTEGER),
        *((name, POINTER) for name in ("place", "contact", "exponent", "kind")),
        *((name, INTEGER) for name in ("paths", "points")),
        ("path", POINTER),
        *((name, INTEGER) for name in ("steps", "respaced")),
        *((name, REAL) for name in ("gain", "most_step", "smoothing", "tiny", "far")),
        *((name, POINTER) for name in ("by_class", "room")),
        ("failed", INTEGER),
    )


class _Search(ctypes.Structure):
    """``Search`` of ``curved_grid.c``."""

    _fields_ = (
        ("n", INTEGER),
        *((name, POINTER) for name in ("place", "contact", "exponent")),
        ("shape", INTEGER * 3),
        ("tick", POINTER * 3),
        ("spacing", REAL * 3),
        *((name, REAL) for name in ("half", "capsule")),
        *((name, INTEGER * 3) for name in ("start", "end")),
        *((name, REAL) for name in ("sharpness", "margin", "path_cost", "tiny")),
        *((name, INTEGER) for name in ("bisections", "most")),
        ("node", POINTER),
        ("highest", REAL),
        ("found", INTEGER),
    )


def images(
    home_a: FloatArray, shifts_a: FloatArray, reach_a: FloatArray, axis: FloatArray, half_a: float
) -> tuple[IntArray, FloatArray] | None:
    """``curved_field.images_near``, of atoms (n, 3) shifted by (s, 3), Å."""
    found = compiled.library()
    if found is None:
        return None
    take = Arguments()
    job = _Images(n=len(home_a), home=take(home_a), reach=take(reach_a))
    job.shifts, job.shift = len(shifts_a), take(shifts_a)
    job.axis, job.half = (REAL * 3)(*axis.tolist()), half_a
    most = _MOST_IMAGES
    while True:
        which, places = np.empty(most, dtype=np.int64), np.empty((most, 3))
        job.most, job.which, job.place = most, take(which, np.int64), take(places)
        found.ionscreen_images(ctypes.byref(job))
        if job.found <= most:
            return which[: job.found].copy(), places[: job.found].copy()
        most = job.found


@dataclass(frozen=True, eq=False)
class Host:
    """Atoms around a hop, as ``curved_field.Field`` has them."""

    places_a: FloatArray
    """(n, 3), Å."""
    contact_a: FloatArray
    """(n,), Å."""
    exponents: FloatArray
    """(n,), 1/Å^2."""
    kinds: IntArray
    """(n,), 0 to 2."""


def resampled(polygons_a: FloatArray, points: int, tiny: float) -> FloatArray | None:
    """``curved_search.resample`` of polygons (p, m, 3)."""
    found = compiled.library()
    paths, corners = polygons_a.shape[:2]
    if found is None or min(corners, points) < 2:
        return None
    take = Arguments()
    out = np.empty((paths, points, 3))
    counts = (INTEGER(paths), INTEGER(corners), INTEGER(points))
    polygons, into = POINTER(take(polygons_a)), POINTER(take(out))
    done = found.ionscreen_resample(polygons, *counts, REAL(tiny), into)
    return out if done else None


def relaxed(
    host: Host,
    paths_a: FloatArray,
    *,
    steps: int,
    respaced: int,
    gain_a2: float,
    most_step_a: float,
    smoothing: float,
    tiny: float,
) -> FloatArray | None:
    """``curved_search.relax`` of paths (p, m, 3), Å."""
    found = compiled.library()
    if found is None or paths_a.shape[1] < 2:
        return None
    take = Arguments()
    paths = np.array(paths_a, dtype=np.float64, order="C")
    job = _strings(host, paths, take)
    job.steps, job.respaced, job.gain = steps, respaced, gain_a2
    job.most_step, job.smoothing, job.tiny = most_step_a, smoothing, tiny
    found.ionscreen_relax(ctypes.byref(job))
    return None if job.failed else paths


def described(
    host: Host, paths_a: FloatArray, far_a: float
) -> tuple[FloatArray, FloatArray] | None:
    """Energies by class and room by class, each (p, m, 3), on paths (p, m, 3), Å."""
    found = compiled.library()
    if found is None:
        return None
    take = Arguments()
    job = _strings(host, paths_a, take)
    by_class, room = np.empty(paths_a.shape), np.empty(paths_a.shape)
    job.far, job.by_class, job.room = far_a, take(by_class), take(room)
    found.ionscreen_describe(ctypes.byref(job))
    return None if job.failed else (by_class, room)


def _strings(host: Host, paths_a: FloatArray, take: Arguments) -> _Strings:
    return _Strings(
        n=len(host.places_a),
        place=take(host.places_a),
        contact=take(host.contact_a),
        exponent=take(host.exponents),
        kind=take(host.kinds, np.int64),
        paths=paths_a.shape[0],
        points=paths_a.shape[1],
        path=take(paths_a),
    )


@dataclass(frozen=True)
class GridSearch:
    """What a search on a grid goes by: ``curved_search`` says what each is."""

    capsule_a: float
    sharpness: float
    margin: float
    path_cost: float
    bisections: int
    tiny: float


def cheapest(
    host: Host,
    ticks_a: tuple[FloatArray, FloatArray, FloatArray],
    ends: tuple[tuple[int, int, int], tuple[int, int, int]],
    settings: GridSearch,
) -> tuple[tuple[IntArray, ...], float] | None:
    """Indices (k,), one array per axis, of the cheapest path between two nodes of a grid, and the
    highest energy on it.

    Args:
        host: with places along the grid's axes.
        ticks_a: of each axis, evenly spaced, Å.
        ends: nodes; they differ along the first axis alone.
        settings: see there.
    """
    found = compiled.library()
    if found is None:
        return None
    take = Arguments()
    nodes = np.empty((_MOST_NODES, 3), dtype=np.int64)
    first, last = ends
    job = _Search(
        n=len(host.places_a),
        place=take(host.places_a),
        contact=take(host.contact_a),
        exponent=take(host.exponents),
        shape=tuple(len(ticks) for ticks in ticks_a),
        tick=tuple(take(ticks) for ticks in ticks_a),
        spacing=tuple(float(ticks[1] - ticks[0]) for ticks in ticks_a),
        half=float(ticks_a[0][last[0]] - ticks_a[0][first[0]]) / 2,
        capsule=settings.capsule_a,
        start=first,
        end=last,
        sharpness=settings.sharpness,
        margin=settings.margin,
        path_cost=settings.path_cost,
        tiny=settings.tiny,
        bisections=settings.bisections,
        most=_MOST_NODES,
        node=take(nodes, np.int64),
    )
    found.ionscreen_search(ctypes.byref(job))
    return (tuple(nodes[: job.found].T), job.highest) if job.found else None
