"""``screen rescore`` and ``screen compare``: stored hops under another model, and what changes."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models import DEFAULT_MODEL
from screen.commands import INTERRUPTED, command
from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from screen.model_comparison import ModelComparison
    from screen.rescore import Rescored

Db = Annotated[Path, typer.Option("--db", help="Database.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]

_DEFAULT_DB = Path("ionscreen.duckdb")


@command("screen rescore --db mg.duckdb --model refitted")
def rescore(
    db: Db = _DEFAULT_DB,
    model: Annotated[str, typer.Option(help="Name of a model, or its folder.")] = DEFAULT_MODEL,
    ion: Annotated[str | None, typer.Option(help="Only this ion. (default: all)")] = None,
    engine: Annotated[Literal["inline"], typer.Option(help="Without a cluster.")] = "inline",
    num_cpus: Annotated[
        int,
        typer.Option(min=1, help="Processes that predict on CPUs; 1: this one, on the GPU if any."),
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Predict stored hops by another model and rank by it, without a source.

    What is done is not done again: the same command goes on where it was interrupted.
    """
    from screen.chemsys import check_element
    from screen.output import print_json, stderr
    from screen.progress import RunProgress
    from screen.rescore import rescore as rescore_hops

    if ion is not None:
        check_element(ion)
    with RunProgress(stderr()) as ticker:
        found = rescore_hops(db, model, ion, ticker=ticker, num_cpus=num_cpus)
    if as_json:
        print_json({"db": str(db), **found.record()})
    else:
        _summarise(found, db)
    if found.interrupted:
        raise UserError(
            f"interrupted: {found.left} materials are left; the same command goes on from there",
            INTERRUPTED,
        )
    if not found.ranked:
        raise UserError(
            f"no stored hop came back; "
            f"""`screen sql "select * from failures where stage = 'hops'" --db {quote(str(db))}` """
            "says why",
            FAILED,
        )


@command("screen compare ionscreen-1 refitted --db mg.duckdb -n 50")
def compare(
    model_a: Annotated[str, typer.Argument(help="Id or name, as in the database.")],
    model_b: Annotated[
        str | None, typer.Argument(help="Likewise. (default: the one that ranked last)")
    ] = None,
    db: Db = _DEFAULT_DB,
    n: Annotated[int, typer.Option("-n", min=1, help="How many best materials.")] = 50,
    dimension: Annotated[
        int, typer.Option(min=1, max=3, help="Dimensions in which the ion must get through.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """What another model changes in the ranking: ranks, best materials, regret.

    Regret is the mean barrier by B of A's best n less that of B's own best n.
    """
    from screen.model_comparison import compare_models
    from screen.output import print_json
    from screen.reader import open_reader

    with open_reader(db) as reader:
        found = compare_models(reader, model_a, model_b, n, dimension)
    if as_json:
        print_json(found.record())
    else:
        _show(found)


def _summarise(found: Rescored, db: Path) -> None:
    if not found.materials and not found.interrupted:
        print(f"{found.model_id}: everything is done already")
    else:
        print(f"{found.model_id}: {found.seconds:,.1f} s")
        for name, count in (
            ("materials", found.materials),
            ("barriers", found.predictions),
            ("failures", found.failures),
        ):
            print(f"  {name:16}{count:>9,}")
    for other in found.other_models:
        print(f"next: screen compare {other} {found.model_id} --db {quote(str(db))}")


def _show(found: ModelComparison) -> None:
    from screen.output import notice, print_table

    barrier = f"em_{found.dimension}d"
    print(f"A {found.model_a}, B {found.model_b}: {len(found.materials):,} materials by both")
    print(f"  Spearman of {barrier}        {_number(found.spearman)}")
    print(f"  mean shift, B - A        {_number(found.mean_shift_ev)} eV")
    print(f"  regret of A's best {found.n:<5,} {_number(found.regret_ev)} eV")
    print(f"  enter and leave them     {len(found.entered):>6,}")
    columns = ("# by B", "# by A", "formula", "material", "ion", "Em by A, eV", "by B", "")
    rows = [
        [
            row["rank_b"],
            row["rank_a"],
            row["formula"],
            row["material_id"],
            row["ion"] if row["mechanism"] == "vacancy" else f"{row['ion']} {row['mechanism']}",
            row["em_a_ev"],
            row["em_b_ev"],
            _move(row["rank_a"], row["rank_b"], found.n),
        ]
        for row in found.record()["materials"]
    ]
    print_table(columns, rows, right=("# by B", "# by A", "Em by A, eV", "by B"))
    if found.without_way:
        notice(
            f"{found.without_way} of A's best {found.n} have no way through by B and are not in "
            "the regret"
        )
    for model, count in ((found.model_a, found.only_a), (found.model_b, found.only_b)):
        if count:
            notice(f"{count:,} materials ranked by {model} alone are left out")


def _number(value: float | None) -> str:
    return "     –" if value is None else f"{value:6.3f}"


def _move(rank_a: int, rank_b: int, n: int) -> str:
    if rank_b <= n < rank_a:
        return "enters"
    return "leaves" if rank_a <= n < rank_b else ""
