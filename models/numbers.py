"""A path in numbers, the curved path among them: all that kernels and trees see of a band."""

from __future__ import annotations

import numpy as np

from models.descriptors import SIZE as _STRAIGHT
from models.descriptors import path_descriptor
from pathways.curved import NAMES, features_of
from pathways.types import Band, FloatArray, IntArray

SIZE = _STRAIGHT + len(NAMES)
"""Length of the numbers of a band."""

# The blocks of ``path_descriptor``: for each of three species a radial distribution and the nearest
# distances, then length and density of the framework, then ion and framework by element.
_N_SPECIES, _N_SHELLS, _N_NEAREST, _N_HOP, _N_ELEMENT = 3, 56, 8, 2, 92
_SPECIES = np.repeat(np.arange(_N_SPECIES), _N_SHELLS + _N_NEAREST)
_START_ION = len(_SPECIES) + _N_HOP
_CURVED_PATHS = ("best", "from_chord", "chord")

COMPOSITION = np.arange(_START_ION, _STRAIGHT)
"""Which of the numbers are of ion and framework by element."""
GEOMETRY = np.concatenate(
    [
        np.flatnonzero(np.tile(np.repeat([False, True], [_N_SHELLS, _N_NEAREST]), _N_SPECIES)),
        np.arange(len(_SPECIES), _START_ION),
    ]
)
"""Which are nearest distances, hop length and density."""
SURROUNDINGS = np.arange(_STRAIGHT)
"""Which do not ask for the curved path."""


def path_numbers(band: Band, distances_a: FloatArray) -> FloatArray:
    """(SIZE,) numbers of a band: ``path_descriptor``, then the curved path's.

    Args:
        band: the hop in its supercell.
        distances_a: from ``descriptors.image_distances_a``, of the folded band.
    """
    return np.concatenate([path_descriptor(band.folded, distances_a), features_of(band.curved)])


def number_groups() -> IntArray:
    """(SIZE,) group of each number, for the kernel's length scales.

    0 to 2: the surroundings by species (anions, moving species, others); 3: length and density;
    4: the ion; 5: the framework's composition; 6: the ends in the radii's potential; 7 to 9: the
    best path, that from the chord, and the chord in it.
    """
    straight = np.repeat([3, 4, 5], [_N_HOP, _N_ELEMENT, _N_ELEMENT])
    curved = [
        next((7 + i for i, path in enumerate(_CURVED_PATHS) if name.startswith(path)), 6)
        for name in NAMES
    ]
    return np.concatenate([_SPECIES, straight, np.array(curved)])
