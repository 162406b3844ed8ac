"""``screen train compare``: the table, its files, and what it says when something is missing."""

from __future__ import annotations

import csv
import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import screen.commands.compare  # noqa: F401 - registers the command
from models.compare import Unavailable
from models.splits import FOLD_KINDS
from screen.cli import main
from screen.figures import TITLES, box_plots
from screen.mlip_baseline import rise_ev
from tests.models.bulk_crystals import table, write_parquet
from tests.models.labelled import all_bands, write_published
from tests.screen.conftest import environment

FAST = "median,trees-geometry,gp-geometry"
has_chgnet = importlib.util.find_spec("chgnet") is not None


class Result(NamedTuple):
    code: int
    out: str
    err: str


Compare = Callable[..., Result]


@pytest.fixture(scope="module")
def bands_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("data") / "bands.json")


@pytest.fixture
def compare(
    bands_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Compare:
    """Runs the command in a folder of its own, results in ``out``."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, data: Path = bands_file) -> Result:
        words = ["train", "compare", "--data", data, "-o", "out", *arguments]
        code = main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return call


def test_table_files_and_plot(compare: Compare) -> None:
    result = compare("--systems", FAST, "--folds", "group,scenario-b", "--k", 3)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].split()[:3] == ["folds", "system", "bands"]
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["group", name] for name in FAST.split(",")
    ]
    assert "left out 999:MgMn2O4_1: unreadable" in result.err
    with Path("out/comparison.csv").open() as file:
        table = list(csv.DictReader(file))
    document = json.loads(Path("out/comparison.json").read_text())
    assert len(table) == len(document["rows"]) == 6
    for row, kept in zip(table, document["rows"], strict=True):
        assert (row["folds"], row["system"]) == (kept["folds"], kept["system"])
        assert float(row["mae_ev"]) == kept["mae_ev"]
        assert kept["mae_ev_low"] <= kept["mae_ev"] <= kept["mae_ev_high"]
    assert document["bands"] == len(all_bands())
    assert document["refused"][0]["name"] == "999:MgMn2O4_1"
    assert sum(fold["test"] for fold in document["folds"]["group"]) == len(all_bands())
    assert Path("out/errors.png").read_bytes().startswith(b"\x89PNG")
    assert not list(Path("out").glob(".*.tmp"))


def test_json_is_the_document_and_nothing_is_done_twice(compare: Compare) -> None:
    first = compare("--systems", FAST, "--k", 3, "--repeats", 2, "--json")
    document = json.loads(first.out)
    assert document == json.loads(Path("out/comparison.json").read_text())
    assert document["reused_folds"] == 0
    again = json.loads(compare("--systems", FAST, "--k", 3, "--repeats", 2, "--json").out)
    assert again["reused_folds"] == 18
    assert again["rows"] == document["rows"]
    more = json.loads(compare("--systems", f"{FAST},svr-both", "--k", 3, "--json").out)
    assert [row["system"] for row in more["rows"]] == [*FAST.split(","), "svr-both"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--systems", "median,magic"], "--systems 'magic', expected some of median, "),
        (["--folds", "random,leave-one-out"], "--folds 'leave-one-out', expected some of random"),
        (["--k", "1"], "--k"),
    ],
)
def test_wrong_use_is_one_line(compare: Compare, arguments: list[str], message: str) -> None:
    result = compare(*arguments)
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not Path("out").exists()


def test_bad_files_are_one_line(compare: Compare, bands_file: Path, tmp_path: Path) -> None:
    absent = compare(data=tmp_path / "none.json")
    assert absent.code == 2
    entries: list[dict[str, Any]] = json.loads(bands_file.read_text())
    for entry in entries:
        del entry["class"]
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(entries))
    result = compare("--systems", "median", "--folds", "scenario-b", data=plain)
    assert result.code == 1
    assert "entry 0:MgMn2O4_1 has no class" in result.err
    assert compare("--systems", "median", "--folds", "random", data=plain).code == 0


def test_output_that_is_a_file(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    result = compare("--systems", "median")
    assert result.code == 1
    assert "pass another -o" in result.err
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(has_chgnet, reason="chgnet is installed")
def test_absent_potential_says_how_to_get_it(compare: Compare) -> None:
    result = compare("--systems", "median,chgnet", "--k", 2, "--json")
    assert result.code == 0
    document = json.loads(result.out)
    assert [row["system"] for row in document["rows"]] == ["median"]
    assert "pip install 'ionscreen[mlip]'" in document["absent"]["chgnet"]
    assert "not in the table: chgnet: " in result.err
    alone = compare("--systems", "chgnet", "--k", 2)
    assert alone.code == 3
    assert alone.out == ""


@pytest.fixture(scope="module")
def mpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    bulk = write_parquet(folder / "bulk.parquet", table(40))
    words = ["train", "pretrain", "--data", bulk, "--epochs", 1, "--width", 8, "-o", folder / "mpt"]
    words += ["--alignn-layers", 1, "--gcn-layers", 2, "--batch-size", 16]
    assert main([str(word) for word in words]) == 0
    return folder / "mpt"


def test_pretrained_networks_beside_random_ones(compare: Compare, mpt: Path) -> None:
    words = ["--systems", "model3-scratch,model3-mpt", "--epochs", 1, "--k", 2, "--json"]
    result = compare(*words, "--pretrained", mpt)
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert document["pretrained"].startswith("mpt@")
    one, other = document["rows"]
    assert (one["system"], other["system"]) == ("model3-scratch", "model3-mpt")
    assert one["mae_ev"] != other["mae_ev"]
    kept = [json.loads(file.read_text()) for file in Path("out/.work").glob("*.json")]
    sizes = "alignn_layers=1, gcn_layers=2, atom_features=92, edge_bins=80, triplet_bins=40"
    assert all(f"{sizes}, embedding=8, width=8" in one["settings"] for one in kept)
    assert sum(document["pretrained"] in one["settings"] for one in kept) == 2


def test_pretrained_systems_need_a_pretrained_network(compare: Compare, tmp_path: Path) -> None:
    result = compare("--systems", "model1-mpt,median,path-mpt", "--k", 2, "--json")
    assert result.code == 0
    assert result.err.count("not in the table") == 1
    assert "not in the table: model1-mpt, path-mpt: no pre-trained network" in result.err
    assert json.loads(result.out)["pretrained"] is None
    wrong = compare("--systems", "model1-mpt", "--pretrained", tmp_path)
    assert wrong.code == 1
    assert "no pre-trained network, expected a folder of `screen train pretrain`" in wrong.err


def test_rise_of_a_chord_through_an_atom() -> None:
    """Energies of LiRuO2 with the middle image on a lithium."""
    energies = np.array([-649.65, -638.17, np.nan, -638.2, -649.6])
    assert rise_ev(energies) == pytest.approx(11.48)
    energies[0] = np.nan
    assert rise_ev(energies) == pytest.approx(11.43)
    energies[4] = np.inf
    with pytest.raises(Unavailable, match="leave it out of the data"):
        rise_ev(energies)


@pytest.mark.slow
@pytest.mark.skipif(not has_chgnet, reason="chgnet is not installed (extra mlip)")
def test_potential_predicts(compare: Compare, bands_file: Path, tmp_path: Path) -> None:
    entries = json.loads(bands_file.read_text())[:-1]
    few = tmp_path / "few.json"
    few.write_text(json.dumps(sorted(entries, key=lambda e: len(e["atoms"]["elements"]))[:6]))
    words = ["--systems", "chgnet", "--folds", "random", "--k", 2, "--json"]
    result = compare(*words, data=few)
    assert result.code == 0, result.err
    [row] = json.loads(result.out)["rows"]
    assert row["n"] == 6
    assert 0 < row["mae_ev"] < 1
    # Other folds of the same bands need no energy again.
    [kept] = Path("out/.work").glob("chgnet-*-rises.json")
    rises = json.loads(kept.read_text())
    assert len(rises) == 6
    kept.write_text(json.dumps({key: 10 * rise_ev for key, rise_ev in rises.items()}))
    more = compare(*words, "--repeats", 2, data=few)
    assert json.loads(more.out)["reused_folds"] == 2
    assert json.loads(kept.read_text()) == {key: 10 * value for key, value in rises.items()}


def test_sigterm_ends_it_in_good_order(bands_file: Path, tmp_path: Path) -> None:
    command = ["train", "compare", "--data", bands_file, "--systems", "path-scratch"]
    command += ["--epochs", "2000", "--width", "8", "--k", "2", "-o", tmp_path / "out"]
    code = "import screen.commands.compare, sys; from screen.cli import main; sys.exit(main())"
    running = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, command)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert any("0 of 2 · path-scratch, group-0" in line for line in running.stderr)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "the same command goes on" in err
    assert not list((tmp_path / "out").glob("comparison.*"))


def test_box_plots_of_unusual_errors(tmp_path: Path) -> None:
    errors = {"exact": np.zeros(5), "one": np.array([0.3]), "wide": np.array([1e-6, 1.0, 9.0])}
    box_plots({"group": errors, "random": {"one": np.array([0.2])}}, tmp_path / "errors.png")
    assert [file.name for file in tmp_path.iterdir()] == ["errors.png"]
    assert (tmp_path / "errors.png").read_bytes().startswith(b"\x89PNG")


def test_every_kind_of_folds_has_a_title() -> None:
    assert set(TITLES) == set(FOLD_KINDS)


def test_systems_learn_from_one_file_and_are_tested_on_another(
    compare: Compare, bands_file: Path, tmp_path: Path
) -> None:
    entries = json.loads(bands_file.read_text())
    other = tmp_path / "other.json"
    other.write_text(json.dumps(entries[:6]))
    n = len(json.loads(bands_file.read_text())) - 1  # one cannot be read
    result = compare("--systems", FAST, "--test", other, "--json")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    (fold,) = document["folds"]["test"]
    assert (fold["train"], fold["test"]) == (n, 6)
    assert {row["system"] for row in document["rows"]} == set(FAST.split(","))
    assert all((row["folds"], row["n"]) == ("test", 6) for row in document["rows"])
    assert compare("--test", other, "--folds", "group").code == 2


def test_evaluate_scores_a_system_too(
    bands_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--train", str(bands_file), "--data", str(bands_file), "--json"]
    assert main([*words, "--system", "gp-geometry"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["system"] == "gp-geometry"
    assert result["mae_ev"] >= 0
    assert main(words) == 2
    assert "--system and --train go together" in capsys.readouterr().err
    assert main([*words, "--system", "crystal-ball"]) == 2
