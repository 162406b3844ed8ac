"""A write that only adds, of materials never seen, leaves what one that looks through all would."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from duckdb import DuckDBPyConnection

from jobs.records import Failure, MaterialResult
from pathways.hops import HopSettings
from screen import writes
from screen.schema import TABLES
from screen.snapshots import Snapshots, live_folder, open_snapshot
from screen.store import Store
from tests.screen.conftest import TIMES, begin, make_result

NAMES = ("MgO", "MgAl2O4", "LiCoO2")
Write = tuple[str, str, list[MaterialResult]]


def refused(material_id: str, reason: str) -> MaterialResult:
    """What a source comes to that cannot give a candidate."""
    failure = Failure(material_id, "source", reason, "not a CIF")
    return MaterialResult(material_id, "", None, None, failures=(failure,))


@pytest.fixture(scope="module")
def results() -> list[MaterialResult]:
    """Of a few materials, several each: with other hops, without any, refused by the source."""
    found = []
    for number, name in enumerate(NAMES * 3):
        one = make_result(name, material_id=f"m-{number}", settings=HopSettings(cutoff_a=5.0))
        assert one.network is not None
        scored = replace(one.hops[0], hop=replace(one.hops[0].hop, length_a=9.9))
        less = replace(one, network=replace(one.network, hops=(scored.hop,)), hops=(scored,))
        nothing = replace(
            one, network=None, hops=(), failures=(Failure(one.material_id, "hops", "none", "x"),)
        )
        found += [one, one, less, nothing, refused(f"m-{number}", "unreadable")]
    return [*found, refused("m-0", "changed"), refused("lost", "unreadable")]


def history(results: list[MaterialResult], seed: int) -> Iterator[Write]:
    draw = random.Random(seed)
    for _ in range(8):
        campaign_id, model_id = draw.choice([("c1", "m@1"), ("c1", "m@1"), ("c2", "m@2")])
        yield campaign_id, model_id, draw.choices(results, k=draw.randint(1, 4))


def content(con: DuckDBPyConnection, without: set[str] | None = None) -> dict[str, list[str]]:
    """Every table, in an order of its own."""

    def texts(table: str) -> list[str]:
        rows: list[dict[str, Any]] = con.sql(f"from {table}").to_arrow_table().to_pylist()
        return sorted(
            repr({key: row[key] for key in row if key not in (without or set())}) for row in rows
        )

    return {table: texts(table) for table in TABLES if table != "schema_version"}


@pytest.mark.parametrize("seed", range(8))
def test_any_history_ends_as_if_all_were_looked_through(
    results: list[MaterialResult], seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store, Store.open(tmp_path / "b.duckdb") as slow:
        for one in (store, slow):
            begin(one, "c1", "m@1")
            begin(one, "c2", "m@2")
        for write in history(results, seed):
            store.write(*write)
            with monkeypatch.context() as patch:
                patch.setattr(writes, "seen", lambda con, material_ids: set(material_ids))
                slow.write(*write)
            assert content(store._con, TIMES) == content(slow._con, TIMES)
            if draw.random() < 0.6:
                store.snapshots.take()
                assert content(open_snapshot(path)) == content(store._con)


def test_new_materials_go_into_few_files_and_others_stay(
    results: list[MaterialResult], tmp_path: Path
) -> None:
    path = tmp_path / "a.duckdb"
    (one,) = [result for result in results if result.material_id == "m-0"][:1]
    live, written = live_folder(path), []
    with Store.open(path) as store:
        begin(store)
        for number in range(24):
            fresh = make_result("MgO", material_id=f"n-{number}")
            store.write("c1", "m@1", [fresh, one] if number == 12 else [fresh])
            store.snapshots.take()
            assert content(open_snapshot(path)) == content(store._con)
            written.append((live / "hops.parquet").stat().st_mtime_ns)
        assert 1 < len(list(live.glob("hops*.parquet"))) <= 6
        assert len(set(written)) < len(written) / 2
        files = {file.name for file in live.iterdir()}
        store.write("c1", "m@1", [one])  # a second time: all files are written again
        store.snapshots.take()
        assert content(open_snapshot(path)) == content(store._con)
        assert (live / "hops.parquet").stat().st_mtime_ns > written[-1]
        left = {file.name for file in live.iterdir()}
        assert left < files
        assert not left & {"hops.1.parquet", "materials.1.parquet"}


def test_what_nobody_told_of_is_in_the_next_snapshot(
    results: list[MaterialResult], tmp_path: Path
) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        store.write("c1", "m@1", [make_result(name) for name in NAMES])
        snapshots = Snapshots(store._con, path)
        snapshots.take()
        store._con.execute("update predictions set em_ev = em_ev + 1")
        snapshots.take()
        assert content(open_snapshot(path)) == content(store._con)


def test_rows_that_are_not_where_they_were_are_copied_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        store.write("c1", "m@1", [make_result("MgO", material_id=f"n-{k}") for k in range(40)])
        store.snapshots.take()
        store.snapshots.take()
        store.write("c1", "m@1", [make_result("MgO", material_id="last")])
        store._con.execute("delete from campaign_materials where material_id in ('n-3', 'last')")
        store.snapshots.take()
        assert content(open_snapshot(path)) == content(store._con)
