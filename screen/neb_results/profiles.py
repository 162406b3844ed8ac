"""Energies along a band: minima on its way, the climbs between them, and how long the path is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from screen.neb.run_neb import MINIMUM_EV

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


@dataclass(frozen=True)
class Profile:
    """A band's energies, and what they say of the way. A climb is from a minimum to the saddle
    before the next one."""

    energies_ev: tuple[float, ...]
    """(n,), of each image above the first, start to end."""
    path_a: tuple[float, ...] | None
    """(n,), length along the path to each image, Å, over the coordinates of all atoms as NEB codes
    have it; None: not known."""
    intermediate_minima: int
    """Minima between the ends, at least 0.02 eV deep."""
    segments_forward_ev: tuple[float, ...]
    """One more than minima: each climb on the way from start to end."""
    segments_reverse_ev: tuple[float, ...]
    """The same on the way back, in the same order."""

    @property
    def highest_segment_ev(self) -> float:
        """Of all climbs, there and back: what the ion must overcome at once, eV."""
        return max(*self.segments_forward_ev, *self.segments_reverse_ev)


def profile_of(
    energies_ev: Sequence[float],
    path_a: Sequence[float] | None = None,
    saddle_ev: float | None = None,
) -> Profile:
    """The profile of a band.

    Args:
        energies_ev: (n,), of all images, start to end, all finite.
        path_a: (n,), length along the path, Å; what is not such a list is left out.
        saddle_ev: energy of the highest saddle, where a curve tells better than the highest image.
    """
    lows = [0, *_minima(energies_ev), len(energies_ev) - 1]
    highest = max(range(len(energies_ev)), key=energies_ev.__getitem__)
    tops_ev = [
        max(
            *energies_ev[a : b + 1],
            -math.inf if saddle_ev is None or not a <= highest <= b else saddle_ev,
        )
        for a, b in itertools.pairwise(lows)
    ]
    return Profile(
        energies_ev=tuple(float(energy - energies_ev[0]) for energy in energies_ev),
        path_a=_checked(path_a, len(energies_ev)),
        intermediate_minima=len(lows) - 2,
        segments_forward_ev=tuple(
            float(top - energies_ev[low]) for top, low in zip(tops_ev, lows[:-1], strict=True)
        ),
        segments_reverse_ev=tuple(
            float(top - energies_ev[low]) for top, low in zip(tops_ev, lows[1:], strict=True)
        ),
    )


def path_of_positions(positions_a: ArrayLike) -> tuple[float, ...]:
    """Length along a path.

    Args:
        positions_a: (n, m, 3), Å, of the atoms of each image, no atom jumping to another cell.

    Returns:
        (n,), Å, 0 for the first image.
    """
    steps_a = np.linalg.norm(np.diff(np.asarray(positions_a, float), axis=0), axis=(1, 2))
    return (0.0, *(float(length) for length in np.cumsum(steps_a)))


def path_of_structures(structures: Sequence[Structure]) -> tuple[float, ...]:
    """Length along a path of structures, each atom by the nearest of its periodic images.

    Raises:
        ValueError: the structures are not of the same number of atoms.
    """
    steps_a = [
        math.sqrt(sum(a.distance(b) ** 2 for a, b in zip(*pair, strict=True)))
        for pair in itertools.pairwise(structures)
    ]
    return (0.0, *itertools.accumulate(steps_a))


def _minima(energies_ev: Sequence[float]) -> list[int]:
    """Images between the ends that lie lower than what is before and behind, by ``MINIMUM_EV``."""
    found: list[int] = []
    top_ev, low, is_falling = energies_ev[0], 0, False
    for index, energy_ev in enumerate(energies_ev):
        if is_falling:
            if energy_ev < energies_ev[low]:
                low = index
            elif energy_ev > energies_ev[low] + MINIMUM_EV:
                found.append(low)
                top_ev, is_falling = energy_ev, False
        elif energy_ev < top_ev - MINIMUM_EV:
            low, is_falling = index, True
        top_ev = max(top_ev, energy_ev)
    return found


def _checked(path_a: Any, n_images: int) -> tuple[float, ...] | None:
    """A length for each image that nowhere goes back, else None."""
    try:
        lengths_a = tuple(float(length) for length in path_a)
    except (TypeError, ValueError):
        return None
    if len(lengths_a) != n_images or not all(map(math.isfinite, lengths_a)):
        return None
    goes_on = all(a <= b for a, b in itertools.pairwise(lengths_a))
    return lengths_a if goes_on and lengths_a[-1] > lengths_a[0] else None
