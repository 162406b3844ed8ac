"""Snapshots are whole: of one moment, and readable while the next one takes their place."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from screen.schema import TABLES
from screen.snapshots import live_folder, open_snapshot, pause_s, snapshot_age_s
from screen.store import Store


def begin(store: Store, *names: str) -> None:
    for name in names:
        store.begin_campaign(name, {}, "catalog", "1", "m@0", 1)


def campaigns(path: Path) -> int:
    ((n,),) = open_snapshot(path).execute("select count(*) from campaigns").fetchall()
    return int(n)


def test_an_open_snapshot_stays_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        begin(store, "first")
        store.snapshots.take()
        before = open_snapshot(path)
        begin(store, "second", "third")
        store.snapshots.take()
        assert before.execute("select count(*) from campaigns").fetchall() == [(1,)]
        assert before.execute("select * from ranked_materials").fetchall() == []
        assert campaigns(path) == 3
        assert snapshot_age_s(path) is not None
        assert not list(live_folder(path).glob(".*"))
    assert snapshot_age_s(path) is None


def test_a_reader_between_two_snapshots_waits_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old = tmp_path / "a.duckdb", tmp_path / "old"
    with Store.open(path) as store:
        begin(store, "first")
        store.snapshots.take()
        shutil.copytree(live_folder(path), old)
        begin(store, "second")
        store.snapshots.take()
        last = live_folder(path) / f"{TABLES[-1]}.parquet"
        new = last.read_bytes()
        shutil.copy(old / last.name, last)
        read: list[int] = []
        reader = threading.Thread(target=lambda: read.append(campaigns(path)))
        reader.start()
        reader.join(0.3)
        assert not read  # not half of each
        last.write_bytes(new)
        reader.join(30)
        assert read == [2]
        monkeypatch.setattr("screen.snapshots._READER_PATIENCE_S", 0.0)
        shutil.copy(old / last.name, last)
        with pytest.raises(OSError, match="of two snapshots"):
            open_snapshot(path)


@pytest.mark.parametrize(
    ("spent_s", "elapsed_s", "pause"),
    [(0.01, 0, 10), (1.0, 0, 50), (1.0, 20, 30), (1.0, 80, 10), (99.0, 9, 3600)],
)
def test_snapshots_come_less_often_where_they_take_longer(
    spent_s: float, elapsed_s: float, pause: float
) -> None:
    assert pause_s(spent_s, elapsed_s) == pytest.approx(pause)
