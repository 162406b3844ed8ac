"""Is this the same crystal? Distances to neighbours of each element, as numbers to compare.

Average minimum distances (Widdowson, Mosca, Pulido, Cooper, Kurlin, MATCH Commun. Math. Comput.
Chem. 87, 529 (2022), doi:10.46793/match.87-3.529W), with three changes. They are resolved by
element, so that two elements that trade places are seen. Besides the mean over the atoms there are
the least and the greatest value, since a mean hides the few atoms by which two orderings of cations
differ. And distances beyond ``REACH_A`` count as ``REACH_A``, which bounds the work where an
element is dilute and keeps the numbers continuous.

What differs only beyond the last neighbours counts as the same: some long-period stackings of one
kind of layer, such as the polytypes of ZnS with as many cubic as hexagonal layers.
"""

from __future__ import annotations

import numpy as np

from pathways.neighbours import perpendicular_widths, sites_around_cell
from pathways.types import Crystal, FloatArray

NEIGHBOURS = (1, 8, 16, 24, 32, 40, 48)
"""Which neighbours' distances are kept: far ones too, since close packings agree up to the 18th,
and orderings of cations for longer. Of equally many, nearer ones leave more of these undecided."""
REACH_A = 10.0
"""Å. In 400 crystals with mobile ions of up to 200 atoms, 3 in 100 of the 8th neighbours of an
element are further away."""
_ROOM_A3 = 1.0
"""Volume per atom below which the reach shrinks, so that nonsense stays cheap; carbon has 5.7."""
_FIRST_REACH = 1.2
"""Radius that is tried first, relative to the one that holds the last neighbour on average."""
_FLAT = 0.4
"""Cells whose widths are at least this part of their edges are searched as they are; hexagonal and
primitive face-centred cells have 0.8."""
_MAX_ROUNDS = 100
_CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def fingerprint(crystal: Crystal) -> FloatArray:
    """Numbers that two descriptions of one crystal share and that differ little if they do little.

    They do not depend on rotation, reflection, translation, cell, supercell or order of the atoms.
    Atoms that move by at most r change none of them by more than 2 r.

    Args:
        crystal: Any crystal with finite coordinates and a cell of non-zero volume; atoms may
            coincide.

    Returns:
        (e, e, 3, k) raveled, Å: for each element A and each element B, in order of atomic number,
        the mean, the least and the greatest over the atoms A of the distance to the k-th nearest
        atom B, for the k of ``NEIGHBOURS``; at most ``REACH_A``.
    """
    lattice, frac = _compact(crystal)
    volume = abs(float(np.linalg.det(lattice)))
    reach_a = REACH_A * min(1.0, float(np.cbrt(volume / len(crystal) / _ROOM_A3)))
    order = np.argsort(crystal.numbers, kind="stable")
    frac, numbers = frac[order], crystal.numbers[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1])
    counts = np.diff(starts, append=len(numbers))
    centres = frac @ lattice
    ranks = np.array(NEIGHBOURS)
    values = np.empty((len(starts), len(starts), 3, len(ranks)))
    for other, (start, count) in enumerate(zip(starts, counts, strict=True)):
        atoms = slice(start, start + count)
        nearest = _nearest(lattice, frac[atoms], centres, reach_a)
        distances = nearest[:, ranks - 1]
        distances[atoms] = nearest[atoms][:, ranks]  # nearest is the atom itself
        values[:, other, 0] = np.add.reduceat(distances, starts) / counts[:, None]
        values[:, other, 1] = np.minimum.reduceat(distances, starts)
        values[:, other, 2] = np.maximum.reduceat(distances, starts)
    return values.ravel()


def _nearest(
    lattice: FloatArray, frac: FloatArray, centres: FloatArray, reach_a: float
) -> FloatArray:
    """Distances from each centre to the nearest sites, nearest first, (n, last neighbour + 1), Å.

    Looks as far as the last neighbour is on average, and further only where that was not enough.
    """
    from scipy.spatial import cKDTree  # as KDTree, less 10 % of the time here

    n_wanted = NEIGHBOURS[-1] + 1
    share = 3 * n_wanted * abs(float(np.linalg.det(lattice))) / (4 * np.pi * len(frac))
    radius_a = min(_FIRST_REACH * float(np.cbrt(share)), reach_a)
    while True:
        sites = sites_around_cell(lattice, frac, radius_a)
        tree = cKDTree(sites, leafsize=64, balanced_tree=False, compact_nodes=False)
        distances, _ = tree.query(centres, k=n_wanted, distance_upper_bound=radius_a)
        if radius_a >= reach_a or np.isfinite(distances).all():
            return np.asarray(np.minimum(distances, reach_a))
        radius_a = min(1.5 * radius_a, reach_a)


def _compact(crystal: Crystal) -> tuple[FloatArray, FloatArray]:
    """Lattice and wrapped sites of the same crystal, in a cell without needless skew."""
    lattice, frac = crystal.lattice, crystal.frac
    frac = frac - np.floor(frac)
    flatness = perpendicular_widths(lattice) / np.linalg.norm(lattice, axis=1)
    if flatness.min() > _FLAT:
        return lattice, frac
    basis = _shortened(lattice)
    frac = frac @ np.rint(lattice @ np.linalg.inv(basis))
    return basis, frac - np.floor(frac)


def _shortened(basis: FloatArray) -> FloatArray:
    """Three short vectors that span the same lattice.

    Reduces the two shortest as Gauss does, then the longest by the nearest points of their plane,
    until neither gets shorter. spglib's reductions give up on some of the cells that get here.
    """
    for _ in range(_MAX_ROUNDS):
        basis = basis[np.argsort(np.linalg.norm(basis, axis=1), kind="stable")]
        short, middle, long = basis
        middle_trial = middle - np.rint(middle @ short / (short @ short)) * short
        if _is_shorter(middle_trial, middle):
            basis = np.stack([short, middle_trial, long])
            continue
        coefficients = np.linalg.lstsq(basis[:2].T, long, rcond=None)[0]
        trials = long - (np.floor(coefficients) + _CORNERS) @ basis[:2]
        long_trial = trials[np.argmin(np.linalg.norm(trials, axis=1))]
        if not _is_shorter(long_trial, long):
            break
        basis = np.stack([short, middle, long_trial])
    return basis


def _is_shorter(one: FloatArray, other: FloatArray) -> bool:
    return bool(one @ one < (1 - 1e-9) * (other @ other))
