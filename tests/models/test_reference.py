"""Our graphs and network against the published ones: DGL's ALIGNN on jarvis' graphs, float64."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.alignn import ALIGNN, TrunkConfig
from models.batch import GraphBatch, collate
from models.dataset import load_bands
from models.graph import BandGraph, GraphSettings, build_graph
from pathways.types import Band
from tests import oracle

pytestmark = [
    pytest.mark.skipif(bool(oracle.missing()), reason=oracle.missing() or "present"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # alignn's own
]

TOLERANCE = 1e-10
N_BANDS = 12
PUBLISHED = GraphSettings(shell="published")
SMALL = TrunkConfig(width=32, embedding=16)
PAPER = TrunkConfig()

# Buffers of two outputs that nobody reads, which ours does not compute.
UNREAD = ("alignn_layers.3.edge_update.bn_edges.", "gcn_layers.3.bn_edges.")


@pytest.fixture(scope="module")
def bands(data_dir: Path) -> list[Band]:
    """The smallest bands, one per host, so that they differ and DGL's float64 stays quick."""
    labelled = load_bands(data_dir / "em_bands_train.json")
    order = np.argsort([len(band) for band in labelled.bands], kind="stable")
    chosen: dict[str, Band] = {}
    for index in order:
        chosen.setdefault(labelled.groups[index], labelled.bands[index])
    return list(chosen.values())[:N_BANDS]


@pytest.fixture(scope="module")
def published_graphs(bands: list[Band]) -> list[tuple[Any, Any, Tensor]]:
    return [oracle.published_graph(band.folded) for band in bands]


@pytest.fixture(scope="module")
def graphs(bands: list[Band]) -> list[BandGraph]:
    return [build_graph(band, PUBLISHED) for band in bands]


def networks(config: TrunkConfig) -> tuple[ALIGNN, nn.Module]:
    """Ours and the published one with the same random weights and running statistics."""
    generator = torch.Generator().manual_seed(7)
    ours = ALIGNN(config).double()
    state = ours.state_dict()
    for name, value in state.items():
        if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
            value.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("bias", "running_mean")):
            value.normal_(std=0.3, generator=generator)
        elif name.endswith("weight"):
            # Wide enough for the gates to leave the straight part of the sigmoid.
            value.normal_(std=1.5 / value.shape[1] ** 0.5, generator=generator)
    published = oracle.published_network(config).double()
    # Strict: the names and shapes of every parameter and buffer are the published ones.
    published.load_state_dict(state)
    return ours, published


def gap(ours: Tensor, published: Tensor) -> float:
    """Largest difference."""
    assert ours.shape == published.shape
    return float((ours - published).detach().abs().max())


def one(graph: BandGraph) -> GraphBatch:
    return collate([graph], dtype=torch.float64)


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """By parameter name; zero where the output does not depend on it."""
    return {
        name: torch.zeros_like(value) if value.grad is None else value.grad.clone()
        for name, value in network.named_parameters()
    }


def assert_same_gradients(ours: nn.Module, published: nn.Module) -> None:
    mine, theirs = gradients(ours), gradients(published)
    largest = max(float(value.abs().max()) for value in theirs.values())
    assert largest > 0
    for name, value in theirs.items():
        # A bias before a batch norm in training has no gradient but rounding: a floor for those.
        scale = max(float(value.abs().max()), 1e-3 * largest)
        assert gap(mine[name], value) <= TOLERANCE * scale, name


def assert_same_edges(graph: BandGraph, published: Any) -> None:
    ours, theirs = oracle.our_edges(graph), oracle.published_edges(published)
    assert ours.shape == theirs.shape
    # Rounding may set 1e-5 Å apart what is the same to 1e-15.
    np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=0)


def test_edges_are_those_of_jarvis(
    bands: list[Band], graphs: list[BandGraph], published_graphs: list[tuple[Any, Any, Tensor]]
) -> None:
    assert len(bands) >= 10
    for graph, (crystal_graph, line_graph, _) in zip(graphs, published_graphs, strict=True):
        assert_same_edges(graph, crystal_graph)
        weight = graph.multiplicity
        into = np.bincount(graph.destination, weights=weight)
        out_of = np.bincount(graph.source, weights=weight)
        assert line_graph.num_edges() == (into * out_of).sum()


