"""``screen models import``: published checkpoints as models of this program."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from screen.errors import UserError

if TYPE_CHECKING:
    from models.barrier import BarrierNetwork
    from models.import_scale import Scale

EXAMPLE = (
    "screen models import best_model.pt.bz2 --name published -o published --known predictions.json"
)
_NEEDED = (
    "no scale: pass --target-min, --target-max and --scaled-to (how the targets were scaled), "
    "or --known (this network's own predictions in eV), or --raw to keep it without barriers in eV"
)


def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="best_model.pt or best_model.pt.bz2.")],
    name: Annotated[str, typer.Option(help="Of the model.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new model.")],
    config: Annotated[
        Path | None, typer.Option(help="config.json of its training, to check its settings.")
    ] = None,
    target_min: Annotated[
        float | None, typer.Option(help="Least barrier of the scaled targets, eV.")
    ] = None,
    target_max: Annotated[
        float | None, typer.Option(help="Greatest barrier of the scaled targets, eV.")
    ] = None,
    scaled_to: Annotated[
        str | None, typer.Option(help="What they were scaled to: 0..1 or -1..1.")
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            help="Predictions of this very network, eV: bands with them as targets (JSON, HDF5), "
            "or CSV with name and prediction_ev, whose structures are in --bands."
        ),
    ] = None,
    bands: Annotated[Path | None, typer.Option(help="Bands that a CSV of --known names.")] = None,
    trained_on: Annotated[
        Path | None, typer.Option(help="Bands that it was trained on, for the applicability.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Keep it without a scale; nothing predicts with it.")
    ] = False,
) -> None:
    """Import an ALIGNN network in the format of its published package: MODEL-3, or the plain one.

    The checkpoint is read as arrays alone, nothing in it is run. The scale of its targets must be
    said or be recovered from known predictions; the model's card says which.
    """
    from models.checkpoint import model_id
    from models.dataset import load_bands
    from models.import_scale import save_imported
    from models.importer import build_network, check_training_config, read_checkpoint
    from screen.datasets import find_data, sha256_of

    limits = (target_min, target_max, scaled_to)
    _check_use(checkpoint, output, limits, known, raw)
    if config is not None:
        check_training_config(config)
    network = build_network(read_checkpoint(checkpoint), str(checkpoint))
    scale = None if raw else _scale(network, limits, known, bands)
    training = None if trained_on is None else load_bands(find_data(trained_on))
    origin = {"file": checkpoint.name, "sha256": sha256_of(checkpoint)}
    save_imported(network, name, output, scale, origin, training)
    if scale is None:
        print(f"{name} in {output}: kept without a scale, nothing predicts with it")
        return
    print(f"{model_id(output)} in {output}")
    print(f"Em / eV = {scale.slope_ev:.6g} x output + {scale.intercept_ev:.6g}, {scale.origin}")
    print(f"next: screen evaluate --model {quote(str(output))} --data BANDS")


def _check_use(
    checkpoint: Path,
    output: Path,
    limits: tuple[float | None, float | None, str | None],
    known: Path | None,
    raw: bool,
) -> None:
    """Refuse what can never work before anything is read."""
    if not checkpoint.is_file():
        raise UserError(f"no file {checkpoint}, expected a checkpoint, .pt or .pt.bz2")
    if output.exists() and not (output / "config.json").is_file():
        raise UserError(f"{output} is there and is no model's folder; pass another -o")
    given = [value is not None for value in limits]
    if sum((any(given), known is not None, raw)) > 1:
        raise UserError("--target-min/--target-max, --known and --raw exclude one another")
    if any(given) and not all(given):
        raise UserError("--target-min, --target-max and --scaled-to (0..1 or -1..1) go together")
    if not (any(given) or known is not None or raw):
        raise UserError(_NEEDED)


def _scale(
    network: BarrierNetwork,
    limits: tuple[float | None, float | None, str | None],
    known: Path | None,
    bands: Path | None,
) -> Scale:
    from models.dataset import load_bands
    from models.import_scale import known_by_name, scale_from_known, scale_from_range
    from screen.datasets import find_data

    if known is None:
        minimum, maximum, scaled_to = limits
        assert minimum is not None
        assert maximum is not None
        assert scaled_to is not None
        try:
            return scale_from_range(minimum, maximum, scaled_to)
        except ValueError as error:
            raise UserError(str(error)) from None
    if known.suffix.lower() != ".csv":
        return scale_from_known(network, load_bands(known))
    if bands is None:
        raise UserError(f"{known} names bands, whose structures are missing; pass --bands")
    return scale_from_known(network, known_by_name(known, load_bands(find_data(bands))))
