"""A training as a user sees it: what was left out, how far it is, what came of it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.output import print_json, stderr
from screen.scores import print_property_scores, print_scores
from screen.training_inputs import name_refused

if TYPE_CHECKING:
    from models.bulk import BulkTable
    from models.dataset import LabelledBands
    from models.ensemble import Recipe
    from models.loop import EpochReport
    from models.pretrain import PretrainSettings

_LINE_EVERY_S = 30.0
Advance = Callable[[int, int, str], None]
"""Of what is done, of what, and a few words."""


@contextmanager
def progress(unit: str) -> Iterator[Advance]:
    """A bar with the time left in a terminal, a line now and then elsewhere; on stderr."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = stderr()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} " + unit),
        TimeRemainingColumn(),
    )
    began = line_at = time.monotonic()
    done_before: int | None = None
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("training", total=None)

        def advance(done: int, total: int, words: str) -> None:
            nonlocal line_at, done_before
            bar.update(task, completed=done, total=total, description=words)
            now = time.monotonic()
            done_before = done - 1 if done_before is None else done_before
            if quiet and now - line_at >= _LINE_EVERY_S:
                line_at = now
                left = (now - began) / max(done - done_before, 1) * (total - done) / 60
                console.print(
                    f"{done:,} of {total:,} {unit} · {words} · about {left:,.0f} min left",
                    highlight=False,
                )

        yield advance


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
    """Train an ensemble of barrier networks, write its folder and print its scores."""
    from models import checkpoint
    from models.ensemble import member_names, train_ensemble

    total = recipe.fit.epochs * len(member_names(recipe))
    work_dir = _work_dir(output) / str(len(data))
    done = 0
    with progress("epochs") as advance:

        def on_epoch(member: str, epoch: int, loss: float) -> None:
            nonlocal done
            done += 1
            advance(done, total, f"{member} loss {loss:.3f}")

        ensemble, card = train_ensemble(
            data, recipe, work_dir, name, device=device, workers=workers, on_epoch=on_epoch
        )
    start = card["recipe"]["fit"].get("start")
    if start:
        start["folder"] = Path(start["folder"]).name
    checkpoint.save(ensemble, card, output)
    if as_json:
        print_json({"model_id": checkpoint.model_id(output), "path": str(output), **card})
        return
    print(f"{checkpoint.model_id(output)} in {output}: {card['summary']}")
    for kind in ("random", "group"):
        print(f"{kind} folds")
        print_scores(card[f"{kind}_folds"])
    print(f"next: screen run --model {output}")


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
    curve = {"curve.csv": curve_csv(reports).encode()}
    picture = curve_png(reports)
    if picture is not None:
        curve["curve.png"] = picture
    save_properties(model, card, output, curve)
    if as_json:
        print_json({"model_id": property_model_id(output), "path": str(output), **card})
        return
    print(f"{property_model_id(output)} in {output}: {card['summary']}")
    print(f"best of {card['epochs']} epochs is {card['best_epoch']}; test crystals:")
    print_property_scores(card["properties"])
    print(f"next: screen train finetune --from {output} --data bands.json -o {output}-bands")


def _work_dir(output: Path) -> Path:
    """Where an unfinished training keeps its state."""
    return output.absolute().with_name(f".{output.absolute().name}.training")


def curve_png(reports: Sequence[EpochReport]) -> bytes | None:
    """The learning curve as a picture; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    rows: list[dict[str, Any]] = [asdict(one) for one in reports]
    for key in ("loss", "validation"):
        values = [row[key] for row in rows]
        if None not in values:
            axes.plot([row["epoch"] for row in rows], values, label=key)
    axes.set(xlabel="epoch", ylabel="mean absolute error, scaled", yscale="log")
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()
