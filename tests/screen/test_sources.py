"""Which source an argument names, and what `screen sources` and the dry run say of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from screen.cli import main
from screen.errors import UserError
from screen.options import RunOptions
from screen.sources import default_source, open_source
from tests.screen.conftest import crystal_of, write_structures
from tests.standins.documents import summary_document
from tests.standins.materials_project import MaterialsProject


def opened(**options: Any) -> Any:
    return open_source(RunOptions(**options), lambda _: None)


def test_the_default_is_the_materials_project_where_there_is_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert default_source(RunOptions()) == "catalog"
    assert opened().name == "catalog"
    monkeypatch.setenv("MP_API_KEY", "k" * 32)
    assert opened().name == "mp"
    assert opened(source=("catalog",)).name == "catalog"


def test_a_key_of_pymatgens_settings_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from pymatgen.core import SETTINGS

    with pytest.raises(UserError, match="MP_API_KEY is not set") as raised:
        opened(source=("mp",))
    assert raised.value.exit_code == 2
    monkeypatch.setitem(SETTINGS, "PMG_MAPI_KEY", "p" * 32)
    assert opened(source=("mp",)).name == "mp"


def test_each_kind_of_source_has_its_name(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "mine.jsonl", ["MgO"])
    assert opened(source=(str(path),)).name == "mine.jsonl"
    assert opened(source=("optimade:oqmd",)).name == "optimade:oqmd"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": ("catalog", "mp")}, "stands alone"),
        ({"source": ("optimade:nobody",)}, "oqmd"),
        ({"source": ("nowhere.cif",)}, "no such file"),
        ({"source": ("mp",), "mp_endpoint": "127.0.0.1:80"}, "expected an address"),
        ({"source": ("optimade:oqmd",), "offline": True, "refresh": True}, "leave one of them out"),
    ],
)
def test_wrong_use_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        opened(**options)
    assert raised.value.exit_code == 2


def test_sources_lists_each_with_what_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["sources"]) == 0
    text = capsys.readouterr().out
    for word in ("mp ", "catalog", "PATH", "optimade:alexandria", "optimade:URL", "CC-BY-4.0"):
        assert word in text
    monkeypatch.setenv("MP_API_KEY", "secret".ljust(32, "s"))
    assert main(["sources", "--json"]) == 0
    text = capsys.readouterr().out
    assert "secret" not in text
    rows = {row["source"]: row for row in json.loads(text)}
    assert rows["mp"]["needs"] == "MP_API_KEY (set)"


Dry = Callable[..., dict[str, Any]]


@pytest.fixture
def dry(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> Dry:
    def run(*arguments: str) -> dict[str, Any]:
        given = ["run", "--chemsys", "Mg-*", "--model", str(tiny_model), "--dry-run", "--json"]
        assert main([*given, *arguments]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MaterialsProject]:
    crystals = [crystal_of(name) for name in ("MgO", "MgAl2O4")]
    documents = [summary_document(f"mp-{n}", crystal) for n, crystal in enumerate(crystals, 1)]
    documents.append(summary_document("mp-9", crystals[0], energy_above_hull=0.5))
    with MaterialsProject(documents) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def test_a_dry_run_of_the_catalog_counts_and_leaves_nothing(
    dry: Dry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = dry("--source", "catalog")
    assert found["source"] == "catalog"
    assert found["candidates"] > 80
    assert found["sampled"] > 10
    assert found["hops"] > found["candidates"]
    assert found["seconds"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_asks_the_server_for_the_number(dry: Dry, server: MaterialsProject) -> None:
    found = dry("--cache", "nowhere")
    assert (found["source"], found["version"]) == ("mp", "2026.2.1")
    assert found["candidates"] == 2
    assert found["left_out"] == {"above_hull": 1}
    assert found["db_bytes"] > 0
    assert not Path("nowhere").exists()


def test_a_dry_run_with_nothing_to_find_says_so(
    dry: Dry, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--chemsys", "Mg-Xe", "--source", "catalog", "--model", str(tiny_model)]
    assert main([*arguments, "--dry-run"]) == 3
    captured = capsys.readouterr()
    assert "candidates   0 with Mg" in captured.out
    assert "widen --chemsys" in captured.err


def test_a_dry_run_offline_asks_nobody(
    dry: Dry,
    server: MaterialsProject,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = ("--cache", str(tmp_path / "cache"))
    run = ["run", "--chemsys", "Mg-*", "--model", str(tiny_model), "--engine", "inline", "--json"]
    assert main([*run, *cache, "--db", str(tmp_path / "x.duckdb")]) == 0
    n_asked = len(server.requests)
    capsys.readouterr()
    found = dry("--offline", *cache)
    assert (found["candidates"], found["sampled"]) == (2, 2)
    assert found["left_out"] == {"above_hull": 1}
    assert len(server.requests) == n_asked
