"""``screen refit``: barriers that came back become part of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from models import DEFAULT_MODEL
from screen.commands import command
from screen.commands.train import AsJson, Device, Name, Output, Repeats, Seed, Workers
from screen.errors import FAILED, UserError

_COLUMNS = (
    ("mae_ev", "MAE, eV"),
    ("r2", "R2"),
    ("accuracy", "accuracy at 0.65 eV"),
    ("coverage90", "coverage of the 90 % interval"),
)


Data = Annotated[
    list[Path] | None,
    typer.Option(
        help="Bands with labels (JSON, HDF5, extXYZ) or, with --db, barriers (CSV or JSON: hop_id, "
        "em_ev, functional); may be repeated."
    ),
]
Database = Annotated[
    Path | None,
    typer.Option(help="Campaign with the hops of --data, or whose own barriers came back."),
]
Source = Annotated[str, typer.Option("--from", help="Model to start from, name or folder.")]
Functional = Annotated[str, typer.Option(help="Functional of labels that do not say.")]
Mix = Annotated[
    bool, typer.Option("--mix-functionals", help="Take labels of other functionals too.")
]
Methods = Annotated[
    list[str] | None, typer.Option(help="Of the database's barriers; may be repeated.")
]
Replace = Annotated[
    bool, typer.Option("--replace", help="New labels take the place of old ones of the same path.")
]
Replay = Annotated[Path | None, typer.Option(help="Networks: the file that they were trained on.")]
NoReplay = Annotated[
    bool, typer.Option("--no-replay", help="Networks: train on the new labels alone.")
]
Epochs = Annotated[int, typer.Option(min=1, help="Networks: passes over the bands.")]
Folds = Annotated[int, typer.Option(min=2, help="That score the new model.")]


@command("screen refit --db mg.duckdb --data neb.csv -o refitted")
def refit(
    output: Output,
    data: Data = None,
    db: Database = None,
    source: Source = DEFAULT_MODEL,
    xc: Functional = "",
    mix_functionals: Mix = False,
    method: Methods = None,
    replace: Replace = False,
    replay: Replay = None,
    no_replay: NoReplay = False,
    epochs: Epochs = 10,
    name: Name = None,
    folds: Folds = 5,
    repeats: Repeats = 3,
    seed: Seed = 0,
    workers: Workers = 1,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Fit a model again with barriers that came back, and compare it with the old one.

    Both predict new bands that neither has learnt from. The model that ships carries its own
    training bands; networks need the file that they were trained on. Labels of two functionals are
    refused.
    """
    from screen.output import print_json
    from screen.refit import ForNetworks, RefitOptions, open_old
    from screen.refit import refit as fit_again
    from screen.refit_inputs import read_labels
    from screen.training_inputs import name_refused

    how = RefitOptions(
        title=name or output.absolute().name,
        output=output,
        folds=folds,
        repeats=repeats,
        seed=seed,
        replace=replace,
        mix=mix_functionals,
        networks=ForNetworks(replay, no_replay, epochs, device, workers),
    )
    old = open_old(source, output)
    labels = read_labels(data or [], db, xc, method or [])
    name_refused(labels.bands.refused)
    try:
        new_id, card = fit_again(old, labels, how)
    except ValueError as error:
        raise UserError(str(error), FAILED) from None
    if as_json:
        print_json({"model_id": new_id, "path": str(output), **card})
    else:
        _report(new_id, card, output)


def _report(new_id: str, card: Mapping[str, Any], output: Path) -> None:
    from models.refit_comparison import verdict
    from screen.output import print_table

    comparison = card["refit"]["comparison"]
    print(f"{new_id} in {output}: {card['summary']}")
    if comparison is not None:
        print(
            f"{comparison['bands']} new bands of {comparison['hosts']} hosts, held out in "
            f"{comparison['folds']} {comparison['kind']} folds"
        )
        if comparison["kind"] == "random":
            print("all of one host, so the folds are random: nothing is said of other hosts")
        sides = [comparison[side] for side in ("old", "new", "difference")]
        rows = [[title, *(_figure(side, key) for side in sides)] for key, title in _COLUMNS]
        print_table(("", "old", "new", "difference"), rows, right=("old", "new", "difference"))
    print(verdict(comparison))
    if comparison is None or comparison["verdict"] != "better":
        print("the new model is written all the same; keep the old one, or add labels")
    print(f"next: screen run --model {quote(str(output))}")


def _figure(side: Mapping[str, Any], key: str) -> str:
    """A score with its interval."""
    value, interval = side.get(key), side.get(f"{key}_interval")
    if value is None or interval is None:
        return "–"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
