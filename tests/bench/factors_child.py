"""The process in which ``factors`` measures; prints one line of JSON.

What prediction on a CPU has gained, taken away again: the slowest way first, built of the
product's own parts, and each one after it with one thing more.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import inference_rows
from models.alignn import ALIGNN, ALIGNNConv, EdgeGatedGraphConv, TrunkConfig, mean_by_graph
from models.batch import EdgeLayout, GraphBatch, collate
from models.fused import kernel
from models.fused_products import has_matrix_units
from models.graph import BandGraph, GraphSettings, build_graph
from models.inference import InferenceTrunk
from models.precision import has_bfloat16_products, route_matmuls
from tests.bench.figures import bands_near, best_cpu_s, quiet_garbage
from tests.bench.forward_child import N_ATOMS, settle

Features = Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class GatheredTriplets(EdgeLayout):
    """Triplets as the rows between edges, each with indices of its own, as edges between atoms."""

    def cosines(self, vector: Tensor) -> Tensor:
        """See ``TripletLayout``."""
        unit = vector / vector.norm(dim=1, keepdim=True)
        return -(unit[self.source] * unit[self.destination]).sum(1).clamp(-1.0, 1.0)


def main(repeats: int) -> dict[str, object]:
    """The ladder of one band: ms of each step, and how far its output is from the exact one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    (band,) = bands_near(N_ATOMS, 1)
    graph = build_graph(band, GraphSettings(shell="published"))
    batch = collate([graph])
    network = ALIGNN(TrunkConfig())
    settle(network, lambda: network(batch))
    steps, absent = ladder(network, graph, batch)
    quiet_garbage()
    with torch.inference_mode():
        best = best_cpu_s(list(steps.values()), repeats)

        def output(features: Tensor) -> float:
            pooled = mean_by_graph(features.double(), batch.graph_of_atom, 1)
            return float(network.fc.double()(pooled))

        outputs = [output(step()) for step in steps.values()]
        exact = float(network.double()(collate([graph], dtype=torch.float64)))
    return {
        "n_atoms": len(band),
        "edges": [int(graph.multiplicity.sum()), len(graph.source)],
        "triplets": [_n_triplets(graph), graph.n_triplets],
        "absent": absent,
        "ms": {name: 1e3 * seconds for name, seconds in zip(steps, best, strict=True)},
        "error": {
            name: abs(value - exact) / abs(exact)
            for name, value in zip(steps, outputs, strict=True)
        },
    }


def ladder(
    network: ALIGNN, graph: BandGraph, batch: GraphBatch
) -> tuple[dict[str, Features], dict[str, str]]:
    """Each step with all before it, slowest first; and why those that are absent are so."""
    repeated = gathered(graph, batch, repeated=True)
    once = gathered(graph, batch, repeated=False)
    plain = InferenceTrunk([network], compiled=False)
    without_table = InferenceTrunk([network], compiled=False)
    without_table.table = None
    whole = graph.n_triplets * network.config.width
    steps: dict[str, Features] = {
        "multigraph": lambda: trained(network, repeated, everything=True),
        "once": lambda: trained(network, once, everything=True),
        "read": lambda: trained(network, once, everything=False),
        "folded": lambda: without_table(once),
        "blocks": in_parts_of(whole, lambda: without_table(batch)),
        "table": in_parts_of(whole, lambda: plain(batch)),
        "parts": lambda: plain(batch),
    }
    absent: dict[str, str] = {}
    before = torch.backends.mkldnn.matmul.fp32_precision
    if route_matmuls():
        routed = torch.backends.mkldnn.matmul.fp32_precision
        steps = {name: on_route(before, step) for name, step in steps.items()}
        steps["onednn"] = on_route(routed, lambda: plain(batch))
    else:
        absent["onednn"] = "this processor would round to bfloat16 there"
    if kernel() is None:
        absent |= dict.fromkeys(("compiled", "units", "bfloat16"), "no compiled library")
        return steps, absent
    compiled, bare = InferenceTrunk([network]), InferenceTrunk([network])
    bare.pairs = [replace(one, gate=replace(one.gate, units=None)) for one in bare.pairs]
    steps["compiled"] = lambda: bare(batch)
    if has_matrix_units():
        steps["units"] = lambda: compiled(batch)
    else:
        absent["units"] = "this processor has none"
    if has_bfloat16_products():
        low = InferenceTrunk([network], bfloat16=True)
        steps["bfloat16"] = lambda: low(batch)
    else:
        absent["bfloat16"] = "this processor has no products in it"
    return steps, absent


