"""A campaign over the Materials Project: the rows that the same crystals give from a file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from screen.chemsys import parse
from screen.cli import main
from screen.reader import open_reader
from screen.sources.base import Query
from screen.sources.catalog import Catalog
from screen.sources.structure_json import structure_json
from tests.screen.conftest import environment
from tests.standins.documents import summary_document
from tests.standins.faults import Silent, Status
from tests.standins.materials_project import MaterialsProject

PATTERNS = ("Mg-?", "Mg-?-?", "Mg-*")
N_HOSTS = 30
SAME = {
    "hops": "*",
    "predictions": "hop_id, * exclude (hop_id, predicted_at)",
    "material_ranking": "* exclude (ranked_at, campaign_id)",
    "materials": "material_id, formula, chemsys, nsites, space_group, structure, "
    "energy_above_hull_ev, band_gap_ev",
}


@pytest.fixture(scope="module")
def hosts() -> list[Any]:
    """Known Mg hosts of few atoms, by their ids in the Materials Project."""
    query = Query((parse("Mg-*"),), "Mg", max_sites=16)
    found = [one for one in Catalog().candidates(query) if hasattr(one, "crystal")]
    return found[:N_HOSTS]


@pytest.fixture
def server(hosts: list[Any]) -> Iterator[MaterialsProject]:
    documents = [
        summary_document(
            host.material_id, structure_json(host.crystal), energy_above_hull=0.002 * at
        )
        for at, host in enumerate(hosts)
    ]
    with MaterialsProject(documents) as running:
        yield running


@pytest.fixture
def table(hosts: list[Any], tmp_path: Path) -> Path:
    """The same crystals as a file."""
    rows = [
        {
            "material_id": host.material_id,
            "structure": structure_json(host.crystal),
            "energy_above_hull": 0.002 * at,
            "band_gap": 1.5,
        }
        for at, host in enumerate(hosts)
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "same.parquet")
    return tmp_path / "same.parquet"


Rows = dict[str, list[dict[str, Any]]]


def rows(db: Path, tables: dict[str, str]) -> Rows:
    with open_reader(db) as reader:
        return {
            name: reader.records(f"select {columns} from {name} order by all")
            for name, columns in tables.items()
        }


def assert_same(found: Rows, expected: Rows) -> None:
    """Equal but for the last digits of single precision, which depend on what is in a batch."""
    assert {name: len(rows) for name, rows in found.items()} == {
        name: len(rows) for name, rows in expected.items()
    }
    for name, wanted in expected.items():
        for one, other in zip(found[name], wanted, strict=True):
            for column, value in other.items():
                if isinstance(value, float):
                    value = pytest.approx(value, rel=1e-5, abs=1e-5)
                assert one[column] == value, (name, column)


def command(model: Path, db: Path, *more: object) -> list[str]:
    patterns = [word for pattern in PATTERNS for word in ("--chemsys", pattern)]
    given = ["run", *patterns, "--model", model, "--db", db, "--num-cpus", 1, "--num-gpus", 0]
    return [*map(str, given), *map(str, more)]


@pytest.fixture
def from_file(table: Path, tiny_model: Path, tmp_path: Path) -> Rows:
    db = tmp_path / "file.duckdb"
    given = command(tiny_model, db, "--source", table, "--engine", "inline", "--max-ehull", 0.05)
    assert main(given) == 0
    return rows(db, SAME)


def test_the_rows_are_those_of_the_same_crystals_from_a_file(
    server: MaterialsProject,
    from_file: Rows,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MP_API_KEY", server.keys[0])
    db = tmp_path / "mp.duckdb"
    given = command(tiny_model, db, "--mp-endpoint", server.url, "--engine", "inline")
    given += ["--max-ehull", "0.05", "--cache", str(tmp_path / "cache"), "--json"]
    assert main(given) == 0
    summary = json.loads(capsys.readouterr().out)
    assert_same(rows(db, SAME), from_file)
    with open_reader(db) as reader:
        (first, *_) = reader.records("select * from materials order by material_id")
        left_out = reader.records("select reason, n from left_out")
        (campaign,) = reader.records("select source, source_version, settings from campaigns")
    assert first["source"] == campaign["source"] == "mp"
    assert first["source_version"] == campaign["source_version"] == "2026.2.1"
    assert first["source_id"].startswith("mp-aaa")
    assert first["license"] == "CC-BY-4.0"
    assert "Jain" in first["attribution"]
    assert json.loads(campaign["settings"])["source"]["endpoint"] == server.url
    assert {row["reason"] for row in left_out} == {"above_hull"}
    assert {"stage": "server", "reason": "above_hull", "n": left_out[0]["n"]} in summary["failed"]
    assert server.keys[0].encode() not in db.read_bytes()


def wait_for_silence(server: MaterialsProject, process: subprocess.Popen[str]) -> None:
    """Until the server has been asked what it does not answer."""
    while server.faults:
        assert process.poll() is None, process.stderr and process.stderr.read()
        threading.Event().wait(0.05)


def test_killed_twice_on_the_way_every_id_comes_once(
    server: MaterialsProject,
    from_file: Rows,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    db = tmp_path / "mp.duckdb"
    where = ("--mp-endpoint", server.url, "--max-ehull", 0.05, "--cache", tmp_path / "cache")
    given = command(tiny_model, db, *where, "--engine", "ray")
    variables = {**environment(), **server.environment}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "screen.cli", *given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
        )

    for n_answered in (9, 6):  # five counts and a page for each of three patterns
        server.faults.extend([None] * n_answered + [Silent()])
        process = start()
        wait_for_silence(server, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = start()
    _, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    assert_same(rows(db, SAME), from_file)
    once = "select count(*) n, count(distinct material_id) ids from campaign_materials"
    with open_reader(db) as reader:
        (counts,) = reader.records(once)
    assert counts["n"] == counts["ids"] == len(from_file["materials"])
    answered = [one for one in server.data_requests if one.status == 200]
    pages = [
        one.query["chemsys"] if "chemsys" in one.query else one.query["elements"]
        for one in answered
        if "structure" in one.query["_fields"]
    ]
    assert sorted(pages) == ["Mg", "Mg-*", "Mg-*-*"]


Runs = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    server: MaterialsProject,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Runs:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)

    def call(*more: object) -> tuple[int, str]:
        given = command(tiny_model, tmp_path / "x.duckdb", "--cache", tmp_path / "cache", *more)
        code = main([*given, "--engine", "inline"])
        return code, capsys.readouterr().err.splitlines()[-1]

    return call


def test_what_is_wrong_is_one_line(
    run: Runs, server: MaterialsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, line = run("--offline")
    assert (code, "nothing in the cache" in line) == (1, True)
    code, line = run("--mp-endpoint", "http://127.0.0.1:9/")
    assert (code, "cannot be reached" in line) == (1, True)
    server.heartbeat_faults.append(Status(200, "<html>a web page</html>"))
    code, line = run()
    assert (code, "expected a server of the Materials Project" in line) == (1, True)
    monkeypatch.setenv("MP_API_KEY", "0" * 32)
    code, line = run()
    assert code == 1
    assert "refuses the key in MP_API_KEY (401); copy yours from https://" in line
    monkeypatch.setenv("MP_API_KEY", "0" * 31)
    code, line = run()
    assert (code, "31 characters, expected 32" in line) == (1, True)
    monkeypatch.delenv("MP_API_KEY")
    code, line = run("--source", "mp")
    assert (code, "export MP_API_KEY" in line) == (2, True)


def test_a_second_campaign_comes_from_the_cache(run: Runs, server: MaterialsProject) -> None:
    assert run("--max-hops", 2)[0] == 0
    n_asked = len(server.data_requests)
    assert run("--max-hops", 1)[0] == 0
    assert run("--max-hops", 1, "--offline")[0] == 0
    assert len(server.data_requests) == n_asked
