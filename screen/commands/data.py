"""``screen data``: public data sets, fetched by checksum or by matminer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screen.commands import app

if TYPE_CHECKING:
    from rich.progress import TaskID

    from screen.matminer_sets import MatminerSet

data_app = typer.Typer(no_args_is_help=True, help="Public data sets, by checksum.")
app.add_typer(data_app, name="data", epilog="Example: screen data fetch em-bands")

_NAMED = 20
"""Rows left out that are named one by one."""

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@data_app.command("list", epilog="Example: screen data list")
def list_all(as_json: AsJson = False) -> None:
    """The data sets, their files as --data takes them, licence, and whether they are here."""
    from screen.output import print_json, print_table

    rows = [*_direct_rows(), *_matminer_rows()]
    if as_json:
        print_json(rows)
        return
    columns = ["dataset", "file", "by", "bytes", "licence", "path", "what"]
    missing = any(row["installed"] is False for row in rows)
    for row in rows:
        if row["installed"] is not None:
            row["by"] = f"{row['by']}, {'' if row['installed'] else 'not '}installed"
        if row["entries"] is not None:
            row["what"] = f"{row['what']}, {row['entries']:,} crystals"
    print_table(columns, [[row[column] for column in columns] for row in rows], right=["bytes"])
    if missing:
        print("sets by matminer need that package: pip install matminer", file=sys.stderr)


def _direct_rows() -> list[dict[str, Any]]:
    from screen.datasets import DATASETS, default_folder, is_whole

    return [
        {
            "dataset": dataset.name,
            "file": file.name,
            "what": dataset.title,
            "by": "ionscreen",
            "installed": None,
            "entries": None,
            "bytes": file.size,
            "licence": dataset.license,
            "citation": dataset.citation,
            "path": str(path) if is_whole(path, file) else None,
        }
        for dataset in DATASETS
        for file in dataset.files
        for path in [default_folder(dataset) / file.filename]
    ]


def _matminer_rows() -> list[dict[str, Any]]:
    from screen.matminer_sets import SETS, default_folder, is_installed

    installed = is_installed()
    return [
        {
            "dataset": one.name,
            "file": one.name,
            "what": one.title,
            "by": "matminer",
            "installed": installed,
            "entries": one.entries,
            "bytes": None,
            "licence": one.license,
            "citation": one.citation,
            "path": str(path) if path.is_file() else None,
        }
        for one in SETS
        for path in [default_folder() / one.filename]
    ]


@data_app.command("fetch", epilog="Example: screen data fetch em-bands")
def fetch(
    name: Annotated[str, typer.Argument(help="Of the data set; see `screen data list`.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder. (default: the cache, where --data looks)"),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="A mirror with the source's paths. (default: the source)")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Get a data set; interrupted, the same command goes on where it stopped.

    Every file is checked against its sha256 before it gets its name. Files that are here already
    are not asked for again. Sets by matminer are downloaded by that package, where it is installed,
    and written as a table of bulk properties.
    """
    from urllib.parse import urlsplit

    from screen.datasets import default_folder, find_dataset
    from screen.datasets import fetch as get
    from screen.errors import UserError
    from screen.matminer_sets import find_set
    from screen.output import notice, print_json
    from screen.sources.http import PatientSession

    chosen = find_set(name)
    if chosen is not None:
        _fetch_by_matminer(chosen, output, base_url, as_json)
        return
    dataset = find_dataset(name)
    url = urlsplit(base_url or dataset.base_url)
    if url.scheme not in ("http", "https") or not url.netloc:
        raise UserError(f"--base-url is {base_url!r}, expected http://HOST/… or https://HOST/…")
    folder = output or default_folder(dataset)
    notice(f"{dataset.name}: licence {dataset.license}; please cite {dataset.citation}")
    with PatientSession(url.netloc, notice=notice) as session, _Bars() as bars:
        paths = get(dataset, folder, base_url, session=session, progress=bars.update)
    files = list(zip(dataset.files, paths, strict=True))
    if as_json:
        print_json([{"file": file.name, "path": str(path)} for file, path in files])
        return
    for file, path in files:
        print(f"{file.name}  {path}")
    usable = "" if output else f"; next: screen evaluate --data {files[-1][0].name}"
    print(f"{len(files)} files, sizes and sha256 as published{usable}", file=sys.stderr)


def _fetch_by_matminer(
    chosen: MatminerSet, output: Path | None, base_url: str | None, as_json: bool
) -> None:
    from screen.errors import UserError
    from screen.matminer_sets import default_folder, fetch_table, references
    from screen.output import notice, print_json

    if base_url is not None:
        raise UserError(
            f"--base-url is no use for {chosen.name}: matminer downloads it from the address that "
            "it knows; leave the option out"
        )
    notice(f"{chosen.name}: licence {chosen.license}; please cite {references(chosen)}")
    path, table = fetch_table(chosen, output or default_folder())
    refused = () if table is None else table.refused
    for entry, reason in refused[:_NAMED]:
        notice(f"left out {entry}: {reason}")
    if len(refused) > _NAMED:
        notice(f"left out {len(refused) - _NAMED} more")
    if as_json:
        row: dict[str, Any] = {"file": chosen.name, "path": str(path)}
        if table is not None:
            left_out = [{"entry": entry, "reason": reason} for entry, reason in refused]
            row.update(crystals=len(table), left_out=left_out)
        print_json([row])
        return
    print(f"{chosen.name}  {path}")
    count = "here already" if table is None else f"{len(table):,} crystals"
    print(f"{count}; next: {_next_command(chosen, path)}", file=sys.stderr)


def _next_command(chosen: MatminerSet, path: Path) -> str:
    """What the property of a set is for: to pre-train on, or to be shown afterwards."""
    import shlex

    from models.bulk import KNOWN
    from screen.matminer_sets import find_property

    learned = find_property(chosen)
    file = shlex.quote(str(path))
    if learned.held_back:
        return f"screen train finetune --from FOLDER --data {file}:{learned.name} -o TUNED"
    named = "" if learned in KNOWN else f" --properties {learned.name}"
    return f"screen train pretrain --data {file}{named} -o FOLDER"


class _Bars:
    """A bar per file with rate and time left, where stderr is a terminal."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        from screen.output import stderr

        console = stderr()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def update(self, name: str, done: int, size: int) -> None:
        """A file has so many bytes of its size."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=size, completed=done)
        self._bars.update(self._tasks[name], completed=done)