def trained(network: ALIGNN, batch: GraphBatch, *, everything: bool) -> Tensor:
    """Features as the network that is trained makes them, with or without what nobody reads."""
    x = network.atom_embedding(batch.atoms)
    y = network.edge_embedding(batch.vector.norm(dim=1), None)
    z = network.angle_embedding(batch.triplets.cosines(batch.vector), None)
    weights: dict[str, Any] = {"node_weight": None, "edge_weight": None}
    layers = [layer for layer in network.alignn_layers if isinstance(layer, ALIGNNConv)]
    for index, layer in enumerate(layers):
        read = everything or index + 1 < len(layers)
        x, message = layer.node_update(batch.edges, x, y, **weights)
        y, z = layer.edge_update(batch.triplets, message, z, edges_needed=read, **weights)
    after = [layer for layer in network.gcn_layers if isinstance(layer, EdgeGatedGraphConv)]
    for index, last in enumerate(after):
        read = everything or index + 1 < len(after)
        x, y = last(batch.edges, x, y, edges_needed=read, **weights)
    return x


def gathered(graph: BandGraph, batch: GraphBatch, *, repeated: bool) -> GraphBatch:
    """The batch of one graph with every triplet's indices written out.

    Args:
        graph: edges, each once.
        batch: of this graph alone.
        repeated: every edge as often as its multiplicity says, as the published graphs hold it.
    """
    times = graph.multiplicity if repeated else np.ones_like(graph.multiplicity)
    rows = np.repeat(np.arange(len(times)), times)
    source, destination = graph.source[rows], graph.destination[rows]
    weight = np.ones(len(rows)) if repeated else graph.multiplicity.astype(float)
    enter, leave = [], []
    for atom in range(len(graph.numbers)):
        into, out = np.flatnonzero(destination == atom), np.flatnonzero(source == atom)
        enter.append(np.tile(into, len(out)))
        leave.append(np.repeat(out, len(into)))
    into, out = (torch.from_numpy(np.concatenate(ends)) for ends in (enter, leave))
    counts = torch.from_numpy(weight).to(batch.vector.dtype).unsqueeze(1)
    ends = torch.from_numpy(source), torch.from_numpy(destination)
    return replace(
        batch,
        vector=batch.vector[torch.from_numpy(rows)],
        edges=EdgeLayout(*ends, counts, len(graph.numbers)),
        triplets=GatheredTriplets(into, out, counts[into], len(rows)),
    )


def in_parts_of(numbers: int, features: Features) -> Features:
    """The same with so many numbers in each part of the triplets."""

    def task() -> Tensor:
        before = inference_rows.CHUNK_NUMBERS
        inference_rows.CHUNK_NUMBERS = numbers
        try:
            return features()
        finally:
            inference_rows.CHUNK_NUMBERS = before

    return task


def on_route(route: str, features: Features) -> Features:
    """The same with float32 products on a route: the setting is the process's."""

    def task() -> Tensor:
        torch.backends.mkldnn.matmul.fp32_precision = route
        return features()

    return task


def _n_triplets(graph: BandGraph) -> int:
    """In the published multigraph."""
    degree = np.bincount(graph.destination, graph.multiplicity).astype(int)
    return int((degree**2).sum())


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
