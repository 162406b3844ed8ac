"""The process in which ``training`` measures one width; prints one line of JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

import torch

from models import fused_gradients
from models.alignn import Trunk, TrunkConfig
from models.arithmetic import kept_memory
from models.batch import collate
from models.graph import BandGraph, GraphSettings, build_graph
from tests.bench.figures import labelled_bands, quiet_garbage

N_BANDS = 4
_SMALL = TrunkConfig(1, 1, embedding=32, width=32)


def main(width: int, threads: int, repeats: int) -> dict[str, object]:
    """Seconds of an epoch and ms of a band, by way."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    bands = labelled_bands().bands
    graphs = [build_graph(band, GraphSettings()) for band in bands]
    whole = sum(graph.cost for graph in graphs)
    chosen = _average(graphs, N_BANDS)
    cost = sum(graph.cost for graph in chosen)
    config = TrunkConfig() if width == TrunkConfig().width else _SMALL
    network, batch = Trunk(config).train(), collate(chosen)

    def step(fused: bool) -> Callable[[], None]:
        def task() -> None:
            os.environ[fused_gradients.VARIABLE] = str(int(fused))
            network.zero_grad()
            network(batch).square().mean().backward()

        return task

    tasks = {"autograd": step(False)}
    if fused_gradients.trainer() is not None:
        tasks["fused"] = step(True)
    quiet_garbage()
    clock = time.process_time if threads == 1 else time.perf_counter
    with kept_memory():
        best = dict(zip(tasks, _best_s(list(tasks.values()), repeats, clock), strict=True))
    os.environ.pop(fused_gradients.VARIABLE, None)
    return {
        "width": width,
        "threads": threads,
        "layers": f"{config.alignn_layers}+{config.gcn_layers} layers",
        "n_bands": len(chosen),
        "all_bands": len(graphs),
        "cost": cost,
        "how": fused_gradients.how_trained("cpu"),
        "epoch_s": {name: seconds * whole / cost for name, seconds in best.items()},
        "ms_per_band": {name: 1e3 * seconds / len(chosen) for name, seconds in best.items()},
    }


def _average(graphs: list[BandGraph], count: int) -> list[BandGraph]:
    """Those whose cost is nearest to the mean."""
    mean = sum(graph.cost for graph in graphs) / len(graphs)
    return sorted(graphs, key=lambda graph: abs(graph.cost - mean))[:count]


def _best_s(
    tasks: list[Callable[[], None]], repeats: int, clock: Callable[[], float]
) -> list[float]:
    """Least time of each, the tasks taking turns, after one unmeasured turn."""
    best = [float("inf")] * len(tasks)
    for turn in range(repeats + 1):
        for index, task in enumerate(tasks):
            began = clock()
            task()
            if turn:
                best[index] = min(best[index], clock() - began)
    return best


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))))
