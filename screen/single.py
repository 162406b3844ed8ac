"""One crystal by itself: screened, its hops and ways as rows, its bands as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pathways.types import Crystal, PathwayError
from pathways.vacuum import vacuum_gaps
from screen.api.campaign import Campaign
from screen.api.refused import RefusedError
from screen.api.results import Results
from screen.atomic import replacing
from screen.errors import FAILED, UserError
from screen.shortlist_files import cif, frames
from screen.sources.structure_json import crystal_from_json

Row = Mapping[str, Any]

_HOPS = """
select h.hop_id, h.length_a, h.multiplicity, h.clearance_a, h.mechanism, h.ion,
    p.em_ev, p.em_low_ev, p.em_high_ev, p.p_good, p.applicability, p.nearest,
    h.bond_valence_ev, list_filter(h.flags, lambda flag: flag <> '') as flags, p.model_id
from hops h left join ranked_hops p using (hop_id)
where h.material_id = $name and ($ion is null or h.ion = $ion)
order by h.ion, h.mechanism desc, h.length_a, h.hop_id
"""
_WAYS = """
select material_id, formula, space_group, ion, mechanism, model_id, n_hops, n_predicted, n_cut,
    cutoff_a, dimension, dimension_at_065, p_good_1d, applicability, directions_1d, plane_2d,
    em_1d_ev, em_1d_low_ev, em_1d_high_ev, em_2d_ev, em_2d_low_ev, em_2d_high_ev,
    em_3d_ev, em_3d_low_ev, em_3d_high_ev, limiting_hop_id, note
from ranked_materials
where material_id = $name and ($ion is null or ion = $ion)
order by ion, mechanism desc
"""


def screened(path: str, db: Path, *, ion: str, **options: Any) -> tuple[Results, str]:
    """A campaign over one file into a database of its own, and the crystal's id.

    Args:
        path: of a file that holds one crystal.
        db: where to; a file that is not there.
        ion: element symbol of what moves.
        options: further ones of ``screen run``.

    Raises:
        RefusedError: it was refused, or none of its hops could be predicted.
        UserError: no such file, several crystals in it, or an option that can never work.
    """
    campaign = Campaign(
        source=path, ion=ion, db=db, max_ehull=None, radioactive=True, keep_duplicates=True,
        **options,
    )  # fmt: skip
    results = campaign.run()
    with results.reader() as reader:
        names = [row["material_id"] for row in reader.records("select material_id from materials")]
        failures = reader.records("select material_id, stage, reason, detail from failures")
        ranked = reader.records("select 1 from predictions limit 1")
    if len({*names, *(row["material_id"] for row in failures)}) > 1:
        raise UserError(f"{path}: several crystals found, expected one; `screen run` takes many")
    if not ranked and failures:
        raise RefusedError(**failures[0])
    if not ranked:
        raise UserError(f"{path}: no barrier predicted for {ion}", FAILED)
    return results, str(names[0])


def hop_rows(results: Results, name: str, ion: str | None) -> Sequence[Row]:
    """Every hop of a material with its last prediction, shortest first.

    Raises:
        UserError: the database has none of this material.
    """
    with results.reader() as reader:
        rows = reader.records(_HOPS, {"name": name, "ion": ion})
    if not rows:
        of_ion = f" of {ion}" if ion else ""
        raise UserError(f"{results.db}: no hops{of_ion} in {name}; `screen top` lists materials")
    return [{"hop": row["hop_id"].removeprefix(f"{name}:"), **row} for row in rows]


def way_rows(results: Results, name: str, ion: str | None) -> Sequence[Row]:
    """The easiest ways through a material, a row for each ion and mechanism."""
    with results.reader() as reader:
        return reader.records(_WAYS, {"name": name, "ion": ion})


def headline(way: Row) -> str:
    """A material's ways in a few lines."""
    hops = "1 hop" if way["n_hops"] == 1 else f"{way['n_hops']} hops"
    lines = [
        f"{way['formula']} ({way['space_group']}): {hops} of {way['ion']} up to "
        f"{way['cutoff_a']:.2f} Å, {way['mechanism']}, by {way['model_id']}"
    ]
    for dimension in (1, 2, 3):
        em_ev = way[f"em_{dimension}d_ev"]
        if em_ev is not None:
            low, high = (way[f"em_{dimension}d_{end}_ev"] for end in ("low", "high"))
            along = (way["directions_1d"], way["plane_2d"], None)[dimension - 1]
            lines.append(
                f"  {dimension}D: {em_ev:.3f} eV ({low:.3f} to {high:.3f})"
                f"{f' along {along}' if along else ''}"
            )
    if way["note"]:
        lines.append(f"  {way['note']}")
    return "\n".join(lines)


def remarks(results: Results, name: str, ways: Sequence[Row]) -> list[str]:
    """What a user should know of a crystal before the numbers are believed."""
    said = []
    for axis, _, width_a in vacuum_gaps(_crystal(results, name)):
        said.append(
            f"vacuum of {width_a:.1f} Å along {'abc'[axis]}: no hop leads over it, so ions "
            "percolate within the matter alone"
        )
    if any(way["ion"] == "Al" for way in ways):
        said.append(
            "every Al site counts as mobile, those that build the framework too; a hop of AlO4 or "
            "AlO6 breaks bonds, whatever its barrier"
        )
    return said


def write_bands(results: Results, name: str, ion: str | None, folder: Path) -> None:
    """The crystal as CIF, and each band as extended XYZ (five images) and CIF (all in one cell).

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "crystal.cif", cif(_crystal(results, name)))
        for number, row in enumerate(hop_rows(results, name, ion), start=1):
            try:
                band = results.band(row["hop_id"])
            except PathwayError:
                continue  # its failure is in the table: it has no barrier
            info = {key: row[key] for key in ("hop_id", "mechanism", "model_id", "em_ev")}
            known = {key: value for key, value in info.items() if value is not None}
            base = f"{number:02d}_{row['hop'].replace(':', '_').replace(',', '.')}"
            _write(folder / f"{base}.extxyz", "".join(frames(band, known)))
            _write(folder / f"{base}.cif", cif(band.folded))
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error})", FAILED
        ) from error


def write_page(results: Results, title: str, path: Path) -> None:
    """The crystal with its hops in 3D, as the report of a campaign of one.

    Raises:
        UserError: the file cannot be written.
    """
    from screen.report import writing
    from screen.report.contents import read_contents
    from screen.report.details import read_details
    from screen.report.page import make_page

    with results.reader() as reader:
        contents = read_contents(reader, None)
        details = read_details(reader, contents.model_id, contents.best)
    writing.write_page(make_page(contents, details, title), path)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _crystal(results: Results, name: str) -> Crystal:
    with results.reader() as reader:
        rows = reader.records("select structure from materials where material_id = ?", [name])
    if not rows or rows[0]["structure"] is None:
        raise UserError(f"{results.db}: no structure of {name}")
    return crystal_from_json(rows[0]["structure"])
