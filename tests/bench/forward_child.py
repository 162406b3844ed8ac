"""The process in which ``forward`` measures; prints one line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.alignn import ALIGNN, TrunkConfig, mean_by_graph
from models.batch import GraphBatch, collate
from models.fused import kernel
from models.graph import GraphSettings, build_graph
from models.inference import InferenceTrunk
from models.precision import has_bfloat16_products, route_matmuls
from tests import oracle
from tests.bench.figures import bands_near, best_cpu_s, quiet_garbage

N_ATOMS = 111
Forward = Callable[[], Tensor]


def main(repeats: int, n_bands: int) -> dict[str, object]:
    """Times of both networks on one band in ms, and how far their outputs are from exact ones.

    Args:
        repeats: of which the least time counts.
        n_bands: on which the largest error of our ways is looked for.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    (band,) = bands_near(N_ATOMS, 1)
    graph = build_graph(band, GraphSettings(shell="published"))
    batch = collate([graph])
    ours = ALIGNN(TrunkConfig())
    settle(ours, lambda: ours(batch))
    plain = torch.backends.mkldnn.matmul.fp32_precision
    routed = torch.backends.mkldnn.matmul.fp32_precision if route_matmuls() else plain

    def with_products(route: str, forward: Forward) -> Forward:
        """The task with float32 products on its own route: the setting is the process's."""

        def task() -> Tensor:
            torch.backends.mkldnn.matmul.fp32_precision = route
            return forward()

        return task

    ways = {name: with_products(routed, way) for name, way in _ours(ours, batch).items()}
    lacking = oracle.missing()
    if lacking:
        exact = ours.double()(collate([graph], dtype=torch.float64))
    else:
        published = oracle.published_network(TrunkConfig())
        published.load_state_dict(ours.state_dict())
        published.eval()
        reference = oracle.published_graph(band.folded, dtype=torch.float32)
        ways["dgl"] = with_products(plain, lambda: published(reference))
        ways["dgl_routed"] = with_products(routed, lambda: published(reference))
        exact = _exact(ours, band)
    quiet_garbage()
    with torch.inference_mode():
        best = best_cpu_s(list(ways.values()), repeats)
        outputs = {name: float(way()) for name, way in ways.items()}
    output = float(exact)
    return {
        "n_atoms": len(band),
        "n_edges": len(graph.source),
        "lacking": lacking,
        "output": output,
        "ms": {name: 1e3 * seconds for name, seconds in zip(ways, best, strict=True)},
        "error": {name: abs(value - output) / abs(output) for name, value in outputs.items()},
        "n_bands": n_bands,
        "most_error": most_error(n_bands),
    }


def most_error(n_bands: int) -> dict[str, float]:
    """Of each way to run ours, on any of so many bands, each with norms settled on it."""
    most: dict[str, float] = {}
    for band in bands_near(N_ATOMS, n_bands):
        graph = build_graph(band, GraphSettings(shell="published"))
        batch = collate([graph])
        torch.manual_seed(0)
        network = ALIGNN(TrunkConfig())
        settle(network, lambda network=network, batch=batch: network(batch))
        with torch.inference_mode():
            found = {name: float(way()) for name, way in _ours(network, batch).items()}
            exact = float(network.double()(collate([graph], dtype=torch.float64)))
        for name, value in found.items():
            most[name] = max(most.get(name, 0.0), abs(value - exact) / abs(exact))
    return most


def _ours(network: ALIGNN, batch: GraphBatch) -> dict[str, Forward]:
    """What training runs and what prediction runs, as far as this machine has it."""

    def property_of(trunk: InferenceTrunk) -> Forward:
        def forward() -> Tensor:
            pooled = mean_by_graph(trunk(batch), batch.graph_of_atom, len(batch))
            out: Tensor = network.fc(pooled)
            return out

        return forward

    ways: dict[str, Forward] = {
        "eager": lambda: network(batch),
        "pytorch": property_of(InferenceTrunk([network], compiled=False)),
    }
    if kernel() is not None:
        ways["compiled"] = property_of(InferenceTrunk([network]))
        if has_bfloat16_products():
            ways["bfloat16"] = property_of(InferenceTrunk([network], bfloat16=True))
    return ways


def _exact(ours: ALIGNN, band: Any) -> Tensor:
    """The published network's output in double precision."""
    published = oracle.published_network(TrunkConfig()).double()
    published.load_state_dict(ours.state_dict())
    published.eval()
    with torch.no_grad():
        out: Tensor = published(oracle.published_graph(band.folded))
    return out


def settle(network: nn.Module, forward: Callable[[], object]) -> None:
    """Set every batch norm to the moments of this input, as after training."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    with torch.no_grad():
        forward()
    network.eval()


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
