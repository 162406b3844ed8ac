"""The process in which ``forward`` measures alignn's own PyTorch model; prints one line of JSON.

Releases of alignn after the last one built on DGL hold a model in plain PyTorch. Its convolutions
normalise each row by itself (layer norms in place of batch norms): it is another function, whose
weights are not ours, over the same graph with the same layers and products.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from models.alignn import ALIGNN, TrunkConfig
from models.batch import GraphBatch, collate
from models.graph import GraphSettings, build_graph
from models.inference import InferenceTrunk
from tests.bench.factors_child import gathered
from tests.bench.figures import bands_near, best_cpu_s, quiet_garbage
from tests.bench.forward_child import N_ATOMS
from tests.bench.peers import installed

PEER = "alignn.models.alignn_atomwise_pure"


def main(repeats: int) -> dict[str, Any]:
    """Ms of ours without and with the compiled kernel, and of the peer; None where it is not."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    (band,) = bands_near(N_ATOMS, 1)
    graph = build_graph(band, GraphSettings(shell="published"))
    batch = collate([graph])
    network = ALIGNN(TrunkConfig()).eval()
    trunks = [InferenceTrunk([network], compiled=compiled) for compiled in (False, True)]
    ways: list[Callable[[], Any]] = [partial(trunk, batch) for trunk in trunks]
    there = installed(PEER)
    if there:
        ways.append(_peer(gathered(graph, batch, repeated=True)))
    quiet_garbage()
    with torch.inference_mode():
        best = [1e3 * seconds for seconds in best_cpu_s(ways, repeats)]
    return {
        "n_atoms": len(band),
        "ms": best[1],
        "pytorch_ms": best[0],
        "peer_ms": best[2] if there else None,
        "version": version("alignn") if there else "",
    }


def _peer(batch: GraphBatch) -> Callable[[], Tensor]:
    """Its model in the same sizes, asked for a property and no forces, on the published graph."""
    from alignn.models.alignn_atomwise_pure import ALIGNNAtomWisePure, ALIGNNAtomWisePureConfig
    from alignn.torch_graph_builder import TorchGraph

    config = TrunkConfig()
    model = ALIGNNAtomWisePure(
        ALIGNNAtomWisePureConfig(
            name="alignn_atomwise_pure",
            alignn_layers=config.alignn_layers,
            gcn_layers=config.gcn_layers,
            atom_input_features=config.atom_features,
            edge_input_features=config.edge_bins,
            triplet_input_features=config.triplet_bins,
            embedding_features=config.embedding,
            hidden_features=config.width,
            calculate_gradient=False,
            energy_mult_natoms=False,
            use_penalty=False,
        )
    ).eval()
    edges, triplets = batch.edges, batch.triplets
    crystal = TorchGraph(
        num_nodes=edges.n_nodes,
        src=edges.source,
        dst=edges.destination,
        ndata={"atom_features": batch.atoms},
        edata={"r": batch.vector},
    )
    line = TorchGraph(num_nodes=len(batch.vector), src=triplets.source, dst=triplets.destination)
    lattice = torch.eye(3)

    def forward() -> Tensor:
        out: Tensor = model((crystal, line, lattice))["out"]
        return out

    return forward


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
