"""Trunks for prediction only: the same function as the trunk that is trained, to round-off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models import inference_networks as exported
from models.alignn import Trunk, TrunkConfig
from models.applicability import Applicability
from models.barrier import BarrierConfig, BarrierNetwork, Variant
from models.batch import GraphBatch, collate
from models.calibration import Calibration
from models.graph import BandGraph, GraphSettings, Parts, build_graph, graph_of_crystal
from models.inference import InferenceTrunk
from models.inference_bands import reference_bands
from models.inference_fold import fold_convolutions
from models.inference_networks import InferenceNetworks, inference_networks, largest_change_ev
from models.inference_rows import Located, convolve
from models.inference_table import tabulate
from models.networks import Ensemble
from models.precision import BFLOAT16_VARIABLE
from pathways.types import Band
from tests.bench.forward_child import settle
from tests.models.test_graph import sodium

CONFIG = TrunkConfig(2, 2, width=16, embedding=8)


def weathered(network: nn.Module, seed: int = 0) -> nn.Module:
    """With statistics and weights as after training: nothing is 0 or 1, gates leave 1/2."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
            value.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("bias", "running_mean")):
            value.normal_(std=0.3, generator=generator)
        elif name.endswith("weight"):
            value.normal_(std=1.0 / value.shape[1] ** 0.5, generator=generator)
    return network.eval()


def trunk(config: TrunkConfig = CONFIG, seed: int = 0) -> Trunk:
    network = weathered(Trunk(config), seed)
    assert isinstance(network, Trunk)
    return network


def network(config: BarrierConfig, seed: int = 0) -> BarrierNetwork:
    torch.manual_seed(seed)
    made = weathered(BarrierNetwork(config), seed)
    assert isinstance(made, BarrierNetwork)
    return made


def bonded(degree: int, n_isolated: int = 0) -> BandGraph:
    """Two atoms with so many bonds between them, and atoms that have none."""
    generator = np.random.default_rng(degree)
    out = generator.normal(size=(degree, 3)) * 2
    ends = np.repeat([0, 1], degree)
    order = np.arange(2 * degree)
    return BandGraph(
        numbers=np.array([11, 17] + [8] * n_isolated),
        source=1 - ends,
        destination=ends,
        vector=np.concatenate([-out, out]),
        multiplicity=np.tile(generator.integers(1, 3, degree), 2),
        reverse=(order + degree) % (2 * degree),
    )


def eager(one: Trunk, batch: GraphBatch) -> torch.Tensor:
    with torch.inference_mode():
        return one(batch)


@pytest.fixture(scope="module")
def graphs(bands: list[Band]) -> list[BandGraph]:
    return [build_graph(band, GraphSettings(environment_a=4.5)) for band in bands]


@pytest.mark.parametrize(
    "layers", [(2, 2), (1, 1), (1, 0), (2, 0), (0, 2), (3, 1)], ids=lambda n: f"{n[0]}+{n[1]}"
)
def test_double_precision_is_the_trunks(layers: tuple[int, int], graphs: list[BandGraph]) -> None:
    one = trunk(TrunkConfig(*layers, width=16, embedding=8)).double()
    batch = collate(graphs[:4], dtype=torch.float64)
    torch.testing.assert_close(InferenceTrunk([one])(batch), eager(one, batch), atol=1e-10, rtol=0)


@pytest.mark.parametrize("compiled", [False, True])
def test_single_precision_is_as_good_as_the_trunks(compiled: bool, graphs: list[BandGraph]) -> None:
    one = trunk(TrunkConfig(2, 2, width=64, embedding=16))
    exact = eager(trunk(one.config).double(), collate(graphs, dtype=torch.float64))
    batch = collate(graphs)
    error = (InferenceTrunk([one], compiled=compiled)(batch) - exact).abs().max()
    assert error <= 2 * max((eager(one, batch) - exact).abs().max(), 1e-6 * exact.abs().max())


def test_round_off_is_not_amplified(bands: list[Band]) -> None:
    """Random weights, norms settled on each band: atoms of one element, hardly different at first,
    are told apart by differences that the norms amplify. All in single precision misses this."""
    errors: dict[bool, list[float]] = {False: [], True: []}
    for band in bands:
        torch.manual_seed(0)
        graph = build_graph(band, GraphSettings(environment_a=4.0, shell="published"))
        batch = collate([graph])
        one = Trunk(TrunkConfig(width=128))
        settle(one, lambda one=one, batch=batch: one(batch))
        found = {way: InferenceTrunk([one], compiled=way)(batch) for way in errors}
        exact = eager(one.double(), collate([graph], dtype=torch.float64))
        for way, features in found.items():
            errors[way].append(float((features - exact).norm() / exact.norm()))
    assert len(bands) > 3
    assert max(errors[False]) <= 1e-6
    assert max(errors[True]) <= 1e-6


