"""One table for many systems: right scores, and nothing computed twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.alignn import TrunkConfig
from models.arithmetic import deterministic
from models.barrier import BarrierConfig
from models.checkpoint import ModelError
from models.compare import News, Predicted, Unavailable, compare
from models.dataset import LabelledBands, load_bands
from models.ensemble import Recipe
from models.finetune import load_source
from models.graph import GraphSettings, build_graph
from models.loop import Schedule
from models.metrics import scores
from models.paired_scores import score
from models.pretrain import PretrainSettings, build_graphs, pretrain
from models.properties import load_properties, save_properties
from models.splits import draw_folds
from models.systems import (
    SYSTEMS,
    Median,
    Network,
    SystemOptions,
    read_pretrained,
    without_bad_graphs,
)
from models.train import FitSettings, fit
from pathways.types import Band, FloatArray
from tests.models.bulk_crystals import table
from tests.models.labelled import all_bands, labelled_as, write_published

PRETRAIN = PretrainSettings(
    trunk=TrunkConfig(1, 1, width=8, embedding=8),
    head=(16,),
    schedule=Schedule(1, 16, noise_a=0.0, ema_decay=0.0),
)


@dataclass
class Lengths:
    """Knows how the bands were labelled; counts what it is asked."""

    name: str = "lengths"
    settings: str = "1"
    std_ev: float | None = None
    stop_after: int = 10**9
    asked: list[tuple[int, int]] = field(default_factory=list)

    def fit_predict(
        self, train: Sequence[Band], em_ev: FloatArray, test: Sequence[Band]
    ) -> Predicted:
        if len(self.asked) == self.stop_after:
            raise KeyboardInterrupt
        self.asked.append((len(train), len(test)))
        predicted = np.array([band.length_a / 8 for band in test])
        return Predicted(predicted, None if self.std_ev is None else 0 * predicted + self.std_ev)


@dataclass
class Missing:
    name: str = "missing"
    settings: str = ""

    def fit_predict(
        self, train: Sequence[Band], em_ev: FloatArray, test: Sequence[Band]
    ) -> Predicted:
        raise Unavailable("something is not installed")


@pytest.fixture(scope="module")
def data() -> LabelledBands:
    return labelled_as(all_bands())


def test_scores_by_hand() -> None:
    em_ev = np.array([0.2, 0.6, 1.0, 8.0])
    predicted = np.array([0.3, 0.8, 0.6, 2.0])
    std_ev = np.array([0.1, 0.1, 0.4, 1.0])
    found = score(em_ev, predicted, np.arange(4), std_ev)
    assert found["n"] == 4
    assert found["mae_ev"] == pytest.approx((0.1 + 0.2 + 0.4 + 6.0) / 4)
    assert found["mae_without_extremes_ev"] == pytest.approx((0.1 + 0.2 + 0.4) / 3)
    assert found["r2_without_extremes"] == pytest.approx(1 - 0.21 / 0.32)
    assert found["accuracy"] == 0.5
    assert found["precision_good"] == 0.5
    assert found["precision_bad"] == 0.5
    assert found["coverage90"] == 0.5  # 1.645 x 0.1 holds the first error, 1.645 x 0.4 the third


def test_scores_agree_with_those_of_single_predictions() -> None:
    rng = np.random.default_rng(1)
    em_ev = rng.lognormal(-0.5, 0.8, 300)
    predicted = em_ev * rng.lognormal(0, 0.4, 300)
    found, expected = score(em_ev, predicted, np.arange(300)), scores(em_ev, predicted)
    for name in ("mae_ev", "r2", "accuracy", "precision_good", "precision_bad"):
        assert found[name] == pytest.approx(expected[name])
        width = expected[f"{name}_interval"]
        assert found[f"{name}_low"] == pytest.approx(width[0], abs=0.3 * (width[1] - width[0]))
        assert found[f"{name}_high"] == pytest.approx(width[1], abs=0.3 * (width[1] - width[0]))
    assert found["coverage90"] is None


def test_repeats_of_a_band_do_not_narrow_the_intervals() -> None:
    rng = np.random.default_rng(2)
    em_ev = rng.lognormal(-0.5, 0.8, 60)
    predicted = em_ev + rng.normal(0, 0.2, 60)
    once = score(em_ev, predicted, np.arange(60))
    thrice = score(np.tile(em_ev, 3), np.tile(predicted, 3), np.tile(np.arange(60), 3))
    assert thrice == pytest.approx(once)


def test_no_prediction_called_bad_has_no_precision() -> None:
    found = score(np.array([0.1, 0.9]), np.array([0.2, 0.3]), np.arange(2))
    assert found["precision_bad"] is None
    assert found["precision_bad_low"] is None
    assert found["precision_good"] == 0.5


def test_one_row_per_kind_and_system(data: LabelledBands, tmp_path: Path) -> None:
    plan = {
        "random": draw_folds("random", data, None, k=3, repeats=2),
        "group": draw_folds("group", data, None, k=3),
    }
    exact = Lengths(std_ev=0.1)
    result = compare(data, plan, [exact, Median(), Missing()], tmp_path)
    keys = [(row["folds"], row["system"]) for row in result.rows]
    assert keys == [(kind, name) for kind in plan for name in ("lengths", "median")]
    assert {row["n"] for row in result.rows} == {len(data)}
    by_key = dict(zip(keys, result.rows, strict=True))
    assert by_key["group", "lengths"]["mae_ev"] == 0.0
    assert by_key["group", "lengths"]["coverage90"] == 1.0
    assert by_key["group", "median"]["coverage90"] is None
    assert by_key["random", "median"]["r2"] < 0.1
    assert result.absent == {"missing": "something is not installed"}
    assert len(result.errors_ev["random"]["median"]) == 2 * len(data)
    assert exact.asked == [
        (len(fold.train), len(fold.test)) for folds in plan.values() for fold in folds
    ]
    # A fold's median, by hand.
    fold = plan["group"][0]
    errors = np.abs(data.em_ev[fold.test] - np.median(data.em_ev[fold.train]))
    assert result.errors_ev["group"]["median"][: len(fold.test)] == pytest.approx(errors)


def test_interrupted_comparison_goes_on(data: LabelledBands, tmp_path: Path) -> None:
    plan = {"random": draw_folds("random", data, None, k=5)}
    with pytest.raises(KeyboardInterrupt):
        compare(data, plan, [Lengths(stop_after=3), Median()], tmp_path)
    rest = Lengths()
    result = compare(data, plan, [rest, Median()], tmp_path)
    assert len(rest.asked) == 2
    assert result.reused == 6
    whole = compare(data, plan, [Lengths(), Median()], tmp_path / "other")
    assert [{**row, "seconds": 0} for row in result.rows] == [
        {**row, "seconds": 0} for row in whole.rows
    ]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from models.compare import Predicted, compare
from models.dataset import load_bands
from models.splits import draw_folds

class Lengths:
    name, settings, asked = "lengths", "1", 0
    def fit_predict(self, train, em_ev, test):
        if self.asked == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked += 1
        return Predicted(np.array([band.length_a / 8 for band in test]))

data = load_bands(Path(sys.argv[1]))
folds = draw_folds("random", data, None, k=5)
compare(data, {"random": folds}, [Lengths()], Path(sys.argv[2]))
"""


