"""The compiled bond valence energy (``site_energy.c``)."""

from __future__ import annotations

import ctypes

import numpy as np

from pathways import compiled
from pathways.compiled import INTEGER, POINTER, REAL, Arguments
from pathways.types import FloatArray


class _Sites(ctypes.Structure):
    """``Sites`` of ``site_energy.c``."""

    _fields_ = (
        ("n", INTEGER),
        *((name, POINTER) for name in ("lattice", "inverse", "pad", "frac")),
        *((name, POINTER) for name in ("r_min", "b", "depth", "repulsion", "screening")),
        *((name, REAL) for name in ("reach", "taper", "closest")),
        ("points", INTEGER),
        *((name, POINTER) for name in ("point", "energy")),
        ("failed", INTEGER),
    )


def site_energies_ev(
    lattice: FloatArray,
    frac: FloatArray,
    pad: FloatArray,
    table: tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray],
    points_a: FloatArray,
    cut_a: tuple[float, float, float],
) -> FloatArray | None:
    """(m,) bond valence energies at points (m, 3), Å, eV; None where there is no library.

    Args:
        lattice: (3, 3), Å.
        frac: (n, 3), wrapped into the cell.
        pad: (3,), the reach in cells.
        table: distance of least energy, softness, depth, repulsion and screening of each atom.
        points_a: Cartesian.
        cut_a: reach, range of the taper, and least distance.
    """
    found = compiled.library()
    if found is None:
        return None
    take = Arguments()
    energy = np.empty(len(points_a))
    job = _Sites(n=len(frac), lattice=take(lattice), inverse=take(np.linalg.inv(lattice)))
    job.pad, job.frac = take(pad), take(frac)
    job.r_min, job.b, job.depth, job.repulsion, job.screening = map(take, table)
    job.reach, job.taper, job.closest = cut_a
    job.points, job.point, job.energy = len(points_a), take(points_a), take(energy)
    found.ionscreen_site_energies(ctypes.byref(job))
    return None if job.failed else energy
