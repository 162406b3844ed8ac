"""Opening DuckDB files, and saying in one line why one cannot be opened or written."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.errors import FAILED, UserError
from screen.schema import LATEST, MIGRATIONS, Migration

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_OWN = "different configuration than existing"
"""DuckDB of a file that this process has open for writing."""
_LOCKED = "Could not set lock on file"


class LockedError(UserError):
    """Another process holds the database."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"{path}: in use by {holder}; wait until it ends, or pass another --db", FAILED
        )


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what DuckDB and the system raise over a file into one line for the user."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise explained(path, str(error)) from error
    except OSError as error:
        raise explained(path, error.strerror or str(error)) from error


def explained(path: Path, message: str) -> UserError:
    """The user's line for a message of DuckDB or the system about a database file."""
    if _OWN in message:
        return LockedError(path, "this process")
    if _LOCKED in message:
        holder = re.search(r"\(PID (\d+)\)", message)
        return LockedError(path, f"process {holder[1]}" if holder else "another process")
    found = message.partition("See also")[0].removeprefix("IO Error: ").strip()
    for sign, hint in (
        ("Corrupt", "restore it from a copy, or start a new one under another name"),
        ("Could not read enough bytes", "restore it from a copy, or start a new one"),
        ("No space left", "free some space, then give the same command: it resumes"),
        ("File too large", "raise the limit, then give the same command: it resumes"),
        ("ermission denied", "make the file and its folder writable, or pass another --db"),
        ("Read-only file system", "pass a --db on a file system that can be written"),
    ):
        if sign in message:
            return UserError(f"{path}: {found}; {hint}", FAILED)
    return UserError(f"{path}: {found}; --debug shows where", FAILED)


def connect(path: Path, *, read_only: bool, patience_s: float = 0.0) -> DuckDBPyConnection:
    """A connection to a database file.

    Args:
        path: the file; a writer creates it.
        read_only: whether only to read.
        patience_s: how long to wait for another process to let go: readers hold it for a moment.

    Raises:
        LockedError: another process holds the file.
        UserError: it is no database, or cannot be opened, for a reason that the message gives.
    """
    import duckdb

    if read_only and not path.exists():
        raise UserError(f"{path}: no such database; `screen run` makes one, or pass another --db")
    if not path.parent.is_dir():
        raise UserError(f"{path}: no folder {path.parent}; make it, or pass another --db")
    if path.is_dir():
        raise UserError(f"{path}: Is a directory, expected a database; pass a file in it as --db")
    _refuse_other_kinds(path, read_only)
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            with translated(path):
                if not read_only:
                    _make(path)
                return duckdb.connect(str(path), read_only=read_only)
        except LockedError:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(0.1)


def _refuse_other_kinds(path: Path, read_only: bool) -> None:
    """Refuse a file of another kind: for some, such as SQLite's, DuckDB would download a reader."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:  # not there, or for DuckDB to explain
        return
    if head[8:] != b"DUCK" and (head or read_only):  # a writer fills an empty file
        raise UserError(
            f"{path}: not a valid DuckDB database; pass one that ionscreen wrote, or a new name",
            FAILED,
        )


def _make(path: Path) -> None:
    """Make a database file where there is none, whole or not at all.

    DuckDB writes a new file piece by piece: a full disk or a kill would leave one that nothing can
    open any more.
    """
    import duckdb

    if path.is_file() and path.stat().st_size == 0:
        path.unlink()  # as mktemp leaves it; DuckDB wants none or its own
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        duckdb.connect(str(temporary)).close()
        # A link, unlike a new name, never takes the place of what another process has just made.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    except OSError:  # a file system without links
        if not path.exists():
            temporary.rename(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def utc_now() -> datetime:
    """Now in UTC without saying so, as all times in the database are."""
    return datetime.now(UTC).replace(tzinfo=None)


def rows(con: DuckDBPyConnection, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """All rows of a query. Nothing is left open: an open result would block the next write."""
    found: list[tuple[Any, ...]] = con.execute(sql, parameters).fetchall()
    return found


def schema_version(con: DuckDBPyConnection, path: Path) -> int:
    """Number of the last migration applied; 0 for an empty database.

    Raises:
        UserError: the database is of another program, or of a newer ionscreen.
    """
    tables = {name for (name,) in rows(con, "select table_name from duckdb_tables()")}
    tables |= {
        name for (name,) in rows(con, "select view_name from duckdb_views where not internal")
    }
    if "schema_version" not in tables:
        if tables:
            some = ", ".join(sorted(tables)[:3])
            raise UserError(
                f"{path}: a DuckDB database of another program (it holds {some}); "
                "pass one that ionscreen wrote, or a new name",
                FAILED,
            )
        return 0
    ((version,),) = rows(con, "select max(version) from schema_version")
    if version > LATEST:
        raise UserError(
            f"{path}: made by a newer ionscreen (schema {version} > {LATEST}): upgrade", FAILED
        )
    return int(version)


def migrate(con: DuckDBPyConnection, path: Path) -> None:
    """Bring a database to the latest schema, each migration in its own transaction."""
    version = schema_version(con, path)
    for migration in MIGRATIONS[version:]:
        apply(con, migration)


def apply(con: DuckDBPyConnection, migration: Migration) -> None:
    """Apply one migration, wholly or not at all."""
    with transaction(con):
        con.execute(
            "create table if not exists schema_version "
            "(version integer primary key, what text not null, applied_at timestamp not null)"
        )
        con.execute(migration.sql)
        con.execute(
            "insert into schema_version values (?, ?, ?)",
            [migration.number, migration.what, utc_now()],
        )


@contextlib.contextmanager
def transaction(con: DuckDBPyConnection) -> Iterator[None]:
    """Commit at the end, roll back whatever breaks it off."""
    con.execute("begin")
    try:
        yield
        con.execute("commit")
    except BaseException:
        # Where the commit itself failed, or the disk did, there may be nothing to roll back.
        with contextlib.suppress(Exception):
            con.execute("rollback")
        raise
