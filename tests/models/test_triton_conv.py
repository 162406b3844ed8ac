"""Fused convolutions: against the network that trains, under Triton's interpreter, compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.alignn import EdgeGatedGraphConv, TrunkConfig
from models.barrier import BarrierConfig, BarrierNetwork
from models.batch import EdgeLayout, GraphBatch, collate
from models.device_trunk import CosineTable, FusedTrunk, TrunkArithmetic, fuse, tabulated
from models.graph import GraphSettings, build_graph
from models.triton_conv import (
    STORAGE,
    Arithmetic,
    FusedConv,
    Segments,
    edge_segments,
    triplet_segments,
)
from pathways.types import Band
from tests.models.triton_cases import unsettled, whole_batch

ROOT = Path(__file__).parents[2]
TRITON = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed: it comes with torch for GPUs"
)


def in_process(case: str, cache: Path, **environment: str) -> Any:
    """What ``triton_cases`` finds, in a process of its own: Triton reads its settings once."""
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.models.triton_cases", case],
        cwd=ROOT,
        env={**os.environ, "TRITON_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def batch(bands: list[Band]) -> GraphBatch:
    return whole_batch(bands[:3])


def features(batch: GraphBatch, width: int, kind: torch.dtype) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    sizes = len(batch.atoms), len(batch.vector), len(batch.triplets.row_weight)
    return tuple(torch.randn(n, width, generator=generator).to(kind) for n in sizes)


@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("rows_needed", [True, False])
def test_same_as_the_convolution_that_trains(
    batch: GraphBatch, width: int, rows_needed: bool
) -> None:
    atoms, bonds, pairs = features(batch, width, torch.float32)
    conv = unsettled(EdgeGatedGraphConv(width))
    for layout, segments, nodes, rows in (
        (batch.edges, edge_segments(batch.edges), atoms, bonds),
        (batch.triplets, triplet_segments(batch.triplets), bonds, pairs),
    ):
        with torch.no_grad():
            expected = conv(
                layout, nodes, rows.clone(), node_weight=None, edge_weight=None,
                edges_needed=rows_needed,
            )  # fmt: skip
        found = FusedConv(conv)(segments, nodes, rows, rows_needed=rows_needed)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_every_node_is_one_segment(batch: GraphBatch) -> None:
    for segments, n_nodes in (
        (edge_segments(batch.edges), len(batch.atoms)),
        (triplet_segments(batch.triplets), len(batch.vector)),
    ):
        assert sorted(segments.receiver.tolist()) == list(range(n_nodes))
        assert int(segments.length.sum()) == len(segments.sender)
    pairs = triplet_segments(batch.triplets)
    torch.testing.assert_close(
        batch.edges.destination[pairs.sender.long()],
        batch.edges.source[pairs.receiver_of_row],
    )


def test_atoms_without_edges() -> None:
    """The first, one in the middle and the last receive nothing and keep what they are."""
    layout = EdgeLayout(torch.tensor([3, 1]), torch.tensor([1, 3]), torch.ones(2, 1), 5)
    conv = unsettled(EdgeGatedGraphConv(16))
    nodes, rows = torch.randn(5, 16), torch.randn(2, 16)
    with torch.no_grad():
        expected = conv(layout, nodes, rows, node_weight=None, edge_weight=None)
    found = FusedConv(conv)(edge_segments(layout), nodes, rows)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "parts"),
    [(None, "whole"), ("model1", "ends"), ("model2", "ends"), ("model4", "local")],
)
def test_fused_network_says_the_same(bands: list[Band], variant: Any, parts: Any) -> None:
    graphs = [
        build_graph(band, GraphSettings(environment_a=4.0, parts=parts)) for band in bands[:4]
    ]
    batch = collate(graphs)
    config = BarrierConfig(TrunkConfig(2, 2, width=16, embedding=8), variant=variant)
    torch.manual_seed(0)
    network = BarrierNetwork(config)
    unsettled(network)
    fused = fuse(network)
    assert isinstance(fused.trunk, FusedTrunk)
    with torch.inference_mode():
        torch.testing.assert_close(fused(batch), network(batch), rtol=0, atol=2e-6)


@pytest.mark.parametrize("layers", [(0, 1), (1, 0), (2, 0), (0, 0)])
def test_any_number_of_layers(batch: GraphBatch, layers: tuple[int, int]) -> None:
    torch.manual_seed(0)
    config = BarrierConfig(TrunkConfig(*layers, width=16, embedding=8), readout="mean")
    network = BarrierNetwork(config)
    unsettled(network)
    with torch.inference_mode():
        torch.testing.assert_close(fuse(network)(batch), network(batch), rtol=0, atol=2e-6)


def test_training_is_left_alone(batch: GraphBatch) -> None:
    torch.manual_seed(0)
    network = BarrierNetwork(BarrierConfig(TrunkConfig(1, 1, width=16, embedding=8))).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fuse(network)(batch)
    assert network.training
    assert all(value.requires_grad for value in network.parameters())
    torch.testing.assert_close(dict(network.state_dict()), before)


@pytest.mark.parametrize(
    ("pairs", "bonds", "most"),
    [("float32", "float32", 1e-6), ("bfloat16", "float32", 1e-4), ("float16", "float16", 2e-3)],
)
def test_low_precision_is_near(
    batch: GraphBatch, pairs: Arithmetic, bonds: Arithmetic, most: float
) -> None:
    torch.manual_seed(0)
    network = BarrierNetwork(BarrierConfig(TrunkConfig(2, 2, width=32, embedding=8)))
    unsettled(network)
    fused = fuse(network, TrunkArithmetic(pairs, bonds))
    with torch.inference_mode():
        error = (fused(batch) - network(batch)).abs().max()
    assert float(error) < most


def test_table_of_angles() -> None:
    torch.manual_seed(0)
    embedding = BarrierNetwork(BarrierConfig()).trunk.angle_embedding
    unsettled(embedding)
    table = tabulated(embedding)
    assert isinstance(table, CosineTable)
    cosine = torch.cat([torch.tensor([-1.0, 1.0, 0.0]), torch.rand(5000) * 2 - 1])
    with torch.no_grad():
        exact = embedding(cosine, None)
    found = table(cosine, torch.float32)
    assert float((found - exact).abs().max() / exact.abs().max()) < 3e-6
    assert table(cosine[:3], torch.float16).dtype == torch.float16


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return in_process("interpreted", tmp_path_factory.mktemp("triton"), TRITON_INTERPRET="1")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return in_process("compiled", tmp_path_factory.mktemp("triton"))


@TRITON
@pytest.mark.parametrize("arithmetic", STORAGE)
def test_kernel_under_the_interpreter(interpreted: Any, arithmetic: str) -> None:
    """The kernel's own numbers against the same function in PyTorch."""
    found = interpreted["convolution"][arithmetic]
    most = {"float32": 3e-6, "tf32": 3e-6, "bfloat16": 4e-2, "float16": 4e-3}[arithmetic]
    assert len(found) == 3  # bonds, bond pairs, and segments longer than a program's span
    for case, (nodes, rows) in found.items():
        assert nodes < most, case
        assert rows < most, case


