"""``screen neb profiles``: energies along the bands that came back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from screen.commands import command
from screen.commands.neb import neb_app
from screen.errors import NothingToShow

if TYPE_CHECKING:
    from screen.neb_profiles import Record


@command("screen neb profiles --db mg.duckdb -o profiles", to=neb_app)
def profiles(
    db: Annotated[Path, typer.Option("--db", help="Database.")] = Path("ionscreen.duckdb"),
    hop: Annotated[
        str | None, typer.Option(help="Only this hop, by its id. (default: all)")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for a figure of each, or one file: .png."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show what lies on the way: energies along computed bands, minima, climbs between them.

    A hop with a minimum on its way is crossed in several climbs; the highest of them, there or
    back, may be less than the barrier, or more. Figures show the predicted barrier, too.
    """
    from screen.neb_profiles import draw_profiles, read_profiles
    from screen.output import notice, print_json
    from screen.reader import open_reader

    with open_reader(db) as reader:
        if reader.snapshot_age_s is not None:
            notice(f"a run is writing {db}: this is as of {reader.snapshot_age_s:.0f} s ago")
        found = read_profiles(reader, hop)
    if not found:
        of = f" of {hop}" if hop else ""
        raise NothingToShow(f"{db}: no energies along a band{of}; `screen neb read` brings them in")
    if as_json:
        print_json(found)
    else:
        _show(found)
    if output is not None:
        for row, path in draw_profiles(found, output):
            shown = f"{row['hop_id']} by {row['method']} ({row['source']})"
            notice(f"{path}: {shown}" if path else f"not drawn, for want of a path: {shown}")


def _show(found: list[Record]) -> None:
    from screen.output import print_table

    rows = [
        [
            row["hop_id"],
            row["formula"],
            row["method"],
            row["functional"],
            row["em_forward_ev"],
            row["em_reverse_ev"],
            row["intermediate_minima"],
            row["highest_segment_ev"],
            None if row["path_a"] is None else f"{row['path_a'][-1]:.2f}",
            row["note"] or "",
        ]
        for row in found
    ]
    numbers = ("Em eV", "back", "minima", "climb eV", "path Å")
    columns = ["hop", "formula", "method", "functional", *numbers, "note"]
    print_table(columns, rows, right=numbers)
