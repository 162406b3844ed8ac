"""``screen report``: a campaign as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from screen.commands import command

_MOST_DETAILS = 200


@command("screen report --db mg.duckdb -o report.html")
def report(
    output: Annotated[Path, typer.Option("-o", "--output", help="Page: .html.")],
    db: Annotated[Path, typer.Option("--db", help="Database.")] = Path("ionscreen.duckdb"),
    model: Annotated[
        str | None,
        typer.Option(help="Model, by id, name or folder. (default: that which ranked last)"),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="On top of the page. (default: what was screened)")
    ] = None,
    top: Annotated[
        int,
        typer.Option(min=0, max=_MOST_DETAILS, help="Materials shown with crystal and hops."),
    ] = 30,
) -> None:
    """One HTML page of a campaign: results, checks, crystals to turn, and where all comes from.

    The page holds all it needs and opens offline. The same database gives the same page.
    """
    from screen.output import notice
    from screen.reader import open_reader
    from screen.report.contents import read_contents
    from screen.report.details import read_details
    from screen.report.page import make_page
    from screen.report.writing import check_output, write_page

    check_output(output)
    with open_reader(db) as reader:
        if reader.snapshot_age_s is not None:
            notice(f"a run is writing {db}: this is as of {reader.snapshot_age_s:.0f} s ago")
        contents = read_contents(reader, model)
        details = read_details(reader, contents.model_id, contents.best[:top])
    n_bytes = write_page(make_page(contents, details, title), output)
    notice(f"{len(contents.ranked):,} rankings in {output} ({n_bytes / 1e6:.1f} MB)")
    for term in dict.fromkeys(row["attribution"] for row in contents.terms if row["license"]):
        notice(f"with data of {term}: cite it where you publish them")
