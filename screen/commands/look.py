"""``screen status``, ``top`` and ``sql``: what a database holds, also while a run writes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from screen.commands import command
from screen.errors import NothingToShow

if TYPE_CHECKING:
    from screen.queries import Record
    from screen.reader import Reader

Db = Annotated[Path, typer.Option("--db", help="Database.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]

_DEFAULT_DB = Path("ionscreen.duckdb")
_MOST_ROWS = 200
"""Rows that a table for people shows."""


@command("screen status --db mg.duckdb")
def status(db: Db = _DEFAULT_DB, as_json: AsJson = False) -> None:
    """Counts by stage, failures by reason, rate and what remains, for each campaign."""
    from screen.output import print_json
    from screen.queries import campaigns, models_that_ranked
    from screen.reader import open_reader

    with open_reader(db) as reader:
        _say_age(reader)
        found = campaigns(reader)
        models = models_that_ranked(reader)
        age_s = reader.snapshot_age_s
    if as_json:
        document = {"campaigns": found, "models": models}
        print_json({"db": str(db), "snapshot_age_s": age_s, **document})
    else:
        parts = ["\n".join(_status_lines(campaign)) for campaign in found]
        print("\n\n".join([*parts, *_model_lines(models)]))
    if not found:
        raise NothingToShow(f"{db}: no campaign yet; `screen run` makes one")


@command("screen top -n 10 --max-em 0.65 --db mg.duckdb")
def top(
    db: Db = _DEFAULT_DB,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 20,
    by: Annotated[Literal["material", "hop"], typer.Option(help="What is ranked.")] = "material",
    dimension: Annotated[
        int, typer.Option(min=1, max=3, help="Dimensions in which the ion must get through.")
    ] = 1,
    max_em: Annotated[
        float | None, typer.Option(help="Highest barrier, eV. (default: any)")
    ] = None,
    ion: Annotated[str | None, typer.Option(help="Only this ion. (default: all)")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Id or name of one that ranked. (default: of each row the last)"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The lowest barriers, with their 90 % intervals.

    A material's is that of the easiest way through the crystal in so many dimensions.
    """
    from screen.chemsys import check_element
    from screen.output import print_json
    from screen.queries import TopQuery, ranked_model, top_hops, top_materials
    from screen.reader import open_reader

    if ion is not None:
        check_element(ion)
    with open_reader(db) as reader:
        _say_age(reader)
        model_id = None if model is None else ranked_model(reader, model)
        query = TopQuery(n, dimension, max_em, ion, model_id)
        found = (top_materials if by == "material" else top_hops)(reader, query)
    if as_json:
        print_json(found)
    elif found:
        (_show_materials if by == "material" else _show_hops)(found)
    if not found:
        asked = max_em is not None or ion is not None
        advice = "raise --max-em or drop --ion" if asked else "`screen status` says why"
        raise NothingToShow(f"{db}: no {by} to rank; {advice}")


@command(
    'screen sql "select formula, em_1d_ev, em_3d_ev from ranked_materials limit 5" --db mg.duckdb'
)
def sql(
    query: Annotated[str, typer.Argument(help="One query that only reads.")],
    db: Db = _DEFAULT_DB,
    form: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="On stdout.")
    ] = "table",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File: .csv, .json or .parquet.")
    ] = None,
) -> None:
    """Ask the database anything; it cannot be changed this way.

    Views: ranked_materials, ranked_hops, parity, labelled_barriers, corrected_barriers, funnel;
    material_rankings and hop_rankings by every model. Tables: campaigns, materials, hops,
    predictions, material_ranking, barriers, profiles, mlip_corrections, failures, left_out,
    campaign_materials. `describe ranked_materials` is a query, too.
    """
    from screen.output import export, notice, print_table, write_csv, write_json
    from screen.reader import open_reader

    with open_reader(db) as reader:
        _say_age(reader)
        table = reader.ask(query)
        attributions = reader.attributions()
    if output is not None:
        export(table, output, attributions)
        notice(f"{table.num_rows:,} rows in {output}")
        for attribution in attributions:
            notice(f"with data of {attribution}: cite it where you publish them")
    elif form == "csv":
        write_csv(table, sys.stdout)
    elif form == "json":
        write_json(table, sys.stdout)
    else:
        rows = table.slice(0, _MOST_ROWS).to_pylist()
        print_table(table.column_names, [list(row.values()) for row in rows])
        if table.num_rows > _MOST_ROWS:
            notice(f"{_MOST_ROWS} of {table.num_rows:,} rows; -o FILE or --format csv has all")


