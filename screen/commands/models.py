"""``screen evaluate``, ``train`` and ``models``: what predicts the barriers, and how well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screen.commands import app, command
from screen.errors import UserError

if TYPE_CHECKING:
    from models.dataset import LabelledBands
    from models.ensemble import Recipe

train_app = typer.Typer(no_args_is_help=True, help="Train a model from labelled bands.")
models_app = typer.Typer(no_args_is_help=True, help="The models that can predict.")
app.add_typer(
    train_app, name="train", epilog="Example: screen train scratch --data bands.json -o my-model"
)
app.add_typer(models_app, name="models", epilog="Example: screen models show model3")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Model = Annotated[str, typer.Option(help="A model's name or folder.")]


@command("screen evaluate --model model3 --data bands.json --json")
def evaluate(
    data: Annotated[Path, typer.Option(help="JSON file of labelled bands.")],
    model: Model = "model3",
    as_json: AsJson = False,
) -> None:
    """Score a model on labelled bands: MAE, R2, accuracy and precision at 0.65 eV, coverage.

    Corrupt entries are named and left out. Intervals are 95 % bootstrap intervals.
    """
    from models.evaluate import evaluate as score
    from models.evaluate import was_trained_on
    from models.predict import Predictor
    from screen.output import notice, print_json

    folder = _folder(model)
    _require_file(data)
    result = score(Predictor.load(folder), data)
    for entry in result["refused"]:
        notice(f"left out {entry['name']}: {entry['reason']}")
    if was_trained_on(folder, result["data_sha256"]):
        notice("the model was trained on this very file: the scores say nothing of new crystals")
    if as_json:
        print_json(result)
        return
    print(f"{result['model_id']} on {result['n']} bands of {data}")
    _print_scores(result)


@train_app.command(
    "scratch", epilog="Example: screen train scratch --data bands.json -o my-model --workers 2"
)
def scratch(
    data: Annotated[Path, typer.Option(help="JSON file of labelled bands.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new model.")],
    name: Annotated[str | None, typer.Option(help="Of the model. (default: the folder's)")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the bands.")] = 60,
    width: Annotated[int, typer.Option(min=1, help="Width of the network.")] = 32,
    alignn_layers: Annotated[int, typer.Option(min=0, help="Convolutions with bond pairs.")] = 1,
    gcn_layers: Annotated[int, typer.Option(min=0, help="Convolutions without.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Highest of the schedule.")] = 2e-3,
    environment: Annotated[float, typer.Option(help="Host kept around the path, Å.")] = 4.5,
    folds: Annotated[int, typer.Option(min=2, help="Of each kind of cross-validation.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="Times that folds are drawn.")] = 1,
    seed: Annotated[int, typer.Option(help="Of every random number.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train an ensemble with random weights at the start, by random and group cross-validation.

    Each of the 2 x folds x repeats members also tests the recipe on bands it has not seen; the
    model card has the scores. Interrupted, the same command goes on where it stopped.
    """
    from models.alignn import TrunkConfig
    from models.barrier import BarrierConfig
    from models.dataset import load_bands
    from models.ensemble import Recipe
    from models.graph import GraphSettings
    from models.train import FitSettings
    from screen.output import notice

    _require_file(data)
    if name is None:
        name = output.absolute().name
    labelled = load_bands(data)
    for entry, reason in labelled.refused:
        notice(f"left out {entry}: {reason}")
    try:
        trunk = TrunkConfig(alignn_layers, gcn_layers, width=width, embedding=min(width, 64))
        recipe = Recipe(
            GraphSettings(environment_a=environment),
            BarrierConfig(trunk, dropout=0.3),
            FitSettings(epochs=epochs, learning_rate=learning_rate, seed=seed),
            folds,
            repeats,
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    _train(labelled, recipe, output, name, device, workers)


def _train(
    data: LabelledBands, recipe: Recipe, output: Path, name: str, device: str, workers: int
) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from models import checkpoint
    from models.ensemble import member_names, train_ensemble
    from screen.output import stderr

    total = recipe.fit.epochs * len(member_names(recipe))
    work_dir = output.absolute().with_name(f".{output.absolute().name}.training")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} epochs"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr(), transient=True) as bar:
        task = bar.add_task("training", total=total)

        def on_epoch(member: str, epoch: int, loss: float) -> None:
            bar.update(task, advance=1, description=f"{member} loss {loss:.3f}")

        ensemble, card = train_ensemble(
            data, recipe, work_dir, name, device=device, workers=workers, on_epoch=on_epoch
        )
    checkpoint.save(ensemble, card, output)
    print(f"{checkpoint.model_id(output)} in {output}: {card['summary']}")
    for kind in ("random", "group"):
        print(f"{kind} folds")
        _print_scores(card[f"{kind}_folds"])
    print(f"next: screen run --model {output}")


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


@models_app.command("show", epilog="Example: screen models show model3")
def show(
    model: Annotated[str, typer.Argument(help="A model's name or folder.")],
    as_json: AsJson = False,
) -> None:
    """A model's card: its data, how it was scored, and its scores."""
    from models.checkpoint import model_id, read_card
    from screen.output import print_json

    folder = _folder(model)
    card = read_card(folder)
    if as_json:
        print_json({"model_id": model_id(folder), **card})
        return
    print(f"{model_id(folder)}: {card.get('summary', '')}")
    print(
        f"data    {card.get('data', {}).get('source')}, {card.get('data', {}).get('bands')} bands"
    )
    print(f"scored  {card.get('how_scored')}")
    for title, key in (
        ("random folds", "random_folds"),
        ("group folds (hosts not seen)", "group_folds"),
        ("group folds without the two extreme labels", "group_folds_without_two_extremes"),
    ):
        if key in card:
            print(title)
            _print_scores(card[key])


_SCORES = (
    ("mae_ev", "MAE, eV"),
    ("rmse_ev", "RMSE, eV"),
    ("r2", "R2"),
    ("accuracy", "accuracy at 0.65 eV"),
    ("precision_good", "precision, good"),
    ("precision_bad", "precision, bad"),
    ("coverage90", "coverage of the 90 % interval"),
    ("interval_width_ev", "median width of it, eV"),
)


def _print_scores(scores: dict[str, Any]) -> None:
    for key, title in _SCORES:
        value, interval = scores.get(key), scores.get(f"{key}_interval")
        if value is not None and interval is not None:
            print(f"  {title:32}{value:7.3f}  [{interval[0]:.3f}, {interval[1]:.3f}]")


def _folder(model: str) -> Path:
    """A model's folder; one that is not there is wrong use, one that is corrupt is not."""
    from models.checkpoint import ModelError, find_model

    try:
        return find_model(model)
    except ModelError as error:
        raise UserError(str(error)) from None


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"no file {path}, expected JSON of labelled bands; check --data")
