"""``screen evaluate`` and ``models``: what predicts the barriers, and how well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from models import DEFAULT_MODEL
from screen.commands import app, command
from screen.commands.imports import EXAMPLE, import_checkpoint
from screen.errors import UserError
from screen.model_names import folder_of
from screen.scores import print_parts, print_scores, require_file

models_app = typer.Typer(no_args_is_help=True, help="The models that can predict.")
app.add_typer(models_app, name="models", epilog="Example: screen models show ionscreen-1")
import_command = models_app.command("import", epilog=f"Example: {EXAMPLE}")(import_checkpoint)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Model = Annotated[str, typer.Option(help="A model's name or folder.")]


@command("screen evaluate --data bands.json --json")
def evaluate(
    data: Annotated[
        Path, typer.Option(help="Labelled bands: JSON, HDF5, or a name of `screen data list`.")
    ],
    model: Model = DEFAULT_MODEL,
    system: Annotated[
        str | None,
        typer.Option(help="Instead of a model: a system of `screen train compare`, with --train."),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Labelled bands that the --system learns from.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on labelled bands: MAE, R2, accuracy and precision at 0.65 eV, coverage.

    Corrupt entries are named and left out. Intervals are 95 % bootstrap intervals.
    """
    if system is not None or train is not None:
        _evaluate_system(system, train, data, as_json)
        return
    from models.evaluate import evaluate as score
    from models.evaluate import was_trained_on
    from models.predict import Predictor
    from screen.datasets import find_data
    from screen.output import notice, print_json

    folder = folder_of(model)
    data = find_data(data)
    require_file(data)
    result = score(Predictor.load(folder), data)
    for entry in result["refused"]:
        notice(f"left out {entry['name']}: {entry['reason']}")
    seen = result.get("seen_in_training", 0)
    if was_trained_on(folder, result["data_sha256"]):
        notice("the model was trained on this very file: the scores say nothing of new crystals")
    elif seen:
        notice(f"{seen} of these bands were in the model's training set: the scores flatter it")
    if as_json:
        print_json(result)
        return
    print(f"{result['model_id']} on {result['n']} bands of {data}")
    print_scores(result)


def _evaluate_system(system: str | None, train: Path | None, data: Path, as_json: bool) -> None:
    """Let a system learn from one file and score it on the other."""
    from models.metrics import scores
    from models.systems import SYSTEMS, SystemOptions, without_bad_graphs
    from screen.output import print_json
    from screen.training_inputs import read_bands

    if system is None or train is None:
        raise UserError("--system and --train go together: what learns, and from what")
    if system not in SYSTEMS:
        raise UserError(f"no system {system!r}, expected one of {', '.join(SYSTEMS)}")
    seen, unseen = (without_bad_graphs(read_bands(file)) for file in (train, data))
    found = SYSTEMS[system](SystemOptions()).fit_predict(seen.bands, seen.em_ev, unseen.bands)
    result: dict[str, Any] = {
        "system": system,
        "train_sha256": seen.digest,
        "data_sha256": unseen.digest,
    }
    result |= scores(unseen.em_ev, found.em_ev)
    if as_json:
        print_json(result)
        return
    print(f"{system}, learnt from {len(seen)} bands of {train}, on {len(unseen)} bands of {data}")
    print_scores(result)


@models_app.command("list", epilog="Example: screen models list --json")
def list_all(as_json: AsJson = False) -> None:
    """The shipped models."""
    from models.checkpoint import list_models
    from screen.output import print_json, print_table

    found = list_models()
    if as_json:
        print_json(
            [{"model_id": i.model_id, "path": str(i.path), "summary": i.summary} for i in found]
        )
    else:
        print_table(("model", "summary"), [(i.model_id, i.summary) for i in found])


@models_app.command("show", epilog="Example: screen models show ionscreen-1")
def show(
    model: Annotated[str, typer.Argument(help="A model's name or folder.")],
    as_json: AsJson = False,
) -> None:
    """A model's card: its data, how it was scored, and its scores."""
    from models.checkpoint import model_id, read_card
    from models.refit_comparison import comparison_line
    from screen.output import print_json

    folder = folder_of(model)
    card = read_card(folder)
    if as_json:
        print_json({"model_id": model_id(folder), **card})
        return
    print(f"{model_id(folder)}: {card.get('summary', '')}")
    print(
        f"data    {card.get('data', {}).get('source')}, {card.get('data', {}).get('bands')} bands"
    )
    print(f"scored  {card.get('how_scored')}")
    if line := comparison_line(card):
        print(f"refit   {line}")
    for title, key in (
        ("random folds", "random_folds"),
        ("group folds (hosts not seen)", "group_folds"),
        ("group folds without the two extreme labels", "group_folds_without_two_extremes"),
    ):
        if key in card:
            print(title)
            print_scores(card[key])
            for what in ("prediction", "applicability", "label"):
                print_parts(what, card.get(f"{key}_by_{what}"))
    if "note" in card:
        print(f"note    {card['note']}")
