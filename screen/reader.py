"""The campaign database as all others see it: read-only, from a snapshot while a run holds it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.database import LockedError, connect, migrate, schema_version, translated
from screen.errors import FAILED, WRONG_USE, UserError
from screen.funnel import Funnel, read_funnel
from screen.schema import LATEST
from screen.snapshots import open_snapshot, snapshot_age_s

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

READER_PATIENCE_S = 0.5
"""How long to wait for another process that may hold the database only for a moment."""
_NAMES = "the queries `show tables` and `describe NAME` say what there is"


class Reader:
    """A database that can be asked but not changed, whatever the question."""

    def __init__(
        self, con: DuckDBPyConnection, path: Path, snapshot_age_s: float | None = None
    ) -> None:
        self._con = con
        self.path = path
        self.snapshot_age_s = snapshot_age_s
        """Seconds since the snapshot that is read; None where the database itself is."""

    def table(self, sql: str, parameters: Any = None) -> pa.Table:
        """The result of one of the program's own queries."""
        with translated(self.path):
            return self._con.sql(sql, params=parameters).to_arrow_table()

    def records(self, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Its rows as dictionaries."""
        found: list[dict[str, Any]] = self.table(sql, parameters).to_pylist()
        return found

    def funnel(self, campaign_id: str) -> Funnel:
        """What a campaign has come to so far."""
        with translated(self.path):
            return read_funnel(self._con, campaign_id)

    def attributions(self) -> list[str]:
        """Whom the materials in the database ask to be cited."""
        found = self.records(
            "select distinct attribution from materials where attribution is not null order by all"
        )
        return [row["attribution"] for row in found]

    def ask(self, query: str) -> pa.Table:
        """The result of a query from outside.

        Raises:
            UserError: it is not one statement that reads, or DuckDB refuses it.
        """
        import duckdb

        kinds = duckdb.StatementType
        try:
            statements = self._con.extract_statements(query)
            if len(statements) != 1:
                raise UserError(f"{len(statements)} statements found, expected one query")
            if statements[0].type not in (kinds.SELECT, kinds.EXPLAIN, kinds.MULTI):
                kind = str(statements[0].type).rpartition(".")[2]
                raise UserError(
                    f"{kind} found, expected a query that only reads, such as "
                    '"select * from ranked_materials limit 5"'
                )
            return self._con.sql(query).to_arrow_table()
        except (duckdb.CatalogException, duckdb.BinderException) as error:  # a name, most often
            raise UserError(f"{_first_lines(str(error))}; {_NAMES}", WRONG_USE) from error
        except (duckdb.ProgrammingError, duckdb.NotSupportedError, duckdb.DataError) as error:
            raise UserError(_first_lines(str(error)), WRONG_USE) from error
        except duckdb.PermissionException as error:
            raise UserError(
                "the query reaches outside the database, expected one that reads its tables and "
                "views only; -o FILE writes the result"
            ) from error
        except duckdb.Error as error:
            raise UserError(f"{self.path}: {_first_lines(str(error))}", FAILED) from error


@contextlib.contextmanager
def open_reader(path: Path) -> Iterator[Reader]:
    """A database to read, or the snapshot of it while another process holds it.

    Raises:
        UserError: there is no such database, it cannot be read, or another process holds it and
            has taken no snapshot.
    """
    con, age_s = _open(path)
    try:
        with translated(path):
            # From here on no query reads or writes any file but the database.
            con.execute("set enable_external_access = false")
            con.execute("set lock_configuration = true")
        yield Reader(con, path, age_s)
    finally:
        con.close()


def _open(path: Path) -> tuple[DuckDBPyConnection, float | None]:
    try:
        con = connect(
            path, read_only=True, patience_s=0 if snapshot_age_s(path) else READER_PATIENCE_S
        )
    except LockedError as locked:
        return _open_snapshot(path, locked)
    try:
        version = _version(con, path)
        if version < LATEST:
            con.close()
            con = connect(path, read_only=False)
            with translated(path):
                migrate(con, path)
            con.close()
            con = connect(path, read_only=True)
    except BaseException:
        con.close()
        raise
    return con, None


def _open_snapshot(path: Path, locked: LockedError) -> tuple[DuckDBPyConnection, float | None]:
    import duckdb

    age_s = snapshot_age_s(path)
    if age_s is None:
        raise UserError(
            f"{locked}, or try again in a few seconds when it has taken its first snapshot", FAILED
        ) from locked
    try:
        con = open_snapshot(path)
    except (OSError, duckdb.Error) as error:
        # The run has just ended and taken its snapshot away: the database is free now.
        if snapshot_age_s(path) is None:
            return connect(path, read_only=True, patience_s=READER_PATIENCE_S), None
        raise UserError(f"{path}: its live snapshot cannot be read: {error}", FAILED) from error
    _version(con, path)
    return con, age_s


def _version(con: DuckDBPyConnection, path: Path) -> int:
    with translated(path):
        version = schema_version(con, path)
    if version == 0:
        raise UserError(f"{path}: an empty database; `screen run` fills it, or pass another --db")
    return version


def _first_lines(message: str) -> str:
    """DuckDB's message without the picture of the query under it."""
    return message.partition("\n\nLINE")[0]
