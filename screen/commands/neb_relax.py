"""``screen neb relax``: barriers of a shortlist's hops by a machine-learned potential."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from screen.commands import INTERRUPTED, command
from screen.commands.neb import neb_app
from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from screen.neb_relax.hops import BandFolder
    from screen.neb_relax.relaxing import Relaxed

_WHEN, _HOW = "When to stop", "Machines"

Shortlist = Annotated[Path, typer.Argument(metavar="DIR", help="What `neb write --code ase` made.")]
CalculatorName = Annotated[
    str, typer.Option(help="chgnet, mace, matgl, or package.module:Class of an ASE calculator.")
]
Arguments = Annotated[str, typer.Option(help="Arguments of the calculator, a JSON object.")]
Fmax = Annotated[
    float, typer.Option(help="Largest force, eV/Å, with climbing.", rich_help_panel=_WHEN)
]
MaxSteps = Annotated[
    int, typer.Option(min=1, help="Most steps of each relaxation.", rich_help_panel=_WHEN)
]
MaxMinutes = Annotated[
    float | None, typer.Option(help="Most time of a hop. (default: any)", rich_help_panel=_WHEN)
]
EngineName = Annotated[
    Literal["ray", "inline"],
    typer.Option(help="A hop per worker, or one after the other here.", rich_help_panel=_HOW),
]
NumCpus = Annotated[
    int | None, typer.Option(help="CPUs to use. (default: all)", rich_help_panel=_HOW)
]
NumGpus = Annotated[
    float | None, typer.Option(help="GPUs to use. (default: all)", rich_help_panel=_HOW)
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Forget earlier runs, of any calculator, and begin anew.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@command("screen neb relax shortlist --calculator chgnet --max-minutes 30", to=neb_app)
def relax(
    shortlist: Shortlist,
    calculator: CalculatorName = "chgnet",
    arguments: Arguments = "{}",
    fmax: Fmax = 0.05,
    max_steps: MaxSteps = 500,
    max_minutes: MaxMinutes = None,
    engine: EngineName = "ray",
    num_cpus: NumCpus = None,
    num_gpus: NumGpus = None,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Relax the bands of a shortlist with a machine-learned potential.

    What is done is not done again: the same command goes on where it was interrupted, and tries
    again what failed. `screen neb read` brings the barriers to the database.
    """
    from jobs.settings import RunSettings
    from screen.neb.run_neb import Limits
    from screen.neb_relax.calculators import CalculatorChoice
    from screen.neb_relax.progress import RelaxProgress
    from screen.neb_relax.relaxing import relax_shortlist
    from screen.output import stderr

    if not 0 < fmax < math.inf:
        raise UserError(f"--fmax {fmax:g}, expected above 0 eV/Å")
    if max_minutes is not None and not max_minutes > 0:
        raise UserError(f"--max-minutes {max_minutes:g}, expected above 0")
    choice = CalculatorChoice(calculator, _object(arguments), str(Path.cwd()))
    seconds = math.inf if max_minutes is None else 60 * max_minutes
    try:
        settings = RunSettings(engine=engine, num_cpus=num_cpus, num_gpus=num_gpus)
    except ValueError as error:
        raise UserError(str(error)) from None
    with RelaxProgress(stderr()) as ticker:
        relaxed = relax_shortlist(
            shortlist, choice, Limits(fmax, max_steps, seconds), settings, ticker, fresh
        )
    _report(relaxed, choice.label, as_json)
    _end(relaxed)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"--arguments: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"--arguments {text}: expected a JSON object")
    return found


def _report(relaxed: Relaxed, label: str, as_json: bool) -> None:
    from screen.output import notice, print_json, print_table

    found = [_row(hop, relaxed) for hop in relaxed.hops]
    if as_json:
        print_json(found)
    else:
        columns = ["hop", "predicted", label, "back", "converged", "min", "notes"]
        rows = [
            (
                *(one[name] for name in ("hop_id", "em_predicted_ev", "em_forward_ev")),
                one["em_reverse_ev"],
                {None: None, True: "yes", False: "no"}[one["converged"]],
                None if one["wall_s"] is None else f"{one['wall_s'] / 60:.1f}",
                "; ".join(one["notes"]),
            )
            for one in found
        ]
        print_table(columns, rows, right=[*columns[1:4], "min"])
    if relaxed.unwritten:
        notice(f"{relaxed.unwritten} hops of the shortlist were not written with --code ase")
    if relaxed.undrawn:
        notice(relaxed.undrawn)


def _row(hop: BandFolder, relaxed: Relaxed) -> dict[str, Any]:
    """How a hop stands, for the table and as JSON."""
    refused = hop.folder in relaxed.refused
    result = {} if refused else hop.result
    failure = {} if refused else hop.failure
    row = {
        "hop_id": hop.hop_id,
        "folder": str(hop.folder),
        "em_predicted_ev": hop.predicted["em_ev"],
        **{name: result.get(name) for name in ("em_forward_ev", "em_reverse_ev", "converged")},
        "wall_s": (hop.progress or result).get("wall_s"),
        "calculator": relaxed.refused.get(hop.folder) or hop.progress.get("calculator"),
        "failure": failure or None,
    }
    return {**row, "notes": _notes(hop, result, failure, relaxed)}


def _notes(
    hop: BandFolder, result: dict[str, Any], failure: dict[str, Any], relaxed: Relaxed
) -> list[str]:
    """What to know of a hop."""
    if hop.folder in relaxed.refused:
        return [f"begun with {relaxed.refused[hop.folder]}; --fresh begins anew"]
    notes = []
    if failure:
        notes.append(f"{failure.get('reason')}: {failure.get('detail')}")
    elif not result:
        notes.append("not finished" if hop.progress else "not begun")
    if result.get("collapsed"):
        notes.append(str(result.get("collapsed_because")))
    elif result.get("stopped"):
        notes.append(
            "stopped by --max-minutes"
            if result["stopped"] == "seconds"
            else "stopped by --max-steps"
        )
    if minima := result.get("intermediate_minima"):
        parts = ", ".join(f"{part:.3f}" for part in result.get("segments_ev", ()))
        notes.append(f"minima on the way: {minima}; climbs of {parts} eV")
    energies = result.get("energies_ev") or []
    if energies and max(energies) <= max(energies[0], energies[-1]):
        notes.append("no image lies above both ends")
    return notes


def _end(relaxed: Relaxed) -> None:
    """The exit code of what was done."""
    left = len(relaxed.hops) - relaxed.done_before - relaxed.finished - len(relaxed.refused)
    if relaxed.interrupted:
        raise UserError(
            f"interrupted: {left} hops are left; the same command goes on from there", INTERRUPTED
        )
    lost = len(relaxed.failed) + len(relaxed.refused)
    if lost == len(relaxed.hops):
        raise UserError(f"none of {lost} hops was relaxed; the notes say why", FAILED)
