"""docs/configuration.md names what there is: variables, events, figures, codes, keys of files."""

from __future__ import annotations

import re
from pathlib import Path

from screen.commands.plot import Kind
from screen.settings import read_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "configuration.md").read_text("utf-8")
SOURCES = [
    path.read_text("utf-8")
    for package in ("pathways", "models", "jobs", "screen")
    for path in sorted((ROOT / package).rglob("*.py"))
]
READ = re.compile(
    r"""environ(?:\.get|\.setdefault)?[\[(]"(\w+)"|VARIABLE = "(\w+)"|^    "(RAY_\w+)":""", re.M
)


def test_every_variable_is_named() -> None:
    found = {name for source in SOURCES for match in READ.findall(source) for name in match if name}
    assert {"MP_API_KEY", "IONSCREEN_CACHE", "RAY_USE_TLS"} <= found
    missing = sorted(name for name in found if f"`{name}" not in TEXT)
    assert not missing, f"docs/configuration.md does not name {missing}"


def test_every_event_is_named() -> None:
    found = {name for source in SOURCES for name in re.findall(r'log_event\(\s*"(\w+)"', source)}
    assert {"failure", "run_finished"} <= found
    named = set(re.findall(r"(?m)^\| `(\w+)` \| (?:info|warning|error|as)", TEXT))
    assert named == {*found, "log"}


def test_every_figure_is_named() -> None:
    for kind in Kind.__args__:
        assert f"\n| `{kind}` |" in TEXT


def test_its_file_of_options_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "run.toml").write_text(block, "utf-8")
    options = read_config(tmp_path / "run.toml")
    assert options["chemsys"] == ("Mg-*", "Ca-?")
    assert options["jobs"] == {"chunk": 4}
