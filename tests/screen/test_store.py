"""The database: round trips, idempotence, migrations, and files that are not what they should."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.records import Failure, MaterialResult
from models.predict import Prediction
from pathways.hops import HopSettings
from screen.database import apply, migrate, rows
from screen.errors import FAILED, UserError
from screen.reader import open_reader
from screen.schema import LATEST, MIGRATIONS, TABLES
from screen.snapshots import live_folder
from screen.store import Store
from tests.screen.conftest import environment, make_result, prediction

TIMES = {
    "fetched_at",
    "predicted_at",
    "ranked_at",
    "failed_at",
    "written_at",
    "started",
    "finished",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        begin(opened)
        yield opened


def begin(store: Store, campaign_id: str = "c1", model_id: str = "m@1") -> None:
    store.begin_campaign(campaign_id, {"ion": "Li"}, "test", "1", model_id, expected=4)


def content(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every table without its times, in an order of its own."""
    with open_reader(path) as reader:
        return {
            table: sorted(
                (
                    {key: value for key, value in row.items() if key not in TIMES}
                    for row in reader.records(f"select * from {table}")
                ),
                key=repr,
            )
            for table in TABLES
            if table != "schema_version"
        }


def test_what_is_written_is_read(store: Store, path: Path) -> None:
    result = make_result("LiFePO4", settings=HopSettings(cutoff_a=6.0), failed=1)
    store.write("c1", "m@1", [result])
    store.close()
    assert result.network is not None
    stored = {row["hop_id"]: row for row in content(path)["hops"]}
    assert len(stored) == len(result.network.hops)
    for hop in result.network.hops:
        row = stored[hop.id_in("LiFePO4")]
        assert (row["material_id"], row["ion"], row["mechanism"]) == ("LiFePO4", "Li", "vacancy")
        assert row["length_a"] == hop.length_a
        assert row["multiplicity"] == hop.multiplicity
        assert row["start_frac"] == hop.start_frac.tolist()
        assert row["end_frac"] == hop.end_frac.tolist()
        assert tuple(row["image"]) == hop.image
        assert tuple(row["flags"]) == hop.flags
    assert [row["supercell"] for row in stored.values()].count(None) == 1  # the one that failed
    (material,) = content(path)["materials"]
    assert material["formula"] == "LiFePO4"
    assert material["space_group"] == "Pnma"
    assert material["structure"].startswith('{"lattice":[[')
    (ledger,) = content(path)["campaign_materials"]
    assert ledger["n_hops"] == ledger["n_predicted"] + 1 == len(result.network.hops)
    assert ledger["n_failed"] == 1


