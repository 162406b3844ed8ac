"""The property network: one trunk, one head per property, and the folder that keeps it.

Multi-property pre-training (Devi, Butler, Sai Gautam, npj Comput. Mater. 10, 300 (2024)): the mean
over the atoms goes into a head per property, width to 128 to 128 to 1, and the loss counts only the
labels that are there, L = 1/N sum |y_p - y_t| delta, with N the number of present labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.alignn import Trunk, TrunkConfig, mean_by_graph
from models.batch import GraphBatch, collate, split_by_cost
from models.bulk import Property
from models.bulk_split import Scale
from models.checkpoint import CONFIG, WEIGHTS, ModelError, write_folder
from models.graph import BandGraph, GraphSettings
from pathways.types import FloatArray

FORMAT = "properties-1"
_PREDICT_COST = 400_000


@dataclass(frozen=True)
class PropertyConfig:
    """Sizes of a property network."""

    trunk: TrunkConfig
    n_properties: int
    head: tuple[int, ...] = (128, 128)


class PropertyNetwork(nn.Module):
    """A crystal in, each property in the scale that it is learned in out."""

    def __init__(self, config: PropertyConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk)
        sizes = (config.trunk.width, *config.head)
        self.heads = nn.ModuleList(_head(sizes) for _ in range(config.n_properties))

    def pooled(self, batch: GraphBatch) -> Tensor:
        """(graphs, width), the mean over the atoms."""
        return mean_by_graph(self.trunk(batch), batch.graph_of_atom, len(batch))

    def forward(self, batch: GraphBatch) -> Tensor:
        """(graphs, properties), in the learned scale."""
        pooled = self.pooled(batch)
        return torch.cat([head(pooled) for head in self.heads], dim=1)


def _head(sizes: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1))


def masked_error(network: PropertyNetwork, batch: GraphBatch, target: Tensor) -> Tensor:
    """Sum of the absolute errors over the labels that are there.

    A head without any label in the batch is not asked, so that no step moves it.

    Args:
        network: the network.
        batch: of graphs.
        target: (graphs, properties) in the learned scale, NaN where absent.
    """
    present = ~target.isnan()
    pooled = network.pooled(batch)
    total = pooled.new_zeros(())
    for column in present.any(dim=0).nonzero().flatten().tolist():
        own = present[:, column]
        predicted = network.heads[column](pooled[own]).squeeze(1)
        total = total + (predicted - target[own, column]).abs().sum()
    return total


@dataclass(frozen=True, eq=False)
class PropertyModel:
    """A network with what its numbers mean."""

    name: str
    graph: GraphSettings
    network: PropertyNetwork
    properties: tuple[Property, ...]
    scale: Scale

    def predict(self, graphs: Sequence[BandGraph], device: str = "cpu") -> FloatArray:
        """(n, p), every property in its unit."""
        return self.scale.to_label(predict_targets(self.network, graphs, device))


@torch.inference_mode()
def predict_targets(
    network: PropertyNetwork, graphs: Sequence[BandGraph], device: str = "cpu"
) -> FloatArray:
    """(n, p) in the learned scale, in the order of the graphs."""
    out = np.empty((len(graphs), network.config.n_properties))
    for chosen in split_by_cost(graphs, _PREDICT_COST):
        out[chosen] = network(collate([graphs[i] for i in chosen], device)).double().cpu().numpy()
    return out


def is_property_model(folder: Path) -> bool:
    """Whether a folder holds a property network, readable or not."""
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("format") == FORMAT


def save_properties(
    model: PropertyModel, card: dict[str, Any], folder: Path, more: dict[str, bytes] | None = None
) -> None:
    """Write a model's folder, whole or not at all; an existing one is replaced.

    Args:
        model: the network and its scale.
        card: as JSON.
        folder: to write.
        more: contents by the name of their file, kept beside.
    """
    config = {
        "format": FORMAT,
        "name": model.name,
        "graph": asdict(model.graph),
        "network": asdict(model.network.config),
        "properties": [asdict(one) for one in model.properties],
        "scale": {"low": model.scale.low.tolist(), "high": model.scale.high.tolist()},
    }
    weights = {
        key: value.detach().cpu().contiguous() for key, value in model.network.state_dict().items()
    }
    write_folder(folder, config, weights, card, more)


def load_properties(folder: Path, device: torch.device | str = "cpu") -> PropertyModel:
    """A property model ready to predict or to start from.

    Raises:
        ModelError: a file is missing, corrupt, of another format or of other sizes.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']}, expected {FORMAT}")
        sizes = config["network"]
        properties = tuple(
            Property(**{**one, "words": tuple(one["words"])}) for one in config["properties"]
        )
        network = PropertyNetwork(
            PropertyConfig(TrunkConfig(**sizes["trunk"]), len(properties), tuple(sizes["head"]))
        )
        network.load_state_dict(load_file(folder / WEIGHTS, device="cpu"))
        scale = Scale(
            np.array(config["scale"]["low"]),
            np.array(config["scale"]["high"]),
            tuple(one.log10 for one in properties),
        )
        graph = GraphSettings(**config["graph"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0] if str(error) else ""
        raise ModelError(
            f"{folder}: not a readable property model ({type(error).__name__}: {first}); "
            "copy the folder again or train anew with `screen train pretrain`"
        ) from None
    return PropertyModel(config["name"], graph, network.to(device).eval(), properties, scale)


def property_model_id(folder: Path) -> str:
    """``<name>@<12 hex>``: sha256 of config and weights."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        with (folder / name).open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return f"{json.loads((folder / CONFIG).read_text())['name']}@{digest.hexdigest()[:12]}"
