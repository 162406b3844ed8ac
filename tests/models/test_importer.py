"""Published checkpoints: the same numbers as DGL's networks give, and nothing else is read."""

from __future__ import annotations

import bz2
import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import checkpoint
from models.alignn import ALIGNN, TrunkConfig
from models.batch import collate
from models.checkpoint import ModelError
from models.dataset import DatasetError, LabelledBands
from models.graph import build_graph
from models.import_scale import (
    GRAPH,
    Scale,
    known_by_name,
    save_imported,
    scale_from_known,
    scale_from_range,
)
from models.importer import build_network, check_training_config, read_checkpoint
from models.predict import Predictor
from models.train import predict_targets
from pathways.types import Band
from tests import oracle

SMALL = TrunkConfig(alignn_layers=2, gcn_layers=1, width=24, embedding=12)
HIDDEN = 16
State = dict[str, Tensor]


def shaken(state: State) -> State:
    """Weights and statistics as a trained network might have, not those it starts from."""
    generator = torch.Generator().manual_seed(3)
    for name, value in state.items():
        if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
            value.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("bias", "running_mean")):
            value.normal_(std=0.3, generator=generator)
        elif name.endswith("weight"):
            value.normal_(std=1.5 / value.shape[1] ** 0.5, generator=generator)
    return state


def plain_state() -> State:
    """Of the plain network; a test of the reference shows that DGL's has the same names."""
    return shaken(ALIGNN(SMALL).state_dict())


class PublishedHead(nn.Module):
    """The multi-property network's layers after the readout, with the published names."""

    def __init__(self, width: int, n_outputs: int = 1) -> None:
        super().__init__()
        self.conv_to_fc = nn.ModuleList(nn.Linear(width, HIDDEN) for _ in range(n_outputs))
        self.fc_hp = nn.ModuleList(
            nn.ModuleList([nn.Linear(HIDDEN, HIDDEN)]) for _ in range(n_outputs)
        )
        self.fc_out = nn.ModuleList(nn.Linear(HIDDEN, 1) for _ in range(n_outputs))

    def forward(self, pooled: Tensor) -> Tensor:
        silu = nn.functional.silu
        first = silu(self.conv_to_fc[0](silu(pooled)))
        inner: Any = self.fc_hp[0]
        out: Tensor = self.fc_out[0](silu(inner[0](first)))
        return out.squeeze(-1)


def multi_state(n_outputs: int = 1) -> State:
    trunk = {k: v for k, v in ALIGNN(SMALL).state_dict().items() if not k.startswith("fc.")}
    return shaken({**trunk, **PublishedHead(SMALL.width, n_outputs).state_dict()})


