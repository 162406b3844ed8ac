"""Fine-tuning: what is copied, what is frozen, what moves how fast; to barriers and properties."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models import checkpoint
from models.alignn import TrunkConfig
from models.barrier import BarrierConfig, BarrierNetwork
from models.batch import collate
from models.bulk_split import Scale
from models.checkpoint import ModelError
from models.dataset import LabelledBands
from models.ensemble import train_ensemble
from models.finetune import Start, load_source, plan_rates, start_properties, trunk_layers
from models.graph import BandGraph, GraphSettings, build_graph
from models.loop import Schedule
from models.pretrain import PretrainSettings, build_graphs, pretrain
from models.properties import (
    PropertyConfig,
    PropertyModel,
    PropertyNetwork,
    property_model_id,
    save_properties,
)
from models.train import FitSettings, fit
from tests.models.bulk_crystals import FORMATION, GAP, SHEAR, table
from tests.models.conftest import TINY

TRUNK = TrunkConfig(2, 1, width=8, embedding=8)
BARRIER = BarrierConfig(TRUNK, head=(16,))
HEAD = (16,)


def save_pretrained(folder: Path, properties: Any) -> Path:
    torch.manual_seed(3)
    network = PropertyNetwork(PropertyConfig(TRUNK, len(properties), HEAD)).eval()
    low = np.arange(len(properties), dtype=float)
    scale = Scale(low, low + 3, tuple(one.log10 for one in properties))
    model = PropertyModel("mpt", GraphSettings(), network, tuple(properties), scale)
    save_properties(model, {}, folder)
    return folder


@pytest.fixture(scope="module")
def mpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(tmp_path_factory.mktemp("models") / "mpt", (SHEAR, GAP))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pre-trained on one property alone."""
    return save_pretrained(tmp_path_factory.mktemp("models") / "pair", (SHEAR,))


def start_from(folder: Path, strategy: Any = "all", **how: Any) -> Start:
    return Start(str(folder), load_source(folder).model_id, strategy, **how)


@pytest.fixture(scope="module")
def band_graphs(labelled: LabelledBands) -> list[BandGraph]:
    return [build_graph(band, TINY.graph) for band in labelled.bands]


def moved(before: dict[str, Any], network: nn.Module) -> set[str]:
    """First two words of everything in the network, moments included, that is not as before."""
    return {
        ".".join(key.split(".")[:3])
        for key, value in network.state_dict().items()
        if key.startswith("trunk.") and not torch.equal(before[key.removeprefix("trunk.")], value)
    }


ALL_LAYERS = {
    "trunk.atom_embedding.layer", "trunk.edge_embedding.1", "trunk.edge_embedding.2",
    "trunk.angle_embedding.1", "trunk.angle_embedding.2", "trunk.alignn_layers.0",
    "trunk.alignn_layers.1", "trunk.gcn_layers.0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "how", "expected"),
    [
        ("head", {}, set()),
        ("last", {"last_layers": 1}, {"trunk.gcn_layers.0"}),
        ("last", {"last_layers": 2}, {"trunk.gcn_layers.0", "trunk.alignn_layers.1"}),
        ("last", {"last_layers": 9}, ALL_LAYERS),
        ("all", {}, ALL_LAYERS),
        ("layerwise", {}, ALL_LAYERS),
        ("reinit-head", {}, ALL_LAYERS),
    ],
)
def test_frozen_layers_do_not_move(
    mpt: Path,
    labelled: LabelledBands,
    band_graphs: list[BandGraph],
    strategy: str,
    how: dict[str, Any],
    expected: set[str],
) -> None:
    before = load_source(mpt).network.trunk.state_dict()
    settings = FitSettings(2, 8, start=start_from(mpt, strategy, **how))
    network = fit(BARRIER, band_graphs, labelled.em_ev, settings)
    assert moved(before, network) == expected


def test_scratch_copies_nothing_and_has_the_same_schedule(
    mpt: Path, labelled: LabelledBands, band_graphs: list[BandGraph]
) -> None:
    losses: dict[str, list[float]] = {"all": [], "scratch": []}
    for strategy, found in losses.items():
        settings = FitSettings(2, 8, start=start_from(mpt, strategy))
        fit(
            BARRIER,
            band_graphs,
            labelled.em_ev,
            settings,
            on_epoch=lambda epoch, loss, found=found: found.append(loss),  # type: ignore[misc]
        )
    assert losses["all"] != losses["scratch"]
    torch.manual_seed(0)
    fresh = BarrierNetwork(BARRIER)
    groups, frozen = plan_rates(fresh, start_from(mpt, "scratch"), 1e-3, 0.1)
    other, _ = plan_rates(fresh, start_from(mpt, "all"), 1e-3, 0.1)
    assert [group["lr"] for group in groups] == [group["lr"] for group in other]
    assert frozen == []


def test_rates_fall_with_depth() -> None:
    network = BarrierNetwork(BARRIER)
    start = Start("unread", "mpt@0", "layerwise", rate_decay=0.5)
    groups, frozen = plan_rates(network, start, 8.0, 0.1)
    rate_of = {id(one): group["lr"] for group in groups for one in group["params"]}
    assert {rate_of[id(one)] for one in network.head.parameters()} == {8.0}
    rates = [
        {rate_of[id(one)] for module in layer for one in module.parameters()}
        for layer in trunk_layers(network.trunk)
    ]
    assert rates == [{0.5}, {1.0}, {2.0}, {4.0}]
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    assert frozen == []


