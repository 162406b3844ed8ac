"""The program: what it prints, what it returns, and one line for whatever goes wrong."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest

from screen.cli import main
from screen.commands import app
from screen.database import connect
from screen.schema import LATEST
from tests.screen.conftest import Screen, environment, write_structures

COMMANDS = sorted(info.name or info.callback.__name__ for info in app.registered_commands)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The database of a small finished run: rocksalt, spinel and olivine, three of each."""
    folder = tmp_path_factory.mktemp("run")
    source = write_structures(folder / "s.jsonl", ["MgO", "MgAl2O4"], copies=3)
    arguments = ["run", "--chemsys", "Mg-*", "--source", source, "--engine", "inline"]
    arguments += ["--keep-duplicates", "--model", tiny_model, "--db", folder / "run.duckdb"]
    assert main([str(argument) for argument in arguments]) == 0
    return folder / "run.duckdb"


def test_help_is_quick_and_light() -> None:
    heavy = "torch ray duckdb pymatgen numpy pyarrow scipy spglib"
    code = (
        "import sys\nfrom screen.cli import main\nassert main(['--help']) == 0\n"
        f"assert not set('{heavy}'.split()) & set(sys.modules), sorted(sys.modules)"
    )
    began = time.process_time()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ranked" in done.stdout
    assert time.process_time() - began < 5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(screen: Screen, command: str) -> None:
    result = screen(command, "--help")
    assert result.code == 0
    assert f"Example: screen {command}" in " ".join(result.out.split())


def test_version(screen: Screen) -> None:
    result = screen("--version")
    assert result.code == 0
    assert result.out.startswith("ionscreen ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "rnu"),
        (["run", "--limit", "ten"], "--limit"),
        (["run", "--chemsys", "Mgg-*"], "unknown element 'Mgg'"),
        (["run", "--chemsys", "Mg-*", "--ion", "Xx"], "'Xx' is no element"),
        (["run", "--chemsys", "Mg-*", "--source", "none.cif"], "no such file"),
        (["run", "--chemsys", "Mg-*", "--model", "none"], "no model 'none'"),
        (["run", "--chemsys", "Mg-*", "--engine", "spark"], "spark"),
        (["run", "--chemsys", "Mg-*", "--max-hops", "0"], "max_hops 0"),
        (["run", "--chemsys", "Mg-*", "--config", "none.toml"], "no such file"),
        (["top", "--db", "none.duckdb"], "no such database"),
        (["status", "--db", "none.duckdb"], "no such database"),
        (["sql", "select 1", "--db", "none.duckdb"], "no such database"),
        (["top", "--dimension", "4"], "--dimension"),
        (["top", "--ion", "mg"], "did you mean Mg?"),
    ],
)
def test_wrong_use(screen: Screen, arguments: list[str], said: str) -> None:
    result = screen(*arguments)
    assert result.code == 2
    *_, line = result.err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert result.out == ""


def test_bad_databases_are_failures(screen: Screen, tmp_path: Path, tiny_model: Path) -> None:
    source = write_structures(tmp_path / "s.jsonl", ["MgO"])
    run = ["run", "--chemsys", "Mg-*", "--source", source, "--model", tiny_model]
    bad = tmp_path / "bad.duckdb"
    bad.write_text("text")
    newer = tmp_path / "newer.duckdb"
    with connect(newer, read_only=False) as con:
        con.execute(f"create table schema_version as select {LATEST + 1} as version")
    for path, said in ((bad, "not a valid DuckDB database"), (newer, "newer ionscreen")):
        for arguments in (["top", "--db", path], ["status", "--db", path], [*run, "--db", path]):
            result = screen(*arguments)
            assert result.code == 1
            assert said in result.err.splitlines()[-1]


def test_debug_shows_the_traceback(screen: Screen) -> None:
    assert "Traceback" not in screen("top", "--db", "none.duckdb").err
    result = screen("top", "--debug", "--db", "none.duckdb")
    assert "Traceback" in result.err
    assert result.code == 2


