"""Single materials of a report: their ways through, their hops, and the crystal to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.stages import one_line
from pathways.hops import enumerate_hops
from pathways.mechanisms import with_mechanisms
from pathways.types import HopNetwork, PathwayError
from screen.reader import Reader
from screen.report.contents import Record
from screen.report.figures import rounded
from screen.report.scene import make_scene
from screen.rescored_material import Limits
from screen.sources.structure_json import crystal_from_json

MOST_HOPS = 60
"""In the table of one material, lowest barrier first."""
_SAME_LENGTH_A = 0.001
_HOPS = """
select h.hop_id, h.material_id, h.ion, h.mechanism, h.length_a, h.multiplicity, h.clearance_a,
    h.bond_valence_ev, h.flags, p.em_ev, p.em_low_ev, p.em_high_ev, p.p_good, p.applicability,
    p.nearest
from hops h left join predictions p on p.hop_id = h.hop_id and p.model_id = $model
where h.material_id in (select unnest($ids)) order by p.em_ev nulls last, h.hop_id
"""
_CRYSTALS = """
select material_id, structure::text as structure, sites_source from materials
where material_id in (select unnest($ids))
"""
_SETTINGS = """
select distinct cm.material_id, cm.ion, c.started, (c.settings->'science')::text as science
from campaign_materials cm join campaigns c using (campaign_id)
where cm.material_id in (select unnest($ids)) and (c.settings->'science') is not null
order by c.started desc, science
"""
_KEPT = (
    *("rank", "material_id", "formula", "space_group", "ion", "mechanism", "url", "note"),
    *("dimension_at_065", "p_good_1d", "applicability", "directions_1d", "directions_2d"),
    *("directions_3d", "log10_d_300k_cm2_s", "n_hops", "n_predicted"),
    *("log10_d_300k_low_cm2_s", "log10_d_300k_high_cm2_s", "max_particle_nm_c2", "n_cut"),
    *("cutoff_a", "energy_above_hull_ev", "band_gap_ev", "voltage_v", "capacity_mah_g"),
)
_HOP_COLUMNS = (
    *("em_ev", "em_low_ev", "em_high_ev", "p_good", "applicability", "length_a", "multiplicity"),
    *("clearance_a", "bond_valence_ev", "nearest"),
)


def read_details(reader: Reader, model_id: str | None, rows: Sequence[Record]) -> list[Record]:
    """All there is to show of some materials, as JSON types.

    Args:
        reader: of the database.
        model_id: whose barriers.
        rows: of the ranking.
    """
    ids = sorted({row["material_id"] for row in rows})
    hops: dict[tuple[str, str, str], list[Record]] = {}
    for hop in reader.records(_HOPS, {"model": model_id, "ids": ids}):
        hops.setdefault((hop["material_id"], hop["ion"], hop["mechanism"]), []).append(hop)
    crystals = {row["material_id"]: row for row in reader.records(_CRYSTALS, {"ids": ids})}
    sciences: dict[tuple[str, str], list[str]] = {}
    for row in reader.records(_SETTINGS, {"ids": ids}):
        sciences.setdefault((row["material_id"], row["ion"]), []).append(row["science"])
    details = []
    for row in rows:
        own = hops.get((row["material_id"], row["ion"], row["mechanism"]), [])
        known = sciences.get((row["material_id"], row["ion"]), [])
        details.append(_detail(row, own, crystals.get(row["material_id"], {}), known))
    return details


def _detail(
    row: Record, hops: Sequence[Record], crystal: Record, sciences: Sequence[str]
) -> Record:
    detail: Record = {name: rounded(row[name]) for name in _KEPT}
    detail["barriers"] = [
        [rounded(row[f"em_{d}d_{end}ev"]) for end in ("", "low_", "high_")] for d in (1, 2, 3)
    ]
    detail["limiting"] = [row["limiting_hop_id"], row["limiting_hop_2d_id"]]
    detail["limiting"].append(row["limiting_hop_3d_id"])
    detail["sites_source"] = crystal.get("sites_source")
    predicted = [hop for hop in hops if hop["em_ev"] is not None]
    try:
        network = _network(row, hops, crystal.get("structure"), sciences)
        detail["scene"] = _scene(network, predicted, row["material_id"])
    except PathwayError as error:
        detail["no_scene"] = error.detail
    except Exception as error:  # one crystal that cannot be drawn costs its picture alone
        detail["no_scene"] = one_line(error)
    detail["hops"] = [_hop(hop, row["material_id"]) for hop in hops[:MOST_HOPS]]
    detail["n_hops_all"] = len(hops)
    return detail


def _hop(hop: Record, material_id: str) -> Record:
    return {
        "id": hop["hop_id"],
        "short": hop["hop_id"].removeprefix(f"{material_id}:"),
        "flags": hop["flags"],
        **{name: rounded(hop[name]) for name in _HOP_COLUMNS},
    }


def _scene(network: HopNetwork, predicted: Sequence[Record], material_id: str) -> Record:
    """The scene; its hops are numbered as the table has them."""
    by_id = {hop.id_in(material_id): hop for hop in network.hops}
    hops = [by_id[row["hop_id"]] for row in predicted]
    return make_scene(network, hops, [row["em_ev"] for row in predicted]).record()


def _network(
    row: Record, hops: Sequence[Record], structure: str | None, sciences: Sequence[str]
) -> HopNetwork:
    """The hops with their orbits, from the stored crystal, by the first settings that give them.

    Raises:
        PathwayError: no structure is stored, or it gives other hops.
    """
    if structure is None:
        raise PathwayError("no_structure", "no structure is stored")
    stored = {hop["hop_id"]: hop["length_a"] for hop in hops}
    crystal = crystal_from_json(structure)
    for limits in _limits(sciences):
        try:
            network = enumerate_hops(crystal, row["ion"], limits.hops)
            own = with_mechanisms(network, (row["mechanism"],))
        except PathwayError:
            continue
        if _are_same(own, stored, row["material_id"]):
            return own
    raise PathwayError("other_hops", "the stored structure gives other hops than the stored ones")


def _limits(sciences: Sequence[str]) -> list[Limits]:
    """Settings of the campaigns that found the hops, then the defaults."""
    found = []
    for science in sciences:
        try:
            found.append(Limits.read(science))
        except PathwayError:
            continue
    return [*found, Limits()]


def _are_same(network: HopNetwork, stored: Mapping[str, Any], material_id: str) -> bool:
    lengths_a = {hop.id_in(material_id): hop.length_a for hop in network.hops}
    return lengths_a.keys() == stored.keys() and all(
        abs(stored[hop_id] - length_a) <= _SAME_LENGTH_A for hop_id, length_a in lengths_a.items()
    )
