"""``screen neb read``: finished bands into the database."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from screen.commands import command
from screen.commands.neb import neb_app
from screen.errors import NothingToShow

if TYPE_CHECKING:
    from screen.neb_results.importing import Imported

Places = Annotated[
    list[Path],
    typer.Argument(metavar="DIR", help="Folders with results, or CSV or JSON files."),
]
Db = Annotated[Path, typer.Option("--db", help="Database that the hops are in.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@command("screen neb read shortlist --db mg.duckdb", to=neb_app)
def read(places: Places, db: Db = Path("ionscreen.duckdb"), as_json: AsJson = False) -> None:
    """Bring finished barriers back: VASP, Quantum ESPRESSO, ASE, atomate2 and CSV.

    Results are found by the hop_id in their meta.json, in folders below DIR too. What cannot be
    taken is named, with what to do. Reading twice changes nothing.
    """
    from screen.neb_results.finding import read_all
    from screen.neb_results.importing import import_results
    from screen.output import print_json

    done = import_results(read_all(places), db)
    if as_json:
        barriers = [
            {"state": state, **asdict(one)}
            for state, one in zip(done.states, done.barriers, strict=True)
        ]
        print_json({"barriers": barriers, "refused": [vars(one) for one in done.refusals]})
    else:
        _report(done)
    if not done.barriers:
        shown = " ".join(map(str, places))
        n = len(done.refusals)
        why = f"none of {n} results could be taken" if n else "no result of a band found"
        raise NothingToShow(f"{shown}: {why}; `screen neb write` makes folders to run")


def _report(done: Imported) -> None:
    from screen.output import notice, print_table

    if done.barriers:
        rows = [
            (
                state,
                one.hop_id,
                one.method,
                one.em_forward_ev,
                one.em_reverse_ev,
                one.functional,
                {None: "–", True: "yes", False: "no"}[one.converged],
                one.source,
            )
            for state, one in zip(done.states, done.barriers, strict=True)
        ]
        columns = ("state", "hop", "method", "Em eV", "back", "functional", "converged", "source")
        print_table(columns, rows, right=("Em eV", "back"))
    for one in done.barriers:
        for note in one.notes:
            notice(f"{one.source}: {one.hop_id}: {note}")
    for refusal in done.refusals:
        notice(f"{refusal.place}: {refusal.reason}: {refusal.detail}")
