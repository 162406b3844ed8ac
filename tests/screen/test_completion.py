"""Shells complete commands, options and some of their values, at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from screen.cli import main
from screen.commands import completion
from tests.screen.conftest import environment


def complete(line: str, folder: Path) -> list[str]:
    """What bash would be offered for a line, as its completion function asks."""
    words = line.split(" ")
    variables = {
        "_SCREEN_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "screen.cli"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**environment(), **variables},
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_values(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    assert complete("screen doc", tmp_path) == ["doctor"]
    assert "--max-ehull" in complete("screen run --max-e", tmp_path)
    assert complete("screen run --model ", tmp_path) == ["ionscreen-1", "mine", "model3"]
    assert complete("screen run --source cat", tmp_path) == ["catalog"]
    assert sorted(complete("screen plot par", tmp_path)) == ["pareto", "parity"]


def test_sources_are_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifs").mkdir()
    (tmp_path / "cifs" / "a.cif").write_text("")
    assert completion.sources("c") == ["catalog", "cifs/"]
    assert completion.sources("cifs/") == ["cifs/a.cif"]
    assert completion.sources(f"{tmp_path}/ci") == [f"{tmp_path}/cifs/"]
    assert "optimade:oqmd" in completion.sources("optimade:")
    assert completion.sources("none/") == []
    assert completion.models("none/") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_can_be_shown(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "screen.cli", "--show-completion", shell],
        capture_output=True,
        text=True,
        env={**environment(), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "_SCREEN_COMPLETE" in done.stdout


def test_help_answers_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.process_time()
    assert main(["--help"]) == 0
    assert time.process_time() - began < 3
    assert "--install-completion" in capsys.readouterr().out
