"""Documents of the Materials Project as its server holds them, made from crystals.

A value that the database does not have is missing from its document, never null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pathways.types import Crystal
from tests.standins.mp_identifiers import alpha_id
from tests.standins.mp_structures import Encoded, structure_of, symmetry_of

Document = dict[str, Any]


def summary_document(
    material_id: str | int,
    crystal: Crystal | str | Mapping[str, Any],
    *,
    license: str = "BY-C",
    batch_id: str | None = None,
    database_version: str | None = None,
    **fields: Any,
) -> Document:
    """What the server holds of a material.

    Args:
        material_id: In any form; stored with padded letters.
        crystal: Also as JSON, ``{"lattice", "species", "frac"}`` or pymatgen's own form, which is
            taken as it is.
        license: ``BY-C``, or ``BY-NC`` for materials that not every key gets.
        batch_id: Where the calculation came from.
        database_version: The release that the document was built for.
        fields: Of the document, in place of the usual ones; None leaves one out.
    """
    structure, counts, n_sites = structure_of(crystal)
    document = {
        **_composition(counts),
        "nsites": n_sites,
        "structure": structure,
        "property_name": "summary",
        "material_id": alpha_id(material_id),
        "deprecated": False,
        "deprecation_reasons": [],
        "last_updated": "2024-11-26T00:35:00.125000",
        "warnings": [],
        "task_ids": [alpha_id(material_id)[3:]],
        "energy_above_hull": 0.0,
        "is_stable": True,
        "band_gap": 1.5,
        "is_metal": False,
        "theoretical": False,
        "database_IDs": {},
        "has_props": {"materials": True, "thermo": True, "electronic_structure": True},
        "builder_meta": _meta(license, batch_id, database_version),
    }
    if not isinstance(structure, Encoded):
        document |= {"volume": structure["lattice"]["volume"], "symmetry": symmetry_of(structure)}
    return _known(document | fields)


def electrode_document(
    material_ids: Sequence[str | int],
    formula_charge: str,
    formula_discharge: str,
    working_ion: str = "Mg",
    **fields: Any,
) -> Document:
    """What the server holds of an insertion electrode.

    Args:
        material_ids: Of all its states, the charged first and the discharged last.
        formula_charge: ``Mn2O4``.
        formula_discharge: ``MgMn2O4``.
        working_ion: An element symbol.
        fields: Of the document, in place of the usual ones; None leaves one out.
    """
    from pymatgen.core.composition import Composition

    ids = [alpha_id(material_id) for material_id in material_ids]
    states = [Composition(formula_charge), Composition(formula_discharge)]
    counts = {str(element): amount for element, amount in states[1].items()}
    ion_amount = counts.pop(working_ion)
    host = _composition(counts)
    reduced = [state.reduced_composition.as_dict() for state in states]
    document = {
        "builder_meta": _meta("BY-C", None, None),
        "battery_type": "insertion",
        "battery_id": f"{min(ids)}_{working_ion}",
        "material_ids": sorted(ids),
        "thermo_type": "GGA_GGA+U",
        "battery_formula": f"{working_ion}0-{ion_amount:g}{formula_charge}",
        "working_ion": working_ion,
        "num_steps": 1,
        "max_voltage_step": 0.0,
        "last_updated": "2024-11-26T00:35:00.125000",
        "framework": host["composition"],
        "framework_formula": host["formula_pretty"],
        **{key: host[key] for key in ("elements", "nelements", "chemsys", "formula_anonymous")},
        "warnings": [],
        "formula_charge": states[0].reduced_formula,
        "formula_discharge": states[1].reduced_formula,
        "max_delta_volume": 0.05,
        "average_voltage": 2.5,
        "capacity_grav": 250.0,
        "capacity_vol": 900.0,
        "energy_grav": 625.0,
        "energy_vol": 2250.0,
        "fracA_charge": states[0].get_atomic_fraction(working_ion),
        "fracA_discharge": states[1].get_atomic_fraction(working_ion),
        "stability_charge": 0.02,
        "stability_discharge": 0.0,
        "id_charge": ids[0],
        "id_discharge": ids[-1],
        "entries_composition_summary": {
            "all_formulas": [state.reduced_formula for state in states],
            "all_chemsys": [state.chemical_system for state in states],
            "all_formula_anonymous": [state.anonymized_formula for state in states],
            "all_elements": sorted([*host["elements"], working_ion]),
            "all_composition_reduced": {
                element: sorted({one[element] for one in reduced if element in one})
                for element in [*host["elements"], working_ion]
            },
        },
    }
    return _known(document | fields)


def from_snapshot(
    path: Path, elements: Sequence[str], limit: int | None = None, **fields: Any
) -> Iterator[Document]:
    """Documents of the materials in a Parquet file that have all these elements.

    Args:
        path: With columns ``material_id``, ``formula``, ``elements`` (apart by spaces),
            ``energy_above_hull_ev_atom``, ``band_gap_ev``, ``theoretical`` and ``structure``.
        elements: Element symbols.
        limit: Most documents.
        fields: As of ``summary_document``, for what a row does not say; None leaves one out.
    """
    import pyarrow.parquet as parquet

    of_column = {
        "energy_above_hull_ev_atom": "energy_above_hull",
        "band_gap_ev": "band_gap",
        "theoretical": "theoretical",
    }
    columns = ["material_id", "formula", "elements", "structure", *of_column]
    unknown = dict.fromkeys((*of_column.values(), "is_stable", "is_metal"))
    n_made = 0
    for batch in parquet.ParquetFile(path).iter_batches(1024, columns=columns):
        for row in batch.to_pylist():
            if not set(elements).issubset(row["elements"].split()):
                continue
            if n_made == limit:
                return
            known = {
                field: row[column] for column, field in of_column.items() if row[column] is not None
            }
            given = {**unknown, **fields, **known, "formula_pretty": row["formula"]}
            yield summary_document(row["material_id"], row["structure"], **given)
            n_made += 1


def _known(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}


def _meta(license: str, batch_id: str | None, database_version: str | None) -> Document:
    return _known(
        {
            "emmet_version": "0.87.3",
            "pymatgen_version": "2026.10.16",
            "batch_id": batch_id,
            "database_version": database_version,
            "build_date": datetime(2026, 2, 1, tzinfo=UTC).isoformat(),
            "license": license,
        }
    )


def _composition(counts: Mapping[str, float]) -> Document:
    """What a document says of the elements."""
    from pymatgen.core.composition import Composition

    composition = Composition(counts)
    return {
        "elements": sorted(counts),
        "nelements": len(counts),
        "composition": {symbol: float(count) for symbol, count in counts.items()},
        "composition_reduced": composition.as_reduced_dict(),
        "formula_pretty": composition.reduced_formula,
        "formula_anonymous": composition.anonymized_formula,
        "chemsys": "-".join(sorted(counts)),
    }