def test_edges_are_those_of_the_file(data_dir: Path, bands: list[Band]) -> None:
    """The loader keeps every bit that decides a tie: same edges from the file's own numbers."""
    entries = json.loads((data_dir / "em_bands_train.json").read_text())
    for band in bands:
        coords = next(filter(None, (_coords_if_same(entry["atoms"], band) for entry in entries)))
        raw = replace(band.folded, frac=np.array(coords, dtype=float))
        assert_same_edges(build_graph(band, PUBLISHED), oracle.published_graph(raw)[0])


def _coords_if_same(atoms: dict[str, Any], band: Band) -> list[list[float]] | None:
    """The entry's coordinates where it is the one that the band was read from."""
    if len(atoms["coords"]) != len(band) or atoms["lattice_mat"] != band.lattice.tolist():
        return None
    step = np.array(atoms["coords"], dtype=float) - band.folded.frac
    same = np.abs(step - np.round(step)).max() < 1e-9
    coords: list[list[float]] = atoms["coords"]
    return coords if same else None


def test_output_equals_published(
    graphs: list[BandGraph], published_graphs: list[tuple[Any, Any, Tensor]]
) -> None:
    ours, published = networks(SMALL)
    ours.eval()
    published.eval()
    for graph, reference in zip(graphs, published_graphs, strict=True):
        ours.zero_grad()
        published.zero_grad()
        mine, theirs = ours(one(graph)), published(reference).reshape(-1)
        assert gap(mine, theirs) <= TOLERANCE
        mine.sum().backward()
        theirs.sum().backward()
        assert_same_gradients(ours, published)


def test_output_equals_published_at_the_papers_width(
    graphs: list[BandGraph], published_graphs: list[tuple[Any, Any, Tensor]]
) -> None:
    ours, published = networks(PAPER)
    ours.eval()
    published.eval()
    for graph, reference in zip(graphs[:2], published_graphs[:2], strict=True):
        with torch.no_grad():
            assert gap(ours(one(graph)), published(reference).reshape(-1)) <= TOLERANCE


def test_output_equals_published_on_canonical_edges(
    bands: list[Band], graphs: list[BandGraph]
) -> None:
    """The published option that keeps a bond once: the same graph with other multiplicities."""
    ours, published = networks(SMALL)
    ours.eval()
    published.eval()
    for band, graph in zip(bands, graphs, strict=True):
        reference = oracle.published_graph(band.folded, canonize=True)
        # An atom's bond to its own image is found from either end, as two images.
        once = replace(graph, multiplicity=np.where(graph.source == graph.destination, 2, 1))
        with torch.no_grad():
            assert gap(ours(one(once)), published(reference).reshape(-1)) <= TOLERANCE


@pytest.mark.parametrize("size", [1, 3])
def test_training_step_equals_published(
    size: int, graphs: list[BandGraph], published_graphs: list[tuple[Any, Any, Tensor]]
) -> None:
    """Batch norms over the multigraph: outputs, gradients, running statistics; batched too."""
    ours, published = networks(SMALL)
    ours.train()
    published.train()
    for first in range(0, size * 4, size):
        ours.zero_grad()
        published.zero_grad()
        chosen = slice(first, first + size)
        mine = ours(collate(graphs[chosen], dtype=torch.float64))
        theirs = published(oracle.batched(published_graphs[chosen])).reshape(-1)
        assert gap(mine, theirs) <= TOLERANCE
        mine.square().sum().backward()
        theirs.square().sum().backward()
        assert_same_gradients(ours, published)
    state = ours.state_dict()
    for name, value in published.state_dict().items():
        if name.startswith(UNREAD):
            continue
        scale = max(1.0, float(value.abs().max()))
        assert gap(state[name], value) <= TOLERANCE * scale, name