def test_killed_comparison_goes_on(tmp_path: Path) -> None:
    file = write_published(tmp_path / "bands.json")
    work = tmp_path / "work"
    killed = subprocess.run([sys.executable, "-c", KILLED, file, work], check=False)
    assert killed.returncode == -9
    bands = load_bands(file)
    rest = Lengths()
    result = compare(bands, {"random": draw_folds("random", bands, None, k=5)}, [rest], work)
    assert (result.reused, len(rest.asked)) == (2, 3)
    assert result.rows[0]["mae_ev"] == pytest.approx(0.0, abs=1e-12)


def test_what_changed_is_computed_again(data: LabelledBands, tmp_path: Path) -> None:
    plan = {"random": draw_folds("random", data, None, k=3)}
    compare(data, plan, [Lengths()], tmp_path)

    def asked(data: LabelledBands = data, k: int = 3, settings: str = "1") -> int:
        system = Lengths(settings=settings)
        compare(data, {"random": draw_folds("random", data, None, k=k)}, [system], tmp_path)
        return len(system.asked)

    assert asked() == 0
    assert asked(settings="2") == 3
    assert asked(k=4) == 4
    assert asked(data=replace(data, digest="1" * 64)) == 3
    damaged, wrong = sorted(tmp_path.iterdir())[:2]
    damaged.write_text('{"em_ev": [0.1')
    kept = json.loads(wrong.read_text())
    wrong.write_text(json.dumps({**kept, "em_ev": kept["em_ev"][1:]}))
    assert (
        asked() + asked(settings="2") + asked(k=4) + asked(data=replace(data, digest="1" * 64)) == 2
    )


def test_news_tell_what_is_left(data: LabelledBands, tmp_path: Path) -> None:
    heard: list[News] = []
    plan = {"random": draw_folds("random", data, None, k=3)}
    compare(data, plan, [Lengths(), Missing(), Median()], tmp_path, heard.append)
    assert [news.done for news in heard] == [0, 1, 1, 2, 3, 4, 5, 6]
    assert [news.total for news in heard] == [9, 9, 6, 6, 6, 6, 6, 6]
    assert [news.seconds_left is None for news in heard[:4]] == [True, True, True, False]
    assert heard[-1].seconds_left == 0.0
    assert heard[0].now == "lengths, random-0"


def test_a_system_without_an_answer_is_named(data: LabelledBands, tmp_path: Path) -> None:
    class Silent(Lengths):
        def fit_predict(
            self, train: Sequence[Band], em_ev: FloatArray, test: Sequence[Band]
        ) -> Predicted:
            return Predicted(np.full(len(test), np.nan))

    plan = {"random": draw_folds("random", data, None, k=2)}
    with pytest.raises(ValueError, match="lengths gives no number for a band of random-0"):
        compare(data, plan, [Silent()], tmp_path)
    assert not list(tmp_path.iterdir())