def test_a_barrier_model_goes_on_with_its_head_and_scale(
    tiny_model: Path, labelled: LabelledBands, band_graphs: list[BandGraph]
) -> None:
    source = load_source(tiny_model, member=5)
    assert source.model_id == checkpoint.model_id(tiny_model)
    assert source.data_digests == {labelled.digest}
    still = FitSettings(1, 8, learning_rate=1e-12, noise_a=0.0, seed=5, weight_decay=0.0)
    for strategy, same in (("all", True), ("reinit-head", False)):
        network = fit(
            TINY.network,
            band_graphs,
            labelled.em_ev * 2,
            replace(still, start=start_from(tiny_model, strategy)),
        )
        both = [one(collate(band_graphs)).detach() for one in (source.network, network)]
        assert isinstance(source.network, BarrierNetwork)
        heads = [
            (one.head.state_dict(), one.target_mean, one.target_std)
            for one in (source.network, network)
        ]
        equal = all(
            torch.allclose(value, heads[1][0][key], atol=1e-6) for key, value in heads[0][0].items()
        )
        assert equal == same
        assert torch.equal(heads[0][1], heads[1][1]) == same
        assert both[0].shape == both[1].shape


def test_heads_go_along_where_they_mean_the_same(mpt: Path, pair: Path) -> None:
    def started(folder: Path, properties: Any, strategy: str) -> tuple[PropertyNetwork, Scale]:
        torch.manual_seed(7)
        network = PropertyNetwork(PropertyConfig(TRUNK, len(properties), HEAD))
        own = np.full(len(properties), -9.0)
        scale = Scale(own, own + 1, tuple(one.log10 for one in properties))
        return network, start_properties(network, properties, scale, start_from(folder, strategy))

    def same_head(network: PropertyNetwork, column: int, folder: Path, row: int) -> bool:
        old = load_source(folder).network
        assert isinstance(old, PropertyNetwork)
        state = old.heads[row].state_dict()
        new = network.heads[column].state_dict()
        return all(torch.equal(value, new[key]) for key, value in state.items())

    network, scale = started(mpt, (FORMATION, GAP), "all")
    assert same_head(network, 1, mpt, 1)
    assert not same_head(network, 0, mpt, 0)
    assert scale.low.tolist() == [-9.0, 1.0]  # the known property keeps its scale
    network, scale = started(pair, (FORMATION,), "all")
    assert same_head(network, 0, pair, 0)
    assert scale.low.tolist() == [-9.0]
    network, scale = started(mpt, (GAP,), "reinit-head")
    assert not same_head(network, 0, mpt, 1)
    assert scale.low.tolist() == [-9.0]


def test_fine_tuned_property_beats_its_own_scratch(tmp_path: Path) -> None:
    """Pre-trained on 48 crystals, fine-tuned on 20 to another power of the same volume."""
    sizes = PretrainSettings(
        trunk=TRUNK,
        head=HEAD,
        schedule=Schedule(12, 8, learning_rate=1e-2, noise_a=0.0, ema_decay=0.0),
    )
    content, graphs = build_graphs(table(60, (SHEAR,)), sizes.graph)
    model, card, _ = pretrain(content, graphs, sizes, tmp_path / "work", "mpt")
    save_properties(model, card, tmp_path / "mpt")
    assert property_model_id(tmp_path / "mpt") == load_source(tmp_path / "mpt").model_id
    other, graphs = build_graphs(table(60, (GAP,)), sizes.graph)
    short = replace(sizes.schedule, epochs=4, learning_rate=2e-3)
    found = {}
    for strategy in ("all", "scratch"):
        settings = replace(
            sizes, schedule=short, size=20, start=start_from(tmp_path / "mpt", strategy)
        )
        _, tuned, _ = pretrain(other, graphs, settings, tmp_path / "work", strategy)
        found[strategy] = tuned["properties"]["band_gap"]["test_mae"]
        assert tuned["recipe"]["start"]["folder"] == "mpt"
    assert found["all"] < found["scratch"]


def test_an_ensemble_of_fine_tuned_members_goes_on_where_it_stopped(
    mpt: Path, labelled: LabelledBands, tmp_path: Path
) -> None:
    fit_settings = FitSettings(2, 8, start=start_from(mpt, "head"))
    recipe = replace(TINY, network=replace(BARRIER, dropout=0.1), fit=fit_settings)
    ensemble, card = train_ensemble(labelled, recipe, tmp_path, "tuned")
    assert card["recipe"]["fit"]["start"]["strategy"] == "head"
    trunk = load_source(mpt).network.trunk.state_dict()
    for member in ensemble.members:
        for key, value in member.trunk.state_dict().items():
            assert torch.equal(value, trunk[key])
    seen: list[str] = []
    train_ensemble(labelled, recipe, tmp_path, "tuned", on_epoch=lambda *it: seen.append(it[0]))
    assert seen == []
    checkpoint.save(ensemble, card, tmp_path / "tuned")
    assert len(checkpoint.load(tmp_path / "tuned").members) == 4


def test_settings_survive_json_and_wrong_ones_are_refused(mpt: Path) -> None:
    settings = FitSettings(start=start_from(mpt, "last", last_layers=3))
    assert FitSettings(**asdict(settings)) == settings
    for how, message in (
        ({"strategy": "most"}, "must be one of head, last"),
        ({"last_layers": 0}, "must be at least 1"),
        ({"rate_decay": 1.5}, "at most 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Start("unread", "mpt@0", **how)  # type: ignore[arg-type]


def test_other_sizes_and_no_model_are_named(
    mpt: Path, tmp_path: Path, labelled: LabelledBands, band_graphs: list[BandGraph]
) -> None:
    wider = BarrierConfig(TrunkConfig(2, 1, width=16, embedding=8))
    with pytest.raises(ValueError, match="give the network the sizes of its source"):
        fit(wider, band_graphs, labelled.em_ev, FitSettings(1, 8, start=start_from(mpt)))
    with pytest.raises(ModelError):
        load_source(tmp_path)
