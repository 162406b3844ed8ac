"""Crystals from JSON: ``{"lattice": 3x3 Å, "species": symbols, "frac": n x 3}`` or pymatgen's."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import numpy as np

from pathways.elements import SYMBOLS, atomic_number
from pathways.types import Crystal, FloatArray, PathwayError

_DECORATED = re.compile(r"([A-Z][a-z]?)(?:\d*\.?\d*[+-])?(?:,.*)?")
"""An element with an optional oxidation state and properties: ``Mg``, ``Mg2+``, ``Fe3+,spin=5``."""


def crystal_from_json(value: object) -> Crystal:
    """The crystal that a JSON text or an already decoded object describes.

    Raises:
        PathwayError: ``unreadable``, ``bad_shape``, ``non_finite``, ``unknown_element``,
            ``partial_occupancy`` or ``not_periodic``.
    """
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise PathwayError("unreadable", f"the structure is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise PathwayError(
            "unreadable", f"the structure is {type(value).__name__}, expected a JSON object"
        )
    if "sites" in value:
        return _from_pymatgen(value)
    missing = [key for key in ("lattice", "species", "frac") if key not in value]
    if missing:
        raise PathwayError(
            "unreadable",
            f"the structure has no {', '.join(missing)}; expected lattice, species and frac, "
            "or pymatgen's own form",
        )
    return _from_arrays(value["lattice"], value["species"], value["frac"])


def structure_json(crystal: Crystal) -> str:
    """A crystal as JSON text, without pymatgen."""
    return json.dumps(
        {
            "lattice": crystal.lattice.round(6).tolist(),
            "species": [SYMBOLS[number] for number in crystal.numbers],
            "frac": crystal.frac.round(6).tolist(),
        },
        separators=(",", ":"),
    )


@cache
def species_number(species: str) -> int:
    """Atomic number of an element symbol that may carry an oxidation state; D and T are hydrogen.

    Raises:
        PathwayError: ``unknown_element``.
    """
    match = _DECORATED.fullmatch(species.strip())
    symbol = match[1] if match else species
    try:
        return 1 if symbol in ("D", "T") else atomic_number(symbol)
    except ValueError as error:
        raise PathwayError("unknown_element", str(error)) from None


def _from_arrays(lattice: Any, species: Any, frac: Any) -> Crystal:
    if not isinstance(species, list) or not species:
        raise PathwayError("bad_shape", "species is not a list of at least one element")
    for one in species:
        if not isinstance(one, str):
            raise PathwayError(
                "partial_occupancy", f"species holds {one!r}, expected one element per site"
            )
    return Crystal(
        lattice=number_array("lattice", lattice, (3, 3)),
        numbers=np.array([species_number(one) for one in species], dtype=np.int64),
        frac=number_array("frac", frac, (len(species), 3)),
    )


def number_array(name: str, value: Any, shape: tuple[int, ...]) -> FloatArray:
    """A value as finite numbers of one shape.

    Raises:
        PathwayError: ``bad_shape`` or ``non_finite``.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise PathwayError("bad_shape", f"{name} is not an array of numbers") from None
    if array.shape != shape:
        raise PathwayError("bad_shape", f"{name} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise PathwayError("non_finite", f"{name} holds values that are not finite")
    return array


def _from_pymatgen(value: dict[str, Any]) -> Crystal:
    """A crystal from pymatgen's dict, read straight to arrays where every site holds one element.

    Pymatgen itself has the last word on all others, and so gives the reasons of every refusal.
    """
    lattice, sites = value.get("lattice"), value["sites"]
    pbc = lattice.get("pbc") if isinstance(lattice, dict) else None
    if isinstance(pbc, list | tuple) and not all(pbc):
        raise PathwayError("not_periodic", f"pbc is {pbc}; a crystal needs it in all directions")
    try:
        numbers = np.array([_number(site["species"]) for site in sites], dtype=np.int64)
        crystal = Crystal(
            lattice=np.array(value["lattice"]["matrix"], dtype=np.float64).reshape(3, 3),
            numbers=numbers,
            frac=np.array([site["abc"] for site in sites], dtype=np.float64),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        crystal = _through_pymatgen(value)
    else:
        if crystal.frac.shape != (len(sites), 3) or not len(sites):
            crystal = _through_pymatgen(value)
    if not (np.isfinite(crystal.lattice).all() and np.isfinite(crystal.frac).all()):
        raise PathwayError("non_finite", "lattice or sites hold values that are not finite")
    return crystal


def _number(species: Any) -> int:
    """Atomic number of the one element that fills a site.

    Raises:
        ValueError: There is another element or a vacancy, or it is no plain element.
    """
    (only,) = species
    if only["occu"] != 1:
        raise ValueError
    return atomic_number(only["element"])


def _through_pymatgen(value: dict[str, Any]) -> Crystal:
    from pymatgen.core.structure import Structure

    from pathways.convert import crystal_from_structure

    try:
        # Properties are left out: to decode them runs what they name.
        sites = [{"species": site["species"], "abc": site["abc"]} for site in value["sites"]]
        structure = Structure.from_dict({"lattice": value["lattice"], "sites": sites})
    except Exception as error:  # pymatgen raises whatever its parts raise
        raise PathwayError(
            "unreadable", f"not a pymatgen structure: {type(error).__name__}: {error}"
        ) from None
    return crystal_from_structure(structure)
