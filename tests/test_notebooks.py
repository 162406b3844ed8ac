"""The notebooks run from top to bottom, as scripts, in an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.screen.conftest import environment

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))
LEAVES = {"campaign": {"mg.duckdb"}, "cif_to_neb": {"MgMn2O4.cif", "images.extxyz"}}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(notebook)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert " eV" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == LEAVES[notebook.stem]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_a_notebook(notebook: Path) -> None:
    """In jupytext's percent format: a header, cells of text and cells of code."""
    text = notebook.read_text("utf-8")
    assert "#       format_name: percent" in text.split("# ---")[1]
    kinds = re.findall(r"(?m)^# %%(.*)$", text)
    assert kinds.count("") >= 4
    assert kinds.count(" [markdown]") >= 4


def test_both_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(LEAVES)
