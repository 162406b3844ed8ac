"""The documents do what they say: commands run, code runs, queries answer, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from screen.cli import main
from screen.reader import open_reader
from tests.reference import PAGES_OF_THE_PROGRAM, tables, views
from tests.transcripts import ROOT, blocks, check_transcript, run

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TRANSCRIPTS = [
    page
    for page in PAGES
    if "```console" in page.read_text() and page.name not in PAGES_OF_THE_PROGRAM
]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def by_name(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_links_lead_to_files(page: Path) -> None:
    found = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert not [link for link in found if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", TRANSCRIPTS, ids=by_name)
def test_transcripts_run(page: Path, tmp_path: Path) -> None:
    check_transcript(page.read_text(), tmp_path, least=1)


def test_code_of_a_new_source_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "source.py"
    script.write_text("\n\n".join(blocks((DOCS / "extending.md").read_text(), "python")))
    done = run(f"{sys.executable} {script}", tmp_path, {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [f"rock-salt-{a}" for a in (4.1, 4.2, 4.3)]
    assert all(re.search(r"\[\d", line) for line in lines)


@pytest.fixture(scope="module")
def catalog_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign as the page on the database assumes it."""
    db = tmp_path_factory.mktemp("docs") / "mg.duckdb"
    words = ["run", "--chemsys", "Mg-*", "--limit", "12", "--engine", "inline", "--db", str(db)]
    assert main(words) == 0
    return db


def queries() -> list[str]:
    return blocks((DOCS / "database.md").read_text(), "sql")


def test_there_are_ten_queries() -> None:
    assert len(queries()) >= 10


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.splitlines()[0])
def test_queries_answer(query: str, catalog_db: Path) -> None:
    with open_reader(catalog_db) as reader:
        answer = reader.ask(query)
    assert answer.num_columns > 1


def test_every_table_and_view_is_described() -> None:
    text = (DOCS / "database.md").read_text()
    missing = [name for name in [*tables(), *views()] if f"| `{name}` |" not in text]
    assert not missing


@pytest.mark.parametrize("page", PAGES_OF_THE_PROGRAM, ids=str)
def test_what_the_program_says_of_itself_is_what_it_says(page: str) -> None:
    written = (DOCS / page).read_text()
    assert written == PAGES_OF_THE_PROGRAM[page](), "make reference writes it anew"


def test_figures_can_be_drawn_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    script = DOCS / "figures" / "concepts.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=300)
    assert {path.name for path in tmp_path.iterdir()} == {
        "hops.png",
        "band.png",
        "percolation.png",
    }
