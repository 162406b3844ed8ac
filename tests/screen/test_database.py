"""Database files that are older, newer, damaged, held by another process, or out of room."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from jobs.records import MaterialResult
from screen.database import apply, migrate, rows
from screen.errors import FAILED, UserError
from screen.reader import open_reader
from screen.schema import LATEST, MIGRATIONS
from screen.snapshots import live_folder
from screen.store import Store
from tests.screen.conftest import content, environment, make_result


def test_migrates_from_the_first_schema(path: Path) -> None:
    con = duckdb.connect(str(path))
    apply(con, MIGRATIONS[0])
    con.execute("insert into materials (material_id, formula) values ('mp-1', 'MgO')")
    con.execute(
        "insert into material_ranking by name select 'mp-1' as material_id, 'Mg' as ion, "
        "'m@1' as model_id, 'c' as campaign_id, 0.5 as em_1d_ev, 3 as dimension, 1 as n_hops, "
        "1 as n_predicted, 0 as n_cut, 5.0 as cutoff_a, 0.1 as symprec_a, "
        "timestamp '2026-01-01' as ranked_at"
    )
    con.close()
    with open_reader(path) as reader:  # a reader brings it up to date
        (row,) = reader.records("select formula, em_1d_ev from ranked_materials")
    assert row == {"formula": "MgO", "em_1d_ev": 0.5}
    con = duckdb.connect(str(path))
    assert rows(con, "select max(version) from schema_version") == [(LATEST,)]
    migrate(con, path)  # nothing left to do
    con.close()


def test_views_of_an_older_schema_are_replaced(path: Path) -> None:
    con = duckdb.connect(str(path))
    for migration in MIGRATIONS[:6]:
        apply(con, migration)
    con.execute("create view ranked_materials as select 1 as rank")
    con.execute("insert into barriers values ('h', 'vasp', 'x', .5, .4, 'PBE', null, true, now())")
    con.close()
    with open_reader(path) as reader:
        assert reader.records("select * from ranked_materials") == []
        (row,) = reader.records("select label, reference_ev from labelled_barriers")
    assert row == {"label": "PBE", "reference_ev": 0.5}


def refused(path: Path, *, read: bool) -> UserError:
    opener = open_reader if read else Store.open
    with pytest.raises(UserError) as caught, contextlib.ExitStack() as stack:
        stack.enter_context(opener(path))
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("read", [True, False])
def test_files_that_are_none_of_ours(path: Path, read: bool) -> None:
    path.write_bytes(b"no database at all " * 1000)
    assert "not a valid DuckDB database" in str(refused(path, read=read))
    path.unlink()
    with duckdb.connect(str(path)) as con:
        con.execute("create table wages (name text)")
    assert "another program (it holds wages)" in str(refused(path, read=read))


@pytest.mark.parametrize("read", [True, False])
def test_newer_schema(path: Path, read: bool) -> None:
    Store.open(path).close()
    with duckdb.connect(str(path)) as con:
        con.execute(
            "insert into schema_version values (?, 'later', now()::timestamp)", [LATEST + 1]
        )
    error = refused(path, read=read)
    assert str(error) == (
        f"{path}: made by a newer ionscreen (schema {LATEST + 1} > {LATEST}): upgrade"
    )
    assert error.exit_code == FAILED


def test_damaged_files(path: Path) -> None:
    with Store.open(path) as store:
        store.write("c1", "m@1", [make_result("LiFePO4")])
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    assert "restore it from a copy" in str(refused(path, read=True))
    assert "restore it from a copy" in str(refused(path, read=False))


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.6, 0.9])
def test_truncated_files_never_lie(path: Path, share: float) -> None:
    with Store.open(path) as store:
        store.write("c1", "m@1", [make_result("LiFePO4")])
    before = content(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with contextlib.suppress(UserError):
        assert content(path) == before


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    Store.open(path).close()
    assert content(path)["hops"] == []


def test_nowhere_to_write(tmp_path: Path) -> None:
    assert "no folder" in str(refused(tmp_path / "none" / "x.duckdb", read=False))
    assert "no such database" in str(refused(tmp_path / "x.duckdb", read=True))
    assert "Is a directory" in str(refused(tmp_path, read=False))


HOLDER = """
import sys
from screen.store import Store
store = Store.open(sys.argv[1])
store.begin_campaign("c1", {"ion": "Mg", "query": {"chemsys": ["Mg-*"]}}, "test", "1", "m@1", 9)
for line in sys.stdin:
    if line == "snapshot\\n":
        store.snapshots.take()
    print("done", flush=True)
"""


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the database as a run does, and takes a snapshot when told."""
    with Store.open(path) as store:
        store.write("c1", "m@1", [make_result("MgO", [0.7])])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    tell(process, "open")
    yield process
    process.kill()
    process.communicate()


def tell(process: subprocess.Popen[str], command: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(command + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_held_by_another_process(
    path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screen.store.LOCK_PATIENCE_S", 0.2)
    assert f"in use by process {holder.pid}" in str(refused(path, read=False))
    assert "try again in a few seconds" in str(refused(path, read=True))

    tell(holder, "snapshot")
    with open_reader(path) as reader:
        assert reader.snapshot_age_s is not None
        assert reader.snapshot_age_s < 30
        (row,) = reader.records("select formula, em_1d_ev from ranked_materials")
        assert row == {"formula": "MgO", "em_1d_ev": 0.7}
        assert reader.funnel("c1").predicted == 1
        for query in (
            "copy hops to 'x.csv'",
            "select * from read_csv('/etc/passwd')",
            f"explain analyze copy hops to '{live_folder(path)}/x.csv'",
        ):
            with pytest.raises(UserError):
                reader.ask(query)
    assert not (live_folder(path) / "x.csv").exists()

    holder.kill()
    holder.wait()
    with open_reader(path) as reader:  # the database itself: what was committed is there
        assert reader.snapshot_age_s is None
        assert reader.funnel("c1").predicted == 1
    Store.open(path).close()
    assert not live_folder(path).exists()


def write_until_full(store: Store, result: MaterialResult) -> tuple[int, UserError]:
    """How many materials fit before a write fails, and what it says."""
    for written in range(0, 100_000, 500):
        batch = [replace(result, material_id=f"{written}-{i}") for i in range(500)]
        try:
            store.write("c1", "m@1", batch)
        except UserError as error:
            return written, error
    raise AssertionError("the disk never filled")


def test_no_room_left(store: Store) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    try:
        written, error = write_until_full(store, make_result("MgO"))
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.exit_code == FAILED
    assert "the same command: it resumes" in str(error)
    with Store.open(store.path) as again:
        assert len(again.done("c1")) == written > 0
