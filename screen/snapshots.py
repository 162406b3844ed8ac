"""What other processes read while a campaign runs: its tables as Parquet files in ``<db>.live/``.

DuckDB lets no other process read a file that one writes. So the writer copies the tables out every
few seconds, all of them before the new files replace the old ones. Each file says of which snapshot
it is, so a reader that comes between knows and tries again; the files that it has opened stay
readable to it when they are replaced.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.schema import TABLES, VIEWS_SQL

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EVERY_S, AT_LEAST_EVERY_S = 10.0, 300.0
_MOST_OF_THE_TIME = 0.02
"""Share of a run that snapshots may take; they come less often where they take longer, up to
``AT_LEAST_EVERY_S``."""
_NUMBER = b"snapshot"
"""Key of a file's metadata: of which snapshot it is."""
_READER_PATIENCE_S = 5.0
"""How long a reader waits for a whole snapshot; renaming its files takes milliseconds."""


def live_folder(path: Path) -> Path:
    """Where the snapshots of a database lie."""
    return path.parent / f"{path.name}.live"


class Snapshots:
    """Writes the snapshots of one database."""

    def __init__(self, con: DuckDBPyConnection, path: Path) -> None:
        self._con = con
        self.folder = live_folder(path)
        self._due = 0.0

    def tick(self) -> bool:
        """Take a snapshot where one is due; whether it did."""
        if time.monotonic() < self._due:
            return False
        self.take()
        return True

    def take(self) -> None:
        """Take a snapshot now.

        Raises:
            OSError: the folder cannot be written; the database may still be.
            duckdb.Error: likewise, while copying.
        """
        began = time.monotonic()
        self.folder.mkdir(exist_ok=True)
        number = time.time_ns()
        for table in TABLES:
            self._con.execute(
                f"copy {table} to {_quoted(self.folder / f'.{table}.tmp')} (format parquet, "
                f"compression zstd, kv_metadata {{{_NUMBER.decode()}: '{number}'}})"
            )
        for table in TABLES:
            (self.folder / f".{table}.tmp").replace(self.folder / f"{table}.parquet")
        now = time.monotonic()
        self._due = now + pause_s(now - began)

    def remove(self) -> None:
        """Remove the snapshots: the database itself can be read again."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


def pause_s(took_s: float) -> float:
    """Seconds from one snapshot to the next, of how long the last one took."""
    return min(max(EVERY_S, took_s / _MOST_OF_THE_TIME), AT_LEAST_EVERY_S)


def snapshot_age_s(path: Path) -> float | None:
    """Seconds since the last complete snapshot of a database; None where there is none."""
    try:
        written = (live_folder(path) / f"{TABLES[-1]}.parquet").stat().st_mtime
    except OSError:
        return None
    return max(0.0, time.time() - written)


def open_snapshot(path: Path) -> DuckDBPyConnection:
    """The tables and views of a database as its last snapshot has them, in memory.

    Raises:
        OSError: a file of the snapshot is gone or unreadable, or one snapshot follows another
            without end.
    """
    import duckdb

    give_up_at = time.monotonic() + _READER_PATIENCE_S
    while (tables := _open_tables(live_folder(path))) is None:
        if time.monotonic() > give_up_at:
            raise OSError("its files are of two snapshots; try again")
        time.sleep(0.02)
    con = duckdb.connect()
    for name, table in tables.items():
        # Arrow reads the files, so that DuckDB itself can be barred from the file system.
        con.register(name, table)
    con.execute(VIEWS_SQL)
    return con


def _open_tables(folder: Path) -> dict[str, Any] | None:
    """The open files of a snapshot; None where they are of more than one."""
    import pyarrow as pa
    import pyarrow.dataset

    form = pyarrow.dataset.ParquetFileFormat()
    tables, numbers = {}, set()
    for name in TABLES:
        # Opened here and not by its path later, when another file may have taken its place.
        fragment = form.make_fragment(pa.memory_map(str(folder / f"{name}.parquet")))
        metadata = fragment.metadata
        numbers.add((metadata.metadata or {}).get(_NUMBER))
        schema = fragment.physical_schema
        tables[name] = pyarrow.dataset.FileSystemDataset([fragment], schema, form)
    return tables if len(numbers) == 1 else None


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
