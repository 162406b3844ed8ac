"""What other processes read while a campaign runs: its tables as Parquet files in ``<db>.live/``.

DuckDB lets no other process read a file that one writes. So the writer copies the tables out every
few seconds, each into a new file that replaces the old one at once. Tables are copied in the order
in which their rows refer to one another, so a row may lack those that refer to it but not the ones
it refers to.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from screen.schema import TABLES, VIEWS_SQL

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EVERY_S = 10.0
_MOST_OF_THE_TIME = 0.02
"""Share of a run that snapshots may take; they come less often where they take longer."""


def live_folder(path: Path) -> Path:
    """Where the snapshots of a database lie."""
    return path.with_name(path.name + ".live")


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
        for table in TABLES:
            temporary = self.folder / f".{table}.tmp"
            self._con.execute(
                f"copy {table} to {_quoted(temporary)} (format parquet, compression zstd)"
            )
            temporary.replace(self.folder / f"{table}.parquet")
        now = time.monotonic()
        self._due = now + max(EVERY_S, (now - began) / _MOST_OF_THE_TIME)

    def remove(self) -> None:
        """Remove the snapshots: the database itself can be read again."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


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
        OSError: a file of the snapshot is gone or unreadable.
    """
    import duckdb
    import pyarrow.dataset

    con = duckdb.connect()
    for table in TABLES:
        # Arrow reads the files, so that DuckDB itself can be barred from the file system.
        file = live_folder(path) / f"{table}.parquet"
        con.register(table, pyarrow.dataset.dataset(file, format="parquet"))
    con.execute(VIEWS_SQL)
    return con


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
