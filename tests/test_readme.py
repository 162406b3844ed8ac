"""The README does what it says: its transcripts run, its names exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_transcripts_run(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"}
    environment.pop("MP_API_KEY", None)
    found = commands()
    assert len(found) >= 6
    for line in found:
        done = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.strip() or " -o " in line, line
    assert (tmp_path / "hops.parquet").is_file()


def test_every_dependency_has_a_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *(name for extra in extras for name in extra)]
    table = README.split("## Dependencies")[1].split("## Licence")[0]
    for requirement in needed:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert name.group() in table, f"{name.group()} has no line in the README's table"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"setup", "demo", "test", "lint", "types", "bench"} <= targets
    assert set(re.findall(r"`?make (\w+)", README)) <= targets | {"are"}
