"""A crystal reduced to its primitive cell and described alike however it was written.

spglib finds the space group (``pathways.space_group``), cell and sites are averaged over its
operations, and ``pathways.standard`` chooses axes and origin. This is done twice: first with what
symmetry the crystal has beyond doubt, so that what is almost symmetric is always looked at in the
same description. The two searches are most of the time that enumerating hops takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from pathways import compiled_geometry
from pathways.checks import check_distances
from pathways.neighbours import tolerance_rank
from pathways.space_group import CENTRING, find_space_group
from pathways.standard import best_setting, cells_alike, lattice_of, rarest, shortest_cells
from pathways.types import Crystal, FloatArray, IntArray, PathwayError

SYMPREC_A = (0.1, 0.01)
"""Tolerances tried in turn: the loose one sees the symmetry that relaxed structures have lost."""
_EXACT_A = 1e-3
"""Tolerance of what counts as symmetric without doubt."""
_MOST_ROTATIONS = 48
_MAP_TOLERANCE_A = 0.05
_ORDER_TOLERANCE = 1.0471e-4  # no short decimal: rounded coordinates must not lie on the edge
_VOLUME_TOLERANCE = 0.02
_FOUND_TOLERANCE = 3.0  # times spglib's, which it applies to operations that are not exact
_PAIRS_AT_ONCE = 200_000


@dataclass(frozen=True, eq=False)
class SymmetrisedCrystal:
    """A primitive crystal with the operations that map it onto itself."""

    crystal: Crystal
    """Primitive, idealised, in the standard description."""
    rotations: IntArray
    """(k, 3, 3), acting on fractional coordinates: ``x -> rotation @ x + translation``."""
    translations: FloatArray
    """(k, 3), fractional."""
    space_group: str
    """International short symbol."""
    symprec_a: float
    """Tolerance that worked, Å."""
    given_cell: IntArray = field(default_factory=lambda: np.eye(3, dtype=np.int64))
    """(3, 3), the input's cell vectors in terms of the primitive ones."""
    given_origin: FloatArray = field(default_factory=lambda: np.zeros(3))
    """(3,), the input's origin, fractional in the primitive cell."""

    def from_given(self, frac: FloatArray) -> FloatArray:
        """Fractional coordinates (..., 3) of the input in the primitive cell, not wrapped."""
        return np.asarray(frac @ self.given_cell + self.given_origin)


def symmetrise(crystal: Crystal, symprec_a: tuple[float, ...] = SYMPREC_A) -> SymmetrisedCrystal:
    """The crystal's primitive, idealised cell and its symmetry operations.

    The same crystal is described alike whatever its cell, supercell, orientation, origin and order
    of atoms were (``pathways.standard``); its mirror image is too unless it is chiral. Sites are
    sorted by atomic number, then by wrapped fractional coordinates.

    Args:
        crystal: a crystal that has passed ``check_crystal``.
        symprec_a: tolerances in Å, tried in turn until one keeps every site and the composition.

    Raises:
        PathwayError: ``symmetry_failed`` where none does.
    """
    exact = _exactly(crystal, symprec_a)
    trouble = "no tolerance given"
    for tolerance in symprec_a:
        try:
            return _in_usual_setting(_within(exact, tolerance))
        except PathwayError as error:
            trouble = error.detail
    raise PathwayError(
        "symmetry_failed",
        f"no consistent symmetry at {', '.join(f'{s:g}' for s in symprec_a)} Å "
        f"(last: {trouble}); check the structure for distorted or duplicate sites",
    )


def site_permutations(
    symmetrised: SymmetrisedCrystal, sites: IntArray
) -> tuple[IntArray, IntArray]:
    """Where every operation takes a set of sites that it maps onto itself.

    Args:
        symmetrised: crystal and operations.
        sites: (m,), site indices, such as all sites of one element.

    Returns:
        ``target`` (k, m), positions within ``sites``, and ``shift`` (k, m, 3), so that operation k
        takes site m to ``frac[sites[target]] + shift``.

    Raises:
        PathwayError: ``symmetry_failed`` where an operation takes a site to no site.
    """
    moved = _moved(symmetrised, sites)
    target = _nearest(symmetrised, sites, moved, _MAP_TOLERANCE_A)
    shift = np.rint(moved - symmetrised.crystal.frac[sites][target]).astype(np.int64)
    return target, shift


def _moved(symmetrised: SymmetrisedCrystal, sites: IntArray) -> FloatArray:
    """(k, m, 3) where every operation takes each site."""
    turned = symmetrised.crystal.frac[sites] @ symmetrised.rotations.transpose(0, 2, 1)
    return np.asarray(turned + symmetrised.translations[:, None, :])


