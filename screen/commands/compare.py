"""``screen train compare``: several systems on the same folds, in one table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screen.commands import INTERRUPTED, command
from screen.commands.train import train_app
from screen.errors import FAILED, NothingToShow, UserError
from screen.scores import require_file

if TYPE_CHECKING:
    from models.compare import Comparison, System
    from models.dataset import LabelledBands
    from models.scenarios import Fold
    from models.systems import SystemOptions

_LINE_EVERY_S = 10.0
_COLUMNS = (
    ("mae_ev", "MAE, eV"),
    ("mae_without_extremes_ev", "without extremes"),
    ("r2", "R2"),
    ("accuracy", "accuracy"),
    ("precision_good", "precision good"),
    ("precision_bad", "precision bad"),
)

Pretrained = Annotated[
    Path | None,
    typer.Option(help="Folder of `screen train pretrain`, from which the -mpt systems start."),
]
Width = Annotated[
    int | None,
    typer.Option(min=1, help="Of each network. (default: as --pretrained; 32 without)"),
]
Layers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Of each network, with bond pairs and as many without. "
        "(default: as --pretrained; 1 without)",
    ),
]


@command("screen train compare --data bands.json --folds group,scenario-b -o table", to=train_app)
def compare(
    data: Annotated[Path, typer.Option(help="JSON file of labelled bands, or its name.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of table and plots.")],
    systems: Annotated[
        str | None, typer.Option(help="Names, with commas between. (default: all)")
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            help="Kinds, with commas between: random, group, split (the published rule), "
            "scenario-a (unseen pathway), -b (composition), -c (structural class), "
            "-c-element, -c-anion. (default: group)"
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Other labelled bands: learn from all of --data, test on these alone."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=2, help="Folds of one repeat.")] = 5,
    repeats: Annotated[
        int, typer.Option(min=1, help="Times that folds are drawn; scenario-c: once.")
    ] = 1,
    pretrained: Pretrained = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of each network.")] = 40,
    width: Width = None,
    layers: Layers = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Compare systems on the same folds: errors, accuracy at 0.65 eV, and their intervals.

    The table comes with 95 % bootstrap intervals, as comparison.csv and .json and as box plots of
    the errors in errors.png. What is done is not done again: interrupted, the same command goes on.
    Systems named -mpt and -scratch differ in their first weights alone, unless --width or --layers
    give the latter other sizes.
    """
    from screen.datasets import find_data
    from screen.output import notice

    data = find_data(data)
    require_file(data)
    if test is not None and folds is not None:
        raise UserError("--test is the only test there is then; leave --folds out, or --test")
    kinds = _kinds(folds or "group")
    options = _options(pretrained, epochs, width, layers, device)
    work_dir = output / ".work"
    chosen = _systems(systems, options, work_dir)
    labelled = _read(data)
    if test is None:
        plan = _plan(kinds, data, labelled, k, repeats)
    else:
        labelled, plan = _with_test(labelled, test)
    _make_folder(output)
    result = _compare(labelled, plan, chosen, work_dir)
    for reason in dict.fromkeys(result.absent.values()):
        names = [name for name, own in result.absent.items() if own == reason]
        notice(f"not in the table: {', '.join(names)}: {reason}")
    if not result.rows:
        raise NothingToShow("no system could run, for the reasons above; pass others to --systems")
    _report(result, labelled, plan, options, output, as_json)


def _kinds(folds: str) -> list[str]:
    from models.splits import FOLD_KINDS

    kinds = list(dict.fromkeys(word.strip() for word in folds.split(",")))
    for kind in kinds:
        if kind not in FOLD_KINDS:
            raise UserError(f"--folds {kind!r}, expected some of {', '.join(FOLD_KINDS)}")
    return kinds


def _options(
    folder: Path | None, epochs: int, width: int | None, layers: int | None, device: str
) -> SystemOptions:
    """Networks with random weights are as asked for, else as the pre-trained one, else small."""
    from models.systems import SystemOptions, read_pretrained

    options = SystemOptions(epochs, device=device)
    if folder is not None:
        given = read_pretrained(folder)
        options = replace(options, trunk=given.trunk, graph=given.graph, pretrained=given)
    trunk = options.trunk
    if width is not None:
        trunk = replace(trunk, width=width, embedding=min(width, 64))
    if layers is not None:
        trunk = replace(trunk, alignn_layers=layers, gcn_layers=layers)
    return replace(options, trunk=trunk)


def _systems(names: str | None, options: SystemOptions, work_dir: Path) -> list[System]:
    from models.systems import SYSTEMS
    from screen.mlip_baseline import ChgnetProfile

    known: dict[str, Callable[[SystemOptions], System]] = {**SYSTEMS}
    known["chgnet"] = lambda options: ChgnetProfile(options.device, work_dir)
    wanted = list(known) if names is None else [word.strip() for word in names.split(",")]
    for name in wanted:
        if name not in known:
            raise UserError(f"--systems {name!r}, expected some of {', '.join(known)}")
    return [known[name](options) for name in dict.fromkeys(wanted)]


