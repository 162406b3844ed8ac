"""What Triton's kernels do, as one line of JSON: ``python -m tests.models.triton_cases CASE``.

``interpreted`` wants ``TRITON_INTERPRET=1`` in the environment, ``compiled`` must not have it.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from models.alignn import EdgeGatedGraphConv, TrunkConfig
from models.barrier import BarrierConfig, BarrierNetwork
from models.batch import EdgeLayout, GraphBatch, collate
from models.device_trunk import fuse
from models.graph import GraphSettings, build_graph
from models.triton_conv import (
    STORAGE,
    TILES,
    FusedConv,
    Tiles,
    divisor,
    edge_segments,
    kernel_runs_on,
    product_precision,
    triplet_segments,
)
from pathways.band import build_band
from pathways.hops import HopSettings, enumerate_hops
from pathways.types import Band
from tests.pathways.crystals import KNOWN

Network = TypeVar("Network", bound=nn.Module)
WIDTH = 32
FEW = Tiles(segments=64, columns=16, depth=16)
"""The interpreter takes long over each program, so here they are few and large."""


def unsettled(network: Network) -> Network:
    """The network in evaluation, every batch norm with moments of its own."""
    generator = torch.Generator().manual_seed(7)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm1d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2.0, generator=generator)
            norm.weight.data.uniform_(-1.0, 1.0, generator=generator)
            norm.bias.data.normal_(generator=generator)
    return network.eval()


def whole_batch(bands: Sequence[Band]) -> GraphBatch:
    """The bands' surroundings, small enough for an interpreter."""
    return collate([build_graph(band, GraphSettings(environment_a=3.0)) for band in bands])


@functools.cache
def some_bands() -> list[Band]:
    """Two bands of one crystal."""
    known = KNOWN["MgMn2O4 spinel"]
    found = enumerate_hops(known.crystal(), known.ion, HopSettings(max_hops=2))
    return [build_band(found.crystal, hop) for hop in found.hops]


def _star(n: int) -> EdgeLayout:
    """Two atoms of which each gets ``n`` edges from the other, and one alone."""
    other, this = torch.tensor([1, 0]).repeat_interleave(n), torch.tensor([0, 1])
    return EdgeLayout(other, this.repeat_interleave(n), torch.arange(2 * n).view(-1, 1) % 3.0, 3)


def convolution(arithmetic: Any) -> dict[str, list[float]]:
    """Largest differences of nodes and of rows between the kernel and PyTorch, in three cases."""
    torch.manual_seed(0)
    batch = whole_batch(some_bands()[:1])
    pairs = triplet_segments(batch.triplets)
    star = edge_segments(_star(37))
    conv = FusedConv(unsettled(EdgeGatedGraphConv(WIDTH)), arithmetic, FEW)
    found = {}
    for case, segments, n_nodes in (
        ("bonds", edge_segments(batch.edges), len(batch.atoms)),
        ("pairs", pairs, len(batch.vector)),
        ("long", star, 3),
    ):
        nodes = torch.randn(n_nodes, WIDTH)
        rows = torch.randn(len(segments.sender), WIDTH).to(STORAGE[arithmetic])
        assert kernel_runs_on(rows)
        projected = nn.functional.linear(nodes, conv.projection, conv.projection_bias)
        expected = conv._eagerly(segments, nodes, rows, projected, True)
        ours = conv(segments, nodes, rows)
        assert conv(segments, nodes, rows, rows_needed=False)[0].equal(ours[0])
        assert conv(segments.long(), nodes, rows)[1].equal(ours[1])
        found[case] = [
            float((one.float() - other.float()).abs().max())
            for one, other in zip(ours, expected, strict=True)
        ]
    return found


def network() -> dict[str, Any]:
    """A whole network by kernels against the one that trains."""
    torch.manual_seed(0)
    batch = whole_batch(some_bands())
    trained = unsettled(BarrierNetwork(BarrierConfig(TrunkConfig(1, 1, width=16, embedding=8))))
    with torch.inference_mode():
        error = (fuse(trained, tiles=FEW)(batch) - trained(batch)).abs().max()
    return {"kernel": kernel_runs_on(torch.zeros(1, 16)), "error": float(error)}


