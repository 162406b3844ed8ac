"""A training as a user sees it: what was left out, how far it is, what came of it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from screen.output import print_json, stderr
from screen.scores import print_property_scores, print_scores
from screen.training_inputs import name_refused

if TYPE_CHECKING:
    from models.bulk import BulkTable
    from models.curves import Curves
    from models.dataset import LabelledBands
    from models.ensemble import Recipe
    from models.loop import EpochReport
    from models.pretrain import PretrainSettings

_LINE_EVERY_S = 30.0
Advance = Callable[[int, int, str], None]
"""Of what is done, of what, and a few words."""


@contextmanager
def progress(unit: str) -> Iterator[Advance]:
    """A bar in a terminal, a line now and then elsewhere, with rate and time left; on stderr."""
    from rich.progress import BarColumn, Progress, TextColumn

    console = stderr()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} " + unit),
        TextColumn("{task.fields[pace]}"),
    )
    began = line_at = time.monotonic()
    done_before: int | None = None
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("training", total=None, pace="")

        def advance(done: int, total: int, words: str) -> None:
            nonlocal line_at, done_before
            now = time.monotonic()
            done_before = done - 1 if done_before is None else done_before
            each_s = (now - began) / max(done - done_before, 1)
            pace = _pace(each_s, total - done, unit)
            bar.update(task, completed=done, total=total, description=words, pace=pace)
            if quiet and now - line_at >= _LINE_EVERY_S:
                line_at = now
                console.print(f"{done:,} of {total:,} {unit} · {words} · {pace}", highlight=False)

        yield advance


def _pace(each_s: float, left: int, unit: str) -> str:
    """Rate and time left, as in ``2.5 epochs/s · about 3 min left``."""
    slow = f"{each_s:.3g} s per {unit.removesuffix('s')}"
    rate = slow if each_s > 1 else f"{1 / max(each_s, 1e-9):.3g} {unit}/s"
    left_s = each_s * left
    time_left = f"{left_s / 60:,.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
    return f"{rate} · about {time_left} left"


def train_bands(
    data: LabelledBands,
    recipe: Recipe,
    output: Path,
    name: str,
    *,
    device: str,
    workers: int,
    as_json: bool = False,
) -> None:
    """Train an ensemble of barrier networks, write its folder with learning curves, print scores.

    Raises:
        models.dataset.DatasetError: too few bands or hosts.
    """
    from models import checkpoint
    from models.curves import curves_csv
    from models.dataset import check_enough
    from models.ensemble import learning_curves, train_ensemble
    from models.systems import without_bad_graphs

    n_refused = len(data.refused)
    data = without_bad_graphs(data)
    name_refused(data.refused[n_refused:])
    check_enough(data.source, data.groups, recipe.folds)
    work_dir = _work_dir(output) / str(len(data))
    with progress("epochs") as advance:
        ensemble, card = train_ensemble(
            data,
            recipe,
            work_dir,
            name,
            device=device,
            workers=workers,
            on_epoch=_epoch_counter(data, recipe, work_dir, advance),
        )
    start = card["recipe"]["fit"].get("start")
    if start:
        start["folder"] = Path(start["folder"]).name
    curves = learning_curves(data, recipe, work_dir)
    checkpoint.save(ensemble, card, output, more=_curve_files(curves_csv(curves), curves))
    if as_json:
        print_json({"model_id": checkpoint.model_id(output), "path": str(output), **card})
        return
    print(f"{checkpoint.model_id(output)} in {output}: {card['summary']}")
    print(f"{card['seconds_per_epoch']:.3g} s per epoch of a member; learning curves in curve.csv")
    for kind in ("random", "group"):
        print(f"{kind} folds")
        print_scores(card[f"{kind}_folds"])
    print(f"next: screen run --model {quote(str(output))}")


def _epoch_counter(
    data: LabelledBands, recipe: Recipe, work_dir: Path, advance: Advance
) -> Callable[[str, EpochReport], None]:
    """Advances by every epoch of every member; what need not be trained counts as done."""
    from models.ensemble import finished_members, member_names

    epochs = dict.fromkeys(member_names(recipe), 0)
    total = recipe.fit.epochs * len(epochs)

    def on_epoch(member: str, one: EpochReport) -> None:
        epochs[member] = one.epoch
        for finished in finished_members(data, recipe, work_dir):
            epochs[finished] = recipe.fit.epochs
        held = "" if one.validation is None else f" validation {one.validation:.3f}"
        advance(sum(epochs.values()), total, f"{member} loss {one.loss:.3f}{held}")

    return on_epoch


def train_properties(
    table: BulkTable,
    settings: PretrainSettings,
    output: Path,
    name: str,
    *,
    device: str,
    as_json: bool = False,
) -> None:
    """Train a property network, write its folder with learning curve and print its scores."""
    from models.pretrain import build_graphs, pretrain
    from models.properties import property_model_id, save_properties
    from models.property_card import curve_csv

    n_refused = len(table.refused)
    name_refused(table.refused)
    with progress("graphs") as advance:
        table, graphs = build_graphs(
            table, settings.graph, lambda done, total: advance(done, total, "graphs")
        )
    name_refused(table.refused[n_refused:])
    said = ["epoch 1"]
    with progress("steps") as advance:

        def on_epoch(one: EpochReport) -> None:
            held = "" if one.validation is None else f" validation {one.validation:.4f}"
            said[0] = f"epoch {one.epoch} loss {one.loss:.4f}{held}"

        model, card, reports = pretrain(
            table,
            graphs,
            settings,
            _work_dir(output),
            name,
            device=device,
            on_epoch=on_epoch,
            on_step=lambda done, total, loss: advance(done, total, f"{said[0]}, now {loss:.4f}"),
        )
    save_properties(model, card, output, _curve_files(curve_csv(reports), {"": reports}))
    if as_json:
        print_json({"model_id": property_model_id(output), "path": str(output), **card})
        return
    print(f"{property_model_id(output)} in {output}: {card['summary']}")
    print(
        f"best of {card['epochs']} epochs is {card['best_epoch']}, "
        f"{card['seconds_per_epoch']:.3g} s each; test crystals:"
    )
    print_property_scores(card["properties"])
    print(f"next: screen train finetune --from {output} --data bands.json -o {output}-bands")


def _work_dir(output: Path) -> Path:
    """Where an unfinished training keeps its state."""
    return output.absolute().with_name(f".{output.absolute().name}.training")


def _curve_files(table: str, curves: Curves) -> dict[str, bytes]:
    """Learning curves by file name: the table, and the picture where it can be drawn."""
    picture = curve_png(curves)
    return {"curve.csv": table.encode()} | ({} if picture is None else {"curve.png": picture})


def curve_png(curves: Curves) -> bytes | None:
    """Learning curves as a picture, thin where many; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return None
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    line_width = 1.5 if len(curves) == 1 else 0.6
    for key, colour in (("loss", "C0"), ("validation", "C1")):
        label: str | None = key
        for reports in curves.values():
            values = [getattr(one, key) for one in reports]
            if None in values:
                continue
            epochs = [one.epoch for one in reports]
            axes.plot(epochs, values, color=colour, linewidth=line_width, label=label)
            label = None
    axes.set(xlabel="epoch", ylabel="mean absolute error, scaled", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()
