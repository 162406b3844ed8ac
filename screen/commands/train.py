"""``screen train``: networks from labelled data, from nothing or from another network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from screen.commands import app, command
from screen.errors import UserError
from screen.scores import require_file
from screen.training_inputs import draw_bands, find_source, read_bands

if TYPE_CHECKING:
    from models.bulk import BulkTable
    from models.ensemble import Recipe
    from models.finetune import Source, Strategy
    from models.pretrain import PretrainSettings
    from models.train import FitSettings

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
Published = Annotated[
    bool, typer.Option("--published-split", help="Test on the published test rows of the table.")
]


@command("screen train scratch --data bands.json -o my-model --workers 2", to=train_app)
def scratch(
    data: Annotated[Path, typer.Option(help="File of labelled bands.")],
    output: Output,
    name: Name = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the bands.")] = 60,
    width: Annotated[int, typer.Option(min=1, help="Width of the network.")] = 32,
    alignn_layers: Annotated[int, typer.Option(min=0, help="Convolutions with bond pairs.")] = 1,
    gcn_layers: Annotated[int, typer.Option(min=0, help="Convolutions without.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Highest of the schedule.")] = 2e-3,
    environment: Environment = 4.5,
    folds: Folds = 5,
    repeats: Repeats = 1,
    seed: Seed = 0,
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
            GraphSettings(environment_a=environment),
            BarrierConfig(trunk, dropout=0.3),
            FitSettings(epochs=epochs, learning_rate=learning_rate, seed=seed),
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
    from screen.training import train_properties

    for path in data:
        require_file(path, "Parquet or HDF5 of bulk properties")
    table = load_bulk(data, _words(properties))
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


@command("screen train finetune --from mpt --data bands.json -o my-model", to=train_app)
def finetune(
    source: Annotated[Path, typer.Option("--from", help="Folder of the network to start from.")],
    data: Annotated[str, typer.Option(help="Bands, or TABLE:PROPERTY of bulk properties.")],
    output: Output,
    strategy: Annotated[
        str, typer.Option(help="head, last, all, layerwise, reinit-head or scratch.")
    ] = "all",
    last_layers: Annotated[int, typer.Option(min=1, help="That learn with 'last'.")] = 2,
    rate_decay: Annotated[float, typer.Option(help="Per layer down, with 'layerwise'.")] = 0.7,
    size: Annotated[
        int | None, typer.Option(min=20, help="Entries to learn from. (default: all)")
    ] = None,
    name: Name = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 60,
    learning_rate: Annotated[float, typer.Option(help="Highest of the schedule.")] = 1e-3,
    environment: Environment = 4.5,
    folds: Folds = 5,
    repeats: Repeats = 1,
    patience: Patience = 20,
    published: Published = False,
    seed: Seed = 0,
    workers: Workers = 1,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Train a network on from another one, to barriers or to a bulk property.

    'head' freezes the trunk, 'last' all but its last layers, 'all' nothing; with 'layerwise' the
    rate falls from the head down; 'reinit-head' takes a new head in any case; 'scratch' copies
    nothing, to compare with. Barriers give an ensemble as ``train scratch`` does.
    """
    from models.finetune import Start, load_source
    from models.train import FitSettings

    folder = find_source(source)
    found = load_source(folder)
    title = name or output.absolute().name
    table = _table(data)
    try:
        kind = cast("Strategy", strategy)
        start = Start(str(folder.absolute()), found.model_id, kind, last_layers, rate_decay)
        fit = FitSettings(epochs=epochs, learning_rate=learning_rate, seed=seed, start=start)
        recipe = _recipe(found, fit, environment, folds, repeats)
    except ValueError as error:
        raise UserError(str(error)) from None
    if table is not None:
        settings = _table_settings(found, fit, patience, published, size)
        _finetune_table(*table, settings, output, title, device, as_json)
        return
    from screen.training import train_bands

    labelled = draw_bands(read_bands(Path(data)), size, seed)
    if labelled.digest in found.data_digests and strategy != "scratch":
        raise UserError(
            f"{found.model_id} was trained on this very file, so no fold of it would be a test; "
            "pass bands that it has not seen, or start from a pre-trained network"
        )
    train_bands(labelled, recipe, output, title, device=device, workers=workers, as_json=as_json)


def _table(data: str) -> tuple[Path, list[str]] | None:
    """Table and properties where the data are bulk properties; None where they are bands."""
    if Path(data).is_file() and Path(data).suffix != ".parquet":
        return None
    path, _, words = (data, "", "") if Path(data).is_file() else data.rpartition(":")
    return (Path(path), _words(words)) if path else None


def _recipe(
    source: Source, fit: FitSettings, environment_a: float, folds: int, repeats: int
) -> Recipe:
    """How barriers are learned from a source: its graphs and sizes, or ours around its trunk."""
    from models.barrier import BarrierConfig, BarrierNetwork
    from models.ensemble import Recipe

    if isinstance(source.network, BarrierNetwork):
        return Recipe(source.graph, source.network.config, fit, folds, repeats)
    graph = replace(source.graph, environment_a=environment_a)
    return Recipe(graph, BarrierConfig(source.trunk, dropout=0.3), fit, folds, repeats)


def _table_settings(
    source: Source, fit: FitSettings, patience: int, published: bool, size: int | None
) -> PretrainSettings:
    """How a bulk property is learned from a source."""
    from models.pretrain import PretrainSettings

    default = PretrainSettings()
    schedule = replace(
        default.schedule, epochs=fit.epochs, learning_rate=fit.learning_rate, seed=fit.seed
    )
    return replace(
        default,
        trunk=source.trunk,
        graph=replace(source.graph, environment_a=None),
        schedule=schedule,
        patience=patience,
        split_seed=source.split_seed,
        published=published or source.published,
        size=size,
        start=fit.start,
    )


def _finetune_table(
    table: Path,
    words: list[str],
    settings: PretrainSettings,
    output: Path,
    title: str,
    device: str,
    as_json: bool,
) -> None:
    from models.bulk_files import load_bulk
    from screen.training import train_properties

    require_file(table, "bands, or a table of bulk properties with :PROPERTY")
    if not words:
        raise UserError(f"{table}: names no property; pass --data {table}:PROPERTY")
    bulk = load_bulk([table], words)
    train_properties(bulk, settings, output, title, device=device, as_json=as_json)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
