"""``screen train``: from a file to a folder, and one line for whatever goes wrong."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.bulk import KNOWN
from models.bulk_files import load_bulk
from models.pretrain import build_graphs
from models.properties import load_properties
from screen.cli import main
from screen.training import _pace, progress
from tests.models.bulk_crystals import FORMATION, SHEAR, table, write_parquet
from tests.screen.conftest import environment

JARVIS = KNOWN[-1]
SMALL = ("--width", "8", "--alignn-layers", "1", "--gcn-layers", "1")


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty crystals, three properties, one row that cannot be read."""
    content = table(60, (SHEAR, FORMATION, JARVIS))
    content.labels[7, 0] = -1.0
    return write_parquet(tmp_path_factory.mktemp("data") / "bulk.parquet", content)


@pytest.fixture(scope="module")
def bands(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """Forty of the literature's bands, one of them corrupt."""
    entries = json.loads((data_dir / "em_bands_train.json").read_text())
    small = sorted(entries, key=lambda entry: len(entry["atoms"]["elements"]))[:40]
    small[3]["target"] = float("nan")
    path = tmp_path_factory.mktemp("data") / "bands.json"
    path.write_text(json.dumps(small))
    return path


@pytest.fixture(scope="module")
def mpt(bulk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "mpt"
    words = ["pretrain", "--data", str(bulk), "--properties", "shear,fe", "--epochs", "3"]
    assert main(["train", *words, "--batch-size", "16", *SMALL, "-o", str(folder)]) == 0
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["train", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_pretrain_writes_model_card_and_curve(mpt: Path, bulk: Path) -> None:
    names = {file.name for file in mpt.iterdir()}
    assert {"card.json", "config.json", "curve.csv", "model.safetensors"} <= names
    card = json.loads((mpt / "card.json").read_text())
    assert set(card["properties"]) == {"shear_modulus", "formation_energy"}
    assert card["data"]["refused"] == [
        ["row-7", "shear_modulus is -1, expected positive and finite"]
    ]
    with (mpt / "curve.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    content, graphs = build_graphs(load_bulk([bulk], ["gv"]), load_properties(mpt).graph)
    assert np.isfinite(load_properties(mpt).predict(graphs)).all()
    assert len(content) == len(graphs)


def test_picture_of_the_curve(mpt: Path) -> None:
    pytest.importorskip("matplotlib")
    assert (mpt / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_finetune_to_the_property_that_was_kept_back(
    capsys: pytest.CaptureFixture[str], bulk: Path, mpt: Path, tmp_path: Path
) -> None:
    code, _, err = run(
        capsys, "pretrain", "--data", bulk, "--properties", "jarvis2d", "-o", tmp_path / "no"
    )
    assert code == 2
    assert "kept from pre-training" in err
    how = ("--from", mpt, "--epochs", "2", "--size", "24", "--strategy", "layerwise", "--json")
    code, out, _ = run(
        capsys, "finetune", *how, "--data", f"{bulk}:jarvis2d", "-o", tmp_path / "2d"
    )
    assert code == 0
    document = json.loads(out)
    assert document["model_id"].startswith("2d@")
    one = document["properties"]["jarvis2d_band_gap"]
    assert one["train"] + one["validation"] == 24
    assert document["recipe"]["start"]["folder"] == "mpt"


def test_finetune_to_barriers_gives_a_model_that_predicts(
    capsys: pytest.CaptureFixture[str], bands: Path, mpt: Path, tmp_path: Path
) -> None:
    how = ("--from", mpt, "--data", bands, "--epochs", "2", "--folds", "2")
    folder = tmp_path / "tuned"
    code, out, err = run(capsys, "finetune", *how, "--strategy", "head", "-o", folder)
    assert code == 0
    assert "left out" in err
    assert "not a finite number" in err
    assert "group folds" in out
    assert main(["evaluate", "--model", str(folder), "--data", str(bands), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 39
    code, _, err = run(capsys, "finetune", "--from", folder, "--data", bands, "-o", tmp_path / "x")
    assert code == 2
    assert "was trained on this very file" in err


def test_scratch_writes_model_card_and_curves(
    capsys: pytest.CaptureFixture[str], bands: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    how = ("--data", bands, "--epochs", "2", "--folds", "2", "--width", "8")
    code, out, _ = run(capsys, "scratch", *how, "-o", folder, "--json")
    assert code == 0
    card = json.loads(out)
    assert card["data"]["bands"] == 39
    assert card["recipe"]["fit"]["start"] is None
    assert card["seconds_per_epoch"] > 0
    with (folder / "curve.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    members = [f"{kind}-0-{fold}" for kind in ("random", "group") for fold in (0, 1)]
    assert [row["member"] for row in rows] == [name for name in members for _ in range(2)]
    assert all(float(row["loss"]) > 0 for row in rows)
    pytest.importorskip("matplotlib")
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_scratch_that_stops_early_is_the_same_each_time(
    capsys: pytest.CaptureFixture[str], bands: Path, tmp_path: Path
) -> None:
    how = ("--data", bands, "--epochs", "4", "--folds", "2", "--width", "8", "--name", "same")
    how += ("--patience", "1", "--deterministic")
    for name in ("one", "other"):
        code, out, _ = run(capsys, "scratch", *how, "-o", tmp_path / name)
        assert code == 0
        assert "s per epoch of a member" in out
    one, other = (tmp_path / name / "model.safetensors" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    fit = json.loads((tmp_path / "one" / "card.json").read_text())["recipe"]["fit"]
    assert (fit["patience"], fit["deterministic"]) == (1, True)
    with (tmp_path / "one" / "curve.csv").open() as handle:
        assert all(float(row["validation"]) > 0 for row in csv.DictReader(handle))


def test_too_few_bands_or_hosts(
    capsys: pytest.CaptureFixture[str], bands: Path, tmp_path: Path
) -> None:
    entries = json.loads(bands.read_text())
    few, alike = tmp_path / "few.json", tmp_path / "alike.json"
    few.write_text(json.dumps(entries[:11]))
    alike.write_text(json.dumps([entries[0]] * 24))
    for path, message in (
        (few, "few.json has 10 usable bands, fewer than 20: too few to train and test on; add"),
        (alike, "alike.json has bands of 1 hosts, expected at least 5, one for each group fold"),
    ):
        code, out, err = run(capsys, "scratch", "--data", path, "-o", tmp_path / "x")
        assert code == 1
        errors = [line for line in err.splitlines() if not line.startswith("note: left out")]
        assert len(errors) == 1
        assert message in errors[0]
        assert out == ""
        assert [file.name for file in tmp_path.iterdir() if "x" in file.name] == []


def test_progress_has_loss_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screen.training._LINE_EVERY_S", 0.0)
    monkeypatch.setenv("COLUMNS", "160")
    for terminal in ("", "1"):
        monkeypatch.setenv("FORCE_COLOR", terminal)
        with progress("epochs") as advance:
            advance(11, 40, "random-0-0 loss 0.512")
            advance(12, 40, "random-0-0 loss 0.498")
        shown = capsys.readouterr().err
        assert "loss 0.498" in shown
        assert re.search(r"[\d.e+]+ epochs/s · about \d+ s left", shown)
        assert ("12/40" if terminal else "12 of 40 epochs") in shown


def test_a_band_without_graph_is_named_and_left_out(
    capsys: pytest.CaptureFixture[str], bands: Path, tmp_path: Path
) -> None:
    entries = json.loads(bands.read_text())[:24]
    sparse = entries[5]["atoms"]
    sparse["lattice_mat"] = (20 * np.array(sparse["lattice_mat"])).tolist()
    path = tmp_path / "sparse.json"
    path.write_text(json.dumps(entries))
    how = ("--data", path, "--epochs", "1", "--folds", "2", "--width", "8", "--json")
    code, out, err = run(capsys, "scratch", *how, "-o", tmp_path / "x")
    assert code == 0
    card = json.loads(out)
    assert card["data"]["bands"] == 22
    (name, reason) = card["data"]["refused"][-1]
    assert reason.startswith("bad_graph: fewer than 12 neighbours")
    assert f"note: left out {name}: {reason}" in err


@pytest.mark.parametrize(
    ("each_s", "left", "words"),
    [
        (0.4, 100, "2.5 epochs/s · about 40 s left"),
        (12.0, 100, "12 s per epoch · about 20 min left"),
        (0.001, 7_200_000, "1e+03 epochs/s · about 120 min left"),
    ],
)
def test_pace(each_s: float, left: int, words: str) -> None:
    assert _pace(each_s, left, "epochs") == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pretrain --data none.parquet -o x", "no file none.parquet"),
        ("pretrain --data {bulk} --properties zz -o x", "no property 'zz', the file offers"),
        ("pretrain --data {bulk} --properties gv,shear -o x", "named twice"),
        ("pretrain --data {bulk} --learning-rate 0 -o x", "learning_rate is 0.0"),
        ("finetune --from none --data {bulk}:fe -o x", "no model in none"),
        ("finetune --from {mpt} --data {bulk} -o x", "names no property; pass --data"),
        ("finetune --from {mpt} --data none.h5:fe -o x", "no file none.h5"),
        ("finetune --from {mpt} --data {bulk}:fe --strategy most -o x", "must be one of head"),
        ("finetune --from {mpt} --data {bulk}:fe --size 59 -o x", "size is 59, expected 20 to"),
        ("finetune --from {mpt} --data none.json -o x", "no file none.json"),
    ],
)
def test_one_line_for_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
    bulk: Path,
    mpt: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words.format(bulk=bulk, mpt=mpt).split())
    assert code in (1, 2)
    errors = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert out == ""
    assert not (tmp_path / "x").exists()


def test_killed_and_called_again_gives_the_same_weights(bulk: Path, tmp_path: Path) -> None:
    """Killed as a process of its own, once it has saved its state; finished in this one."""
    data = ["train", "pretrain", "--data", str(bulk), "--properties", "fe", "--name", "same"]
    words = [*data, "--epochs", "8", "--batch-size", "8", *SMALL, "-o"]
    states = tmp_path / ".killed.training"
    program = [sys.executable, "-m", "screen.cli", *words, str(tmp_path / "killed")]
    with subprocess.Popen(program, env=environment(), cwd=tmp_path) as process:
        while process.returncode is None and not list(states.glob("*.state")):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name in ("whole", "killed"):
            assert main([*words, str(tmp_path / name)]) == 0
    finally:
        torch.set_num_threads(before)
    whole, killed = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")
    )
    assert whole == killed


@pytest.mark.parametrize("variant", ["model1", "model4"])
def test_a_published_system_is_trained_and_scored(
    capsys: pytest.CaptureFixture[str], bands: Path, tmp_path: Path, variant: str
) -> None:
    folder = tmp_path / variant
    words = ["--variant", variant, "--epochs", "1", "--folds", "2", *SMALL, "-o", folder]
    assert run(capsys, "scratch", "--data", bands, *words)[0] == 0
    assert json.loads((folder / "config.json").read_text())["network"]["variant"] == variant
    assert main(["evaluate", "--model", str(folder), "--data", str(bands), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 39


def test_a_published_system_starts_from_a_pretrained_trunk(
    capsys: pytest.CaptureFixture[str], mpt: Path, bands: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model3"
    words = ["--variant", "model3", "--epochs", "1", "--folds", "2", "-o", folder]
    assert run(capsys, "finetune", "--from", mpt, "--data", bands, *words)[0] == 0
    config = json.loads((folder / "config.json").read_text())
    assert config["network"]["variant"] == "model3"
    assert config["graph"]["environment_a"] is None


def test_an_unknown_system_is_wrong_use(
    capsys: pytest.CaptureFixture[str], bands: Path, tmp_path: Path
) -> None:
    words = ["--variant", "model5", "-o", tmp_path / "m"]
    code, _, err = run(capsys, "scratch", "--data", bands, *words)
    assert code == 2
    assert "variant is 'model5', must be" in err


def test_blend_writes_model_card_and_picture(
    capsys: pytest.CaptureFixture[str], bands: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "blend"
    words = ["--folds", "2", "--repeats", "1", "--note", "a test", "--json", "-o", folder]
    code, out, err = run(capsys, "blend", "--data", bands, *words)
    assert code == 0
    assert "left out" in err
    card = json.loads(out)
    assert card["note"] == "a test"
    assert card["data"]["bands"] == 39
    assert (folder / "reliability.png").read_bytes().startswith(b"\x89PNG")
    assert main(["evaluate", "--model", str(folder), "--data", str(bands)]) == 0
    assert main(["models", "show", str(folder)]) == 0
    assert "MAE by applicability" in capsys.readouterr().out
