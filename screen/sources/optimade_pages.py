"""Pages of OPTIMADE structures, as received, into candidates: pure, run on any machine.

Source of the attributes' meaning: the OPTIMADE specification, v1.2 (Evans et al., Digital
Discovery 3, 1509, 2024, doi:10.1039/D4DD00039K).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pathways.checks import MIN_CELL_FLATNESS
from pathways.types import Crystal, IntArray, PathwayError
from screen.sources.base import Query
from screen.sources.optimade_providers import Provider
from screen.sources.selection import Examined, examine, failed
from screen.sources.structure_json import number_array, species_number

_FULL = 1e-6
"""How far an occupancy may be from 1."""
_REFUSED_FEATURES = {
    "disorder": ("partial_occupancy", "sites are shared or partly empty"),
    "assemblies": ("partial_occupancy", "its sites are alternatives to one another"),
    "site_attachments": ("attached_atoms", "atoms are attached to sites without positions"),
    "implicit_atoms": ("implicit_atoms", "not all of its atoms have positions"),
}
"""Values of ``structure_features``."""


@dataclass(frozen=True)
class Parser:
    """Pages into what was found on them.

    Attributes:
        provider: Whose pages.
        query: What is asked for.
        version: Of the pull.
    """

    provider: Provider
    query: Query
    version: str

    def __call__(self, packed: bytes) -> list[tuple[str, Examined | None]]:
        """Each entry's id and what came of it, None for a system not asked for."""
        return [self._entry(entry) for entry in json.loads(gzip.decompress(packed))["data"] or []]

    def _entry(self, entry: Any) -> tuple[str, Examined | None]:
        identifier = entry_id(entry)
        material_id = self.provider.material_id(identifier)
        try:
            attributes = entry.get("attributes") if isinstance(entry, Mapping) else None
            if not isinstance(attributes, Mapping) or not attributes:
                raise PathwayError("unreadable", "the entry has no attributes")
            if not self._is_asked_for(attributes.get("elements")):
                return material_id, None
            if identifier.startswith("?"):
                raise PathwayError("unreadable", "the entry has no id")
            crystal = crystal_from_attributes(attributes)
        except PathwayError as error:
            return material_id, Examined(failed(material_id, "source", error.reason, error.detail))
        info = self._info(identifier, attributes)
        return material_id, examine(material_id, crystal, info, self.query)

    def _is_asked_for(self, elements: Any) -> bool:
        """Whether these elements are; True where they cannot be told."""
        if not self.query.patterns or not isinstance(elements, list) or not elements:
            return True
        return self.query.selects([str(element) for element in elements])

    def _info(self, identifier: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        provider = self.provider
        energy, gap = provider.energy_above_hull, provider.band_gap
        ehull_ev = energy.read(attributes) if energy is not None else None
        return {
            "source": f"optimade:{provider.name}",
            "source_version": self.version,
            "source_id": identifier,
            # Some give how far below the hull of all others it is.
            "energy_above_hull_ev": None if ehull_ev is None else max(ehull_ev, 0.0),
            "band_gap_ev": gap.read(attributes) if gap is not None else None,
            "theoretical": provider.theoretical,
            "last_updated": attributes.get("last_modified") or None,
            "license": provider.license,
            "attribution": provider.attribution,
            "url": provider.url(identifier, attributes),
        }


def entry_id(entry: Any) -> str:
    """An entry's id as text; where it has none, a digest of the entry."""
    found = entry.get("id") if isinstance(entry, Mapping) else None
    if isinstance(found, str | int) and found != "":
        return str(found)
    text = json.dumps(entry, sort_keys=True)
    return f"?{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def crystal_from_attributes(attributes: Mapping[str, Any]) -> Crystal:
    """The crystal that an entry's attributes describe, its atoms in the order given.

    Raises:
        PathwayError: ``not_periodic``, ``partial_occupancy``, ``attached_atoms``,
            ``implicit_atoms``, ``unknown_element``, ``bad_shape``, ``non_finite`` or
            ``singular_cell``.
    """
    _check_periodic(attributes)
    _check_features(attributes.get("structure_features"))
    numbers = _numbers(attributes.get("species_at_sites"), attributes.get("species"))
    lattice = number_array("lattice_vectors", attributes["lattice_vectors"], (3, 3))
    positions = attributes.get("cartesian_site_positions")
    cartesian = number_array("cartesian_site_positions", positions, (len(numbers), 3))
    edges = np.linalg.norm(lattice, axis=1)
    volume = abs(float(np.linalg.det(lattice)))
    if volume == 0 or volume < MIN_CELL_FLATNESS * float(edges.prod()):
        raise PathwayError("singular_cell", "lattice_vectors span no volume")
    frac = np.array(np.linalg.solve(lattice.T, cartesian.T).T, dtype=np.float64)
    frac -= np.floor(frac)
    frac[frac >= 1.0] = 0.0  # what was a rounding error below 0
    return Crystal(lattice, numbers, frac)


def _check_periodic(attributes: Mapping[str, Any]) -> None:
    directions = attributes.get("dimension_types")
    if directions is not None and directions != [1, 1, 1]:
        raise PathwayError(
            "not_periodic", f"dimension_types is {directions}, expected 1 in all three directions"
        )
    n_periodic = attributes.get("nperiodic_dimensions")
    if n_periodic is not None and n_periodic != 3:
        raise PathwayError("not_periodic", f"periodic in {n_periodic} directions, expected 3")
    vectors = attributes.get("lattice_vectors")
    is_partial = isinstance(vectors, list) and any(
        vector is None or (isinstance(vector, list) and None in vector) for vector in vectors
    )
    if vectors is None or is_partial:
        raise PathwayError("not_periodic", "the entry has no three lattice_vectors")


def _check_features(features: Any) -> None:
    for feature in features if isinstance(features, list) else []:
        if feature in _REFUSED_FEATURES:
            reason, what = _REFUSED_FEATURES[feature]
            raise PathwayError(reason, f"structure_features has {feature}: {what}")


def _numbers(names: Any, species: Any) -> IntArray:
    """Atomic numbers of the sites, (n,), each by the name of its species."""
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise PathwayError("bad_shape", "species_at_sites is not a list of at least one name")
    if not species:
        # Some leave out species that are elements; a name of anything else is no element.
        return np.array([species_number(name) for name in names], dtype=np.int64)
    by_name = _by_name(species)
    number_of: dict[str, int] = {}
    for name in dict.fromkeys(names):
        if name not in by_name:
            raise PathwayError("bad_shape", f"species has no {name!r}, which species_at_sites has")
        number_of[name] = _number(name, by_name[name])
    return np.array([number_of[name] for name in names], dtype=np.int64)


def _by_name(species: Any) -> dict[str, Mapping[str, Any]]:
    is_list = isinstance(species, list) and all(isinstance(one, Mapping) for one in species)
    if not is_list:
        raise PathwayError("bad_shape", "species is not a list of objects")
    by_name = {str(one.get("name")): one for one in species}
    if len(by_name) < len(species):
        raise PathwayError("bad_shape", "species has several of one name")
    return by_name


def _number(name: str, species: Mapping[str, Any]) -> int:
    """Atomic number of a species that is one element, alone and in full."""
    symbols, shares = species.get("chemical_symbols"), species.get("concentration")
    if not (isinstance(symbols, list) and isinstance(shares, list) and symbols) or (
        len(symbols) != len(shares)
    ):
        raise PathwayError(
            "bad_shape", f"species {name} has no chemical_symbols with a concentration each"
        )
    if species.get("attached"):
        raise PathwayError(
            "attached_atoms", f"species {name} has {species['attached']} attached, no positions"
        )
    is_full = isinstance(shares[0], int | float) and abs(shares[0] - 1.0) <= _FULL
    if len(symbols) > 1 or symbols[0] == "vacancy" or not is_full:
        content = ", ".join(f"{one} {share}" for one, share in zip(symbols, shares, strict=True))
        raise PathwayError(
            "partial_occupancy",
            f"species {name} is {content}: sites are shared or partly empty, "
            "expected one element in full",
        )
    return species_number(str(symbols[0]))
