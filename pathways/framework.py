"""Sites for an ion in a host that holds none, from a crystal of the same framework that holds it.

A charged electrode has the framework of the discharged one, strained and without its ions; where
both are known, the ions' places are too.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from pathways.checks import check_cell, check_distances, ion_number
from pathways.convert import crystal_from_structure, structure_from_crystal
from pathways.types import Crystal, PathwayError

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core.structure import Structure

MAX_ATOMS = 200
"""Larger cells are not mapped onto each other: the search grows with the square of the atoms."""


def fill_like(host: Crystal, filled: Crystal, ion: str) -> Crystal:
    """The host with ions where a crystal of the same framework has them.

    The host's own cell and atoms stay as they are, in a supercell of it where the filled crystal
    needs one; only the ions are brought over, through the map that fits the frameworks best.

    Args:
        host: without the ion.
        filled: the same framework with the ion, in any cell, origin and order.
        ion: element symbol.

    Raises:
        PathwayError: a reason of ``check_cell``, ``not_empty`` where the host holds the ion,
            ``no_mobile_ion`` where the filled crystal does not, ``too_many_sites``, or
            ``other_framework`` where no map fits (``StructureMatcher``'s tolerances, Ong et al.
            2013, doi:10.1016/j.commatsci.2012.10.028) or an ion would overlap an atom.
    """
    number = ion_number(ion)
    for crystal in (host, filled):
        check_cell(crystal)
        if len(crystal) > MAX_ATOMS:
            raise PathwayError("too_many_sites", f"{len(crystal)} sites, at most {MAX_ATOMS}")
    if (host.numbers == number).any():
        raise PathwayError("not_empty", f"the host holds {ion} already; enumerate its hops")
    if not (filled.numbers == number).any():
        raise PathwayError("no_mobile_ion", f"the crystal to take sites from holds no {ion}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of electronegativities that play no part here
        mapped = _mapped(structure_from_crystal(host), structure_from_crystal(filled), ion)
    if mapped is None:
        raise PathwayError(
            "other_framework",
            f"no map of {len(filled)} sites onto {len(host)} fits; is it the same framework?",
        )
    cell, ions = mapped
    both = Crystal(
        lattice=cell.lattice,
        numbers=np.concatenate([cell.numbers, np.full(len(ions), number)]),
        frac=np.concatenate([cell.frac, ions]),
    )
    try:
        check_distances(both)
    except PathwayError as error:
        raise PathwayError("other_framework", f"an ion does not fit: {error.detail}") from None
    return both


def _mapped(host: Structure, filled: Structure, ion: str) -> tuple[Crystal, np.ndarray] | None:
    """The host, or a supercell of it, and the ions' fractional places in it."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(primitive_cell=False, attempt_supercell=True, ignored_species=[ion])
    filled = filled.get_primitive_structure()
    host = host.get_primitive_structure()
    try:
        host = _enlarged(matcher, host, filled, ion)
        found: Structure | None = matcher.get_s2_like_s1(host, filled)  # type: ignore[no-untyped-call]
    except ValueError:  # the cells are no multiples of each other
        return None
    if found is None:
        return None
    places = [site.frac_coords for site in found if site.specie.symbol == ion]
    return crystal_from_structure(host), np.array(places).reshape(-1, 3)


def _enlarged(matcher: StructureMatcher, host: Structure, filled: Structure, ion: str) -> Structure:
    """The supercell of the host that the filled crystal needs, if it needs one."""
    framework = filled.copy()
    framework.remove_species([ion])
    if len(framework) <= len(host):
        return host
    matrix = matcher.get_supercell_matrix(framework, host)
    return host if matrix is None else host.make_supercell(matrix, in_place=False)
