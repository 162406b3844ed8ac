"""Graphs of many bands at once against those of single bands, on real crystals."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.alignn import TrunkConfig
from models.barrier import BarrierConfig, BarrierNetwork
from models.batch import GraphBatch, collate
from models.device_bands import Crystals, pack
from models.device_graphs import DeviceBatch, device_batch
from models.device_neighbours import nearest_neighbours
from models.graph import GraphSettings, build_graph
from models.neighbours import nearest_neighbours as neighbours_of_one
from pathways.types import Band, Crystal
from screen.sources.catalog import Catalog
from tests.models.labelled import all_bands
from tests.models.test_graph import variants

SETTINGS = [
    GraphSettings(),
    GraphSettings(environment_a=4.5),
    GraphSettings(k=7, environment_a=3.5),
    GraphSettings(parts="ends"),
    GraphSettings(parts="ends", environment_a=5.0),
    GraphSettings(parts="local"),
    GraphSettings(parts="local", environment_a=6.0),
]


def built(bands: list[Band], settings: GraphSettings) -> DeviceBatch:
    batch, failures = device_batch(bands, settings, dtype=torch.float64)
    assert not failures
    assert batch is not None
    return batch


def assert_same(ours: GraphBatch, theirs: GraphBatch) -> None:
    """Every array in the same order: integers equal, numbers to rounding."""
    assert ours.parts == theirs.parts
    assert ours.sizes == theirs.sizes
    assert len(ours.triplets.blocks) == len(theirs.triplets.blocks)
    for block, other in zip(ours.triplets.blocks, theirs.triplets.blocks, strict=True):
        torch.testing.assert_close(block, other)
    for one, other in (
        (ours, theirs),
        (ours.edges, theirs.edges),
        (ours.triplets, theirs.triplets),
    ):
        for field in fields(one):
            value = getattr(one, field.name)
            if isinstance(value, Tensor):
                torch.testing.assert_close(
                    value, getattr(other, field.name), rtol=1e-7, atol=1e-9, msg=field.name
                )


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_same_batch_as_band_by_band(settings: GraphSettings) -> None:
    bands = all_bands()[::2]
    graphs = [build_graph(band, settings) for band in bands]
    device = built(bands, settings)
    assert_same(device.batch, collate(graphs, dtype=torch.float64))
    np.testing.assert_allclose(device.length_a, [graph.length_a for graph in graphs])
    np.testing.assert_allclose(device.clearance_a, [graph.clearance_a for graph in graphs])
    assert device.ion.tolist() == [graph.numbers[0] for graph in graphs]
    for held, graph in zip(device.elements.numpy(), graphs, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(held), np.unique(graph.numbers))


@pytest.mark.parametrize("k", [1, 6, 12, 30])
def test_same_neighbours_in_crystals_of_the_catalog(k: int) -> None:
    """Primitive cells, in which an atom is its own neighbour many times over."""
    found = [entry.crystal() for entry in Catalog().entries][:25]
    shift = np.random.default_rng(1)
    crystals = [
        replace(crystal, frac=crystal.frac + shift.integers(-2, 3, size=crystal.frac.shape))
        for crystal in found
    ]
    many = of_crystals(crystals)
    (i, j, image), lonely = nearest_neighbours(many, k, rows=200_000)
    assert not lonely.any()
    rows = torch.column_stack([many.owner[i], many.local[i], many.local[j], image]).numpy()
    expected = np.concatenate(
        [
            np.column_stack([np.full(len(pairs[0]), index), *pairs])
            for index, crystal in enumerate(crystals)
            for pairs in [neighbours_of_one(crystal, k, "tolerant")]
        ]
    )
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])


def of_crystals(crystals: list[Crystal]) -> Crystals:
    return Crystals(
        torch.as_tensor(np.stack([crystal.lattice for crystal in crystals])),
        torch.as_tensor(np.concatenate([crystal.numbers for crystal in crystals])),
        torch.as_tensor(np.concatenate([crystal.frac for crystal in crystals])),
        torch.tensor([len(crystal) for crystal in crystals]),
    )


@pytest.mark.parametrize(("n_bands", "rows"), [(6, 200_000), (1, 9_000)])
def test_memory_bound_changes_nothing(bands: list[Band], n_bands: int, rows: int) -> None:
    crystals = pack(bands[:n_bands])
    whole, _ = nearest_neighbours(crystals, 12)
    parts, _ = nearest_neighbours(crystals, 12, rows=rows)
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize("settings", [SETTINGS[1], SETTINGS[3], SETTINGS[5]], ids=str)
def test_same_predictions(bands: list[Band], settings: GraphSettings) -> None:
    bands = bands[::3]
    torch.manual_seed(0)
    variant = {"whole": None, "ends": "model1", "local": "model4"}[settings.parts]
    config = BarrierConfig(TrunkConfig(1, 1, width=16, embedding=8), head=(16,), variant=variant)
    network = BarrierNetwork(config).double().eval()
    batch = built(bands, settings).batch
    other = collate([build_graph(band, settings) for band in bands], dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(network(batch), network(other), rtol=0, atol=1e-10)


def test_atoms_far_from_their_cell(bands: list[Band]) -> None:
    """Images of a hundred thousand cells away do not overflow what edges are told apart by."""
    far = replace(bands[0], host_frac=bands[0].host_frac + np.array([1e5, -1e5, 3e5]))
    batch = built([far, bands[1]], SETTINGS[1]).batch
    assert_same(batch, built(bands[:2], SETTINGS[1]).batch)


@pytest.mark.parametrize("kind", ["rotated", "shifted", "reordered", "reversed", "unwrapped"])
def test_invariant(bands: list[Band], kind: str) -> None:
    bands = bands[::3]
    torch.manual_seed(0)
    config = BarrierConfig(TrunkConfig(1, 1, width=16, embedding=8), head=(16,))
    network = BarrierNetwork(config).double().eval()
    changed = [variants(band)[kind] for band in bands]
    with torch.inference_mode():
        before, after = (network(built(some, SETTINGS[1]).batch) for some in (bands, changed))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-8)


def test_a_bad_band_costs_only_itself(bands: list[Band]) -> None:
    lonely = replace(bands[1], lattice=bands[1].lattice * 30)
    strange = replace(bands[2], ion_number=119)
    flat = replace(bands[2], lattice=bands[2].lattice * np.array([[1.0], [0.0], [1.0]]))
    lost = replace(bands[2], host_frac=bands[2].host_frac * np.nan)
    some = [bands[0], lonely, strange, flat, lost, bands[3]]
    batch, failures = device_batch(some, SETTINGS[1])
    reasons = [failures[index].reason for index in sorted(failures)]
    assert sorted(failures) == [1, 2, 3, 4]
    assert reasons == ["bad_graph", "unknown_element", "bad_graph", "bad_graph"]
    assert batch is not None
    graphs = [build_graph(band, SETTINGS[1]) for band in (bands[0], bands[3])]
    assert_same(batch.batch, collate(graphs))


def test_nothing_left(bands: list[Band]) -> None:
    batch, failures = device_batch([replace(bands[0], ion_number=0)], GraphSettings())
    assert batch is None
    assert list(failures) == [0]


@pytest.mark.parametrize(
    "settings", [GraphSettings(shell="published"), GraphSettings(parts="numbers")]
)
def test_what_it_cannot_build_is_refused(bands: list[Band], settings: GraphSettings) -> None:
    with pytest.raises(ValueError, match=r"models\.graph\.build_graph"):
        device_batch(bands, settings)
