"""``screen paths``: every hop of one crystal, as a table, as files, and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models import DEFAULT_MODEL
from screen.commands import command
from screen.errors import UserError

if TYPE_CHECKING:
    from screen.api.results import Results


@command("screen paths MgMn2O4.cif --ion Mg --write bands")
def paths(
    crystal: Annotated[
        str, typer.Argument(help="File of one crystal, or with --db a material's id.")
    ],
    ion: Annotated[
        str | None, typer.Option(help="The ion to move. (default with --db: all that are in it)")
    ] = None,
    db: Annotated[
        Path | None, typer.Option("--db", help="Database that holds the material.")
    ] = None,
    mechanism: Annotated[
        str, typer.Option(help="vacancy (all other sites filled), dilute (all empty) or both.")
    ] = "vacancy",
    sites: Annotated[
        str | None,
        typer.Option(help="Sites in a crystal without the ion, as for `screen run`."),
    ] = None,
    cutoff: Annotated[
        float | None,
        typer.Option(help="Longest hop, Å. (default: the least that percolates in 2D)"),
    ] = None,
    max_hops: Annotated[int, typer.Option(min=1, help="Most hops, shortest first.")] = 40,
    max_sites: Annotated[int, typer.Option(min=1, help="Most sites in the cell.")] = 400,
    model: Annotated[str, typer.Option(help="A model's name or folder.")] = DEFAULT_MODEL,
    write: Annotated[
        Path | None, typer.Option(help="Folder for the crystal and each band, extxyz and CIF.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Page with a file's hops in 3D: .html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Every symmetry-distinct hop of an ion in one crystal, its barrier, and the ways through."""
    from tempfile import TemporaryDirectory

    from screen import single

    _check(ion, db, output)
    options = {
        "mechanism": mechanism,
        "sites": sites,
        "cutoff": cutoff,
        "max_hops": max_hops,
        "max_sites": max_sites,
        "model": model,
    }
    with TemporaryDirectory() as folder:
        results, name = _results(crystal, ion, db, Path(folder), options)
        _show(results, name, ion, as_json)
        if write is not None:
            single.write_bands(results, name, ion, write)
        if output is not None:
            single.write_page(results, f"Paths through {name}", output)


def _check(ion: str | None, db: Path | None, output: Path | None) -> None:
    """Refuse what can never work, before any work."""
    from screen.report.writing import check_output

    if db is None and ion is None:
        raise UserError("which ion moves is not said; pass --ion, such as --ion Mg")
    if output is not None:
        check_output(output)
        if db is not None:
            raise UserError("-o draws one file's crystal; `screen report` draws those of a --db")


def _results(
    crystal: str, ion: str | None, db: Path | None, folder: Path, options: dict[str, Any]
) -> tuple[Results, str]:
    """The database that has the crystal, made here for a file, and the crystal's id."""
    from screen import single
    from screen.api.results import open_results

    if db is not None:
        return open_results(db), crystal
    assert ion is not None
    return single.screened(crystal, folder / "one.duckdb", ion=ion, **options)


def _show(results: Results, name: str, ion: str | None, as_json: bool) -> None:
    from screen import single
    from screen.output import notice, print_json, print_table

    hops = single.hop_rows(results, name, ion)
    ways = single.way_rows(results, name, ion)
    for remark in single.remarks(results, name, ways):
        notice(remark)
    if as_json:
        print_json({"material_id": name, "hops": hops, "ways": ways})
        return
    for way in ways:
        print(single.headline(way))
    print()
    columns: dict[str, Any] = {
        "hop": "hop",
        "length_a": "length Å",
        "multiplicity": "×",
        "clearance_a": "clearance Å",
        "mechanism": "mechanism",
        "em_ev": "Em eV",
        "em_low_ev": "from",
        "em_high_ev": "to",
        "p_good": "p(≤ 0.65)",
        "applicability": "applicability",
        "bond_valence_ev": "bond valence eV",
        "flags": "flags",
    }
    rows = [{**row, "flags": ", ".join(row["flags"])} for row in hops]
    numbers = [heading for key, heading in columns.items() if key not in ("hop", "mechanism")]
    print_table(
        list(columns.values()),
        [[row[key] for key in columns] for row in rows],
        right=[heading for heading in numbers if heading != "flags"],
    )
