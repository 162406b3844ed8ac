"""A band that a program of the user's own relaxed with ASE: ``neb.traj``, images with energies.

ASE appends every image at every step, so the last ones are the band as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pathways.types import PathwayError
from screen.neb_results.axsf import Images, check_hop
from screen.neb_results.results import Barrier, Calculation, barrier_of

TRAJECTORY = "neb.traj"
FMAX_EV_A = 0.05
"""Largest force, projected as NEB does, of a band that counts as converged."""


def read_trajectory(calculation: Calculation) -> Barrier:
    """The barrier of the band at the end of a trajectory.

    Raises:
        PathwayError: ``no_ase``, ``unreadable``, ``other_images``, ``no_energies``, or what
            ``check_hop`` and ``barrier_of`` refuse.
    """
    frames = _frames(calculation.folder / TRAJECTORY)
    n_images = calculation.n_images or len(frames)
    if not frames or len(frames) % n_images:
        raise PathwayError(
            "other_images",
            f"{len(frames)} images in {TRAJECTORY}, expected {n_images} for each step; "
            "write the whole band, ends included",
        )
    images = frames[-n_images:]
    symbols = tuple(images[0].get_chemical_symbols())
    if any(tuple(one.get_chemical_symbols()) != symbols for one in images):
        raise PathwayError("other_atoms", f"images of different atoms in {TRAJECTORY}")
    band = Images(symbols, np.array([one.get_positions() for one in images]), TRAJECTORY)
    check_hop(band, calculation)
    name = getattr(images[1].calc, "name", None) or "unnamed"
    return barrier_of(
        calculation, f"ase:{name}", _energies(images), _converged(images), path_a=band.path_a
    )


def _frames(path: Path) -> list[Any]:
    try:
        from ase.io import read
    except ImportError:
        raise PathwayError(
            "no_ase", f"{TRAJECTORY} is ASE's, which is not installed; `pip install ase`"
        ) from None
    try:
        return list(read(path, index=":", format="traj"))
    except Exception as error:  # whatever ASE makes of a file that is none
        raise PathwayError(
            "unreadable", f"{TRAJECTORY} is no trajectory of ASE ({type(error).__name__})"
        ) from None


def _energies(images: list[Any]) -> list[float]:
    try:
        return [float(image.get_potential_energy()) for image in images]
    except (RuntimeError, AttributeError):
        raise PathwayError(
            "no_energies",
            f"an image of {TRAJECTORY} has no energy; the ends need one too, before they are "
            "written",
        ) from None


def _converged(images: list[Any]) -> bool | None:
    """Whether the band's forces have come down; None where they are not written."""
    import ase.mep

    tools: Any = ase.mep
    try:
        return bool(tools.NEBTools(images).get_fmax(method="improvedtangent") <= FMAX_EV_A)
    except (RuntimeError, AttributeError, NotImplementedError):
        return None