def write(state: Any, path: Path) -> Path:
    """As the training loop does: the optimiser's state beside the weights."""
    torch.save({"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]}}, path)
    return path


def packed(path: Path) -> Path:
    target = path.with_name(f"{path.name}.bz2")
    target.write_bytes(bz2.compress(path.read_bytes()))
    return target


@pytest.fixture(params=["plain", "multi"])
def state(request: pytest.FixtureRequest) -> State:
    return plain_state() if request.param == "plain" else multi_state()


@pytest.mark.skipif(bool(oracle.missing()), reason=oracle.missing() or "present")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # alignn's own
@pytest.mark.parametrize("pack", [lambda path: path, packed])
def test_predictions_are_those_of_dgl(
    state: State, pack: Callable[[Path], Path], bands: list[Band], tmp_path: Path
) -> None:
    published = oracle.published_network(SMALL)
    head: nn.Module = nn.Identity()
    if "fc.weight" not in state:
        head = PublishedHead(SMALL.width)
        head.load_state_dict({k: v for k, v in state.items() if k.startswith(("conv", "fc_"))})
        published.fc = nn.Identity()
    trunk = {k: v for k, v in state.items() if not k.startswith(("conv_to_fc", "fc_"))}
    published.load_state_dict(trunk)
    written = {**published.state_dict(), **head.state_dict()}
    path = pack(write(written, tmp_path / "best_model.pt"))
    ours = build_network(read_checkpoint(path), path.name).double()
    published.double().eval()
    head.double()
    with torch.no_grad():
        for band in bands:
            mine = ours(collate([build_graph(band, GRAPH)], dtype=torch.float64))
            theirs = head(published(oracle.published_graph(band.folded))).reshape(-1)
            assert abs(float(mine - theirs)) < 1e-6


def test_an_imported_model_predicts_in_ev(
    state: State, bands: list[Band], labelled: LabelledBands, tmp_path: Path
) -> None:
    network = build_network(state, "test")
    outputs = predict_targets(network, [build_graph(band, GRAPH) for band in bands])
    assert np.ptp(outputs) > 0.01
    scale = Scale(0.4, 0.5 - 0.4 * float(outputs.min()), "a test")
    save_imported(network, "mine", tmp_path / "mine", scale, {"file": "x.pt"}, labelled)
    predictor = Predictor.load(tmp_path / "mine")
    assert predictor.model_id.startswith("mine@")
    assert predictor.graph_settings.shell == "published"
    predictions = predictor(bands)
    expected = scale.slope_ev * outputs + scale.intercept_ev
    np.testing.assert_allclose([p.em_ev for p in predictions], expected, rtol=2e-5)
    assert all(p.em_low_ev < p.em_ev < p.em_high_ev for p in predictions)
    assert all(p.applicability > 0 for p in predictions)
    card = checkpoint.read_card(tmp_path / "mine")
    assert card["data"]["sha256"] == labelled.digest
    assert card["scale"] == {
        "slope_ev": 0.4,
        "intercept_ev": scale.intercept_ev,
        "origin": "a test",
    }
    assert "a test" in card["how_scored"]


def test_outputs_below_zero_are_no_barriers_below_zero(bands: list[Band], tmp_path: Path) -> None:
    network = build_network(plain_state(), "test")
    save_imported(network, "low", tmp_path / "low", Scale(1e-3, -5.0, "a test"), {})
    for prediction in Predictor.load(tmp_path / "low")(bands[:2]):
        assert prediction.em_ev == 0.0
        assert prediction.applicability == 0.0  # what it was trained on is not known


def test_a_raw_network_predicts_nothing(tmp_path: Path) -> None:
    network = build_network(plain_state(), "test")
    folder = tmp_path / "raw"
    for _ in range(2):
        save_imported(network, "raw", folder, None, {})
    with pytest.raises(ModelError, match="--target-min") as raised:
        Predictor.load(folder)
    assert "\n" not in str(raised.value)
    assert checkpoint.read_card(folder)["unit"] == "not known"
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_scale_from_the_range_of_the_targets() -> None:
    unit = scale_from_range(0.1, 2.1, "0..1")
    assert (unit.slope_ev, unit.intercept_ev) == pytest.approx((2.0, 0.1))
    both = scale_from_range(0.1, 2.1, "-1..1")
    assert (both.slope_ev, both.intercept_ev) == pytest.approx((1.0, 1.1))
    assert "0.1 to 2.1 eV scaled to -1..1" in both.origin
    for minimum, maximum in ((2.1, 0.1), (1.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="not above"):
            scale_from_range(minimum, maximum, "0..1")
    with pytest.raises(ValueError, match=r"expected 0\.\.1 or -1\.\.1"):
        scale_from_range(0.0, 1.0, "0..2")


@pytest.fixture
def known(labelled: LabelledBands) -> tuple[Any, LabelledBands]:
    """A network, and bands with its own predictions in eV, rounded as tables are."""
    network = build_network(multi_state(), "test")
    graphs = [build_graph(band, GRAPH) for band in labelled.bands]
    em_ev = np.round(1.7 * predict_targets(network, graphs).astype(float) + 0.6, 4)
    return network, replace(labelled, em_ev=em_ev)


def test_scale_from_known_predictions(known: tuple[Any, LabelledBands]) -> None:
    scale = scale_from_known(*known)
    assert (scale.slope_ev, scale.intercept_ev) == pytest.approx((1.7, 0.6), abs=2e-3)
    assert f"{len(known[1])} predictions" in scale.origin


def test_labels_are_no_predictions(
    known: tuple[Any, LabelledBands], labelled: LabelledBands
) -> None:
    with pytest.raises(ModelError, match="own predictions in eV"):
        scale_from_known(known[0], labelled)
    few = replace(known[1], bands=known[1].bands[:2], em_ev=known[1].em_ev[:2])
    with pytest.raises(ModelError, match="at least 3"):
        scale_from_known(known[0], few)


def test_known_predictions_by_name(known: tuple[Any, LabelledBands], tmp_path: Path) -> None:
    network, predicted = known
    bands = replace(predicted, names=tuple(f"jid-{i}:hop{i}" for i in range(len(predicted))))
    rows = [("hop2", 2), ("jid-3", 3), ("jid-0:hop0", 0)]
    path = tmp_path / "known.csv"
    lines = [f"{name},{float(predicted.em_ev[i])}" for name, i in rows]
    path.write_text("\n".join(["name,prediction_ev", *lines]))
    scale = scale_from_known(network, known_by_name(path, bands))
    assert (scale.slope_ev, scale.intercept_ev) == pytest.approx((1.7, 0.6), abs=5e-3)
    assert "known.csv" in scale.origin
    twice = replace(bands, names=tuple(f"{i}:hop2" for i in range(len(bands))))
    with pytest.raises(DatasetError, match=f"'hop2' names {len(bands)} bands"):
        known_by_name(path, twice)
    for text in (
        "name,prediction_ev\nnobody,1",
        "id,prediction\n1,2",
        "name,prediction_ev\nhop2,x",
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=r"known\.csv: \w+Error .* prediction_ev"):
            known_by_name(path, bands)


class Touch:
    """What an attacker puts into a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("pack", [lambda path: path, packed])
@pytest.mark.parametrize("way", ["beside", "inside", "plain pickle", "old format"])
def test_hostile_pickles_are_refused_unrun(
    way: str, pack: Callable[[Path], Path], tmp_path: Path
) -> None:
    mark, path = tmp_path / "mark", tmp_path / "best_model.pt"
    weights = plain_state()
    if way == "beside":
        torch.save({"model": weights, "trainer": Touch(mark)}, path)
    elif way == "inside":
        torch.save({"model": {**weights, "fc.bias": Touch(mark)}}, path)
    elif way == "plain pickle":
        path.write_bytes(pickle.dumps({"model": Touch(mark)}))
    else:
        content = {"model": weights, "trainer": Touch(mark)}
        torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="arrays alone") as raised:
        read_checkpoint(pack(path))
    assert "\n" not in str(raised.value)
    assert not mark.exists()


class Called:
    """Runs what a name stands for that the reader lets through unread."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return getattr, (self.mark, "touch")


def test_the_state_of_an_old_schedule_is_passed_over(tmp_path: Path) -> None:
    """PyTorch 1 saved the schedule's function by name; that name is never followed."""
    schedule = torch.optim.lr_scheduler.OneCycleLR
    path = tmp_path / "best_model.pt"
    state = plain_state()
    content = {"model": state, "lr_scheduler": {"anneal_func": schedule._annealing_cos}}
    torch.save(content, path)
    found = read_checkpoint(path)
    assert all(torch.equal(found[name], value) for name, value in state.items())
    torch.save({"model": {"fc.weight": schedule._annealing_cos}}, path)
    with pytest.raises(ModelError, match=r"'fc\.weight' under 'model' is no array"):
        read_checkpoint(path)
    torch.save({"model": state, "trainer": Called(tmp_path / "mark")}, path)
    with pytest.raises(ModelError, match="it holds pathlib"):
        read_checkpoint(path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("pack", [lambda path: path, packed])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(
    share: float, pack: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = pack(write(plain_state(), tmp_path / "best_model.pt"))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"get it again|expected a checkpoint") as raised:
        read_checkpoint(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {}}, "no weights under 'model'"),
        ({"model": {}}, "no weights under 'model'"),
        ([1, 2], "no weights under 'model'"),
        ({"model": {"fc.weight": 3}}, "'fc.weight' under 'model' is no array"),
        ({"model": {1: torch.zeros(2)}}, "'1' under 'model' is no array"),
        ({"model": {"a": torch.eye(2).to_sparse()}}, "is no array"),
        ({"model": {"a": torch.tensor([1.0, torch.nan])}}, "not finite"),
        ({"model": {"a": torch.zeros(1).expand(2**13, 2**14)}}, "more than 67,108,864 weights"),
    ],
)
def test_other_content_is_refused(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(content, path)
    with pytest.raises(ModelError, match=said):
        read_checkpoint(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.pt", tmp_path / "nowhere.pt.bz2", tmp_path):
        with pytest.raises(ModelError, match=r"expected a checkpoint, \.pt or \.pt\.bz2"):
            read_checkpoint(path)


def test_an_ordered_checkpoint_is_read(tmp_path: Path) -> None:
    state = OrderedDict(plain_state())
    found = read_checkpoint(write(state, tmp_path / "x.pt"))
    assert list(found) == list(state)


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key != name}


def changed(name: str, value: Tensor) -> Callable[[State], State]:
    return lambda state: {**state, name: value}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("fc.weight"), "missing"),
        (without("gcn_layers.0.bn_nodes.running_var"), "bn_nodes.running_var' missing"),
        (without("atom_embedding.layer.0.weight"), "atom_embedding.layer.0.weight' missing"),
        (changed("attention.linear_q.weight", torch.zeros(2, 2)), "unknown"),
        (changed("fc.weight", torch.zeros(2, 24)), r"shape \(2, 24\), expected \(1, 24\)"),
        (changed("fc.bias", torch.zeros(())), r"shape \(\), expected \(1,\)"),
        (changed("atom_embedding.layer.0.weight", torch.zeros(24)), "no ALIGNN network"),
        (changed("atom_embedding.layer.0.weight", torch.zeros(24, 1)), "expected 92"),
        (changed("atom_embedding.layer.0.weight", torch.zeros(1025, 92)), "1024 wide at most"),
        (changed("gcn_layers.7.src_gate.weight", torch.zeros(24, 24)), "missing"),
        (changed("edge_embedding.0.centers", torch.linspace(0, 6, 80)), "other centres"),
        (lambda state: {**state, **multi_state()}, "MODEL-1, 2 or 4"),
        (lambda state: multi_state(6), "predicts 6 properties"),
    ],
)
def test_other_networks_are_refused_in_a_line(change: Callable[[State], State], said: str) -> None:
    with pytest.raises(ModelError, match=said) as raised:
        build_network(change(plain_state()), "best_model.pt")
    assert str(raised.value).startswith("best_model.pt: ")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_settings_of_the_training_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    good = {"cutoff": 8.0, "max_neighbors": 12, "use_canonize": False, "model": {"name": "alignn"}}
    path.write_text(json.dumps(good))
    check_training_config(path)
    for other, said in (
        ({"use_canonize": True}, "use_canonize is True"),
        ({"max_neighbors": 16}, "max_neighbors is 16"),
        ({"model": {"link": "log"}}, "link is 'log'"),
    ):
        path.write_text(json.dumps({**good, **other}))
        with pytest.raises(ModelError, match=said):
            check_training_config(path)
    for text in ("[]", "{", '{"model": 3}'):
        path.write_text(text)
        with pytest.raises(ModelError, match="no config of a training run"):
            check_training_config(path)
