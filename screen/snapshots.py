"""What other processes read while a campaign runs: its tables as Parquet files in ``<db>.live/``.

DuckDB lets no other process read a file that one writes. So the writer copies the tables out every
few seconds, all of them before the new files replace the old ones. A list says which files make up
the last snapshot, and each file of which snapshot it is, so a reader that comes between knows and
tries again; the files that it has opened stay readable to it when they are replaced.

A large table to which rows were only added keeps the files that it has and gains one with these. A
file that is not at least ``_GROWTH`` times the next one is written again with it, so that a table
is in few files and a row is written a few times in all, however long the campaign.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.atomic import replacing
from screen.schema import TABLES, VIEWS_SQL

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EVERY_S, AT_LEAST_EVERY_S = 10.0, 3600.0
_MOST_OF_THE_TIME = 0.02
"""Share of a run that snapshots may take; they come less often where they take longer, up to
``AT_LEAST_EVERY_S``."""
_GROWING = frozenset(
    {"materials", "hops", "predictions", "material_ranking", "failures", "campaign_materials"}
)
"""Tables that become large; all others are copied whole each time."""
_GROWTH = 4
_LIST = "snapshot.json"
_NUMBER = b"snapshot"
"""Key of a file's metadata: of which snapshot it is."""
_READER_PATIENCE_S = 5.0
"""How long a reader waits for a whole snapshot; renaming its files takes milliseconds."""


@dataclass(frozen=True)
class _Part:
    """A file of a table: its rows from one on, up to the next part."""

    number: int
    """Of the snapshot that wrote it."""
    first: int
    """Row id of its first row."""
    n_rows: int


def live_folder(path: Path) -> Path:
    """Where the snapshots of a database lie."""
    return path.parent / f"{path.name}.live"


class Snapshots:
    """Writes the snapshots of one database."""

    def __init__(self, con: DuckDBPyConnection, path: Path) -> None:
        self._con = con
        self.folder = live_folder(path)
        self.is_told = False
        """Whether ``note_added`` and ``note_changed`` are called after all writes to large tables;
        where not, every snapshot copies them whole."""
        self._parts: dict[str, list[_Part]] = {}
        self._ends: dict[str, int] = {}
        """Row id that follows the last of each table's parts."""
        self._added: Counter[str] | None = None
        """Rows of each table since the last snapshot; None: not known, or not only added."""
        self._since = time.monotonic()
        self._spent_s = self._due = 0.0

    def note_added(self, n_rows: Mapping[str, int]) -> None:
        """So many rows were added to tables, and nothing else of the large ones changed."""
        if self._added is not None:
            self._added.update(n_rows)

    def note_changed(self) -> None:
        """Anything may have changed."""
        self._added = None

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
        before, added = self._parts, self._added
        self._parts, self._added = {}, None  # not known should this one fail
        parts = {table: self._copied(table, number, before.get(table), added) for table in TABLES}
        for table in TABLES:
            if parts[table][-1].number == number:
                temporary = self.folder / f".{table}.tmp"
                temporary.replace(self.folder / _file(table, len(parts[table]) - 1))
        numbers = {table: [part.number for part in parts[table]] for table in TABLES}
        with replacing(self.folder / _LIST) as temporary:
            temporary.write_text(json.dumps(numbers))
        for table in TABLES:
            for index in range(len(parts[table]), len(before.get(table, ()))):
                (self.folder / _file(table, index)).unlink()
        self._parts, self._added = parts, Counter() if self.is_told else None
        now = time.monotonic()
        self._spent_s += now - began
        self._due = now + pause_s(self._spent_s, now - self._since)

    def _copied(
        self, table: str, number: int, before: list[_Part] | None, added: Counter[str] | None
    ) -> list[_Part]:
        """The parts of a table, the last of which may be new and under a temporary name."""
        kept = list(before or ()) if added is not None and table in _GROWING else []
        wanted = added[table] if added is not None else 0
        if kept and not wanted:
            return kept
        first = self._ends[table] if kept else 0
        while kept and kept[-1].n_rows < _GROWTH * wanted:
            part = kept.pop()
            first, wanted = part.first, wanted + part.n_rows
        n_rows = self._copy(table, number, first)
        if first and n_rows != wanted:  # rows are not where they were, or went
            kept, first = [], 0
            n_rows = self._copy(table, number, first)
        ((self._ends[table],),) = self._con.execute(
            f"select coalesce(max(rowid) + 1, 0) from {table}"
        ).fetchall()
        return [*kept, _Part(number, first, n_rows)]

    def _copy(self, table: str, number: int, first: int) -> int:
        """Copy the rows of a table from one on to its temporary file; how many they are."""
        source = f"(select * from {table} where rowid >= {first})" if first else table
        ((n_rows,),) = self._con.execute(
            f"copy {source} to {_quoted(self.folder / f'.{table}.tmp')} (format parquet, "
            f"compression zstd, kv_metadata {{{_NUMBER.decode()}: '{number}'}})"
        ).fetchall()
        return int(n_rows)

    def remove(self) -> None:
        """Remove the snapshots: the database itself can be read again."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


def pause_s(spent_s: float, elapsed_s: float) -> float:
    """Seconds to the next snapshot, where all so far took so much of the time since the first."""
    behind_s = spent_s / _MOST_OF_THE_TIME - elapsed_s
    return min(max(EVERY_S, behind_s), AT_LEAST_EVERY_S)


def snapshot_age_s(path: Path) -> float | None:
    """Seconds since the last complete snapshot of a database; None where there is none."""
    try:
        written = (live_folder(path) / _LIST).stat().st_mtime
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
    tables = {}
    for name, numbers in json.loads((folder / _LIST).read_text()).items():
        parts = []
        for index, number in enumerate(numbers):
            # Opened here and not by its path later, when another file may have taken its place.
            try:
                part = form.make_fragment(pa.memory_map(str(folder / _file(name, index))))
            except FileNotFoundError:  # written again with the part before it
                return None
            if (part.metadata.metadata or {}).get(_NUMBER) != str(number).encode():
                return None
            parts.append(part)
        schema = parts[0].physical_schema
        tables[name] = pyarrow.dataset.FileSystemDataset(parts, schema, form)
    return tables


def _file(table: str, index: int) -> str:
    return f"{table}.{index}.parquet" if index else f"{table}.parquet"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