numbers = st.floats(allow_nan=True, allow_infinity=False, width=64)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.tuples(st.floats(0, 9), numbers, numbers, numbers, numbers, numbers),
    name=st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text),
)
def test_any_number_and_name_come_back(store: Store, values: tuple[float, ...], name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    result = make_result("MgO", material_id=name)
    (scored,) = result.hops
    result = replace(result, hops=(replace(scored, prediction=Prediction(*values)),))
    store.write("c1", "m@1", [result])
    ((hop_id, *found),) = store._rows(
        "select hop_id, em_ev, em_std_ev, em_low_ev, em_high_ev, p_good, applicability "
        "from predictions join hops using (hop_id) where material_id = ?",
        [name],
    )
    assert hop_id == scored.hop_id
    assert found == [None if math.isnan(value) else value for value in values]
    assert (name, "Mg") in store.done("c1")


def test_writing_again_changes_nothing(path: Path) -> None:
    batch = [make_result("LiCoO2"), make_result("MgO"), make_result("LiFePO4", failed=1)]
    with Store.open(path) as store:
        begin(store)
        store.write("c1", "m@1", batch)
    before = content(path)
    with Store.open(path) as store:
        begin(store)
        store.write("c1", "m@1", batch)
        store.write("c1", "m@1", [batch[1], batch[1]])
    assert content(path) == before


def test_a_second_write_replaces_all_of_a_material(store: Store, path: Path) -> None:
    long = make_result("LiFePO4", settings=HopSettings(cutoff_a=6.0))
    short = make_result("LiFePO4", settings=HopSettings(cutoff_a=4.0))
    other = make_result("MgO")
    store.write("c1", "m@1", [long, other])
    store.write("c1", "m@2", [long, other])
    store.write("c2", "m@1", [short])
    store.close()
    with Store.open(path.with_name("expected.duckdb")) as expected:
        expected.write("c1", "m@2", [other])
        expected.write("c2", "m@1", [other, short])
    found, wanted = content(path), content(path.with_name("expected.duckdb"))
    assert found["hops"] == wanted["hops"]
    kept = {row["hop_id"] for row in found["hops"]}
    assert {row["hop_id"] for row in found["predictions"]} == kept
    ranked = {(row["material_id"], row["model_id"]) for row in found["material_ranking"]}
    # What m@2 said of LiFePO4 rested on hops that are gone.
    assert ranked == {("LiFePO4", "m@1"), ("MgO", "m@1"), ("MgO", "m@2")}


def test_a_changed_crystal_ends_what_other_models_said(store: Store, path: Path) -> None:
    result = make_result("MgO")
    (scored,) = result.hops
    longer = replace(scored.hop, length_a=scored.hop.length_a * 1.01)
    assert result.network is not None
    changed = replace(
        result,
        network=replace(result.network, hops=(longer,)),
        hops=(replace(scored, hop=longer),),
    )
    store.write("c1", "m@1", [result])
    store.write("c1", "m@2", [result])
    store.write("c2", "m@2", [changed])
    store.close()
    found = content(path)
    assert [row["length_a"] for row in found["hops"]] == [longer.length_a]
    assert [row["model_id"] for row in found["predictions"]] == ["m@2"]
    assert [row["model_id"] for row in found["material_ranking"]] == ["m@2"]


def test_a_refused_material_keeps_nothing(store: Store, path: Path) -> None:
    good = make_result("MgO")
    refused = replace(
        good, network=None, hops=(), failures=(Failure("MgO", "hops", "no_hops", "none"),)
    )
    store.write("c1", "m@1", [good])
    store.write("c2", "m@1", [refused])
    store.close()
    found = content(path)
    assert found["hops"] == found["predictions"] == found["material_ranking"] == []
    assert [row["reason"] for row in found["failures"]] == ["no_hops"]


def test_a_failure_of_the_source_touches_no_material(store: Store, path: Path) -> None:
    failure = Failure("MgO", "source", "unreadable", "not a CIF")
    store.write("c1", "m@1", [make_result("MgO")])
    store.write("c2", "m@1", [MaterialResult("MgO", "", None, None, failures=(failure,))])
    assert store.done("c2") == {("MgO", "")}
    store.close()
    found = content(path)
    assert len(found["hops"]) == len(found["materials"]) == 1


def test_a_write_that_breaks_leaves_nothing(store: Store, path: Path) -> None:
    good = make_result("MgO")
    bad = make_result("MgAl2O4")
    scored = bad.hops[0]
    nan = replace(scored, prediction=replace(prediction(1.0), em_ev=math.nan))  # em_ev is not null
    with pytest.raises(UserError, match="em_ev"):
        store.write("c1", "m@1", [good, replace(bad, hops=(nan, *bad.hops[1:]))])
    assert store.done("c1") == set()
    store.write("c1", "m@1", [good])
    store.close()
    assert len(content(path)["materials"]) == 1


def test_funnel_counts_every_stage(store: Store) -> None:
    failures = (Failure("bad", "source", "unreadable", "x"),)
    store.write(
        "c1",
        "m@1",
        [
            make_result("LiCoO2"),
            make_result("LiFePO4", failed=1),
            MaterialResult("bad", "", None, None, failures=failures),
        ],
    )
    funnel = store.funnel("c1")
    assert (funnel.source, funnel.filtered, funnel.enumerated) == (3, 2, 2)
    assert funnel.predicted == funnel.hops - 1
    assert sorted(funnel.failed) == [("model", "non_finite", 1), ("source", "unreadable", 1)]


def test_ranking_puts_what_does_not_percolate_last(store: Store, path: Path) -> None:
    lone = make_result("LiFePO4")
    n = len(lone.hops)
    store.write(
        "c1",
        "m@1",
        [
            make_result("MgO", [0.9]),
            replace(lone, hops=()),
            make_result("LiCoO2", settings=HopSettings(cutoff_a=3.0), em_ev=[0.3]),
        ],
    )
    store.close()
    with open_reader(path) as reader:
        found = reader.records("from ranked_materials")
    assert [row["material_id"] for row in found] == ["LiCoO2", "MgO", "LiFePO4"]
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert [row["dimension"] for row in found] == [2, 3, 0]
    assert found[0]["em_3d_ev"] is None
    assert found[0]["p_good"] == 0.5
    assert found[2]["note"] == "no hop could be predicted"
    assert found[2]["n_hops"] == n


def test_views_show_the_latest_model(store: Store, path: Path) -> None:
    store.write("c1", "m@1", [make_result("MgO", [0.9])])
    store.write("c1", "m@2", [make_result("MgO", [0.4])])
    store.close()
    with open_reader(path) as reader:
        (material,) = reader.records("from ranked_materials")
        (hop,) = reader.records("from ranked_hops")
    assert (material["em_1d_ev"], material["model_id"]) == (0.4, "m@2")
    assert (hop["em_ev"], hop["model_id"]) == (0.4, "m@2")


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
