"""A refit as a user sees it: the model to start from, what joins it, and the model that is written.

A model of the kind that ships carries its own training bands; networks ask for the file of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.errors import UserError
from screen.scores import require_file

if TYPE_CHECKING:
    from models.blend import Blend
    from models.dataset import LabelledBands
    from models.estimate import BarrierModel
    from models.networks import Ensemble
    from screen.refit_inputs import NewLabels


@dataclass(frozen=True)
class OldModel:
    """The model that is refitted."""

    folder: Path
    model_id: str
    card: dict[str, Any]
    model: BarrierModel


@dataclass(frozen=True)
class ForNetworks:
    """What the command line says of networks alone."""

    replay: Path | None
    no_replay: bool
    epochs: int
    device: str
    workers: int


@dataclass(frozen=True)
class RefitOptions:
    """What the command line says of the fit."""

    title: str
    output: Path
    folds: int
    repeats: int
    seed: int
    replace: bool
    mix: bool
    networks: ForNetworks


def open_old(source: str, output: Path) -> OldModel:
    """The model to start from.

    Raises:
        UserError: there is none, or the output is it or a folder of something else.
    """
    from models.checkpoint import CONFIG, ModelError, find_model, load, model_id, read_card

    try:
        folder = find_model(source)
    except ModelError as error:
        raise UserError(f"{error}; check --from") from None
    if output.exists():
        if not output.is_dir() or (any(output.iterdir()) and not (output / CONFIG).is_file()):
            raise UserError(f"{output}: holds something else than a model; pass another -o")
        if output.samefile(folder):
            raise UserError(f"{output}: is the model to start from; pass another -o")
    return OldModel(folder, model_id(folder), read_card(folder), load(folder))


def refit(old: OldModel, labels: NewLabels, how: RefitOptions) -> tuple[str, dict[str, Any]]:
    """Write the new model.

    Returns:
        Its id and card.

    Raises:
        UserError: labels of another functional, or networks without what they were trained on.
        ValueError: too few new bands, or too few in all.
    """
    from models import checkpoint
    from models.blend import Blend
    from models.networks import Ensemble
    from models.refit import require_new

    require_new(len(labels.bands))
    model: BarrierModel
    if isinstance(old.model, Blend):
        model, card, more = _refit_blend(old, old.model, labels, how)
    elif isinstance(old.model, Ensemble):
        model, card, more = _refit_networks(old, old.model, labels, how)
    else:
        raise UserError(f"{old.folder}: a model of a kind that cannot be refitted")
    checkpoint.save(model, card, how.output, more=more)
    return checkpoint.model_id(how.output), card


def _refit_blend(
    old: OldModel, model: Blend, labels: NewLabels, how: RefitOptions
) -> tuple[Blend, dict[str, Any], dict[str, bytes]]:
    from models.blend_training import BlendRecipe, rows_of
    from models.functionals import count_functionals
    from models.refit import join, lineage, refit_blend, require_new
    from screen.model_figures import reliability_png
    from screen.training import progress
    from screen.training_inputs import name_refused

    rows, refused = rows_of(labels.bands)
    joined = join(model.rows, rows, how.replace)
    name_refused([*refused, *joined.left_out])
    require_new(len(joined.new))
    _check_functionals(count_functionals(joined.new.xc), count_functionals(joined.old.xc), how.mix)
    with progress("fits") as advance:
        recipe = BlendRecipe(how.folds, how.repeats, how.seed)
        fitted, card = refit_blend(model, joined, how.title, recipe, advance)
    xc = (joined.old + joined.new).xc
    lineage(card, old.model_id, old.card, labels.files, xc, [*labels.bands.refused, *refused])
    picture = reliability_png(card)
    return fitted, card, {"reliability.png": picture} if picture else {}


def _refit_networks(
    old: OldModel, model: Ensemble, labels: NewLabels, how: RefitOptions
) -> tuple[Ensemble, dict[str, Any], dict[str, bytes]]:
    from models.curves import curves_csv
    from models.ensemble import Recipe, learning_curves, member_names
    from models.finetune import Start
    from models.functionals import count_functionals
    from models.refit import lineage, require_new
    from models.refit_networks import join_bands, refit_networks
    from models.train import FitSettings
    from screen.training import progress
    from screen.training_inputs import name_refused

    own = how.networks
    replayed = None if own.no_replay else _find_replay(old.model_id, old.card, own.replay)
    joined = join_bands(replayed, labels.bands, model.graph, how.replace)
    name_refused(joined.left_out)
    require_new(len(joined.new))
    known = old.card.get("data", {}).get("functionals", {})
    old_xc = known if joined.old is None else count_functionals(joined.old.xc)
    _check_functionals(count_functionals(joined.new.xc), old_xc, how.mix)
    start = Start(str(old.folder.absolute()), old.model_id, "layerwise")
    fit = FitSettings(epochs=own.epochs, learning_rate=5e-4, seed=how.seed, start=start)
    recipe = Recipe(model.graph, model.network, fit, how.folds)
    work_dir = how.output.absolute().with_name(f".{how.output.absolute().name}.training")
    total, done = own.epochs * len(member_names(recipe)), 0
    with progress("epochs") as advance:

        def on_epoch(member: str, one: Any) -> None:
            nonlocal done
            done += 1
            advance(done, total, f"{member} loss {one.loss:.3f}")

        fitted, card = refit_networks(
            model,
            joined,
            recipe,
            work_dir,
            how.title,
            device=own.device,
            workers=own.workers,
            on_epoch=on_epoch,
        )
    card["recipe"]["fit"]["start"]["folder"] = old.folder.name
    lineage(card, old.model_id, old.card, labels.files, joined.all.xc, labels.bands.refused)
    curves = curves_csv(learning_curves(joined.all, recipe, work_dir))
    return fitted, card, {"curve.csv": curves.encode()}


def _find_replay(model_id: str, card: Mapping[str, Any], given: Path | None) -> LabelledBands:
    """The bands that networks were trained on, to be learnt from again.

    Args:
        model_id: of the networks.
        card: theirs, with the file's sha256.
        given: the file; None looks among the public data sets that were fetched.

    Raises:
        UserError: it is not here, or another file.
    """
    from screen.datasets import DATASETS, default_folder, is_whole, sha256_of
    from screen.refit_inputs import load_labelled

    known = card.get("data", {})
    digest = known.get("sha256")
    if "refit" in card:
        raise UserError(
            f"{model_id} is a refit of {card['refit']['from']}; pass that to --from with all new "
            "labels, or --no-replay to train on the new ones alone, which forgets the old"
        )
    expected = f"{known.get('source')}, sha256 {str(digest)[:12]}…"
    if given is not None:
        require_file(given, f"what {model_id} was trained on ({expected})")
        if sha256_of(given) == digest:
            return load_labelled(given)
        raise UserError(f"{given}: not what {model_id} was trained on, expected {expected}")
    for dataset in DATASETS:
        for file in dataset.files:
            path = default_folder(dataset) / file.filename
            if file.sha256 == digest and is_whole(path, file):
                return load_labelled(path)
    raise UserError(
        f"{model_id}: what it was trained on is not here ({expected}); pass it to --replay, or "
        "--no-replay to train on the new labels alone, which forgets the old"
    )


def _check_functionals(new: Mapping[str, int], old: Mapping[str, int], mix: bool) -> None:
    """Refuse labels of another functional; say whatever is mixed or not known."""
    from models.functionals import NOT_STATED, clash, in_words
    from screen.output import notice

    trouble = clash(new, old)
    if trouble and not mix:
        raise UserError(
            f"{trouble}: barriers of two functionals differ; leave the others out, or pass "
            "--mix-functionals"
        )
    notice(f"functionals: new labels {in_words(new)}; the model's {in_words(old) or NOT_STATED}")
    if NOT_STATED in new:
        notice(f"{new[NOT_STATED]} new labels state no functional; --xc NAME says it for them")