def test_run_then_look(screen: Screen, tmp_path: Path, tiny_model: Path) -> None:
    source = write_structures(tmp_path / "s.jsonl", ["MgO", "MgAl2O4"], copies=2)
    with source.open("a") as file:
        file.write("no json\n")
    run = ["run", "--chemsys", "Mg-*", "--source", source, "--model", tiny_model]
    run += ["--keep-duplicates", "--engine", "inline", "--db", "x.duckdb"]
    first = screen(*run, "--limit", 3, "--json")
    assert first.code == 0
    assert first.json["candidates"] == first.json["enumerated"] == 3
    assert first.json["failed"] == []

    second = screen(*run)  # goes on: what --limit left out
    assert second.code == 0
    assert f"campaign {first.json['campaign_id']}" in second.out
    assert "next: screen top --db x.duckdb" in second.out
    status = screen("status", "--db", "x.duckdb", "--json").json["campaigns"]
    assert len(status) == 1
    assert status[0]["state"] == "finished"
    assert status[0]["candidates"] == 5
    assert [(f["stage"], f["reason"], f["n"]) for f in status[0]["failed"]] == [
        ("source", "unreadable", 1)
    ]

    third = screen(*run, "--json")
    assert third.json["done_before"] == 5
    assert "everything is done already" in screen(*run).out
    fresh = screen(*run, "--fresh", "--json").json
    assert fresh["campaign_id"] == first.json["campaign_id"] + "-2"
    assert fresh["done_before"] == 0
    assert "source: unreadable" in screen("status", "--db", "x.duckdb").out
    assert not Path("x.duckdb.live").exists()


def test_nothing_to_show(screen: Screen, tmp_path: Path, tiny_model: Path) -> None:
    source = write_structures(tmp_path / "s.jsonl", ["MgO"])
    common = ["--source", source, "--model", tiny_model, "--engine", "inline", "--db", "x.duckdb"]
    none = screen("run", "--chemsys", "Ca-*", *common)
    assert none.code == 3
    assert "no candidate" in none.err
    refused = screen("run", "--chemsys", "Mg-*", "--cutoff", 1.0, *common)
    assert refused.code == 3
    assert "no_hops" in refused.out
    assert "every candidate was refused" in refused.err
    assert screen("top", "--db", "x.duckdb").code == 3
    assert screen("run", "--chemsys", "Ca-*", "--source", source, "--dry-run").code == 3


def test_dry_run_counts_and_writes_nothing(screen: Screen, tmp_path: Path) -> None:
    result = screen("run", "--chemsys", "Mg-*", "--dry-run", "--json")
    assert result.code == 0
    assert result.json["candidates"] >= 45
    assert "shipped catalog" in result.err
    assert "MP_API_KEY is not set" in result.err
    assert list(tmp_path.iterdir()) == []


def test_top(screen: Screen, database: Path) -> None:
    found = screen("top", "--db", database, "--json").json
    assert [row["rank"] for row in found] == [1, 2, 3, 4, 5, 6]
    barriers = [row["em_1d_ev"] for row in found]
    assert barriers == sorted(barriers)
    assert all(row["em_1d_low_ev"] <= row["em_1d_ev"] <= row["em_1d_high_ev"] for row in found)
    table = screen("top", "--db", database, "-n", 2)
    assert len(table.out.splitlines()) == 3
    assert f"{barriers[0]:.2f} (" in table.out
    hops = screen("top", "--db", database, "--by", "hop", "-n", 4, "--json").json
    assert [row["rank"] for row in hops] == [1, 2, 3, 4]
    assert screen("top", "--db", database, "--by", "hop").code == 0
    few = screen("top", "--db", database, "--max-em", barriers[1], "--dimension", 3, "--json").json
    assert [row["em_3d_ev"] for row in few] == sorted(row["em_3d_ev"] for row in few)
    assert all(row["em_3d_ev"] <= barriers[1] for row in few)
    assert screen("top", "--db", database, "--ion", "Ca").code == 3


