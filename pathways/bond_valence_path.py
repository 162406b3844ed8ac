"""The bond valence energy along a hop: as a profile, as a cheap curved path, as features, as flags.

Against the barriers of 555 published bands, the profile's barrier has a Spearman coefficient of
0.45 along the chord, 0.58 along the chord relaxed, 0.59 along a curved path and 0.60 along one
relaxed. As numbers they are two to three times too high, since nothing but the ion moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pathways.bond_valence import SiteEnergy, site_energy
from pathways.curved_search import resample
from pathways.elements import SYMBOLS
from pathways.oxidation import Oxidation, oxidation_of_band
from pathways.types import Band, Crystal, FloatArray

POINTS = 11
"""Points on a chord or on a relaxed path, start to end."""
HIGH_EV = 3.0
"""Paths with a higher barrier are flagged ``high_bond_valence``. Of published hops flagged on their
curved path, 76 in 100 have a barrier over 0.65 eV, of the others 35."""

NAMES: tuple[str, ...] = (
    *(
        f"{path}_{name}"
        for path in ("chord", "curved")
        for name in ("barrier", "over_high_end", "max", "mean", "low_end", "well")
    ),
    "known",
)
"""Names of the features, in order."""

SIZE = len(NAMES)
"""Length of the feature vector."""

_STEPS = 10
_GAIN_A2_EV = 0.03
_MAX_STEP_A = 0.1
_SLACK_A = _STEPS * _MAX_STEP_A
_RESPACED = 3


@dataclass(frozen=True, eq=False)
class BondValenceProfile:
    """The bond valence energy of the moving ion along one path."""

    path_a: FloatArray
    """(m, 3), Å, Cartesian in the cell's own frame, start to end, unwrapped."""
    energies_ev: FloatArray
    """(m,), eV; nan where a pair has no parameters."""
    missing: tuple[str, ...]
    """Pairs without parameters, such as ``Mg-P``: with any, the path is unparametrised."""
    derived: tuple[str, ...]
    """Pairs whose parameters follow from those of other pairs."""
    charges_source: str
    """Where the charges come from (``pathways.oxidation.Oxidation``)."""

    @property
    def barrier_ev(self) -> float:
        """The highest energy over the lower end, eV: what the harder direction takes; maybe nan."""
        return float(self.energies_ev.max() - self.energies_ev[[0, -1]].min())

    @property
    def flags(self) -> tuple[str, ...]:
        """``unparametrised`` or ``high_bond_valence``, where so."""
        if self.missing:
            return ("unparametrised",)
        return ("high_bond_valence",) if self.barrier_ev > HIGH_EV else ()


def profile(
    band: Band,
    path_a: FloatArray | None = None,
    oxidation: Oxidation | None = None,
    relax: bool = False,
) -> BondValenceProfile:
    """The energies of a band's ion along a path, with the host as it is.

    Args:
        band: host and hop.
        path_a: (m, 3), Å, Cartesian in the cell's own frame, such as
            ``pathways.curved.curved_path(band.folded).path_a``; the straight chord where None.
        oxidation: charges of the crystal that the band was cut from, of which each element's mean
            counts; guessed from composition where None.
        relax: let the path slide downhill first, which takes ``POINTS`` points along it.
    """
    if oxidation is None:
        oxidation = oxidation_of_band(band)
        charges = oxidation.charges
    else:
        charges = oxidation.mean_charges(band.host_numbers)
    host = Crystal(band.lattice, band.host_numbers, band.host_frac)
    removed = 2 if np.any(band.host_numbers == band.ion_number) else 0
    field = site_energy(host, SYMBOLS[band.ion_number], charges, removed)
    if path_a is None:
        path_a = resample(band.ion_frac[None] @ band.lattice, POINTS)[0]
    if relax and not field.missing:
        path_a, energies_ev = _relaxed(field, resample(path_a[None], POINTS)[0])
    else:
        energies_ev = field.energy_at(path_a)
    return BondValenceProfile(path_a, energies_ev, field.missing, field.derived, oxidation.source)


def _relaxed(field: SiteEnergy, start_a: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The path after a few steps downhill across its own direction, and its energies.

    The ends stay, and the points are spread evenly every few steps, as in
    ``pathways.curved_search.relax``.
    """
    neighbours = field.neighbours(start_a, _SLACK_A)
    path = start_a
    for step in range(_STEPS):
        gradient = neighbours.energy_and_gradient(path - start_a)[1][1:-1]
        tangent = path[2:] - path[:-2]
        share = (gradient * tangent).sum(axis=1) / np.maximum((tangent**2).sum(axis=1), 1e-12)
        move = _GAIN_A2_EV * (share[:, None] * tangent - gradient)
        size = np.linalg.norm(move, axis=1, keepdims=True)
        move *= _MAX_STEP_A / np.maximum(size, _MAX_STEP_A)
        path = np.concatenate([path[:1], path[1:-1] + move, path[-1:]])
        if (step + 1) % _RESPACED == 0:
            path = resample(path[None], len(path))[0]
    return path, neighbours.energy_and_gradient(path - start_a)[0]


def features_of(chord: BondValenceProfile, curved: BondValenceProfile) -> FloatArray:
    """(SIZE,) finite numbers, named by ``NAMES``, of a hop's straight and curved profiles.

    Equal for a hop and its reverse. Energies in eV beyond 1 eV count by their logarithm; all are
    zero, and so is ``known``, where a pair has no parameters.
    """
    if chord.missing or curved.missing:
        return np.zeros(SIZE)
    return np.array([*_features(chord), *_features(curved), 1.0])


def _features(profile: BondValenceProfile) -> FloatArray:
    energies = profile.energies_ev
    low, high = np.sort(energies[[0, -1]])
    top = energies.max()
    values = np.array(
        [top - low, top - high, top, energies.mean() - low, low, low - energies.min()]
    )
    return np.asarray(np.arcsinh(values))
