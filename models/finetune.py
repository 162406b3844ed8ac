"""Where a network starts from: what is copied from a trained one, what is frozen, at which rates.

The strategies of pair-wise pre-training and fine-tuning (Devi, Butler, Sai Gautam, npj Comput.
Mater. 10, 300 (2024)), for barriers and for bulk properties alike:

* ``head``: the trunk is frozen, the head alone learns;
* ``last``: the last layers of the trunk learn too;
* ``all``: everything learns at one rate;
* ``layerwise``: the rate falls with each layer from the head down to the embeddings;
* ``reinit-head``: as ``all``, with a new head even where the old one fits;
* ``scratch``: nothing is copied; the same schedule from random weights, to compare with.

A head goes along where it means the same: barrier to barrier, a property to itself, or the only
property of the source to another one. Otherwise it is new, whatever the strategy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor, nn

from models import checkpoint
from models.alignn import Trunk, TrunkConfig
from models.barrier import BarrierNetwork
from models.bulk import Property
from models.bulk_split import Scale
from models.card import data_digests
from models.graph import GraphSettings
from models.loop import parameter_groups
from models.networks import Ensemble
from models.properties import (
    PropertyNetwork,
    is_property_model,
    load_properties,
    property_model_id,
)

Strategy = Literal["head", "last", "all", "layerwise", "reinit-head", "scratch"]


@dataclass(frozen=True)
class Start:
    """Where a training starts from; part of its settings."""

    folder: str
    """Of a pre-trained property model or of a barrier model."""
    source_id: str
    """``<name>@<12 hex>`` of it, so that other weights in the same place make another training."""
    strategy: Strategy = "all"
    last_layers: int = 2
    """Layers of the trunk that learn with ``last``."""
    rate_decay: float = 0.7
    """Rate of a layer over that of the next one up, with ``layerwise``."""

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            expected = ", ".join(get_args(Strategy))
            raise ValueError(f"strategy is {self.strategy!r}, must be one of {expected}")
        if self.last_layers < 1:
            raise ValueError(f"last_layers is {self.last_layers}, must be at least 1")
        if not 0 < self.rate_decay <= 1:
            raise ValueError(f"rate_decay is {self.rate_decay}, must be above 0 and at most 1")


@dataclass(frozen=True, eq=False)
class Source:
    """A trained network to start from."""

    model_id: str
    trunk: TrunkConfig
    graph: GraphSettings
    network: PropertyNetwork | BarrierNetwork
    properties: tuple[Property, ...] = ()
    """Of a property network, with its ``scale``."""
    scale: Scale | None = None
    split_seed: int = 0
    """Of a property network: which crystals it has not seen."""
    published: bool = False
    """Whether these are the published test rows."""
    data_digests: frozenset[str] = frozenset()
    """sha256 of the files that its barriers came from."""


def load_source(folder: Path, member: int = 0) -> Source:
    """A property model, or a member of a barrier model.

    Args:
        folder: of the model.
        member: of a barrier model's networks, counted round.

    Raises:
        models.checkpoint.ModelError: neither is there, or it cannot be read.
    """
    if is_property_model(folder):
        model = load_properties(folder)
        trunk = model.network.config.trunk
        recipe = checkpoint.read_card(folder).get("recipe", {})
        return Source(
            property_model_id(folder),
            trunk,
            model.graph,
            model.network,
            model.properties,
            model.scale,
            int(recipe.get("split_seed", 0)),
            bool(recipe.get("published", False)),
        )
    ensemble = checkpoint.load(folder)
    if not isinstance(ensemble, Ensemble):
        raise checkpoint.ModelError(
            f"{folder}: holds no network to start from; add labels to it with `screen refit`"
        )
    return Source(
        checkpoint.model_id(folder),
        ensemble.network.trunk,
        ensemble.graph,
        ensemble.members[member % len(ensemble.members)],
        data_digests=data_digests(checkpoint.read_card(folder)),
    )


def start_barriers(network: BarrierNetwork, start: Start, member: int) -> None:
    """Copy what the start gives into a new barrier network.

    From a barrier network of the same sizes everything is copied, the scale of target and
    descriptors too, so that it predicts what the source predicts.

    Args:
        network: to fill, its scale fitted.
        start: where from and how.
        member: of a barrier model's networks, counted round.

    Raises:
        ValueError: the trunks differ in size.
    """
    if start.strategy == "scratch":
        return
    source = load_source(Path(start.folder), member)
    _copy_trunk(network.trunk, source)
    old = source.network
    if not isinstance(old, BarrierNetwork) or start.strategy == "reinit-head":
        return
    if _shapes(old.state_dict()) == _shapes(network.state_dict()):
        network.load_state_dict(old.state_dict())


def start_properties(
    network: PropertyNetwork, properties: tuple[Property, ...], scale: Scale, start: Start
) -> Scale:
    """Copy what the start gives into a new property network.

    Args:
        network: to fill.
        properties: that it predicts.
        scale: of their training labels.
        start: where from and how.

    Returns:
        The scale to learn in: a property that keeps its own head keeps its own scale.

    Raises:
        ValueError: the trunks differ in size.
    """
    if start.strategy == "scratch":
        return scale
    source = load_source(Path(start.folder))
    _copy_trunk(network.trunk, source)
    old = source.network
    if not isinstance(old, PropertyNetwork) or start.strategy == "reinit-head":
        return scale
    low, high = scale.low.copy(), scale.high.copy()
    names = [one.name for one in source.properties]
    for column, one in enumerate(properties):
        only = len(names) == len(properties) == 1
        row = names.index(one.name) if one.name in names else 0 if only else None
        if row is None:
            continue
        weights = old.heads[row].state_dict()
        if _shapes(weights) != _shapes(network.heads[column].state_dict()):
            continue
        network.heads[column].load_state_dict(weights)
        if names[row] == one.name and source.scale is not None:
            low[column], high[column] = source.scale.low[row], source.scale.high[row]
    return Scale(low, high, scale.log10)


def _copy_trunk(trunk: Trunk, source: Source) -> None:
    if trunk.config != source.trunk:
        raise ValueError(
            f"{source.model_id} has a trunk of {source.trunk}, the network one of {trunk.config}; "
            "give the network the sizes of its source"
        )
    trunk.load_state_dict(source.network.trunk.state_dict())


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def trunk_layers(trunk: Trunk) -> list[list[nn.Module]]:
    """The layers of a trunk from its input up; the embeddings are one."""
    embeddings = [trunk.atom_embedding, trunk.edge_embedding, trunk.angle_embedding]
    layers = [*trunk.alignn_layers, *trunk.gcn_layers]
    return [embeddings, *[[layer] for layer in layers]]


def plan_rates(
    network: PropertyNetwork | BarrierNetwork, start: Start, rate: float, weight_decay: float
) -> tuple[list[dict[str, Any]], list[nn.Module]]:
    """Groups for the optimiser and the modules that stay as they are.

    Args:
        network: its parameters lose their gradient where they are frozen.
        start: how.
        rate: of the head, and of all that learns at one rate.
        weight_decay: of weight matrices; norms and biases have none.
    """
    layers = trunk_layers(network.trunk)
    in_trunk = {id(one) for one in network.trunk.parameters()}
    above: Iterable[nn.Parameter] = [p for p in network.parameters() if id(p) not in in_trunk]
    moving = {"head": 0, "last": start.last_layers}.get(start.strategy, len(layers))
    n_frozen = max(0, len(layers) - moving)
    frozen = [module for layer in layers[:n_frozen] for module in layer]
    for module in frozen:
        module.requires_grad_(False)
    if n_frozen == len(layers):
        frozen = [network.trunk]
    parts = [(above, rate)]
    step = start.rate_decay if start.strategy == "layerwise" else 1.0
    for depth, layer in enumerate(reversed(layers), start=1):
        parameters = [one for module in layer for one in module.parameters()]
        parts.append((parameters, rate * step**depth))
    return parameter_groups(parts, weight_decay), frozen