def test_sql_formats_and_files(screen: Screen, database: Path, tmp_path: Path) -> None:
    query = "select hop_id, flags, image, predicted_at, null as nothing from ranked_hops"
    rows = screen("sql", query, "--db", database, "--format", "json").json
    assert all(row["nothing"] is None for row in rows)
    assert rows[0]["image"] == [int(n) for n in rows[0]["hop_id"].split(":")[-1].split(",")]
    text = screen("sql", query, "--db", database, "--format", "csv").out
    assert [row["hop_id"] for row in csv.DictReader(io.StringIO(text))] == [
        row["hop_id"] for row in rows
    ]
    for suffix in ("csv", "json", "parquet"):
        result = screen("sql", query, "--db", database, "-o", f"out.{suffix}")
        assert result.code == 0
        assert result.out == ""
    assert Path("out.csv").read_text() == text
    assert json.loads(Path("out.json").read_text()) == rows
    assert pyarrow.parquet.read_table("out.parquet").num_rows == len(rows)
    assert screen("sql", query, "--db", database, "-o", "out.xlsx").code == 2
    assert screen("sql", query, "--db", database, "-o", "none/out.csv").code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.csv",
        "out.json",
        "out.parquet",
    ]
    assert "formula" in screen("sql", "from ranked_materials", "--db", database).out
    everything = screen("sql", "from materials", "--db", database, "-o", "all.parquet")
    assert everything.code == 0


@pytest.mark.parametrize(
    "query",
    [
        "delete from hops",
        "create temp table t (i int)",
        "copy hops to 'stolen.csv'",
        "attach 'other.duckdb'",
        "select 1; select 2",
        "",
        "set threads = 1",
        "from read_csv('/etc/hostname')",
        "from read_text('/etc/hostname')",
        "selec 1",
        "select nothing from hops",
        "select cast('x' as integer)",
        "install httpfs",
    ],
)
def test_sql_only_reads_the_database(
    screen: Screen, database: Path, tmp_path: Path, query: str
) -> None:
    before = database.read_bytes()
    result = screen("sql", query, "--db", database)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert database.read_bytes() == before


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text('chemsys = ["Mg-?"]\nlimit = 1\n[hops]\nmin_clearance_a = 0.6\n')
    return path


def test_config_file_under_the_command_line(screen: Screen, config: Path) -> None:
    query = ["run", "--config", config, "--dry-run", "--json"]
    assert screen(*query).json["candidates"] == 1
    assert screen(*query, "--limit", 2).json["candidates"] == 2
    assert screen("run", "--config", config, "--chemsys", "Xx", "--dry-run").code == 2


@pytest.mark.parametrize(
    ("line", "said", "code"),
    [
        ("chemsis = 'Mg-*'", "unknown option chemsis, did you mean chemsys?", 2),
        ("limit = 'ten'", "limit is 'ten', expected a whole number", 2),
        ("[hops]\ncutof = 1", "unknown option hops.cutof", 2),
        ("[hops]\nmax_hops = 3", "set by max_hops outside the table", 2),
        ("hops = 3", "expected a table [hops]", 2),
        ("limit = true", "expected a whole number", 2),
        ("limit = ", "no TOML", 1),
    ],
)
def test_config_files_that_are_wrong(
    screen: Screen, config: Path, line: str, said: str, code: int
) -> None:
    config.write_text(line)
    result = screen("run", "--config", config)
    assert result.code == code
    assert said in result.err


def test_doctor_tells_no_secrets(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_API_KEY", "s3cret")
    result = screen("doctor", "--json")
    assert result.code == 0
    assert result.json["keys"]["MP_API_KEY"] is True
    assert result.json["versions"]["duckdb"]
    assert "s3cret" not in result.out + screen("doctor").out