def test_networks_are_systems(data: LabelledBands) -> None:
    small = BarrierConfig(TrunkConfig(1, 1, width=8, embedding=8), head=(16,), dropout=0.1)
    recipe = Recipe(GraphSettings(environment_a=4.5), small, FitSettings(epochs=2, batch_size=8))
    network = Network("tiny", recipe)
    bands = data.bands
    with deterministic():  # several threads add up in changing order
        first, again = (
            network.fit_predict(bands[:16], data.em_ev[:16], bands[16:]) for _ in range(2)
        )
    assert first.em_ev.shape == (len(bands) - 16,)
    assert (first.em_ev >= 0).all()
    assert np.array_equal(first.em_ev, again.em_ev)
    longer = Network("tiny", replace(recipe, fit=FitSettings(epochs=3, batch_size=8)))
    assert longer.settings != network.settings
    assert Network("tiny", recipe, device="cuda").settings == network.settings


@pytest.fixture(scope="module")
def mpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pre-trained for a moment, with one convolution of each kind."""
    graphs = build_graphs(table(40), PRETRAIN.graph)
    model, card, _ = pretrain(*graphs, PRETRAIN, tmp_path_factory.mktemp("work"), "mpt")
    folder = tmp_path_factory.mktemp("models") / "mpt"
    save_properties(model, card, folder)
    return folder


def pretrained_options(mpt: Path, epochs: int = 1) -> SystemOptions:
    given = read_pretrained(mpt)
    return SystemOptions(epochs, trunk=given.trunk, pretrained=given)


def test_every_registered_system_answers(data: LabelledBands, mpt: Path, tmp_path: Path) -> None:
    systems = [make(pretrained_options(mpt)) for make in SYSTEMS.values()]
    assert [system.name for system in systems] == list(SYSTEMS)
    few = data.take(range(0, len(data), 2))
    fold = draw_folds("random", few, None, k=2)[0]
    result = compare(few, {"random": [fold]}, systems, tmp_path)
    assert [row["system"] for row in result.rows] == list(SYSTEMS)
    assert not result.absent


@pytest.mark.parametrize("which", ["path", "model1", "model2", "model3", "model4"])
def test_pretrained_system_differs_in_its_start_alone(
    data: LabelledBands, mpt: Path, which: str
) -> None:
    options = pretrained_options(mpt)
    scratch, given = (SYSTEMS[f"{which}-{start}"](options) for start in ("scratch", "mpt"))
    assert isinstance(scratch, Network)
    assert isinstance(given, Network)
    assert given.recipe.network == scratch.recipe.network
    assert given.recipe.graph == scratch.recipe.graph
    assert replace(given.recipe.fit, start=None) == scratch.recipe.fit
    # A rate too small to move a weight shows what the network began with.
    tiny = replace(given.recipe.fit, learning_rate=1e-12, weight_decay=0.0, batch_size=8)
    graphs = [build_graph(band, given.recipe.graph) for band in data.bands[:8]]
    network = fit(given.recipe.network, graphs, data.em_ev[:8], tiny)
    began = load_source(mpt).network.trunk.state_dict()
    for key, value in network.trunk.named_parameters():
        assert torch.allclose(value, began[key], atol=1e-9), key


def test_pretrained_systems_without_a_start_say_how_to_get_one(
    data: LabelledBands, tmp_path: Path
) -> None:
    system = SYSTEMS["model3-mpt"](SystemOptions())
    plan = {"random": draw_folds("random", data, None, k=2)}
    result = compare(data, plan, [system, Median()], tmp_path)
    assert [row["system"] for row in result.rows] == ["median"]
    assert "screen train pretrain" in result.absent["model3-mpt"]


def test_other_weights_make_another_system_and_another_place_does_not(
    mpt: Path, tmp_path: Path
) -> None:
    def settings(folder: Path) -> str:
        return SYSTEMS["model1-mpt"](pretrained_options(folder)).settings

    moved = Path(shutil.copytree(mpt, tmp_path / "moved"))
    assert settings(moved) == settings(mpt)
    model = load_properties(mpt)
    with torch.no_grad():
        next(model.network.parameters()).add_(0.1)
    save_properties(model, {}, tmp_path / "other")
    assert settings(tmp_path / "other") != settings(mpt)


def test_start_must_be_a_property_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a folder of `screen train pretrain`"):
        read_pretrained(tmp_path)


def test_bands_without_a_graph_are_refused_for_all(data: LabelledBands) -> None:
    lone = replace(
        data.bands[0],
        lattice=np.eye(3) * 400.0,
        host_numbers=np.array([8]),
        host_frac=np.array([[0.5, 0.5, 0.5]]),
    )
    mixed = replace(data, bands=(data.bands[0], lone, *data.bands[2:]))
    kept = without_bad_graphs(mixed)
    assert len(kept) == len(data) - 1
    assert kept.names == (data.names[0], *data.names[2:])
    assert kept.groups == (data.groups[0], *data.groups[2:])
    assert len(kept.em_ev) == len(kept)
    [(name, reason)] = kept.refused
    assert name == data.names[1]
    assert reason.startswith("bad_graph")
