"""The process in which ``forward`` measures; prints one line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import torch
from torch import nn

from models.alignn import ALIGNN, TrunkConfig
from models.batch import collate
from models.graph import GraphSettings, build_graph
from models.precision import route_matmuls
from tests import oracle
from tests.bench.figures import bands_near, best_cpu_s, quiet_garbage

N_ATOMS = 111


def main(repeats: int) -> dict[str, object]:
    """Times of both networks on one band, and how far apart their outputs are."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    (band,) = bands_near(N_ATOMS, 1)
    graph = build_graph(band, GraphSettings(shell="published"))
    batch = collate([graph])
    ours = ALIGNN(TrunkConfig())
    _settle(ours, lambda: ours(batch))
    plain = torch.backends.mkldnn.matmul.fp32_precision
    routed = torch.backends.mkldnn.matmul.fp32_precision if route_matmuls() else plain

    def with_products(route: str, forward: Callable[[], object]) -> Callable[[], object]:
        """The task with float32 products on its own route: the setting is the process's."""

        def task() -> object:
            torch.backends.mkldnn.matmul.fp32_precision = route
            return forward()

        return task

    tasks = [with_products(routed, lambda: ours(batch))]
    lacking = oracle.missing()
    if not lacking:
        published = oracle.published_network(TrunkConfig())
        published.load_state_dict(ours.state_dict())
        published.eval()
        reference = oracle.published_graph(band.folded, dtype=torch.float32)
        tasks.append(with_products(plain, lambda: published(reference)))
        tasks.append(with_products(routed, lambda: published(reference)))
    quiet_garbage()
    with torch.inference_mode():
        best = best_cpu_s(tasks, repeats)
        outputs = [float(task()) for task in tasks]  # type: ignore[arg-type]
    return {
        "n_atoms": len(band),
        "n_edges": len(graph.source),
        "ours_ms": 1e3 * best[0],
        "lacking": lacking,
        "output": outputs[0],
        **(
            {}
            if lacking
            else {
                "dgl_ms": 1e3 * best[1],
                "dgl_routed_ms": 1e3 * best[2],
                "difference": abs(outputs[1] - outputs[0]),
            }
        ),
    }


def _settle(network: nn.Module, forward: Callable[[], object]) -> None:
    """Set every batch norm to the moments of this input, as after training."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    with torch.no_grad():
        forward()
    network.eval()


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
