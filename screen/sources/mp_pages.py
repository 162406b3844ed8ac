"""Documents of the Materials Project, as received, into candidates: pure, run on any machine."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pathways.types import Crystal, PathwayError
from screen.sources.base import Query
from screen.sources.selection import Examined, examine, failed
from screen.sources.structure_json import crystal_from_json

URL = "https://next-gen.materialsproject.org/materials/{material_id}"
ATTRIBUTION = "the Materials Project (Jain et al. 2013, doi:10.1063/1.4812323), CC BY 4.0"

FIELDS = [
    "material_id",
    "formula_pretty",
    "elements",
    "nsites",
    "symmetry",
    "structure",
    "energy_above_hull",
    "band_gap",
    "theoretical",
    "deprecated",
    "possible_species",
    "last_updated",
    "builder_meta",
]

ELECTRODE_FIELDS = [
    "battery_id",
    "working_ion",
    "material_ids",
    "id_charge",
    "id_discharge",
    "average_voltage",
    "capacity_grav",
    "capacity_vol",
]

_LICENSES = {"BY-C": "CC-BY-4.0", "BY-NC": "CC-BY-NC-4.0"}
_ALPHA = re.compile(r"(?:mp-)?([a-z]+)")
_LAST_NUMBER = 3_347_529
"""Materials up to this one go by their number, later ones by letters."""


def legacy_id(identifier: str) -> str:
    """A material's id in the form in use: ``mp-aaaaaaft`` is ``mp-149``.

    The letters are a number to the base of 26. Source: the Materials Project's documentation of
    its identifiers; the same as ``emmet.core``'s ``format_identifier``.
    """
    match = _ALPHA.fullmatch(identifier)
    if match is None:
        return identifier
    number = 0
    for letter in match[1]:
        number = 26 * number + ord(letter) - ord("a")
    if number <= _LAST_NUMBER:
        return f"mp-{number}"
    return f"mp-{match[1].lstrip('a')}"


@dataclass(frozen=True)
class Parser:
    """Pages into what was found on them.

    Attributes:
        query: What is asked for.
        version: Of the database.
        fetched_at: When the pull began, ISO 8601.
        discharged: Names and crystals with the ion of charged electrodes, by the charged one's id.
    """

    query: Query
    version: str
    fetched_at: str
    discharged: Mapping[str, Sequence[tuple[str, Crystal]]] = field(default_factory=dict)

    def __call__(self, packed: bytes) -> list[tuple[str, Examined | None]]:
        """Each document's id and what came of it, None for a system not asked for."""
        return [
            self._document(document) for document in json.loads(gzip.decompress(packed))["data"]
        ]

    def _document(self, document: Any) -> tuple[str, Examined | None]:
        found = document.get("material_id") if isinstance(document, Mapping) else None
        if not isinstance(found, str) or not found:
            nameless = failed("?", "source", "unreadable", f"a document without an id: {document}")
            return "?", Examined(nameless)
        material_id = legacy_id(found)
        try:
            if document.get("structure") is None:
                raise PathwayError("unreadable", "the document has no structure")
            crystal = crystal_from_json(document["structure"])
        except PathwayError as error:
            return material_id, Examined(failed(material_id, "source", error.reason, error.detail))
        info = self._info(material_id, found, document)
        discharged = self.discharged.get(material_id, ())
        return material_id, examine(material_id, crystal, info, self.query, discharged)

    def _info(self, material_id: str, found: str, document: Mapping[str, Any]) -> dict[str, Any]:
        license_code = _part(document, "builder_meta", "license")
        return {
            "source": "mp",
            "source_version": self.version,
            "source_id": found,
            "formula": document.get("formula_pretty"),
            "space_group": _part(document, "symmetry", "symbol"),
            "energy_above_hull_ev": _number(document.get("energy_above_hull")),
            "band_gap_ev": _number(document.get("band_gap")),
            "theoretical": document.get("theoretical"),
            "deprecated": document.get("deprecated"),
            "possible_species": document.get("possible_species"),
            "last_updated": _time(document.get("last_updated")),
            "license": _LICENSES.get(license_code or "BY-C", license_code),
            "attribution": ATTRIBUTION,
            "url": URL.format(material_id=material_id),
            "fetched_at": self.fetched_at,
        }


def electrodes(pages: Iterable[bytes], ion: str) -> dict[str, dict[str, Any]]:
    """Electrode data by material id, of the materials that a battery of this ion goes through.

    A material that is the discharged state of one battery and on the way of another has the data of
    the first.

    Args:
        pages: Of insertion electrodes.
        ion: The working ion.
    """
    discharged: dict[str, dict[str, Any]] = {}
    on_the_way: dict[str, dict[str, Any]] = {}
    for packed in pages:
        for document in json.loads(gzip.decompress(packed))["data"]:
            if document.get("working_ion") != ion:
                continue
            discharged_id = _id(document.get("id_discharge"))
            data = {
                "battery_id": _battery_id(document.get("battery_id")),
                "voltage_v": _number(document.get("average_voltage")),
                "capacity_mah_g": _number(document.get("capacity_grav")),
                "capacity_mah_cm3": _number(document.get("capacity_vol")),
                "charged_id": _id(document.get("id_charge")),
                "discharged_id": discharged_id,
            }
            for identifier in document.get("material_ids") or []:
                on_the_way.setdefault(legacy_id(str(identifier)), data)
            if discharged_id is not None:
                discharged.setdefault(discharged_id, data)
    return on_the_way | discharged


def _part(document: Mapping[str, Any], name: str, key: str) -> str | None:
    part = document.get(name)
    value = part.get(key) if isinstance(part, Mapping) else None
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and value == value else None


def _id(value: Any) -> str | None:
    return None if value is None else legacy_id(str(value))


def _battery_id(value: Any) -> str | None:
    """A material's id and the ion: ``mp-149_Li``."""
    if value is None:
        return None
    material_id, joint, ion = str(value).partition("_")
    return f"{legacy_id(material_id)}{joint}{ion}"


def _time(value: Any) -> str | None:
    """A time as text; some servers send it in MongoDB's own JSON."""
    if isinstance(value, Mapping):
        value = value.get("$date")
    return value if isinstance(value, str) else None
