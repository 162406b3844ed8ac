"""Results on stdout and in files: tables for people, CSV, JSON and Parquet for programs."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from screen.atomic import replacing
from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

_MOST_CHARACTERS = 80
"""Of a cell in a table for people; files and the other formats have all of it."""


def stderr() -> Console:
    """Where progress and notices go."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


def notice(message: str) -> None:
    """Tell the user something that is no result, on one line of stderr."""
    print(f"note: {' '.join(message.split())}", file=sys.stderr)


def plain(value: Any) -> Any:
    """A value as JSON has it: null for what is not a number, times as ISO 8601."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return plain(float(value))
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
        case dict():
            return {str(key): plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [plain(entry) for entry in value]
        case _:
            return str(value)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(plain(document), indent=2, ensure_ascii=False))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()
) -> None:
    """A table for people on stdout; a block of lines per row where it is wider than the terminal.

    Args:
        columns: headings.
        rows: cells, already text or shown as ``cell`` does.
        right: headings of the columns that are set flush right.
    """
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    is_right = [column in set(right) for column in columns]

    def line(words: Sequence[str]) -> str:
        padded = [
            word.rjust(width) if flush else word.ljust(width)
            for word, width, flush in zip(words, widths, is_right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    if sys.stdout.isatty() and sum(widths) + 2 * len(widths) > shutil.get_terminal_size().columns:
        longest = max(map(len, columns))
        blocks = (
            "\n".join(f"{name:{longest}}  {word}" for name, word in zip(columns, row, strict=True))
            for row in cells
        )
        print("\n\n".join(blocks))
        return
    print("\n".join(line(words) for words in [columns, *cells]))


def cell(value: Any) -> str:
    """A value as a table for people shows it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else "–"
    text = json.dumps(plain(value)) if isinstance(value, list | tuple | dict) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def write_csv(table: pa.Table, file: IO[str]) -> None:
    """A table as CSV; lists as JSON, null as nothing."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.column_names)
    for batch in table.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            writer.writerow(_flat(plain(row[name])) for name in table.column_names)


def write_json(table: pa.Table, file: IO[str]) -> None:
    """A table as one JSON list of objects."""
    json.dump(plain(table.to_pylist()), file, indent=1, ensure_ascii=False)
    file.write("\n")


def export(table: pa.Table, path: Path, attributions: Sequence[str] = ()) -> None:
    """A table as a file of the kind its name says, whole or not at all.

    Args:
        table: what to write.
        path: its suffix is the kind.
        attributions: whom to cite for what is in the table; a Parquet file has them as metadata.

    Raises:
        UserError: a name of another kind, no such folder, or the file cannot be written.
    """
    writers: dict[str, Callable[[Path], None]] = {
        ".csv": lambda target: _as_text(table, target, write_csv),
        ".json": lambda target: _as_text(table, target, write_json),
        ".parquet": lambda target: _as_parquet(table, target),
    }
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise UserError(
            f"{path}: {path.suffix or 'no suffix'} found, expected .csv, .json or .parquet"
        )
    if not path.parent.is_dir():
        raise UserError(f"{path}: no folder {path.parent}; make it, or pass another -o")
    if attributions:
        table = table.replace_schema_metadata({"attribution": "; ".join(attributions)})
    try:
        with replacing(path) as temporary:
            writer(temporary)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})", FAILED) from error


def _as_text(table: pa.Table, path: Path, write: Callable[[pa.Table, IO[str]], None]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write(table, file)


def _as_parquet(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, path, compression="zstd")


def _flat(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
