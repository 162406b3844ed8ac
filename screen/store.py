"""The campaign database as its one writer sees it: every write is a transaction and idempotent.

A write says all there is to say of its materials: hops that a material no longer has go, with what
was predicted for them. A material is done in a campaign once its row is in ``campaign_materials``,
which the same transaction writes, so whatever kills the process, a material is in the database
wholly or not at all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from screen import writes
from screen.barrier_rows import put_barriers
from screen.database import connect, migrate, rows, transaction, translated, utc_now
from screen.funnel import Funnel, read_funnel
from screen.rows import Stamp, tables
from screen.snapshots import Snapshots

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from jobs.records import MaterialResult

LOCK_PATIENCE_S = 3.0
"""How long a writer waits for readers, which hold the database only while they answer."""
_ROWS_AT_ONCE = 10_000


class Store:
    """A database opened by its one writer."""

    def __init__(self, con: DuckDBPyConnection, path: Path) -> None:
        self._con = con
        self.path = path
        self.snapshots = Snapshots(con, path)

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Open a database to write, made where there is none and migrated where it is older.

        Raises:
            UserError: it is held by another process, corrupt, of another program or of a newer
                ionscreen, or its folder cannot be written.
        """
        path = Path(path)
        con = connect(path, read_only=False, patience_s=LOCK_PATIENCE_S)
        try:
            with translated(path):
                migrate(con, path)
                store = cls(con, path)
                store.snapshots.remove()  # of a writer that was killed
                store.snapshots.is_told = True  # by ``write``
        except BaseException:
            con.close()
            raise
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; what other processes read while it was held is removed after."""
        with translated(self.path):
            self._con.close()
        self.snapshots.remove()

    def campaign_ids(self) -> list[str]:
        """All campaigns, oldest first."""
        return [
            name for (name,) in self._rows("select campaign_id from campaigns order by started")
        ]

    def begin_campaign(
        self,
        campaign_id: str,
        settings: Mapping[str, Any],
        source: str,
        source_version: str,
        model_id: str,
        expected: int | None = None,
    ) -> None:
        """Note that a campaign starts, or goes on where it was interrupted.

        Args:
            campaign_id: digest of all that decides its results.
            settings: of which it is the digest, and more; JSON types.
            source: name of the source.
            source_version: changes when the source's content does.
            model_id: ``<name>@<digest>``.
            expected: candidates that the source says it has.
        """
        with translated(self.path), transaction(self._con):
            self._con.execute(
                """insert into campaigns values
                ($id, $settings, $source, $source_version, $model_id, $code, $expected, $now, null)
                on conflict do update set settings = excluded.settings,
                    expected = excluded.expected, finished = null""",
                {
                    "id": campaign_id,
                    "settings": json.dumps(settings, sort_keys=True),
                    "source": source,
                    "source_version": source_version,
                    "model_id": model_id,
                    "code": code_version(),
                    "expected": expected,
                    "now": utc_now(),
                },
            )

    def done(self, campaign_id: str) -> set[tuple[str, str]]:
        """``(material_id, ion)`` of what need not be done again; the ion of a failure of the
        source, which never became a candidate, is empty."""
        done: set[tuple[str, str]] = set()
        with translated(self.path):
            found = self._con.execute(
                "select material_id, ion from campaign_materials where campaign_id = ?",
                [campaign_id],
            )
            while some := found.fetchmany(_ROWS_AT_ONCE):  # there may be millions
                done.update((material_id, sys.intern(ion)) for material_id, ion in some)
        return done

    def write(self, campaign_id: str, model_id: str, results: Sequence[MaterialResult]) -> None:
        """Store finished materials, all of them or none; a second time changes nothing.

        Raises:
            UserError: the database cannot be written, as on a full disk.
        """
        import duckdb

        if not results:
            return
        stamp = Stamp(campaign_id, model_id, utc_now())
        with translated(self.path):
            known = writes.seen(self._con, list({result.material_id for result in results}))
            new = [result for result in results if result.material_id not in known]
            old = [result for result in results if result.material_id in known]
            try:
                self._put(new, old, stamp)
            except duckdb.ConstraintException:
                if not new:
                    raise
                self._put([], results, stamp)  # a source has failed over one of them before

    def write_barriers(self, barriers: Sequence[Mapping[str, Any]]) -> list[str]:
        """Store barriers that came back, all of them or none; those that are there stay untouched.

        Args:
            barriers: one for each key, as ``screen.barrier_rows`` has them.

        Returns:
            ``new``, ``changed`` or ``unchanged`` for each.

        Raises:
            UserError: the database cannot be written.
        """
        with translated(self.path), transaction(self._con):
            return put_barriers(self._con, barriers)

    def note_left_out(self, campaign_id: str, counts: Mapping[str, int]) -> None:
        """Note how many materials a server's own filters have left out, by reason."""
        with translated(self.path), transaction(self._con):
            self._con.execute("delete from left_out where campaign_id = ?", [campaign_id])
            for reason, n in counts.items():
                self._con.execute("insert into left_out values (?, ?, ?)", [campaign_id, reason, n])

    def n_unknown_hull(self, campaign_id: str) -> int:
        """Candidates of a campaign whose energy above the hull is not known."""
        ((n,),) = self._rows(
            """select count(*) from campaign_materials join materials using (material_id)
            where campaign_id = ? and ion <> '' and energy_above_hull_ev is null""",
            [campaign_id],
        )
        return int(n)

    def finish_campaign(self, campaign_id: str) -> None:
        """Note that nothing of a campaign is left to do."""
        with translated(self.path):
            self._con.execute(
                "update campaigns set finished = ? where campaign_id = ?", [utc_now(), campaign_id]
            )

    def is_finished(self, campaign_id: str) -> bool:
        """Whether a campaign came to its end."""
        found = self._rows(
            "select finished is not null from campaigns where campaign_id = ?", [campaign_id]
        )
        return found == [(True,)]

    def funnel(self, campaign_id: str) -> Funnel:
        """What a campaign has come to so far."""
        return read_funnel(self._con, campaign_id)

    def _put(
        self, new: Sequence[MaterialResult], old: Sequence[MaterialResult], stamp: Stamp
    ) -> None:
        """Store materials that the database has not seen, and others that it may have."""
        added = tables(new, stamp) if new else {}
        replaced = tables(old, stamp) if old else {}
        only_added = not old
        try:
            with transaction(self._con):
                if new:
                    only_added &= writes.add(self._con, added, stamp.campaign_id) == 0
                if old:
                    writes.replace(self._con, replaced, stamp.campaign_id, stamp.model_id)
        except BaseException:
            self.snapshots.note_changed()  # it may have come as far as to be committed
            raise
        if only_added:
            self.snapshots.note_added({name: table.num_rows for name, table in added.items()})
        else:
            self.snapshots.note_changed()

    def _rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with translated(self.path):
            return rows(self._con, sql, parameters)


def code_version() -> str:
    """Version of ionscreen that runs."""
    from importlib import metadata

    try:
        return metadata.version("ionscreen")
    except metadata.PackageNotFoundError:
        return "unknown"
