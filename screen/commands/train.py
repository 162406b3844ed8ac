"""``screen train``: networks from labelled data, from nothing or from another network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screen.commands import app, command
from screen.errors import UserError
from screen.scores import require_file
from screen.training_inputs import read_bands

if TYPE_CHECKING:
    from models.bulk import BulkTable

train_app = typer.Typer(no_args_is_help=True, help="Train a model from labelled data.")
app.add_typer(
    train_app, name="train", epilog="Example: screen train scratch --data bands.json -o my-model"
)

Output = Annotated[Path, typer.Option("-o", "--output", help="Folder of the new model.")]
Name = Annotated[str | None, typer.Option(help="Of the model. (default: the folder's)")]
Seed = Annotated[int, typer.Option(help="Of every random number.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Folds = Annotated[int, typer.Option(min=2, help="Of each kind of cross-validation.")]
Repeats = Annotated[int, typer.Option(min=1, help="Times that folds are drawn.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes side by side.")]
Environment = Annotated[float, typer.Option(help="Host kept around the path, Å.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Patience = Annotated[int, typer.Option(min=1, help="Epochs without gain that end the training.")]
BandPatience = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Epochs without gain on a tenth of the training bands that end it. "
        "(default: train on all, to the end)",
    ),
]
Variant = Annotated[
    str, typer.Option(help="path (ours), or a published system: model1, model2, model3, model4.")
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic",
        help="The same weights on every run: deterministic algorithms, also on a GPU, and one "
        "thread, which is all that a CPU needs (--workers have one each anyway).",
    ),
]
Published = Annotated[
    bool, typer.Option("--published-split", help="Test on the published test rows of the table.")
]


@command("screen train scratch --data bands.json -o my-model --workers 2", to=train_app)
def scratch(
    data: Annotated[Path, typer.Option(help="File of labelled bands.")],
    output: Output,
    name: Name = None,
    variant: Variant = "path",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the bands.")] = 60,
    width: Annotated[int, typer.Option(min=1, help="Width of the network.")] = 32,
    alignn_layers: Annotated[int, typer.Option(min=0, help="Convolutions with bond pairs.")] = 1,
    gcn_layers: Annotated[int, typer.Option(min=0, help="Convolutions without.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Highest of the schedule.")] = 2e-3,
    environment: Environment = 4.5,
    folds: Folds = 5,
    repeats: Repeats = 1,
    patience: BandPatience = None,
    seed: Seed = 0,
    deterministic: Deterministic = False,
    workers: Workers = 1,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Train an ensemble with random weights at the start, by random and group cross-validation.

    Each of the 2 x folds x repeats members also tests the recipe on bands it has not seen; the
    model card has the scores. Interrupted, the same command goes on where it stopped.
    """
    from models.alignn import TrunkConfig
    from models.barrier import BarrierConfig
    from models.ensemble import Recipe
    from models.graph import GraphSettings
    from models.train import FitSettings
    from screen.training import train_bands

    labelled = read_bands(data)
    try:
        trunk = TrunkConfig(alignn_layers, gcn_layers, width=width, embedding=min(width, 64))
        recipe = Recipe(
            GraphSettings(environment_a=environment if variant == "path" else None),
            BarrierConfig(trunk, variant=as_variant(variant), dropout=0.3),
            FitSettings(
                epochs=epochs,
                learning_rate=learning_rate,
                seed=seed,
                deterministic=deterministic,
                patience=patience,
            ),
            folds,
            repeats,
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    title = name or output.absolute().name
    train_bands(labelled, recipe, output, title, device=device, workers=workers, as_json=as_json)


@command(
    "screen train pretrain --data bulk.parquet --properties shear,phonons -o mpt", to=train_app
)
def pretrain(
    data: Annotated[list[Path], typer.Option(help="Parquet or HDF5 table; repeat to merge.")],
    output: Output,
    properties: Annotated[
        str, typer.Option(help="Comma-separated names. (default: all known)")
    ] = "",
    name: Name = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the crystals.")] = 100,
    width: Annotated[int, typer.Option(min=1, help="Width of the network.")] = 256,
    alignn_layers: Annotated[int, typer.Option(min=0, help="Convolutions with bond pairs.")] = 4,
    gcn_layers: Annotated[int, typer.Option(min=0, help="Convolutions without.")] = 4,
    learning_rate: Annotated[float, typer.Option(help="Highest of the schedule.")] = 1e-3,
    batch_size: Annotated[int, typer.Option(min=2, help="Crystals per step.")] = 64,
    patience: Patience = 20,
    published: Published = False,
    split_seed: Annotated[int, typer.Option(help="Of which crystals validate and test.")] = 0,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Train one network on several bulk properties at once, a head for each.

    About 80 % of the crystals train, 10 % stop the training and 10 % test it, unless the table's
    published test rows do. Interrupted, the same command goes on where it stopped.
    """
    from models.alignn import TrunkConfig
    from models.bulk_files import load_bulk
    from models.pretrain import PretrainSettings
    from screen.datasets import find_data
    from screen.training import train_properties

    data = [find_data(path) for path in data]
    for path in data:
        require_file(path, "Parquet or HDF5 of bulk properties")
    table = load_bulk(data, comma_separated(properties))
    _refuse_held_back(table)
    default = PretrainSettings()
    trunk = TrunkConfig(alignn_layers, gcn_layers, width=width, embedding=min(width, 64))
    try:
        schedule = replace(
            default.schedule,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            seed=seed,
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    settings = replace(
        default,
        trunk=trunk,
        schedule=schedule,
        patience=patience,
        split_seed=split_seed,
        published=published,
    )
    title = name or output.absolute().name
    train_properties(table, settings, output, title, device=device, as_json=as_json)


def _refuse_held_back(table: BulkTable) -> None:
    held_back = [one.name for one in table.properties if one.held_back]
    if held_back:
        raise UserError(
            f"{held_back[0]} is kept from pre-training to test how far it carries; "
            "fine-tune on it instead: screen train finetune --data FILE:PROPERTY"
        )


def as_variant(word: str) -> Any:
    """What ``--variant`` says to ``BarrierConfig``, which checks it."""
    return None if word == "path" else word


def comma_separated(text: str) -> list[str]:
    """Words of an option, without the space around them."""
    return [word.strip() for word in text.split(",") if word.strip()]
