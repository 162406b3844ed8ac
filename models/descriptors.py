"""A path in numbers: the host around the ion's images, and what the host is made of.

Path geometry carries most of what can be known of a barrier from few data; a network has to learn
it from 556 examples unless it is told. The numbers are symmetric under reversal of the hop and do
not depend on the supercell, as long as its widths allow distances up to ``REACH_A``.
"""

from __future__ import annotations

import numpy as np

from models.elements import cgcnn_features
from pathways import compiled_shells
from pathways.types import N_IMAGES, Crystal, FloatArray, IntArray

REACH_A = 6.5
"""How far around an image the host counts, Å."""
CENTRES_A = np.arange(0.8, 6.01, 0.4)
WIDTH_A = 0.4
NEAREST = 2
ANIONS = np.array([7, 8, 9, 16, 17, 34, 35, 52, 53])
_IS_ANION = np.isin(np.arange(256), ANIONS)  # by atomic number
_N_CGCNN = 92

SIZE = 3 * 4 * (len(CENTRES_A) + NEAREST) + 2 + 2 * _N_CGCNN
"""Length of a descriptor."""


def image_distances_a(crystal: Crystal) -> FloatArray:
    """(27, 5, n) distances of the ion's images to every atom in the cells around, Å.

    Fractions are brought within a half first, so that one cell either way is exact up to 1.5
    widths of the cell.
    """
    found = compiled_shells.distances_a(crystal.lattice, crystal.frac, N_IMAGES)
    if found is not None:
        return found
    step = crystal.frac[None, :, :] - crystal.frac[:N_IMAGES, None, :]
    step -= np.round(step)
    grid = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    step, shift = step @ crystal.lattice, grid @ crystal.lattice
    # |step + shift|^2 multiplied out: one small matrix product instead of 27 copies of all steps.
    squares = (step**2).sum(axis=-1) + (shift**2).sum(axis=-1)[:, None, None]
    squares += 2.0 * (shift @ step.reshape(-1, 3).T).reshape(squares.shape)
    distances: FloatArray = np.sqrt(np.maximum(squares, 0.0))
    return distances


def path_descriptor(crystal: Crystal, distances_a: FloatArray) -> FloatArray:
    """(SIZE,) numbers of a folded band, not yet standardised.

    For anions, for the moving species and for all other atoms of the host: the radial distribution
    and the two nearest distances at the ends, at the quarters and at the middle of the path (means
    over the pair, so that the reversed hop gives the same) and the ends' difference. Then the hop
    length (Å), the density of the framework (atoms / Å^3), and the features (Xie and Grossman 2018)
    of the ion and, averaged, of the framework.

    Args:
        crystal: folded band, images first.
        distances_a: from ``image_distances_a``.
    """
    host, ion = crystal.numbers[N_IMAGES:], crystal.numbers[0]
    same = host == ion
    kinds = np.where(same, 1, np.where(_IS_ANION[host], 0, 2))
    found = compiled_shells.shells(distances_a, kinds, CENTRES_A, WIDTH_A, REACH_A)
    radial, nearest = _shells(distances_a, kinds) if found is None else found
    parts: list[FloatArray] = []
    for profiles in zip(radial, nearest, strict=True):
        for start, first, middle, third, end in profiles:
            parts += [(start + end) / 2, (first + third) / 2, middle, np.abs(start - end)]
    framework = host[~same]
    volume = abs(float(np.linalg.det(crystal.lattice)))
    hop = (crystal.frac[N_IMAGES - 1] - crystal.frac[0]) @ crystal.lattice
    parts.append(np.array([np.linalg.norm(hop), len(framework) / volume]))
    parts.append(cgcnn_features(crystal.numbers[:1])[0])
    parts.append(cgcnn_features(framework).mean(axis=0) if len(framework) else np.zeros(_N_CGCNN))
    return np.concatenate(parts)


def _shells(distances_a: FloatArray, kinds: IntArray) -> tuple[FloatArray, FloatArray]:
    """(3, 5, centres) atoms per shell and (3, 5, 2) nearest distances, by kind and image."""
    copy, atom = np.nonzero(distances_a[:, :, N_IMAGES:].min(axis=1) <= REACH_A)
    near = distances_a[copy, :, N_IMAGES + atom].T
    each = [near[:, kinds[atom] == kind] for kind in range(3)]
    radial = np.stack([_radial_distribution(one) for one in each])
    return radial, np.stack([_nearest(one) for one in each])


def _radial_distribution(shells_a: FloatArray) -> FloatArray:
    """(5, centres): atoms per Gaussian shell around each image."""
    gap = (shells_a[:, :, None] - CENTRES_A) / WIDTH_A
    shell: FloatArray = np.exp(-(gap**2))
    shell[shells_a > REACH_A] = 0.0
    total: FloatArray = shell.sum(axis=1)
    return total


def _nearest(shells_a: FloatArray) -> FloatArray:
    """(5, 2): the two shortest distances of each image, REACH_A where there is none."""
    none = np.full((N_IMAGES, NEAREST), REACH_A)
    nearest: FloatArray = np.sort(np.concatenate([shells_a, none], axis=1), axis=1)[:, :NEAREST]
    return np.minimum(nearest, REACH_A)