def _read(data: Path) -> LabelledBands:
    """The bands that every system can read; the others are named."""
    from models.dataset import load_bands
    from models.systems import without_bad_graphs
    from screen.output import notice

    labelled = without_bad_graphs(load_bands(data))
    for entry, reason in labelled.refused:
        notice(f"left out {entry}: {reason}")
    return labelled


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{output}: no folder can be made ({error.strerror}); pass another -o", FAILED
        ) from None


def _plan(
    kinds: Sequence[str], file: Path, data: LabelledBands, k: int, repeats: int
) -> dict[str, list[Fold]]:
    from models.splits import NEED_ORIGINS, draw_folds, read_origins

    origins = read_origins(file, data) if NEED_ORIGINS & set(kinds) else None
    return {kind: draw_folds(kind, data, origins, k, repeats) for kind in kinds}


def _with_test(data: LabelledBands, test: Path) -> tuple[LabelledBands, dict[str, list[Fold]]]:
    """The bands of both files, and the one way to hold the second file's out."""
    import numpy as np

    from models.dataset import merge_bands
    from models.scenarios import Fold
    from screen.datasets import find_data
    from screen.output import notice

    test = find_data(test)
    require_file(test)
    held_out = _read(test)
    if held_out.digest == data.digest:
        notice("--test is the very file that is learnt from: the scores say nothing")
    seen, n = len(data), len(data) + len(held_out)
    return merge_bands([data, held_out]), {
        "test": [Fold("test", np.arange(seen), np.arange(seen, n))]
    }


def _compare(
    data: LabelledBands,
    plan: Mapping[str, Sequence[Fold]],
    systems: Sequence[System],
    work_dir: Path,
) -> Comparison:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from models.compare import News
    from models.compare import compare as run
    from screen.interrupts import Interrupts
    from screen.output import stderr

    console = stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Interrupts(), Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        said_at = -_LINE_EVERY_S

        def on_news(news: News) -> None:
            nonlocal said_at
            left = "" if news.seconds_left is None else f" · {_duration(news.seconds_left)} left"
            bar.update(task, total=news.total, completed=news.done, description=f"{news.now}{left}")
            if not console.is_terminal and time.monotonic() - said_at >= _LINE_EVERY_S:
                said_at = time.monotonic()
                console.print(f"{news.done} of {news.total} · {news.now}{left}", highlight=False)

        try:
            return run(data, plan, systems, work_dir, on_news)
        except KeyboardInterrupt:
            raise UserError(
                f"interrupted: finished folds are in {work_dir}; the same command goes on",
                INTERRUPTED,
            ) from None


def _duration(seconds: float) -> str:
    return f"about {seconds / 60:,.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"


def _report(
    result: Comparison,
    data: LabelledBands,
    plan: Mapping[str, Sequence[Fold]],
    options: SystemOptions,
    output: Path,
    as_json: bool,
) -> None:
    """Table, files and plots."""
    import pyarrow as pa

    from screen.figures import box_plots, can_draw
    from screen.output import export, notice, print_json, print_table

    document = {
        "data": data.source,
        "data_sha256": data.digest,
        "bands": len(data),
        "refused": [{"name": name, "reason": reason} for name, reason in data.refused],
        "folds": {
            kind: [
                {"name": fold.name, "train": len(fold.train), "test": len(fold.test)}
                for fold in folds
            ]
            for kind, folds in plan.items()
        },
        "rows": list(result.rows),
        "absent": dict(result.absent),
        "pretrained": None if options.pretrained is None else options.pretrained.start.source_id,
        "reused_folds": result.reused,
    }
    export(pa.Table.from_pylist(list(result.rows)), output / "comparison.csv")
    _write_json(document, output / "comparison.json")
    written = "comparison.csv and comparison.json"
    if can_draw():
        written = "comparison.csv, comparison.json and errors.png"
        box_plots(result.errors_ev, output / "errors.png")
    else:
        notice("no box plots: matplotlib is not installed; pip install matplotlib and run again")
    if as_json:
        print_json(document)
        return
    titles = [title for _, title in _COLUMNS]
    print_table(
        ("folds", "system", "bands", *titles, "seconds"),
        [_cells(row) for row in result.rows],
        right=("bands", *titles, "seconds"),
    )
    print(f"in {output}: {written}")


def _cells(row: Mapping[str, Any]) -> list[Any]:
    scores = [_with_interval(row, key) for key, _ in _COLUMNS]
    return [row["folds"], row["system"], row["n"], *scores, f"{row['seconds']:.1f}"]


def _with_interval(row: Mapping[str, Any], key: str) -> str | None:
    if row[key] is None:
        return None
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    return f"{row[key]:.3f}{interval}"


def _write_json(document: dict[str, Any], path: Path) -> None:
    import json

    from screen.atomic import replacing
    from screen.output import plain

    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plain(document), indent=1, ensure_ascii=False) + "\n")
