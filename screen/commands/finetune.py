"""``screen train finetune``: a network from another one, for barriers or for a bulk property."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from screen.commands import command
from screen.commands.train import (
    AsJson,
    Deterministic,
    Device,
    Environment,
    Folds,
    Name,
    Output,
    Published,
    Repeats,
    Seed,
    Variant,
    Workers,
    as_variant,
    comma_separated,
    train_app,
)
from screen.errors import UserError
from screen.scores import require_file
from screen.training_inputs import draw_bands, find_source, read_bands

if TYPE_CHECKING:
    from models.dataset import LabelledBands
    from models.ensemble import Recipe
    from models.finetune import Source, Strategy
    from models.pretrain import PretrainSettings
    from models.train import FitSettings

TunePatience = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Epochs without gain that end the training. (default: none for bands, 20 for others)",
    ),
]


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
    variant: Variant = "path",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 60,
    learning_rate: Annotated[float, typer.Option(help="Highest of the schedule.")] = 1e-3,
    environment: Environment = 4.5,
    folds: Folds = 5,
    repeats: Repeats = 1,
    patience: TunePatience = None,
    published: Published = False,
    seed: Seed = 0,
    deterministic: Deterministic = False,
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
    from screen.training import train_bands

    folder = find_source(source)
    found = load_source(folder)
    title, table = name or output.absolute().name, _table(data)
    try:
        kind = cast("Strategy", strategy)
        start = Start(str(folder.absolute()), found.model_id, kind, last_layers, rate_decay)
        fit = FitSettings(
            epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
            deterministic=deterministic,
            start=start,
            patience=patience,
        )
        recipe = _recipe(found, fit, environment, folds, repeats, as_variant(variant))
    except ValueError as error:
        raise UserError(str(error)) from None
    if table is not None:
        settings = _table_settings(found, fit, published, size)
        _finetune_table(*table, settings, output, title, device, as_json)
        return
    labelled = _unseen_bands(found, kind, data, size, seed)
    train_bands(labelled, recipe, output, title, device=device, workers=workers, as_json=as_json)


def _unseen_bands(
    source: Source, strategy: Strategy, data: str, size: int | None, seed: int
) -> LabelledBands:
    """Bands of a file that the source was not trained on."""
    labelled = draw_bands(read_bands(Path(data)), size, seed)
    if labelled.digest in source.data_digests and strategy != "scratch":
        raise UserError(
            f"{source.model_id} was trained on this very file, so no fold of it would be a test; "
            "pass bands that it has not seen, or start from a pre-trained network"
        )
    return labelled


def _table(data: str) -> tuple[Path, list[str]] | None:
    """Table and properties where the data are bulk properties; None where they are bands."""
    if Path(data).is_file() and Path(data).suffix != ".parquet":
        return None
    path, _, words = (data, "", "") if Path(data).is_file() else data.rpartition(":")
    return (Path(path), comma_separated(words)) if path else None


def _recipe(
    source: Source,
    fit: FitSettings,
    environment_a: float,
    folds: int,
    repeats: int,
    variant: Any,
) -> Recipe:
    """How barriers are learned from a source: its graphs and sizes, or a system around its trunk.

    Raises:
        ValueError: the source is a barrier model of another system, or there is no such system.
    """
    from models.barrier import BarrierConfig, BarrierNetwork
    from models.ensemble import Recipe

    if isinstance(source.network, BarrierNetwork):
        if variant not in (None, source.network.config.variant):
            raise ValueError(f"{source.model_id} is no {variant}; leave --variant out")
        return Recipe(source.graph, source.network.config, fit, folds, repeats)
    graph = replace(source.graph, environment_a=None if variant else environment_a)
    network = BarrierConfig(source.trunk, variant=variant, dropout=0.3)
    return Recipe(graph, network, fit, folds, repeats)


def _table_settings(
    source: Source, fit: FitSettings, published: bool, size: int | None
) -> PretrainSettings:
    """How a bulk property is learned from a source."""
    from models.pretrain import PretrainSettings

    default = PretrainSettings()
    schedule = replace(
        default.schedule,
        epochs=fit.epochs,
        learning_rate=fit.learning_rate,
        seed=fit.seed,
        deterministic=fit.deterministic,
    )
    return replace(
        default,
        trunk=source.trunk,
        graph=replace(source.graph, environment_a=None),
        schedule=schedule,
        patience=fit.patience or default.patience,
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
    from screen.datasets import find_data
    from screen.training import train_properties

    table = find_data(table)
    require_file(table, "bands, or a table of bulk properties with :PROPERTY")
    if not words:
        raise UserError(f"{table}: names no property; pass --data {table}:PROPERTY")
    bulk = load_bulk([table], words)
    train_properties(bulk, settings, output, title, device=device, as_json=as_json)
