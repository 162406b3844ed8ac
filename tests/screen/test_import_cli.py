"""``screen models import``: from a checkpoint to scores, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from models.alignn import ALIGNN, TrunkConfig
from screen.cli import main
from tests.screen.test_data_cli import published_json


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    network = ALIGNN(TrunkConfig(1, 1, width=12, embedding=8))
    torch.nn.init.constant_(network.fc.bias, 0.4)
    path = tmp_path / "best_model.pt"
    torch.save({"model": network.state_dict()}, path)
    return path


@pytest.fixture
def bands(tmp_path: Path) -> Path:
    path = tmp_path / "bands.json"
    path.write_bytes(published_json())
    return path


RANGE = ["--target-min", "0.1", "--target-max", "2.1", "--scaled-to", "0..1"]


def importing(checkpoint: Path, *more: str, output: str = "published") -> list[str]:
    folder = checkpoint.with_name(output)
    return ["models", "import", str(checkpoint), "--name", "published", "-o", str(folder), *more]


def test_import_and_evaluate(
    checkpoint: Path, bands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(importing(checkpoint, *RANGE, "--trained-on", str(bands))) == 0
    said = capsys.readouterr().out
    assert "Em / eV = 2 x output + 0.1, given: targets from 0.1 to 2.1 eV scaled to 0..1" in said
    folder = str(checkpoint.with_name("published"))
    assert main(["evaluate", "--model", folder, "--data", str(bands), "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["model_id"].startswith("published@")
    assert result["n"] >= 4
    assert "trained on this very file" in err
    assert main(["models", "show", folder]) == 0
    assert "Not scored. Scale given" in capsys.readouterr().out


def test_scale_from_known_predictions(
    checkpoint: Path, bands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What one import predicts is enough for another to find its scale."""
    from models.dataset import load_bands
    from models.predict import Predictor

    assert main(importing(checkpoint, *RANGE)) == 0
    labelled = load_bands(bands)
    predicted = Predictor.load(checkpoint.with_name("published"))(labelled.bands)
    entries = json.loads(bands.read_bytes())
    for entry, prediction in zip(entries, predicted, strict=True):
        entry["target"] = prediction.em_ev
    known = bands.with_name("known.json")
    known.write_text(json.dumps(entries))
    capsys.readouterr()
    assert main(importing(checkpoint, "--known", str(known), output="again")) == 0
    said = re.search(r"Em / eV = (\S+) x output \+ (\S+), recovered", capsys.readouterr().out)
    assert said is not None
    slope, intercept = (float(word) for word in said.groups())
    assert slope == pytest.approx(2.0, abs=2e-3)
    assert intercept == pytest.approx(0.1, abs=2e-3)
    assert main(importing(checkpoint, "--known", str(bands), output="never")) == 1
    assert "own predictions in eV" in capsys.readouterr().err
    assert not checkpoint.with_name("never").exists()


def test_a_raw_network_is_refused_where_it_would_predict(
    checkpoint: Path, bands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(importing(checkpoint, "--raw")) == 0
    capsys.readouterr()
    folder = str(checkpoint.with_name("published"))
    assert main(["evaluate", "--model", folder, "--data", str(bands)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "scale that is not known" in line
    assert "--known" in line


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "no scale: pass --target-min"),
        (RANGE[:2], "go together"),
        (RANGE[:4], "go together"),
        ([*RANGE, "--raw"], "exclude one another"),
        ([*RANGE[:5], "0..2"], "expected 0..1 or -1..1"),
        ([*RANGE[:3], "0.1", *RANGE[4:]], "not above the minimum"),
        (["--known", "table.csv"], "pass --bands"),
    ],
)
def test_wrong_use_is_one_line(
    checkpoint: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(importing(checkpoint, *more)) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert not checkpoint.with_name("published").exists()


def test_what_is_there_is_not_overwritten(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = checkpoint.with_name("published")
    own.mkdir()
    (own / "thesis.tex").write_text("years of work")
    assert main(importing(checkpoint, *RANGE)) == 2
    assert "no model's folder" in capsys.readouterr().err
    assert (own / "thesis.tex").exists()
    missing = checkpoint.with_name("nowhere.pt")
    assert main(importing(missing, *RANGE)) == 2
    checkpoint.write_bytes(b"no checkpoint")
    assert main(importing(checkpoint, *RANGE, output="other")) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
