"""Finished materials as Arrow tables, one per table of the database."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from jobs.records import Candidate, MaterialResult
from screen.ranking import rank_material
from screen.sources.structure_json import structure_json

_TEXT, _REAL, _WHOLE, _TIME = pa.string(), pa.float64(), pa.int32(), pa.timestamp("us")

_SCHEMAS: dict[str, pa.Schema] = {
    "materials": pa.schema(
        {
            **dict.fromkeys(("material_id", "source", "formula", "chemsys"), _TEXT),
            "nsites": _WHOLE,
            "space_group": _TEXT,
            "energy_above_hull_ev": _REAL,
            "band_gap_ev": _REAL,
            "theoretical": pa.bool_(),
            **dict.fromkeys(("structure", "license", "url", "source_version"), _TEXT),
            **dict.fromkeys(("source_id", "last_updated", "attribution", "sites_source"), _TEXT),
            "fetched_at": _TIME,
            **dict.fromkeys(("battery_id", "charged_id", "discharged_id"), _TEXT),
            **dict.fromkeys(("voltage_v", "capacity_mah_g", "capacity_mah_cm3"), _REAL),
        }
    ),
    "hops": pa.schema(
        {
            **dict.fromkeys(("hop_id", "material_id", "ion", "mechanism"), _TEXT),
            "length_a": _REAL,
            "multiplicity": _WHOLE,
            "start_frac": pa.list_(_REAL),
            "end_frac": pa.list_(_REAL),
            "image": pa.list_(_WHOLE),
            "clearance_a": _REAL,
            "supercell": pa.list_(_WHOLE),
            "bond_valence_ev": _REAL,
            "charges_source": _TEXT,
            "flags": pa.list_(_TEXT),
        }
    ),
    "predictions": pa.schema(
        {
            **dict.fromkeys(("hop_id", "model_id"), _TEXT),
            **dict.fromkeys(("em_ev", "em_std_ev", "em_low_ev", "em_high_ev"), _REAL),
            **dict.fromkeys(("p_good", "applicability"), _REAL),
            "nearest": _TEXT,
            "predicted_at": _TIME,
        }
    ),
    "material_ranking": pa.schema(
        {
            **dict.fromkeys(("material_id", "ion", "mechanism", "model_id", "campaign_id"), _TEXT),
            **{f"em_{d}d_{end}ev": _REAL for d in (1, 2, 3) for end in ("", "low_", "high_")},
            "dimension": pa.int8(),
            **dict.fromkeys(("limiting_hop_id", "limiting_hop_2d_id", "limiting_hop_3d_id"), _TEXT),
            **{f"path_{d}d_hop_ids": pa.list_(_TEXT) for d in (1, 2, 3)},
            **{f"directions_{d}d": _TEXT for d in (1, 2, 3)},
            "plane_2d": _TEXT,
            "p_good_1d": _REAL,
            "dimension_at_065": pa.int8(),
            **{f"log10_d_300k_{end}cm2_s": _REAL for end in ("", "low_", "high_")},
            "max_particle_nm_c2": _REAL,
            "applicability": _REAL,
            **dict.fromkeys(("n_hops", "n_predicted", "n_cut"), _WHOLE),
            **dict.fromkeys(("cutoff_a", "symprec_a"), _REAL),
            "ranked_at": _TIME,
        }
    ),
    "failures": pa.schema(
        {
            **dict.fromkeys(("campaign_id", "material_id", "hop_id", "stage"), _TEXT),
            **dict.fromkeys(("reason", "detail"), _TEXT),
            "failed_at": _TIME,
        }
    ),
    "campaign_materials": pa.schema(
        {
            **dict.fromkeys(("campaign_id", "material_id", "ion"), _TEXT),
            **dict.fromkeys(("n_hops", "n_predicted", "n_failed"), _WHOLE),
            "written_at": _TIME,
        }
    ),
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Stamp:
    """What all rows of one write share."""

    campaign_id: str
    model_id: str
    now: datetime
    """UTC, naive."""


def tables(results: Iterable[MaterialResult], stamp: Stamp) -> dict[str, pa.Table]:
    """One Arrow table per database table; keys are unique within each, the last one counts."""
    rows: dict[str, dict[tuple[str, ...], Row]] = {name: {} for name in _SCHEMAS}
    for result in {(result.material_id, result.ion): result for result in results}.values():
        _add(rows, result, stamp)
    return {
        name: pa.Table.from_pylist([_nulled(row) for row in rows[name].values()], schema=schema)
        for name, schema in _SCHEMAS.items()
    }


def _add(rows: dict[str, dict[tuple[str, ...], Row]], result: MaterialResult, stamp: Stamp) -> None:
    material_id, network = result.material_id, result.network
    rows["campaign_materials"][material_id, result.ion] = {
        "campaign_id": stamp.campaign_id,
        "material_id": material_id,
        "ion": result.ion,
        "n_hops": len(network.hops) if network else 0,
        "n_predicted": len(result.hops),
        "n_failed": len(result.failures),
        "written_at": stamp.now,
    }
    for failure in result.failures:
        rows["failures"][failure.material_id, failure.hop_id, failure.stage] = {
            "campaign_id": stamp.campaign_id,
            "material_id": failure.material_id,
            "hop_id": failure.hop_id,
            "stage": failure.stage,
            "reason": failure.reason,
            "detail": failure.detail,
            "failed_at": stamp.now,
        }
    if result.candidate is not None:
        rows["materials"][(material_id,)] = _material(result, result.candidate, stamp)
    if network is not None:
        for mechanism, part in result.by_mechanism().items():
            ranking = _ranking(part, mechanism, stamp)
            rows["material_ranking"][material_id, result.ion, mechanism] = ranking
        for row in _hops(result):
            rows["hops"][(row["hop_id"],)] = row
    for scored in result.hops:
        prediction = scored.prediction
        rows["predictions"][(scored.hop_id,)] = {
            "hop_id": scored.hop_id,
            "model_id": stamp.model_id,
            "em_ev": prediction.em_ev,
            "em_std_ev": prediction.em_std_ev,
            "em_low_ev": prediction.em_low_ev,
            "em_high_ev": prediction.em_high_ev,
            "p_good": prediction.p_good,
            "applicability": prediction.applicability,
            "nearest": prediction.nearest,
            "predicted_at": stamp.now,
        }


def _material(result: MaterialResult, candidate: Candidate, stamp: Stamp) -> Row:
    info, network = candidate.info, result.network
    row = {name: info.get(name) for name in _SCHEMAS["materials"].names}
    row["material_id"] = result.material_id
    row["structure"] = info.get("structure_json")
    if candidate.void_orbits and network:  # hops need the sites that were found
        row["structure"] = structure_json(network.crystal)
        row["sites_source"] = "voids by bond valence"
    # As found by the run itself, since the hops are those of this symmetry.
    row["space_group"] = network.space_group if network else info.get("space_group")
    fetched_at = info.get("fetched_at")
    row["fetched_at"] = _utc(fetched_at) if fetched_at else stamp.now
    return row


def _utc(text: str) -> datetime:
    """A time in ISO 8601 as the database has it, in UTC without saying so."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def _hops(result: MaterialResult) -> Iterable[Row]:
    """Every enumerated hop, with the supercell of those whose band was built and scored."""
    assert result.network is not None
    scored = {one.hop_id: one for one in result.hops}
    for hop in result.network.hops:
        hop_id = hop.id_in(result.material_id)
        one = scored.get(hop_id)
        evidence = one.bond_valence if one else None
        yield {
            "hop_id": hop_id,
            "material_id": result.material_id,
            "ion": hop.ion,
            "mechanism": hop.mechanism,
            "length_a": hop.length_a,
            "multiplicity": hop.multiplicity,
            "start_frac": hop.start_frac.tolist(),
            "end_frac": hop.end_frac.tolist(),
            "image": list(hop.image),
            "clearance_a": hop.clearance_a,
            "supercell": one.supercell if one else None,
            "bond_valence_ev": evidence.barrier_ev if evidence else None,
            "charges_source": evidence.charges if evidence else None,
            "flags": [*hop.flags, *(evidence.flags if evidence else ())],
        }


