"""``screen plot``: figures of a database for papers and talks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from screen.commands import command
from screen.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from screen.reader import Reader

Kind = Literal["histogram", "pareto", "parity", "band", "funnel", "scenario"]

_TAKES: dict[Kind, tuple[str, ...]] = {
    "histogram": ("--by", "--dimension", "--ion"),
    "pareto": ("--dimension", "--ion"),
    "parity": ("--model",),
    "band": ("--hop",),
    "funnel": (),
    "scenario": ("--ion",),
}
"""Options that mean something for each figure."""


@command("screen plot histogram --db mg.duckdb -o barriers.png")
def plot(
    kind: Annotated[Kind, typer.Argument(help="Which figure.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Figure: .png, .svg or .pdf.")],
    db: Annotated[Path, typer.Option("--db", help="Database.")] = Path("ionscreen.duckdb"),
    by: Annotated[
        Literal["material", "hop"],
        typer.Option(help="histogram: the easiest way through each material, or every hop."),
    ] = "material",
    dimension: Annotated[
        int, typer.Option(min=1, max=3, help="histogram, pareto: dimensions of the way through.")
    ] = 1,
    ion: Annotated[str | None, typer.Option(help="Only this ion. (default: all)")] = None,
    hop: Annotated[
        str | None, typer.Option(help="band: which hop. (default: that of lowest barrier)")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="parity: model, by name or id. (default: the last)")
    ] = None,
) -> None:
    """Draw the database, each figure with its units, how many rows it shows and what it leaves out.

    histogram: barriers by ion. pareto: barrier against energy above the hull. parity: predictions
    against barriers that came back. band: one hop along its path. funnel: what became of the
    candidates. scenario: barriers of hops with all other sites filled, and empty.
    """
    from screen.chemsys import check_element
    from screen.output import notice
    from screen.plots import style
    from screen.reader import open_reader

    given = {
        "--by": by != "material",
        "--dimension": dimension != 1,
        "--ion": ion is not None,
        "--hop": hop is not None,
        "--model": model is not None,
    }
    _check(kind, [name for name, is_given in given.items() if is_given])
    if ion is not None:
        check_element(ion)
    style.check(output)
    with open_reader(db) as reader:
        if reader.snapshot_age_s is not None:
            notice(f"a run is writing {db}: this is as of {reader.snapshot_age_s:.0f} s ago")
        style.save(lambda: _figure(kind, reader, by, dimension, ion, hop or model), output)
    notice(f"drawn in {output}")


def _check(kind: Kind, given: Sequence[str]) -> None:
    """Refuse options that a figure would pass over in silence."""
    for name in given:
        if name not in _TAKES[kind]:
            takes = ", ".join(_TAKES[kind]) or "none"
            raise UserError(f"{name} found, but {kind} takes no such option; it takes {takes}")


def _figure(
    kind: Kind,
    reader: Reader,
    by: Literal["material", "hop"],
    dimension: int,
    ion: str | None,
    name: str | None,
) -> Figure:
    """The figure; ``name`` is of the hop or the model, whichever it takes."""
    from screen.plots import band, barriers, funnel, parity

    match kind:
        case "histogram":
            return barriers.histogram(reader, by, dimension, ion)
        case "pareto":
            return barriers.pareto(reader, dimension, ion)
        case "scenario":
            return barriers.scenario(reader, ion)
        case "band":
            return band.along_the_path(reader, name)
        case "funnel":
            return funnel.stages(reader)
        case "parity":
            return parity.parity(reader, name)
