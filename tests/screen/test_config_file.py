"""Files of options: every option in one, written and read back."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from screen.cli import main
from screen.config_file import config_text
from screen.errors import UserError
from screen.options import RunOptions
from screen.settings import TABLES, query, read_config, run_options, run_settings, table_fields

GIVEN = RunOptions(
    chemsys=("Mg-*", "Ca-?"),
    ion="Mg",
    db='odd "name" \\ é.duckdb',
    max_ehull=0.05,
    theoretical=False,
    exclude=("Pb",),
    num_gpus=0.5,
    hops={"min_clearance_a": 0.6},
    band={"supercell": (2, 0, 0, 0, 2, 0, 0, 0, 2)},
    jobs={"chunk": 4},
)


def read(text: str, folder: Path) -> RunOptions:
    (folder / "run.toml").write_text(text, "utf-8")
    return run_options(folder / "run.toml", {})


def test_round_trip(tmp_path: Path) -> None:
    assert read(config_text(RunOptions()), tmp_path) == RunOptions()
    assert read(config_text(GIVEN), tmp_path) == GIVEN


def test_every_option_stands_in_it_with_its_default(tmp_path: Path) -> None:
    text = config_text(RunOptions())
    set_lines = re.sub(r"(?m)^# (\w+ = (?! ).+)$", r"\1", text)
    assert read(set_lines, tmp_path) == _without_tables(set_lines)
    names = set(re.findall(r"(?m)^# (\w+) =", text))
    assert {entry.name for entry in fields(RunOptions)} - set(TABLES) <= names
    for table in TABLES:
        assert set(table_fields(table)) <= names
    for entry in fields(RunOptions):
        if "help" in entry.metadata:
            assert " ".join(entry.metadata["help"].split()) in " ".join(
                text.replace("\n# ", " ").split()
            )


def _without_tables(text: str) -> RunOptions:
    """The defaults, with the tables that the text sets to their own defaults."""
    content = tomllib.loads(text)
    tables = {name: content[name] for name in TABLES}
    options = RunOptions(**tables)
    assert run_settings(options) == run_settings(RunOptions())
    return options


def test_the_command_writes_what_it_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    arguments = ["run", "--chemsys", "Mg-*", "--limit", "3", "--max-ehull", "0.2"]
    assert main([*arguments, "--write-config", str(file)]) == 0
    assert [one.name for one in tmp_path.iterdir()] == ["run.toml"]
    options = run_options(file, {})
    assert options == RunOptions(chemsys=("Mg-*",), limit=3, max_ehull=0.2)
    assert query(options).limit == 3
    assert main([*arguments, "--write-config", "-"]) == 0
    assert capsys.readouterr().out == file.read_text("utf-8")
    assert main([*arguments, "--write-config", str(file)]) == 2
    assert "there already" in capsys.readouterr().err
    assert main(["run", "--config", str(file), "--limit", "2", "--write-config", "-"]) == 0
    assert "\nlimit = 2\n" in capsys.readouterr().out
    assert main([*arguments, "--write-config", str(tmp_path / "none" / "x.toml")]) == 1


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("chemsis = 'Mg-*'", "did you mean chemsys?"),
        ("max-ehul = 1", "did you mean max_ehull?"),
        ("min_clearance_a = 1", "did you mean hops.min_clearance_a?"),
        ("[hops]\nmin_clearence_a = 1", "did you mean hops.min_clearance_a?"),
        ("[jobs]\nchunks = 1", "did you mean jobs.chunk?"),
        ("[jobs]\nnum_cpus = 1", "set by num_cpus outside the table"),
    ],
)
def test_the_nearest_name_is_said(line: str, meant: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(line)
    with pytest.raises(UserError, match=re.escape(meant)):
        read_config(tmp_path / "run.toml")


def test_what_is_like_nothing_is_only_unknown(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("zzz = 1")
    with pytest.raises(UserError, match="unknown option zzz") as caught:
        read_config(tmp_path / "run.toml")
    assert "did you mean" not in str(caught.value)