def test_products_in_double_precision_are_rounded_once() -> None:
    layer = trunk(TrunkConfig(1, 1, width=64, embedding=8)).gcn_layers[0]
    folded = fold_convolutions([layer])
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(0))
    exact = folded.to(torch.float64).nodes(x.double())
    torch.testing.assert_close(
        folded.to(torch.float32, double_nodes=True).nodes(x), exact.float(), rtol=0, atol=0
    )
    assert not torch.equal(folded.to(torch.float32).nodes(x), exact.float())


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_products_are_added_to_what_is_there(members: int, bfloat16: bool) -> None:
    layers = [trunk(seed=seed).gcn_layers[0] for seed in range(members)]
    gate = fold_convolutions(layers).gate.to(torch.float32, bfloat16=bfloat16)
    x, there = torch.randn(2, 7, 16 * members, generator=torch.Generator().manual_seed(0))
    out = there.clone()
    gate.add_to(out, x)
    torch.testing.assert_close(out, there + gate(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_degree_and_none(dtype: torch.dtype) -> None:
    one = trunk().to(dtype)
    batch = collate([bonded(degree, degree % 3) for degree in range(1, 27)], dtype=dtype)
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(
        InferenceTrunk([one])(batch), eager(one, batch), atol=tolerance, rtol=tolerance
    )


def test_single_atom() -> None:
    one = trunk().double()
    batch = collate([graph_of_crystal(sodium(), GraphSettings(k=6))], dtype=torch.float64)
    torch.testing.assert_close(InferenceTrunk([one])(batch), eager(one, batch), atol=1e-10, rtol=0)


@pytest.mark.parametrize("compiled", [False, True])
def test_space_is_used_again(compiled: bool, graphs: list[BandGraph]) -> None:
    """Batches of any sizes in any order, each as if it were the first."""
    one = trunk()
    exported_trunk = InferenceTrunk([one], compiled=compiled)
    for chosen in ([0], [0, 1, 2, 3], [2], [1, 3]):
        batch = collate([graphs[index] for index in chosen])
        torch.testing.assert_close(exported_trunk(batch), eager(one, batch), atol=1e-4, rtol=1e-4)


def test_members_side_by_side_are_the_members(graphs: list[BandGraph]) -> None:
    several = [trunk(seed=seed).double() for seed in range(3)]
    batch = collate(graphs[:4], dtype=torch.float64)
    together = InferenceTrunk(several)(batch).split(16, dim=1)
    for one, found in zip(several, together, strict=True):
        torch.testing.assert_close(found, eager(one, batch), atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("variant", "parts"),
    [(None, "whole"), ("model1", "ends"), ("model2", "ends"), ("model3", "whole"),
     ("model4", "local")],
)  # fmt: skip
def test_networks_of_every_kind(variant: Variant | None, parts: Parts, bands: list[Band]) -> None:
    config = BarrierConfig(CONFIG, variant=variant, head=(8,))
    members = [network(config, seed).double() for seed in range(2)]
    settings = GraphSettings(environment_a=4.5, parts=parts)
    found = [build_graph(band, settings) for band in bands[:5]]
    batch = collate(found, dtype=torch.float64)
    with torch.inference_mode():
        expected = torch.stack([member(batch) for member in members])
    torch.testing.assert_close(InferenceNetworks(members)(batch), expected, atol=1e-10, rtol=0)
    wrong = collate([replace(graph, parts="numbers", partner=None) for graph in found])
    with pytest.raises(ValueError, match="of parts 'numbers'"):
        InferenceNetworks(members)(wrong)


def test_changed_weights_are_seen(graphs: list[BandGraph]) -> None:
    """Whoever trains on, and asks again, gets what the weights now say."""
    settings = GraphSettings(environment_a=4.5)
    members = [network(BarrierConfig(CONFIG, head=(8,)))]
    batch = collate(graphs[:3])
    before = inference_networks(members, settings)
    assert inference_networks(members, settings) is before
    with torch.no_grad():
        members[0].trunk.gcn_layers[0].bn_nodes.bias.add_(1.0)  # type: ignore[union-attr]
    after = inference_networks(members, settings)(batch)
    with torch.inference_mode():
        torch.testing.assert_close(after[0], members[0](batch), atol=1e-5, rtol=1e-5)
        assert (after - before(batch)).abs().max() > 1e-3


def test_table_keeps_its_promise() -> None:
    def waves(cosine: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.sin(7 * cosine), torch.exp(cosine)], dim=1)

    cosine = torch.linspace(-1, 1, 10_007, dtype=torch.float64)
    for tolerance in (1e-6, 1e-10):
        table = tabulate(waves, tolerance, torch.float64)
        assert table is not None
        gap = (table.look_up(*table.locate(cosine)) - waves(cosine)).abs().max()
        assert table.error <= tolerance
        assert gap <= 2 * tolerance * np.e


def test_what_no_table_can_hold_is_computed(graphs: list[BandGraph]) -> None:
    def cliff(cosine: torch.Tensor) -> torch.Tensor:
        return torch.sign(cosine - 0.123).unsqueeze(1).repeat(1, 64)

    assert tabulate(cliff, 1e-6, torch.float32) is None
    one = trunk().double()
    without = InferenceTrunk([one])
    without.table = None
    batch = collate(graphs[:3], dtype=torch.float64)
    torch.testing.assert_close(without(batch), eager(one, batch), atol=1e-10, rtol=0)


def test_located_rows_are_written_not_read(graphs: list[BandGraph]) -> None:
    inference = InferenceTrunk([trunk().double()])
    assert inference.table is not None
    batch = collate(graphs[:1], dtype=torch.float64)
    nodes = torch.ones(len(batch.vector), 16, dtype=torch.float64)
    located = Located(inference.table, *inference.table.locate(batch.cosines))
    found = []
    for fill in (0.0, float("nan")):
        rows = torch.full((len(batch.cosines), 16), fill, dtype=torch.float64)
        new = convolve(
            inference.pairs[0], batch.triplets, nodes, rows, rows_needed=True, located=located
        )
        found.append((new, rows))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_reference_bands_are_bands() -> None:
    bands = reference_bands()
    graphs = [build_graph(band, GraphSettings()) for band in bands]
    assert {band.ion_number for band in bands} == {3, 11, 12, 20}
    assert all(1.0 < graph.clearance_a < 3.5 and graph.length_a > 2 for graph in graphs)
    for one, again in zip(bands, reference_bands(), strict=True):
        np.testing.assert_array_equal(one.host_frac, again.host_frac)


@pytest.mark.parametrize(("spread", "accepted"), [(1e-3, True), (10.0, False)])
def test_bfloat16_only_where_the_weights_bear_it(
    spread: float, accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The larger what the head gives, the more meV the same relative error is."""
    monkeypatch.setattr(exported, "has_bfloat16_products", lambda: True)
    settings = GraphSettings(environment_a=4.5)
    config = BarrierConfig(TrunkConfig(1, 1, width=128, embedding=8), head=(8,))
    members = [network(config)]
    members[0].target_std.fill_(spread)
    plain = inference_networks(members, settings)
    assert str(plain).endswith("products in float32")
    monkeypatch.setenv(BFLOAT16_VARIABLE, "1")
    members[0].target_std.fill_(spread)
    asked = inference_networks(members, settings)
    assert (asked.products == "bfloat16") == accepted
    assert ("bfloat16 refused: moves a reference barrier" in str(asked)) != accepted
    batch = collate([build_graph(band, settings) for band in reference_bands()])
    change_ev = largest_change_ev(plain(batch), asked(batch))
    assert 0 < change_ev <= 0.002 if accepted else change_ev == 0


def test_bfloat16_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BFLOAT16_VARIABLE, "1")
    narrow = inference_networks([network(BarrierConfig(CONFIG, head=(8,)))], GraphSettings())
    assert "no faster for networks of width 16" in str(narrow)
    monkeypatch.setattr(exported, "has_bfloat16_products", lambda: False)
    config = BarrierConfig(TrunkConfig(1, 1, width=128, embedding=8), head=(8,))
    assert "has no products in it" in str(inference_networks([network(config)], GraphSettings()))


def test_what_is_no_number_counts_as_a_change() -> None:
    votes = torch.zeros(1, 2)
    assert largest_change_ev(votes, torch.tensor([[0.0, float("nan")]])) == float("inf")


def test_ensemble_votes_are_the_members(graphs: list[BandGraph]) -> None:
    members = tuple(network(BarrierConfig(CONFIG, head=(8,)), seed) for seed in range(3))
    ensemble = Ensemble(
        "three",
        GraphSettings(environment_a=4.5),
        members[0].config,
        members,
        Calibration((0.0, 0.0, 0.0, 0.0), (-1.0, 1.0)),
        Applicability({}, {}, (0.0, 9.0)),
    )
    with torch.inference_mode():
        batch = collate(graphs)
        expected = torch.stack([member(batch) for member in members])
    np.testing.assert_allclose(ensemble.votes(graphs), expected.numpy(), atol=1e-5)
    assert "products in float32" in ensemble.how_computed()
