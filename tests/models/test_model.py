"""A model as a whole: trained, saved, found, loaded, scored; and every way it can be broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import DEFAULT_MODEL, checkpoint
from models.calibration import calibrate, cross_fitted_intervals_ev
from models.checkpoint import ModelError
from models.dataset import DatasetError, LabelledBands, group_folds, load_bands, random_folds
from models.ensemble import member_names, train_ensemble
from models.evaluate import evaluate
from models.metrics import scores
from models.precision import route_matmuls
from models.predict import Predictor
from pathways.elements import SYMBOLS
from pathways.types import Band
from tests.models.conftest import TINY


def test_prediction_is_sane(tiny_model: Path, bands: list[Band]) -> None:
    predictor = Predictor.load(tiny_model)
    assert predictor.model_id == checkpoint.model_id(tiny_model)
    assert predictor.model_id.startswith("tiny@")
    for one in predictor(bands):
        assert 0 <= one.em_low_ev <= one.em_ev <= one.em_high_ev
        assert one.em_std_ev > 0
        assert 0 <= one.p_good <= 1
        assert 0 <= one.applicability <= 1
    assert predictor([]) == []


def test_saved_and_loaded_is_the_same(trained: Any, tiny_model: Path, bands: list[Band]) -> None:
    ensemble, card = trained
    before = Predictor(ensemble, "unsaved")(bands)
    assert Predictor.load(tiny_model)(bands) == before
    assert checkpoint.read_card(tiny_model) == json.loads(json.dumps(card))
    assert checkpoint.read_graph_settings(tiny_model) == ensemble.graph


def test_restart_trains_only_what_is_missing(
    labelled: LabelledBands, trained: Any, tmp_path: Path
) -> None:
    seen: list[str] = []
    train_ensemble(labelled, TINY, tmp_path, "tiny", on_epoch=lambda name, *_: seen.append(name))
    assert set(seen) == set(member_names(TINY))
    folder = next(tmp_path.iterdir())
    (folder / "group-0-1.safetensors").unlink()
    seen.clear()
    again, _ = train_ensemble(
        labelled, TINY, tmp_path, "tiny", on_epoch=lambda name, *_: seen.append(name)
    )
    assert set(seen) == {"group-0-1"}
    graphs = [Predictor(again, "again").graph(band) for band in labelled.bands]
    np.testing.assert_allclose(again.votes(graphs), trained[0].votes(graphs), atol=1e-5)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", b"no weights", "not a readable model"),
        ("config.json", b"{", "not readable as JSON"),
        ("config.json", b'{"format": 99}', "format 99"),
        ("config.json", b'{"format": 1, "name": "x"}', "not a readable model"),
        ("config.json", b"[]", "format None"),
    ],
)
def test_broken_model(
    tiny_model: Path, tmp_path: Path, file: str, content: bytes, message: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / file).write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        checkpoint.load(broken)
    assert "\n" not in str(caught.value)


def test_truncated_weights_and_no_model(tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a readable model"):
        checkpoint.load(broken)
    with pytest.raises(ModelError, match="not a readable model"):
        checkpoint.check(broken)
    checkpoint.check(tiny_model)
    with pytest.raises(ModelError, match="models list"):
        checkpoint.find_model("no-such-model")


def test_every_shipped_model_loads_and_has_a_card(bands: list[Band]) -> None:
    shipped = checkpoint.list_models()
    assert {"model3", DEFAULT_MODEL} <= {info.name for info in shipped}
    for info in shipped:
        size = sum(file.stat().st_size for file in info.path.iterdir())
        assert size < 20e6
        predictor = Predictor.load(info.name)
        assert all(np.isfinite(one.em_ev) for one in predictor(bands[:3]))
        card = checkpoint.read_card(info.path)
        for kind in ("random_folds", "group_folds"):
            assert 0 < card[kind]["mae_ev"] < 1
            assert len(card[kind]["mae_ev_interval"]) == 2
        assert len(card["data"]["sha256"]) == 64


def test_scores_against_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, mean_absolute_error, precision_score, r2_score

    rng = np.random.default_rng(0)
    em_ev = rng.lognormal(-0.5, 0.6, 200)
    predicted = em_ev * rng.lognormal(0, 0.3, 200)
    found = scores(em_ev, predicted, predicted * 0.7, predicted * 1.4)
    assert found["mae_ev"] == pytest.approx(mean_absolute_error(em_ev, predicted))
    assert found["r2"] == pytest.approx(r2_score(em_ev, predicted))
    good, called = em_ev <= 0.65, predicted <= 0.65
    assert found["accuracy"] == pytest.approx(accuracy_score(good, called))
    assert found["precision_good"] == pytest.approx(precision_score(good, called))
    assert found["precision_bad"] == pytest.approx(precision_score(~good, ~called))
    low, high = found["mae_ev_interval"]  # type: ignore[misc]
    assert low < found["mae_ev"] < high  # type: ignore[operator]


def test_scores_of_one_entry_have_no_r2() -> None:
    found = scores(np.array([0.5]), np.array([0.6]))
    assert found["r2"] is None
    assert found["precision_bad"] is None


def test_intervals_cover_what_they_say() -> None:
    """Heavy-tailed errors that grow with the prediction: held-out coverage is still near 90 %."""
    rng = np.random.default_rng(1)
    n = 2000
    mean = rng.normal(-0.4, 0.6, n)
    rows = np.stack([np.ones(n), mean, rng.random(n), rng.random(n)], axis=1)
    target = mean + rng.standard_t(4, n) * np.exp(0.4 * mean - 1.5)
    folds = random_folds(n, 5, 0)
    spread = np.full(n, 0.05)
    low, high = cross_fitted_intervals_ev(rows, target, mean, spread, folds)
    em_ev = np.exp(target) - 0.1
    assert np.mean((low <= em_ev) & (em_ev <= high)) == pytest.approx(0.9, abs=0.025)
    fitted = calibrate(rows, target - mean, spread)
    sigma = fitted.sigma(rows, spread)
    chance = fitted.p_good(mean, sigma)
    for level in (0.25, 0.5, 0.75):
        near = np.abs(chance - level) < 0.1
        assert (em_ev[near] <= 0.65).mean() == pytest.approx(level, abs=0.12)


def test_folds() -> None:
    groups = [f"host{i // 3}" for i in range(60)]
    folds = group_folds(groups, 5, seed=0)
    assert np.bincount(folds).tolist() == [12] * 5
    for name in set(groups):
        assert len({fold for fold, group in zip(folds, groups, strict=True) if group == name}) == 1
    assert np.bincount(random_folds(57, 5, 0)).min() == 11


def entry(band: Band, em_ev: float, **changes: Any) -> dict[str, Any]:
    """A band in the published JSON format."""
    folded = band.folded
    atoms = {
        "lattice_mat": folded.lattice.tolist(),
        "coords": folded.frac.tolist(),
        "elements": [SYMBOLS[z] for z in folded.numbers],
        "cartesian": False,
    }
    return {"jid": 1, "sys_name": "x", "target": em_ev, "atoms": atoms | changes}


def test_published_format_round_trip(bands: list[Band], tmp_path: Path) -> None:
    cartesian = {"coords": (bands[1].folded.frac @ bands[1].lattice).tolist(), "cartesian": True}
    file = tmp_path / "bands.json"
    file.write_text(json.dumps([entry(bands[0], 0.4), entry(bands[1], 0.5, **cartesian)]))
    data = load_bands(file)
    assert data.em_ev.tolist() == [0.4, 0.5]
    for read, given in zip(data.bands, bands, strict=False):
        np.testing.assert_allclose(read.ion_frac, given.ion_frac, atol=1e-9)
        np.testing.assert_allclose(read.host_frac, given.host_frac, atol=1e-9)


def test_bad_entries_are_named_and_left_out(
    tiny_model: Path, bands: list[Band], tmp_path: Path
) -> None:
    crossed = np.array(bands[0].folded.frac)
    crossed[6] = crossed[7]
    bent = np.array(bands[0].folded.frac)
    bent[2] += 0.1
    entries: list[Any] = [
        entry(bands[0], 0.4),
        entry(bands[0], 0.4, coords=crossed.tolist()),
        entry(bands[0], 0.4, coords=bent.tolist()),
        entry(bands[0], float("nan")),
        entry(bands[0], 0.4, elements=["Qq"] * len(bands[0])),
        entry(bands[0], 0.4, lattice_mat=[[0, 0, 0]] * 3),
        entry(bands[0], 0.4, elements=["Mg"]),
        {"target": 1.0},
        "text",
    ]
    file = tmp_path / "bands.json"
    file.write_text(json.dumps(entries))
    data = load_bands(file)
    reasons = [reason.split(":")[0] for _, reason in data.refused]
    assert reasons == [
        "overlapping_atoms",
        "bad_band",
        "non_finite",
        "unreadable",
        "singular_cell",
        "unreadable",
        "unreadable",
        "unreadable",
    ]
    result = evaluate(Predictor.load(tiny_model), file)
    assert result["n"] == 1
    assert len(result["refused"]) == 8


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "[{}]"])
def test_no_bands_at_all(tmp_path: Path, content: str) -> None:
    file = tmp_path / "bands.json"
    file.write_text(content)
    with pytest.raises(DatasetError, match=r"bands\.json") as caught:
        load_bands(file)
    assert "\n" not in str(caught.value)


def test_training_data_holds_three_corrupt_entries(data_dir: Path) -> None:
    data = load_bands(data_dir / "em_bands_train.json")
    assert len(data) == 556
    assert [name.split(":")[1] for name, _ in data.refused] == [
        "Na4MnAlP3O12_3",
        "Na4MnAlP3O12_2",
        "Na4MnAlP3O12_1",
    ]


def test_routed_products_are_exact_to_round_off() -> None:
    import torch

    before = torch.backends.mkldnn.matmul.fp32_precision
    try:
        route_matmuls()
        a = torch.randn(300, 128)
        b = torch.randn(64, 128)
        exact = a.double() @ b.double().T
        error = torch.nn.functional.linear(a, b).double() - exact
        assert float(error.norm() / exact.norm()) < 3e-6
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
