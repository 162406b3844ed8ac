"""MODEL-1, 2 and 4 beside MODEL-3: graphs of their own, one trunk, what must not change them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import checkpoint
from models.alignn import TrunkConfig
from models.applicability import fit_applicability
from models.barrier import BarrierConfig, BarrierNetwork
from models.batch import collate
from models.calibration import Calibration
from models.checkpoint import ModelError
from models.dataset import LabelledBands, load_bands
from models.ensemble import Recipe, train_ensemble
from models.graph import (
    LOCAL_K,
    BandGraph,
    GraphSettings,
    Parts,
    build_graph,
    graph_of_crystal,
)
from models.networks import Ensemble
from models.predict import Predictor
from models.train import FitSettings, fit
from models.variants import AttentionPooling
from pathways.types import N_IMAGES, Band
from tests.models.test_graph import signature, variants

SMALL = BarrierConfig(TrunkConfig(2, 2, width=8, embedding=8), head=(16,), dropout=0.1)
CONFIGS = {
    "model1 add": replace(SMALL, variant="model1", combine="add"),
    "model1 subtract": replace(SMALL, variant="model1", combine="subtract"),
    "model1 concatenate": replace(SMALL, variant="model1"),
    "model2": replace(SMALL, variant="model2"),
    "model3": replace(SMALL, variant="model3"),
    "model4": replace(SMALL, variant="model4"),
}
DIRECTED = ["model1 subtract", "model1 concatenate", "model2"]
"""Those that see which end comes first."""
each_variant = pytest.mark.parametrize("name", CONFIGS)


@pytest.fixture(scope="module")
def rattled(bands: list[Band]) -> list[Band]:
    """Some bands with the host displaced, so that no two ends are equivalent."""
    rng = np.random.default_rng(5)
    return [
        replace(band, host_frac=band.host_frac + rng.normal(scale=0.1, size=band.host_frac.shape))
        for band in bands[::3]
    ]


def settings_of(config: BarrierConfig) -> GraphSettings:
    return GraphSettings(environment_a=4.5, parts=config.parts)


def graphs_of(bands: list[Band], config: BarrierConfig) -> list[BandGraph]:
    return [build_graph(band, settings_of(config)) for band in bands]


def network_of(config: BarrierConfig) -> BarrierNetwork:
    torch.manual_seed(0)
    return BarrierNetwork(config).double().eval()


def targets(network: BarrierNetwork, graphs: list[BandGraph]) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(network(collate(graphs, dtype=torch.float64)).numpy())


def test_graphs_of_the_ends(rattled: list[Band]) -> None:
    for band in rattled:
        graph = build_graph(band, GraphSettings(parts="ends"))
        assert graph.partner is not None
        for end, image in ((graph, 0), (graph.partner, N_IMAGES - 1)):
            kept = [image, *range(N_IMAGES, len(band))]
            folded = band.folded
            alone = replace(folded, numbers=folded.numbers[kept], frac=folded.frac[kept])
            assert end.numbers.tolist() == [band.ion_number, *band.host_numbers]
            np.testing.assert_array_equal(
                signature(end), signature(graph_of_crystal(alone, GraphSettings()))
            )
        near = build_graph(band, GraphSettings(environment_a=4.5, parts="ends"))
        assert near.partner is not None
        assert near.numbers.tolist() == near.partner.numbers.tolist()
        assert len(near.numbers) < len(graph.numbers)
        assert graph.length_a == pytest.approx(band.length_a)
        assert graph.clearance_a == build_graph(band, GraphSettings()).clearance_a


def test_local_graph_is_what_touches_an_image(rattled: list[Band]) -> None:
    for band in rattled:
        graph = build_graph(band, GraphSettings(parts="local"))
        local = graph.partner
        assert local is not None
        np.testing.assert_array_equal(
            signature(graph), signature(build_graph(band, GraphSettings()))
        )
        assert ((local.source < N_IMAGES) | (local.destination < N_IMAGES)).all()
        assert np.unique(local.source).tolist() == list(range(len(local.numbers)))
        sixes = graph_of_crystal(band.folded, GraphSettings(k=LOCAL_K))
        touching = (sixes.source < N_IMAGES) | (sixes.destination < N_IMAGES)
        assert len(local.source) == touching.sum()
        assert len(local.numbers) == len(np.unique(sixes.source[touching]))
        lengths = np.linalg.norm(sixes.vector[touching], axis=1)
        np.testing.assert_allclose(
            np.sort(np.linalg.norm(local.vector, axis=1)), np.sort(lengths), atol=1e-12
        )
        # The graph knows of every image's six nearest, whatever their distance.
        assert np.bincount(local.source)[:N_IMAGES].min() >= LOCAL_K


@pytest.mark.parametrize("parts", ["ends", "local"])
def test_two_graphs_cost_both_and_travel(rattled: list[Band], parts: Parts) -> None:
    graph = build_graph(rattled[0], GraphSettings(parts=parts))
    assert graph.partner is not None
    assert graph.cost == replace(graph, partner=None).cost + graph.partner.cost
    copy = pickle.loads(pickle.dumps(graph))
    assert copy.cost == graph.cost
    np.testing.assert_array_equal(copy.partner.vector, graph.partner.vector)


@each_variant
def test_shapes_and_batches(rattled: list[Band], name: str) -> None:
    config = CONFIGS[name]
    network = network_of(config)
    graphs = graphs_of(rattled, config)
    batch = collate(graphs, dtype=torch.float64)
    assert len(batch) == len(rattled)
    assert sum(batch.sizes) == len(batch.atoms)
    assert len(batch.sizes) == len(rattled) * (1 if config.parts == "whole" else 2)
    together = targets(network, graphs)
    assert together.shape == (len(rattled),)
    assert np.ptp(together) > 1e-9
    alone = np.concatenate([targets(network, [graph]) for graph in graphs])
    np.testing.assert_allclose(together, alone, atol=1e-12)
    turned = targets(network, graphs[::-1])[::-1]
    np.testing.assert_allclose(together, turned, atol=1e-12)


@each_variant
@pytest.mark.parametrize("kind", ["rotated", "shifted", "reordered", "reversed", "unwrapped"])
def test_invariant(rattled: list[Band], name: str, kind: str) -> None:
    config = CONFIGS[name]
    network = network_of(config)
    changed = [variants(band)[kind] for band in rattled]
    np.testing.assert_allclose(
        targets(network, graphs_of(changed, config)),
        targets(network, graphs_of(rattled, config)),
        atol=1e-8,
    )


@pytest.mark.parametrize("name", DIRECTED)
def test_one_direction_alone_tells_the_ends_apart(rattled: list[Band], name: str) -> None:
    """The mean of their barriers is what the symmetric network says."""
    one_way = network_of(replace(CONFIGS[name], symmetric=False))
    both_ways = network_of(CONFIGS[name])
    both_ways.load_state_dict(one_way.state_dict())
    graphs = graphs_of(rattled, one_way.config)
    back = graphs_of([variants(band)["reversed"] for band in rattled], one_way.config)
    forward, reverse = targets(one_way, graphs), targets(one_way, back)
    assert np.abs(forward - reverse).min() > 1e-9
    np.testing.assert_allclose(targets(both_ways, graphs), (forward + reverse) / 2, atol=1e-12)


@each_variant
def test_gradient_reaches_all_that_is_read(rattled: list[Band], name: str) -> None:
    config = CONFIGS[name]
    network = network_of(config)
    network(collate(graphs_of(rattled, config), dtype=torch.float64)).sum().backward()
    silent = {
        key
        for key, value in network.named_parameters()
        if value.grad is None or not value.grad.abs().max() > 0
    }
    # The edges of the last convolution of either kind are read by nobody.
    layers = {"trunk": 1, "reader.side": 0} if name == "model2" else {"trunk": 1}
    assert silent == {
        f"{trunk}.{layer}.bn_edges.{kind}"
        for trunk, last in layers.items()
        for layer in (f"alignn_layers.{last}.edge_update", f"gcn_layers.{last}")
        for kind in ("weight", "bias")
    }


def plain_attention() -> AttentionPooling:
    """Queries, keys and values are ReLU of the atoms themselves."""
    pooling = AttentionPooling(2).double().eval()
    for linear in (pooling.query, pooling.key, pooling.value):
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    return pooling


def test_attention_by_hand() -> None:
    """Three atoms: ReLU gives (1, 0), (1, 1), (0, 0).

    Key · query is 1, 1, 0 for the first, 1, 2, 0 for the second, 0 for the third; the summed tanh
    2 · 0.761594 = 1.523188, 0.761594 + 0.964028 = 1.725622, and 0; their exponentials 4.58682,
    5.61602 and 1, which add up to 11.20284.
    """
    atoms = torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    pooling = plain_attention()
    by_hand = [0.409433, 0.501303, 0.089263]
    with torch.no_grad():
        np.testing.assert_allclose(pooling.weights([atoms])[0].numpy(), by_hand, atol=1e-5)
        pooled = pooling([atoms])[0].numpy()
        # Mean (1/3, 1/3) plus (0.910737, 0.501303); of two numbers the norm leaves only the sign.
        np.testing.assert_allclose(pooled, [1.0, -1.0], atol=1e-3)
        pooling.norm = nn.Identity()  # type: ignore[assignment]
        pooled = pooling([atoms])[0].numpy()
    np.testing.assert_allclose(pooled, [1.244070, 0.834636], atol=1e-5)


def test_attention_sums_to_one_in_every_graph() -> None:
    torch.manual_seed(1)
    pooling = AttentionPooling(8).double().eval()
    graphs = [torch.randn(n, 8, dtype=torch.float64) for n in (1, 7, 3, 20)]
    with torch.no_grad():
        weights = pooling.weights(graphs)
        together = pooling(graphs)
        alone = torch.cat([pooling([graph]) for graph in graphs])
    for row, graph in zip(weights, graphs, strict=True):
        assert row.shape == (len(graph),)
        assert (row > 0).all()
        assert float(row.sum()) == pytest.approx(1.0, abs=1e-12)
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)
    assert not torch.allclose(weights[3], torch.full_like(weights[3], 1 / 20))


def test_model3_is_the_mean_with_the_published_activation(rattled: list[Band]) -> None:
    variant = network_of(CONFIGS["model3"])
    mean = network_of(replace(SMALL, readout="mean", readout_activation=True))
    graphs = graphs_of(rattled, variant.config)
    np.testing.assert_array_equal(targets(variant, graphs), targets(mean, graphs))
    without = network_of(replace(SMALL, readout="mean"))
    assert np.abs(targets(without, graphs) - targets(mean, graphs)).min() > 1e-6


def test_wrong_graphs_are_refused(rattled: list[Band]) -> None:
    network = network_of(CONFIGS["model1 add"])
    whole = build_graph(rattled[0], GraphSettings())
    with pytest.raises(ValueError, match=r"GraphSettings\(parts='ends'\)"):
        targets(network, [whole])
    ends = build_graph(rattled[0], GraphSettings(parts="ends"))
    with pytest.raises(ValueError, match="one kind of parts"):
        collate([whole, ends])


@pytest.mark.parametrize(
    "wrong", [{"variant": "model5"}, {"combine": "multiply"}, {"readout": "max"}]
)
def test_config_checks_itself(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be"):
        replace(SMALL, **wrong)
    with pytest.raises(ValueError, match="must be"):
        GraphSettings(parts="halves")  # type: ignore[arg-type]


@each_variant
def test_saved_and_loaded_is_the_same(bands: list[Band], tmp_path: Path, name: str) -> None:
    config = CONFIGS[name]
    settings = settings_of(config)
    graphs = graphs_of(bands, config)
    torch.manual_seed(0)
    ensemble = Ensemble(
        name="tiny",
        graph=settings,
        network=config,
        members=(BarrierNetwork(config).eval(), BarrierNetwork(config).eval()),
        calibration=Calibration((-1.0, 0.1, 0.1, 0.1), tuple(np.linspace(-2, 2, 201).tolist())),
        applicability=fit_applicability(graphs),
    )
    checkpoint.save(ensemble, {"summary": "two networks"}, tmp_path / "tiny")
    loaded = Predictor.load(tmp_path / "tiny")
    assert loaded.model.network == config
    assert loaded.graph_settings == settings
    assert loaded(bands) == Predictor(ensemble, "unsaved")(bands)
    assert all(0 < one.applicability <= 1 for one in loaded(bands))
    other: Parts = "ends" if config.parts == "whole" else "whole"
    unfit = replace(ensemble, graph=replace(settings, parts=other))
    checkpoint.save(unfit, {}, tmp_path / "unfit")
    with pytest.raises(ModelError, match=f"graphs of '{other}' for a network of '{config.parts}'"):
        checkpoint.load(tmp_path / "unfit")


@pytest.mark.parametrize("name", ["model1 concatenate", "model2", "model4"])
def test_a_recipe_trains_an_ensemble(labelled: LabelledBands, tmp_path: Path, name: str) -> None:
    config = CONFIGS[name]
    recipe = Recipe(settings_of(config), config, FitSettings(epochs=1, batch_size=4), folds=2)
    ensemble, card = train_ensemble(labelled, recipe, tmp_path, "tiny")
    assert card["recipe"]["network"]["variant"] == config.variant
    forward = Predictor(ensemble, "x")(labelled.bands)
    back = Predictor(ensemble, "x")([variants(band)["reversed"] for band in labelled.bands])
    for one, other in zip(forward, back, strict=True):
        assert one.em_ev == pytest.approx(other.em_ev, abs=1e-4)


@pytest.fixture(scope="module")
def smallest(data_dir: Path) -> tuple[list[Band], np.ndarray]:
    """40 literature bands and their barriers, eV."""
    labelled = load_bands(data_dir / "em_bands_train.json")
    order = np.argsort([len(band) for band in labelled.bands], kind="stable")[:40]
    return [labelled.bands[i] for i in order], labelled.em_ev[order]


@each_variant
def test_training_lowers_the_loss(smallest: tuple[list[Band], np.ndarray], name: str) -> None:
    bands, em_ev = smallest
    trunk = TrunkConfig(1, 1, width=8, embedding=8)
    config = replace(CONFIGS[name], trunk=trunk, dropout=0.0)
    losses: list[float] = []
    settings = FitSettings(epochs=3, batch_size=4, learning_rate=1e-2, seed=2)
    network = fit(
        config,
        graphs_of(bands, config),
        em_ev,
        settings,
        on_epoch=lambda _, loss: losses.append(loss),
    )
    assert not network.training
    assert losses[2] < 0.97 * losses[0]
