"""What a new user stumbles over in the first hour: each message says what to do next."""

from __future__ import annotations

import re
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from screen.errors import UserError
from screen.settings import query, run_options
from tests.screen.conftest import Screen
from tests.transcripts import ROOT

MG = ("run", "--ion", "Mg", "--engine", "inline", "--db", "x.duckdb")


@pytest.fixture
def db(screen: Screen) -> str:
    """A campaign whose name a shell would take apart."""
    name = "my own é.duckdb"
    done = screen("run", "--chemsys", "Mg-*", "--limit", 2, "--engine", "inline", "--db", name)
    assert done.code == 0, done.err
    assert f"next: screen top --db '{name}'" in done.out
    return name


def test_a_folder_without_structures_is_told(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "MgO.cif.zip").write_bytes(b"packed")
    done = screen(*MG, "--source", tmp_path / "notes")
    assert done.code == 3
    assert "no structure file in there; expected POSCAR*" in done.err


def test_an_archive_is_to_be_unpacked(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "cifs.zip").write_bytes(b"PK")
    done = screen(*MG, "--source", tmp_path / "cifs.zip")
    assert done.code == 2
    assert "unpack it" in done.err


def test_files_need_an_ion(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which ion moves is not said"):
        query(run_options(None, {"source": (str(tmp_path),)}))


def _sqlite(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table foo (a integer)")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_sqlite, "not a valid DuckDB database"),
        (lambda path: path.write_text("a,b\n1,2\n"), "not a valid DuckDB database"),
        (lambda path: path.touch(), "not a valid DuckDB database"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
    ids=["sqlite", "text", "empty", "folder"],
)
def test_a_file_of_another_program_is_no_database(
    screen: Screen, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    """Told at once: DuckDB alone would download what reads an SQLite file."""
    make(tmp_path / "other.db")
    done = screen("top", "--db", tmp_path / "other.db")
    assert done.code in (1, 2)
    assert said in done.err
    assert "pass" in done.err
    assert screen("status", "--db", ".").code == 2


def test_a_wrong_name_in_sql_leads_to_the_right_one(screen: Screen, db: str) -> None:
    for wrong in ("select formla from ranked_materials", "from ranked_material"):
        done = screen("sql", wrong, "--db", db)
        assert done.code == 2
        assert "show tables" in done.err
    assert "ranked_materials" in screen("sql", "show tables", "--db", db).out
    assert "em_1d_ev" in screen("sql", "describe ranked_materials", "--db", db).out


def test_commands_of_a_shortlist_run_where_it_says(
    screen: Screen, db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert screen("shortlist", "--db", db, "-n", 1, "-o", "list").code == 0
    text = (tmp_path / "list" / "README.md").read_text()
    (read,) = re.findall(r"^screen neb read \. --db '(.*)'$", text, flags=re.MULTILINE)
    assert text.index("--code ase") < text.index("neb relax")
    monkeypatch.chdir("list")
    assert screen("neb", "write", ".", "--code", "ase").code == 0
    done = screen("neb", "read", ".", "--db", read)
    assert done.code == 3
    assert "not_run" in done.err


def test_a_written_file_of_options_says_how_to_use_it(screen: Screen) -> None:
    assert "screen run --config run.toml" in screen("run", "--write-config", "run.toml").err
    assert screen("run", "--write-config", "-").err == ""


def test_wrong_words_are_told_plainly(screen: Screen) -> None:
    kind = screen("plot", "pie", "-o", "x.png").err
    assert "Value error" not in kind
    assert ". (see" not in kind + screen("help").err


def test_extras_that_are_named_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pages = (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("screen/**/*.py"))
    texts = [page.read_text() for page in pages]
    named = {
        name
        for text in texts
        for found in re.findall(r"ionscreen\[([\w,-]+)\]|\(extras? `?([\w-]+)|, extra (\w+)", text)
        for name in "".join(found).split(",")
    }
    assert {"mlip", "plots"} <= named
    assert named <= set(project["optional-dependencies"])
