"""The compiled shells of atoms around the images of an ion (``shells.c``)."""

from __future__ import annotations

import ctypes

import numpy as np

from pathways import compiled
from pathways.compiled import INTEGER, POINTER, REAL, Arguments
from pathways.types import FloatArray, IntArray

KINDS = 3
NEAREST = 2


class _Shells(ctypes.Structure):
    """``Shells`` of ``shells.c``, field by field."""

    _fields_ = (
        *((name, INTEGER) for name in ("copies", "images", "stride", "n")),
        *((name, POINTER) for name in ("distance", "kind")),
        ("reach", REAL),
        ("centres", INTEGER),
        ("centre", POINTER),
        ("width", REAL),
        *((name, POINTER) for name in ("radial", "nearest")),
    )


class _Distances(ctypes.Structure):
    """``Distances`` of ``shells.c``."""

    _fields_ = (
        ("lattice", POINTER),
        ("n", INTEGER),
        ("frac", POINTER),
        ("images", INTEGER),
        *((name, POINTER) for name in ("distance", "space")),
    )


def distances_a(lattice: FloatArray, frac: FloatArray, images: int) -> FloatArray | None:
    """(27, images, n) Å: from the first atoms to the copies of all in the cells around.

    Args:
        lattice: (3, 3), Å.
        frac: (n, 3); steps are brought within half a cell first.
        images: how many atoms to measure from.
    """
    found = compiled.library()
    if found is None:
        return None
    take = Arguments()
    out = np.empty((27, images, len(frac)))
    job = _Distances(lattice=take(lattice), n=len(frac), frac=take(frac), images=images)
    job.distance, job.space = take(out), take(np.empty((3, len(frac))))
    found.ionscreen_distances(ctypes.byref(job))
    return out


def shells(
    apart_a: FloatArray, kinds: IntArray, centres_a: FloatArray, width_a: float, reach_a: float
) -> tuple[FloatArray, FloatArray] | None:
    """Atoms of each kind around each image of an ion, by shell, and the distances of the nearest.

    Args:
        apart_a: (c, i, m), Å, of copies of atoms from images.
        kinds: (n,), 0 to 2, of the last n of the atoms: those that count.
        centres_a: of the shells, Å.
        width_a: of each shell's Gaussian.
        reach_a: atoms further away do not count.

    Returns:
        (3, i, shells) sums and (3, i, 2) distances, at most the reach; None where there is no
        library, or it takes fewer shells.
    """
    found = compiled.library()
    if found is None:
        return None
    take = Arguments()
    copies, images, atoms = apart_a.shape
    radial = np.empty((KINDS, images, len(centres_a)))
    nearest = np.empty((KINDS, images, NEAREST))
    job = _Shells(copies=copies, images=images, stride=atoms, n=len(kinds))
    job.distance, job.kind = take(apart_a), take(kinds, np.int64)
    job.reach, job.width = reach_a, width_a
    job.centres, job.centre = len(centres_a), take(centres_a)
    job.radial, job.nearest = take(radial), take(nearest)
    return (radial, nearest) if found.ionscreen_shells(ctypes.byref(job)) else None