def _ranking(result: MaterialResult, mechanism: str, stamp: Stamp) -> Row:
    assert result.network is not None
    ranking = rank_material(result)
    log10_d, log10_d_low, log10_d_high = ranking.log10_d_cm2_s
    row = {
        "material_id": result.material_id,
        "ion": result.ion,
        "mechanism": mechanism,
        "model_id": stamp.model_id,
        "campaign_id": stamp.campaign_id,
        "dimension": ranking.dimension,
        "limiting_hop_id": ranking.limiting_hop_id,
        "limiting_hop_2d_id": ranking.passages[1].limiting_hop_id,
        "limiting_hop_3d_id": ranking.passages[2].limiting_hop_id,
        "plane_2d": ranking.passages[1].plane,
        "p_good_1d": ranking.p_good_1d,
        "dimension_at_065": ranking.dimension_at_065,
        "log10_d_300k_cm2_s": log10_d,
        "log10_d_300k_low_cm2_s": log10_d_low,
        "log10_d_300k_high_cm2_s": log10_d_high,
        "max_particle_nm_c2": ranking.max_particle_nm,
        "applicability": ranking.applicability,
        "n_hops": len(result.network.hops),
        "n_predicted": len(result.hops),
        "n_cut": result.network.counts.get("cut", 0),
        "cutoff_a": result.network.cutoff_a,
        "symprec_a": result.network.symprec_a,
        "ranked_at": stamp.now,
    }
    for d, passage in enumerate(ranking.passages, start=1):
        row[f"em_{d}d_ev"] = passage.em_ev
        row[f"em_{d}d_low_ev"] = passage.em_low_ev
        row[f"em_{d}d_high_ev"] = passage.em_high_ev
        row[f"path_{d}d_hop_ids"] = passage.hop_ids
        row[f"directions_{d}d"] = passage.directions
    return row


def _nulled(row: Row) -> Row:
    """The row with null for what is not a number: SQL sorts, averages and compares null rightly."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