def _nearest(
    symmetrised: SymmetrisedCrystal, sites: IntArray, moved: FloatArray, tolerance_a: float
) -> IntArray:
    """(k, m) which of the sites each of the places (k, m, 3) is, every one being taken once."""
    frac, lattice = symmetrised.crystal.frac[sites], symmetrised.crystal.lattice
    found = compiled_geometry.nearest(lattice, frac, moved)
    target, squares = _nearest_by_pairs(lattice, frac, moved) if found is None else found
    off_a = float(np.sqrt(squares.max()))
    if off_a > tolerance_a or np.any(np.sort(target, axis=1) != np.arange(len(sites))):
        raise PathwayError(
            "symmetry_failed",
            f"an operation of {symmetrised.space_group} leaves a site {off_a:.3f} Å from any other",
        )
    return target


def _nearest_by_pairs(
    lattice: FloatArray, frac: FloatArray, moved: FloatArray
) -> tuple[IntArray, FloatArray]:
    """(k, m) the nearest of sites (m, 3) to each place (k, m, 3), and the squared distance, Å^2."""
    target, square = np.empty(moved.shape[:2], dtype=np.int64), np.empty(moved.shape[:2])
    step = max(1, _PAIRS_AT_ONCE // len(frac) ** 2)
    for begin in range(0, len(moved), step):
        gap = moved[begin : begin + step, :, None, :] - frac  # (step, m, m, 3)
        squares = np.square((gap - np.rint(gap)) @ lattice).sum(axis=-1)
        target[begin : begin + step] = squares.argmin(axis=-1)
        square[begin : begin + step] = squares.min(axis=-1)
    return target, square


def _exactly(crystal: Crystal, symprec_a: tuple[float, ...]) -> SymmetrisedCrystal:
    """The crystal with the symmetry that it has beyond doubt; where that fails, as it is.

    What spglib finds where a crystal is only almost symmetric, and which axes it takes, depends on
    cell, origin and order of the atoms. After this they are always the same.
    """
    try:
        return _in_shortest_cell(_idealised(crystal, min((_EXACT_A, *symprec_a))))
    except PathwayError:
        return SymmetrisedCrystal(
            crystal=crystal,
            rotations=np.eye(3, dtype=np.int64)[None],
            translations=np.zeros((1, 3)),
            space_group="P1",
            symprec_a=0.0,
        )


def _within(exact: SymmetrisedCrystal, symprec_a: float) -> SymmetrisedCrystal:
    """The crystal with the symmetry that it has within a tolerance, as seen from the input."""
    if _has_all_symmetry(exact, symprec_a):
        return replace(exact, symprec_a=symprec_a)
    found = _idealised(exact.crystal, symprec_a)
    check_distances(found.crystal)
    return replace(
        found,
        given_cell=exact.given_cell @ found.given_cell,
        given_origin=found.from_given(exact.given_origin),
    )


def _has_all_symmetry(exact: SymmetrisedCrystal, symprec_a: float) -> bool:
    """Whether a crystal cannot have more symmetry, whatever the tolerance: cubic ones are slow.

    No crystal has more rotations than 48, and a smaller cell takes a shift that all sites follow.
    The shortest cell of such a crystal is the usual primitive one.
    """
    crystal = exact.crystal
    if len(exact.rotations) < _MOST_ROTATIONS:
        return False
    _, counts = np.unique(crystal.numbers, return_counts=True)
    if np.gcd.reduce(counts) == 1:
        return True
    first, *others = crystal.frac[rarest(crystal.numbers)]
    shift = replace(exact, rotations=np.eye(3, dtype=np.int64)[None])
    for other in others:
        try:
            _followed(replace(shift, translations=(other - first)[None]), symprec_a)
        except PathwayError:
            continue
        return False
    return True


def _idealised(crystal: Crystal, symprec_a: float) -> SymmetrisedCrystal:
    """The primitive crystal, averaged over the operations, which then hold exactly."""
    handedness = -1 if np.linalg.det(crystal.lattice) < 0 else 1  # the same crystal either way
    found = find_space_group(
        Crystal(handedness * crystal.lattice, crystal.numbers, handedness * crystal.frac), symprec_a
    )
    raw = SymmetrisedCrystal(
        crystal=found.crystal,
        rotations=found.rotations,
        translations=found.translations,
        space_group=found.symbol,
        symprec_a=symprec_a,
        given_cell=handedness * found.given_cell,
        given_origin=found.given_origin,
    )
    return _averaged(raw)


def _averaged(raw: SymmetrisedCrystal) -> SymmetrisedCrystal:
    """Lattice and sites averaged over the operations."""
    crystal, rotations = raw.crystal, raw.rotations
    metric = crystal.lattice @ crystal.lattice.T
    metric = (rotations.transpose(0, 2, 1) @ metric @ rotations).mean(axis=0)
    lattice = lattice_of(metric)
    change = abs(float(np.linalg.det(lattice) / np.linalg.det(crystal.lattice))) - 1
    if abs(change) > _VOLUME_TOLERANCE:
        raise PathwayError("symmetry_failed", f"idealising changes the volume by {change:+.1%}")
    frac = crystal.frac + _followed(raw, raw.symprec_a).mean(axis=0)
    return replace(raw, crystal=Crystal(lattice, crystal.numbers, frac))


def _followed(raw: SymmetrisedCrystal, symprec_a: float) -> FloatArray:
    """(k, n, 3) by how much operation k misses each site with the one it takes there, fractional.

    Raises:
        PathwayError: ``symmetry_failed`` where it takes a site further from any other than the
            tolerance explains.
    """
    crystal = raw.crystal
    gaps = np.empty((len(raw.rotations), len(crystal), 3))
    for number in np.unique(crystal.numbers):
        sites = np.flatnonzero(crystal.numbers == number)
        moved = _moved(raw, sites)
        target = _nearest(raw, sites, moved, _FOUND_TOLERANCE * symprec_a)
        gap = moved - crystal.frac[sites][target]
        gaps[np.arange(len(gaps))[:, None], sites[target]] = gap - np.rint(gap)
    return gaps


def _in_shortest_cell(found: SymmetrisedCrystal) -> SymmetrisedCrystal:
    """The same crystal in a cell and with an origin that do not depend on how it was found."""
    return _in_setting(found, shortest_cells(_metric(found)), np.eye(3))


def _in_usual_setting(found: SymmetrisedCrystal) -> SymmetrisedCrystal:
    """The same crystal with its space group's axes, one set of those that the lattice allows."""
    cells = cells_alike(_metric(found), found.rotations)
    return _in_setting(found, cells, CENTRING[found.space_group[0]])


def _metric(found: SymmetrisedCrystal) -> FloatArray:
    return np.asarray(found.crystal.lattice @ found.crystal.lattice.T)


def _in_setting(
    found: SymmetrisedCrystal, cells: IntArray, centring: FloatArray
) -> SymmetrisedCrystal:
    """The same crystal and operations in the best of several cells, sites in canonical order."""
    crystal = found.crystal
    cell, origin = best_setting(cells, crystal.numbers, crystal.frac, _origins(found))
    conventional = np.linalg.inv(centring) @ cell
    lattice = centring @ lattice_of(conventional @ _metric(found) @ conventional.T)
    to_cell = np.rint(np.linalg.inv(cell)).astype(np.int64)
    rotations = to_cell.T @ found.rotations @ cell.T
    translations = (found.translations + found.rotations @ origin - origin) @ to_cell
    order = np.lexsort(rotations.reshape(-1, 9).T[::-1])
    return replace(
        found,
        crystal=_ordered(lattice, crystal.numbers, (crystal.frac - origin) @ to_cell),
        rotations=rotations[order],
        translations=translations[order] - np.floor(translations[order] + _ORDER_TOLERANCE),
        given_cell=found.given_cell @ to_cell,
        given_origin=(found.given_origin - origin) @ to_cell,
    )


def _origins(found: SymmetrisedCrystal) -> IntArray:
    """Sites of the rarest element, one of each set that the operations without reflection join."""
    sites = rarest(found.crystal.numbers)
    target, _ = site_permutations(found, sites)
    proper = np.linalg.det(found.rotations) > 0
    return np.asarray(sites[target[proper].min(axis=0) == np.arange(len(sites))])


def _ordered(lattice: FloatArray, numbers: IntArray, frac: FloatArray) -> Crystal:
    """Sites in canonical order, wrapped into the cell."""
    frac = frac - np.floor(frac + _ORDER_TOLERANCE)  # in [-tolerance, 1 - tolerance)
    ranks = [tolerance_rank(frac[:, axis], _ORDER_TOLERANCE) for axis in (2, 1, 0)]
    order = np.lexsort([*ranks, numbers])
    return Crystal(lattice=lattice, numbers=numbers[order], frac=frac[order])
