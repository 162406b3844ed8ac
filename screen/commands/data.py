"""``screen data``: public data sets, fetched by checksum."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from screen.commands import app

if TYPE_CHECKING:
    from rich.progress import TaskID

data_app = typer.Typer(no_args_is_help=True, help="Public data sets, by checksum.")
app.add_typer(data_app, name="data", epilog="Example: screen data fetch em-bands")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@data_app.command("list", epilog="Example: screen data list")
def list_all(as_json: AsJson = False) -> None:
    """The data sets, their files as --data takes them, licence, and whether they are here."""
    from screen.datasets import DATASETS, default_folder, is_whole
    from screen.output import print_json, print_table

    rows = [
        {
            "dataset": dataset.name,
            "file": file.name,
            "what": dataset.title,
            "bytes": file.size,
            "licence": dataset.license,
            "citation": dataset.citation,
            "path": str(path) if is_whole(path, file) else None,
        }
        for dataset in DATASETS
        for file in dataset.files
        for path in [default_folder(dataset) / file.filename]
    ]
    if as_json:
        print_json(rows)
        return
    columns = ["dataset", "file", "bytes", "licence", "path", "what"]
    print_table(columns, [[row[column] for column in columns] for row in rows], right=["bytes"])


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
    are not asked for again.
    """
    from urllib.parse import urlsplit

    from screen.datasets import default_folder, find_dataset
    from screen.datasets import fetch as get
    from screen.errors import UserError
    from screen.output import notice, print_json
    from screen.sources.http import PatientSession

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
