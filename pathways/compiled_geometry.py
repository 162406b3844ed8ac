"""The compiled distances (``geometry.c``); each function returns None where there is no library."""

from __future__ import annotations

import ctypes

import numpy as np

from pathways import compiled
from pathways.compiled import INTEGER, POINTER, REAL, Arguments
from pathways.types import FloatArray, IntArray


class _Nearest(ctypes.Structure):
    """``Nearest`` of ``geometry.c``, field by field."""

    _fields_ = (
        ("lattice", POINTER),
        ("sites", INTEGER),
        ("frac", POINTER),
        ("places", INTEGER),
        *((name, POINTER) for name in ("place", "target", "square", "space")),
    )


class _Closest(ctypes.Structure):
    """``Closest`` of ``geometry.c``."""

    _fields_ = (
        ("lattice", POINTER),
        ("sites", INTEGER),
        ("frac", POINTER),
        ("least", REAL),
    )


class _Chords(ctypes.Structure):
    """``Chords`` of ``geometry.c``."""

    _fields_ = (
        ("chords", INTEGER),
        *((name, POINTER) for name in ("start", "end")),
        ("sites", INTEGER),
        ("place", POINTER),
        ("skipped", REAL),
        ("gap", POINTER),
    )


def nearest(
    lattice: FloatArray, frac: FloatArray, places: FloatArray
) -> tuple[IntArray, FloatArray] | None:
    """Of each fractional place (..., 3), the nearest site, (...), and its squared distance, Å^2.

    Args:
        lattice: (3, 3), Å.
        frac: (n, 3) of the sites.
        places: differences to sites are brought within half a cell.
    """
    found = compiled.library()
    if found is None or len(frac) == 0:
        return None
    take = Arguments()
    shape = places.shape[:-1]
    target, square = np.empty(shape, dtype=np.int64), np.empty(shape)
    job = _Nearest(lattice=take(lattice), sites=len(frac), frac=take(frac.T), places=target.size)
    job.place, job.target, job.square = take(places), take(target, np.int64), take(square)
    job.space = take(np.empty(len(frac)))
    found.ionscreen_nearest(ctypes.byref(job))
    return target, square


def least_square(lattice: FloatArray, frac: FloatArray) -> float | None:
    """Least squared distance, Å^2, of two sites brought within half a cell; inf for fewer."""
    found = compiled.library()
    if found is None:
        return None
    take = Arguments()
    job = _Closest(lattice=take(lattice), sites=len(frac), frac=take(frac.T))
    found.ionscreen_closest(ctypes.byref(job))
    return float(job.least)


def from_chords(
    starts_a: FloatArray, ends_a: FloatArray, sites_a: FloatArray, skipped_a: float
) -> FloatArray | None:
    """(m,) Å: distance from each chord to the nearest site that is not so near to one of its ends.

    Args:
        starts_a: (m, 3), Cartesian.
        ends_a: (m, 3).
        sites_a: (n, 3).
        skipped_a: sites closer to an end than this do not count.
    """
    found = compiled.library()
    if found is None:
        return None
    take = Arguments()
    gap = np.empty(len(starts_a))
    job = _Chords(chords=len(starts_a), start=take(starts_a), end=take(ends_a))
    job.sites, job.place = len(sites_a), take(sites_a.T)
    job.skipped, job.gap = skipped_a, take(gap)
    found.ionscreen_chords(ctypes.byref(job))
    return gap
