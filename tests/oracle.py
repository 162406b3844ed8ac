"""The published network and graphs, DGL's ALIGNN and jarvis, as an oracle for tests and benchmarks.

Needs the extra ``reference``. Always come through here: the last DGL that runs wants
``setuptools.extern.packaging``, a copy of ``packaging`` that setuptools has since dropped, so a
bare ``import dgl`` fails beside a current torch.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.alignn import TrunkConfig
from models.graph import BandGraph
from pathways.elements import SYMBOLS
from pathways.types import Crystal

NEEDED = ("dgl", "alignn", "jarvis")


def missing() -> str:
    """Why the oracle cannot be asked; empty where it can."""
    absent = [name for name in NEEDED if find_spec(name) is None]
    return f"{', '.join(absent)} not installed; pip install -e '.[reference]'" if absent else ""


def load(module: str) -> Any:
    """A module of dgl or alignn."""
    try:
        importlib.import_module("setuptools.extern.packaging")
    except ImportError:
        extern = types.ModuleType("setuptools.extern")
        extern.packaging = importlib.import_module("packaging")  # type: ignore[attr-defined]
        importlib.import_module("packaging.version")
        sys.modules["setuptools.extern"] = extern
    return importlib.import_module(module)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """The published graphs take their precision from torch's global default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def jarvis_atoms(crystal: Crystal) -> Any:
    """The crystal as jarvis holds it."""
    return load("jarvis.core.atoms").Atoms(
        lattice_mat=crystal.lattice,
        coords=crystal.frac,
        elements=[SYMBOLS[number] for number in crystal.numbers],
        cartesian=False,
    )


def published_graph(
    crystal: Crystal,
    *,
    canonize: bool = False,
    dtype: torch.dtype = torch.float64,
    line_graph: bool = True,
) -> tuple[Any, Any, Tensor]:
    """Crystal graph, line graph (None where not asked for) and lattice: the published input."""
    atoms = jarvis_atoms(crystal)
    with default_dtype(dtype):
        graphs = load("alignn.graphs").Graph.atom_dgl_multigraph(
            atoms,
            neighbor_strategy="k-nearest",
            cutoff=8.0,
            max_neighbors=12,
            atom_features="cgcnn",
            use_canonize=canonize,
            compute_line_graph=line_graph,
        )
    g, lg = graphs if line_graph else (graphs, None)
    return g, lg, torch.as_tensor(crystal.lattice, dtype=dtype)


def batched(graphs: list[tuple[Any, Any, Tensor]]) -> tuple[Any, Any, Tensor]:
    """Several published graphs as one."""
    batch = load("dgl").batch
    crystals, lines, lattices = zip(*graphs, strict=True)
    return batch(list(crystals)), batch(list(lines)), torch.stack(lattices)


def published_network(config: TrunkConfig) -> nn.Module:
    """DGL's ALIGNN in the same sizes, freshly initialised."""
    alignn = load("alignn.models.alignn")
    network: nn.Module = alignn.ALIGNN(
        alignn.ALIGNNConfig(
            name="alignn",
            alignn_layers=config.alignn_layers,
            gcn_layers=config.gcn_layers,
            atom_input_features=config.atom_features,
            edge_input_features=config.edge_bins,
            triplet_input_features=config.triplet_bins,
            embedding_features=config.embedding,
            hidden_features=config.width,
        )
    )
    return network


def sorted_edges(
    source: np.ndarray, destination: np.ndarray, vector: np.ndarray, repeat: np.ndarray
) -> np.ndarray:
    """(sum of repeat, 5): source, destination and vector of every edge, in one definite order."""
    # 1e-5 Å tells the images of a bond apart and is blind to the last bits of its vector.
    rows = np.column_stack([source, destination, np.round(vector, 5) + 0.0])
    rows = np.repeat(rows, repeat, axis=0)
    return rows[np.lexsort(rows.T[::-1])]


def published_edges(crystal_graph: Any) -> np.ndarray:
    """The edges of a published graph, as ``sorted_edges`` gives them."""
    source, destination = (end.numpy() for end in crystal_graph.edges())
    vector = crystal_graph.edata["r"].numpy().astype(float)
    return sorted_edges(source, destination, vector, np.ones(len(source), dtype=np.int64))


def our_edges(graph: BandGraph) -> np.ndarray:
    """Our edges, each as often as its multiplicity says."""
    return sorted_edges(graph.source, graph.destination, graph.vector, graph.multiplicity)