def _say_age(reader: Reader) -> None:
    if reader.snapshot_age_s is not None:
        from screen.output import notice

        notice(f"a run is writing {reader.path}: this is as of {reader.snapshot_age_s:.0f} s ago")


def _status_lines(campaign: Record) -> list[str]:
    """A campaign for people."""
    began = campaign["started"].isoformat(" ", "seconds")
    systems = " ".join(campaign["chemsys"]) or "all systems"
    lines = [
        f"campaign {campaign['campaign_id']}: {campaign['state']}, started {began} UTC",
        f"  {campaign['ion']} in {systems} of {campaign['source']}, model {campaign['model_id']}",
    ]
    for label, key in (
        ("from the source", "candidates"),
        ("after filters", "filtered"),
        ("with hops", "enumerated"),
        ("hops", "hops"),
        ("barriers", "predicted"),
    ):
        lines.append(f"  {label:16}{campaign[key]:>9,}")
    if campaign["remaining"]:
        lines.append(f"  {'remaining':16}{campaign['remaining']:>9,}")
    if campaign["bands_per_s"] is not None:
        lines.append(f"  {'bands/s':16}{campaign['bands_per_s']:>9.1f}")
    failed = campaign["failed"]
    lines.append(f"  {'failures':16}{sum(e['n'] for e in failed if e['stage'] != 'server'):>9,}")
    named = [(f"{entry['stage']}: {entry['reason']}", entry["n"]) for entry in failed]
    return lines + [f"    {name:34}{n:>9,}" for name, n in named]


def _model_lines(models: list[Record]) -> list[str]:
    """Who ranked, the latest first, as one part; none where nobody did."""
    lines = ["ranked by"] + [f"  {m['model_id']:32}{m['materials']:>9,} materials" for m in models]
    return ["\n".join(lines)] if models else []


def _show_materials(found: list[Record]) -> None:
    from screen.output import print_table

    rows = [
        [
            row["rank"],
            row["formula"],
            row["material_id"],
            _ion(row),
            *(_barrier(row, d) for d in (1, 2, 3)),
            row["p_good_1d"],
            row["applicability"],
            row["n_hops"],
            row["note"],
        ]
        for row in found
    ]
    barriers = ("Em 1D eV (90 %)", "2D", "3D")
    columns = ["#", "formula", "material", "ion", *barriers, "P(good)", "appl.", "hops", "note"]
    print_table(columns, rows, right=("#", "hops"))
    _say_models(found)


def _barrier(row: Record, dimension: int) -> str:
    """``0.41 (0.20-0.77)``; the interval only in one dimension, for want of room."""
    value = row[f"em_{dimension}d_ev"]
    if value is None:
        return "–"
    if dimension > 1:
        return f"{value:.2f}"
    return f"{value:.2f} ({row['em_1d_low_ev']:.2f}–{row['em_1d_high_ev']:.2f})"


def _ion(row: Record) -> str:
    """The ion, and how it moves where it does not by the vacancy mechanism."""
    return row["ion"] if row["mechanism"] == "vacancy" else f"{row['ion']} {row['mechanism']}"


def _show_hops(found: list[Record]) -> None:
    from screen.output import print_table

    rows: list[list[Any]] = [
        [
            row["rank"],
            row["formula"],
            row["hop_id"],
            f"{row['em_ev']:.2f} ({row['em_low_ev']:.2f}–{row['em_high_ev']:.2f})",
            row["p_good"],
            row["applicability"],
            f"{row['length_a']:.2f}",
            row["multiplicity"],
            " ".join(row["flags"]),
        ]
        for row in found
    ]
    columns = ["#", "formula", "hop", "Em eV (90 %)", "P(good)", "appl.", "length Å", "mult.", ""]
    print_table(columns, rows, right=("#", "length Å", "mult."))
    _say_models(found)


def _say_models(found: list[Record]) -> None:
    from screen.output import notice

    models = sorted({row["model_id"] for row in found})
    if len(models) > 1:
        notice(f"barriers of {len(models)} models side by side: {', '.join(models)}")
