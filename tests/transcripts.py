"""What documents show being typed, run as a user would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent


def blocks(text: str, kind: str) -> list[str]:
    """The fenced blocks of one kind, such as ``console`` or ``python``."""
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """What stands after a prompt in blocks of kind ``console``."""
    lines = (line for block in blocks(text, "console") for line in block.splitlines())
    return [line[2:] for line in lines if line.startswith("$ ")]


def run(line: str, folder: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A line as typed into a shell, without any key but what is given."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"}
    environment.pop("MP_API_KEY", None)
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )


def check_transcript(text: str, folder: Path, least: int = 0) -> None:
    """Every command of a document ends well and says something."""
    found = commands(text)
    assert len(found) >= least
    for line in found:
        done = run(line, folder, {})
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip() or " -o " in line, line
