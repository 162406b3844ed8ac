"""The property network: its loss by hand, its heads apart, and its folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.alignn import TrunkConfig
from models.batch import collate
from models.bulk_split import Scale
from models.checkpoint import ModelError, check
from models.graph import BandGraph, GraphSettings, graph_of_crystal
from models.loop import Plan, Schedule, parameter_groups, train_network
from models.properties import (
    PropertyConfig,
    PropertyModel,
    PropertyNetwork,
    is_property_model,
    load_properties,
    masked_error,
    property_model_id,
    save_properties,
)
from pathways.types import Crystal
from tests.models.bulk_crystals import FORMATION, SHEAR, crystals
from tests.pathways.crystals import repeated, rotated, shifted, shuffled

NAN = float("nan")
TRUNK = TrunkConfig(1, 1, width=8, embedding=8)


@pytest.fixture
def network() -> PropertyNetwork:
    torch.manual_seed(0)
    return PropertyNetwork(PropertyConfig(TRUNK, 2, head=(6, 4))).eval()


@pytest.fixture(scope="module")
def graphs() -> list[BandGraph]:
    return [graph_of_crystal(crystal, GraphSettings()) for crystal in crystals(8)]


def test_loss_is_the_one_computed_by_hand(
    network: PropertyNetwork, graphs: list[BandGraph]
) -> None:
    batch = collate(graphs[:3])
    target = torch.tensor([[0.5, NAN], [NAN, -0.25], [1.0, 0.75]])
    predicted = network(batch).tolist()
    by_hand = (
        abs(predicted[0][0] - 0.5)
        + abs(predicted[1][1] + 0.25)
        + abs(predicted[2][0] - 1.0)
        + abs(predicted[2][1] - 0.75)
    )
    assert masked_error(network, batch, target).item() == pytest.approx(by_hand, rel=1e-5)


def test_absent_labels_do_not_move_their_head(
    network: PropertyNetwork, graphs: list[BandGraph]
) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    target = torch.tensor([[0.5, NAN]]).expand(len(graphs), 2)

    def loss(net: torch.nn.Module, batch: object, chosen: list[int], whole: list[int]) -> object:
        return masked_error(net, batch, target[chosen]) / len(whole)  # type: ignore[arg-type]

    train_network(
        network,
        graphs,
        loss,  # type: ignore[arg-type]
        Schedule(epochs=2, batch_size=4, ema_decay=0.0, weight_decay=0.5),
        Plan(parameter_groups([(network.parameters(), 1e-2)], 0.5)),
        key="",
    )
    after = network.state_dict()
    assert all(
        torch.equal(before[key], after[key]) == key.startswith("heads.1.")
        for key in before
        if key.startswith("heads.")
    )


def test_a_step_in_parts_has_the_gradient_of_the_whole(
    network: PropertyNetwork, graphs: list[BandGraph]
) -> None:
    """Without batch moments, that is: those are of each part."""
    target = torch.linspace(-1, 1, 16).view(8, 2)
    target[::3, 0] = NAN
    n_labels = int((~target.isnan()).sum())
    gradients = []
    for parts in ([range(8)], [range(0, 8, 2), range(1, 8, 2)]):
        network.zero_grad()
        for part in parts:
            chosen = list(part)
            batch = collate([graphs[i] for i in chosen])
            (masked_error(network, batch, target[chosen]) / n_labels).backward()
        gradients.append([one.grad.clone() for one in network.parameters() if one.grad is not None])
    for whole, cut in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, cut, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("change", [rotated, shifted, shuffled, repeated])
def test_invariances(network: PropertyNetwork, change: object) -> None:
    crystal = crystals(4)[3]
    other = change(crystal, np.random.default_rng(1))  # type: ignore[operator]
    both = [graph_of_crystal(one, GraphSettings()) for one in (crystal, other)]
    with torch.no_grad():
        first, second = network(collate(both))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_batch_mates_do_not_matter(network: PropertyNetwork, graphs: list[BandGraph]) -> None:
    with torch.no_grad():
        together = network(collate(graphs))
        alone = torch.cat([network(collate([graph])) for graph in graphs])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.fixture
def model(network: PropertyNetwork) -> PropertyModel:
    scale = Scale(np.array([0.1, -3.0]), np.array([2.5, 1.0]), (True, False))
    return PropertyModel("tiny", GraphSettings(), network, (SHEAR, FORMATION), scale)


def test_saved_and_loaded_is_the_same(
    model: PropertyModel, graphs: list[BandGraph], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    save_properties(model, {"summary": "untrained"}, folder, {"curve.csv": b"epoch\n"})
    loaded = load_properties(folder)
    assert is_property_model(folder)
    assert (loaded.name, loaded.properties, loaded.graph) == ("tiny", model.properties, model.graph)
    np.testing.assert_array_equal(loaded.predict(graphs), model.predict(graphs))
    identity = property_model_id(folder)
    assert identity.startswith("tiny@")
    save_properties(replace(model, name="other"), {}, folder)
    assert property_model_id(folder) != identity
    assert sorted(file.name for file in folder.iterdir()) == [
        "card.json",
        "config.json",
        "model.safetensors",
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_labels_come_in_their_units(model: PropertyModel, graphs: list[BandGraph]) -> None:
    predicted = model.predict(graphs)
    with torch.no_grad():
        target = model.network(collate(graphs)).double().numpy()
    np.testing.assert_allclose(predicted[:, 1], target[:, 0 + 1] * 2.0 - 1.0, rtol=1e-4)
    np.testing.assert_allclose(np.log10(predicted[:, 0]), target[:, 0] * 1.2 + 1.3, rtol=1e-4)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b'{"format": 1}'),
        ("config.json", b'{"format": "properties-1", "name": "x"}'),
        ("model.safetensors", b"no weights"),
    ],
)
def test_broken_model(model: PropertyModel, tmp_path: Path, file: str, content: bytes) -> None:
    folder = tmp_path / "model"
    save_properties(model, {}, folder)
    (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match="not a readable property model") as caught:
        load_properties(folder)
    assert "\n" not in str(caught.value)


def test_a_property_model_is_no_barrier_model(model: PropertyModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_properties(model, {}, folder)
    with pytest.raises(ModelError, match="format properties-1"):
        check(folder)
    shutil.rmtree(folder)
    assert not is_property_model(folder)


def test_one_atom_crystals_train(network: PropertyNetwork) -> None:
    """Po, simple cubic: one atom in the cell, the least that a step's moments can be made of."""
    cells = [Crystal(np.eye(3) * a, np.array([84]), np.zeros((1, 3))) for a in (3.3, 3.4)]
    batch = collate([graph_of_crystal(cell, GraphSettings()) for cell in cells])
    network.train()
    error = masked_error(network, batch, torch.tensor([[0.5, NAN], [NAN, 0.1]]))
    error.backward()
    assert torch.isfinite(error)