def nan() -> dict[str, bool]:
    """Whether bands of a batch are finite where the first row of the first one is not."""
    batch = whole_batch(some_bands())
    segments = edge_segments(batch.edges)
    nodes, rows = torch.randn(len(batch.atoms), 16), torch.randn(len(batch.vector), 16)
    rows[0] = torch.nan
    nodes[batch.edges.source[0]] = torch.inf
    new_nodes, _ = FusedConv(unsettled(EdgeGatedGraphConv(16)), tiles=FEW)(segments, nodes, rows)
    second = batch.graph_of_atom == 1
    return {
        "first": bool(new_nodes[~second].isfinite().all()),
        "others": bool(new_nodes[second].isfinite().all()),
    }


def compiled_for(arithmetic: Any) -> dict[str, Any]:
    """The published width's kernel as the compiler leaves it."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from models.triton_kernels import gated_convolution, interpolated_rows

    rows = {"float32": "fp32", "tf32": "fp32", "bfloat16": "bf16", "float16": "fp16"}[arithmetic]
    kinds = dict.fromkeys(gated_convolution.arg_names, "constexpr")
    kinds |= dict.fromkeys(("rows_ptr", "new_rows_ptr", "gate_ptr"), f"*{rows}")
    kinds |= dict.fromkeys(
        ("projected_ptr", "nodes_ptr", "new_nodes_ptr", "norms_ptr", "weight_ptr"), "*fp32"
    )
    kinds |= dict.fromkeys(("sender_ptr", "begin_ptr", "length_ptr", "receiver_ptr"), "*i32")
    kinds |= {"n_segments": "i32", "epsilon": "fp32"}
    width = TrunkConfig().width
    constants = {
        "WIDTH": width, "SEGMENTS": TILES.segments, "SPAN": TILES.span,
        "COLUMNS": divisor(width, TILES.columns), "DEPTH": divisor(width, TILES.depth),
        "STORE_ROWS": True, "PRECISION": product_precision(arithmetic), "WIDEN": False,
    }  # fmt: skip
    target = GPUTarget("cuda", 90, 32)
    options = {"num_warps": TILES.warps, "num_stages": TILES.stages}
    pointers = [index for index, kind in enumerate(kinds.values()) if "*" in kind]
    aligned = {(index,): [["tt.divisibility", 16]] for index in pointers}
    source = ASTSource(gated_convolution, kinds, constants, aligned)
    built = triton.compile(source, target=target, options=options)

    kinds = dict.fromkeys(interpolated_rows.arg_names, "constexpr")
    kinds |= {"table_ptr": "*fp32", "value_ptr": "*fp32", "out_ptr": f"*{rows}"}
    kinds |= {"n_rows": "i32", "low": "fp32", "cells_per_unit": "fp32"}
    constants = {"CELLS": 4096, "WIDTH": width, "ROWS": 32, "COLUMNS": 128}
    triton.compile(ASTSource(interpolated_rows, kinds, constants), target=target)
    ptx = built.asm["ptx"]
    return {
        "target": ptx.split(".target", 1)[1].split("\n", 1)[0],
        "tensor_cores": "wgmma.mma_async" in ptx,
        "shared_bytes": built.metadata.shared,
        "spilled_bytes": _spilled(built.asm["cubin"]),
    }


def _spilled(binary: bytes) -> int:
    """Stack that a kernel takes, by the tool that comes with triton."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(binary)
        said = subprocess.run(
            [tool, "--dump-resource-usage", file], capture_output=True, text=True, check=True
        )
    stack = re.search(r"STACK:(\d+)", said.stdout + said.stderr)
    assert stack is not None
    return int(stack[1])


def interpreted() -> dict[str, Any]:
    """Everything that runs on a CPU."""
    arithmetics = {arithmetic: convolution(arithmetic) for arithmetic in STORAGE}
    return {"convolution": arithmetics, "network": network(), "nan": nan()}


def compiled() -> dict[str, Any]:
    """The published width in every arithmetic."""
    return {arithmetic: compiled_for(arithmetic) for arithmetic in STORAGE}


if __name__ == "__main__":
    print(json.dumps({"interpreted": interpreted, "compiled": compiled}[sys.argv[1]]()))
