"""The manifest of a shortlist: one row per hop, as a table."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from screen.shortlist_choice import Choice, Shortlist
from screen.shortlist_hops import HopPlan

if TYPE_CHECKING:
    import pyarrow as pa

MARK = b"ionscreen shortlist"
"""Key in the metadata of a manifest: the version of its columns."""
_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
_MOST_CHARACTERS = 80
_FORMULA_STARTS = ("=", "+", "-", "@")
"""Of cells that spreadsheets would compute."""

_OF_MATERIAL = {
    "text": ("formula", "chemsys", "space_group", "framework"),
    "real": ("energy_above_hull_ev", "band_gap_ev", "voltage_v", "capacity_mah_g"),
}
_OF_SOURCE = ("campaign_id", "source", "source_version", "license", "attribution", "url")
_ENDS = ("", "low_", "high_")


def schema() -> pa.Schema:
    """Columns of a manifest; energies in eV.

    ``way_…`` is of the easiest way through the material in the dimensions asked for,
    ``em_predicted_…`` of the hop. No column is named as a table of computed barriers names its own.
    """
    import pyarrow as pa

    text, real, whole = pa.string(), pa.float64(), pa.int32()
    return pa.schema(
        {
            "rank": whole,
            "why": text,
            "folder": text,
            "hop_id": text,
            "limiting": pa.bool_(),
            **{f"em_predicted_{end}ev": real for end in _ENDS},
            **dict.fromkeys(("length_a", "clearance_a"), real),
            "multiplicity": whole,
            "flags": pa.list_(text),
            "supercell": pa.list_(whole),
            "neb_supercell": pa.list_(whole),
            "neb_atoms": whole,
            "cost_node_hours": real,
            **dict.fromkeys(("material_id", "ion", "mechanism"), text),
            "way_dimension": whole,
            **{f"way_em_{end}ev": real for end in _ENDS},
            **dict.fromkeys(("p_good", "applicability"), real),
            **dict.fromkeys(("uncertainty", "expected_improvement_ev"), real),
            "pareto": pa.bool_(),
            **dict.fromkeys(_OF_MATERIAL["text"], text),
            **dict.fromkeys(_OF_MATERIAL["real"], real),
            "model_id": text,
            **dict.fromkeys(_OF_SOURCE, text),
        },
        metadata={MARK: b"1"},
    )


def manifest(shortlist: Shortlist) -> pa.Table:
    """The manifest of a shortlist, by rank."""
    import pyarrow as pa

    rows = [_row(shortlist, rank, choice, plan) for rank, choice, plan in ranked_hops(shortlist)]
    return pa.Table.from_pylist(rows, schema=schema())


def ranked_hops(shortlist: Shortlist) -> Iterator[tuple[int, Choice, HopPlan]]:
    """Every hop with its material and that one's rank, from 1."""
    for rank, choice in enumerate(shortlist.choices, start=1):
        for plan in choice.plans:
            yield rank, choice, plan


def for_spreadsheets(table: pa.Table) -> pa.Table:
    """The table with text that is one line and computes nothing, whatever a source calls things."""
    import pyarrow as pa

    rows = table.to_pylist()
    for row in rows:
        row |= {key: _tame(value) for key, value in row.items() if isinstance(value, str)}
    return pa.Table.from_pylist(rows, schema=table.schema)


def folder_name(shortlist: Shortlist, rank: int, choice: Choice, plan: HopPlan) -> str:
    """``<rank>_<formula>_<hop id>``, without anything that a file system takes amiss.

    What is left out of an id, or cut, is made up for by eight digits of its sha256.
    """
    digits = max(3, len(str(len(shortlist.choices))))
    hop_id = plan.hop["hop_id"]
    safe = _safe(hop_id)
    if safe != re.sub("[:,]", "_", hop_id):
        safe += "_" + hashlib.sha256(hop_id.encode()).hexdigest()[:8]
    return f"{rank:0{digits}}_{_safe(choice.row['formula'] or 'unnamed')}_{safe}"


def _row(shortlist: Shortlist, rank: int, choice: Choice, plan: HopPlan) -> dict[str, Any]:
    row, hop, d = choice.row, plan.hop, shortlist.query.dimension
    judged = ("p_good", "applicability", "uncertainty", "expected_improvement_ev", "pareto")
    kept = (*_OF_MATERIAL["text"], *_OF_MATERIAL["real"], *_OF_SOURCE)
    return {
        "rank": rank,
        "why": choice.why,
        "folder": folder_name(shortlist, rank, choice, plan),
        "limiting": hop["hop_id"] == row["limiting_hop_id" if d == 1 else f"limiting_hop_{d}d_id"],
        **{f"em_predicted_{end}ev": hop[f"em_{end}ev"] for end in _ENDS},
        **{
            name: hop[name]
            for name in ("hop_id", "length_a", "clearance_a", "multiplicity", "flags", "supercell")
        },
        "neb_supercell": list(plan.cell.supercell),
        "neb_atoms": plan.cell.atoms,
        "cost_node_hours": plan.node_hours,
        "way_dimension": d,
        **{f"way_em_{end}ev": row[f"em_{d}d_{end}ev"] for end in _ENDS},
        **{
            name: row[name]
            for name in ("material_id", "ion", "mechanism", "model_id", *judged, *kept)
        },
    }


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text)[:_MOST_CHARACTERS]


def _tame(text: str) -> str:
    folded = "".join(one if one.isprintable() else " " for one in text)
    return f"'{folded}" if folded.startswith(_FORMULA_STARTS) else folded