@TRITON
def test_network_under_the_interpreter(interpreted: Any) -> None:
    assert interpreted["network"]["kernel"]
    assert interpreted["network"]["error"] < 2e-6


@TRITON
def test_a_bad_band_stays_alone_under_the_interpreter(interpreted: Any) -> None:
    assert interpreted["nan"] == {"first": False, "others": True}


@TRITON
@pytest.mark.parametrize("arithmetic", STORAGE)
def test_compiles_for_the_gpu(compiled: Any, arithmetic: str) -> None:
    """Down to machine code of compute capability 9.0, which needs no device."""
    found = compiled[arithmetic]
    assert "sm_90a" in found["target"]
    assert found["shared_bytes"] <= 227 * 1024
    assert found["spilled_bytes"] == 0
    assert found["tensor_cores"] == (arithmetic != "float32")


def test_segments_of_many_bits(batch: GraphBatch) -> None:
    segments = edge_segments(batch.edges)
    wide = segments.long()
    assert isinstance(wide, Segments)
    assert wide.sender.dtype == torch.int64
    torch.testing.assert_close(wide.receiver_of_row, segments.receiver_of_row)


def test_parameters_follow_to_the_device() -> None:
    conv = FusedConv(EdgeGatedGraphConv(16))
    assert {name for name, _ in conv.named_buffers()} == {
        "gate", "projection", "projection_bias", "norms",
    }  # fmt: skip
    assert not list(conv.parameters())
    assert isinstance(conv, nn.Module)
