"""Networks that vote: the model of ``screen train scratch`` and of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.alignn import TrunkConfig
from models.applicability import Applicability
from models.barrier import BarrierConfig, BarrierNetwork
from models.batch import MOST_COST, GraphBatch, collate, split_by_cost
from models.calibration import Calibration, features
from models.device_runner import DeviceRunner
from models.estimate import Estimate
from models.graph import BandGraph, GraphSettings, build_graph
from models.inference_bands import reference_bands
from models.inference_networks import inference_networks
from pathways.types import FloatArray

_SAME_VOTE = 1e-4
"""Fused kernels may move a vote, log(Em / eV + 0.1), this far: 0.1 meV at 1 eV."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks that vote, and what is known of their errors."""

    name: str
    graph: GraphSettings
    network: BarrierConfig
    members: tuple[BarrierNetwork, ...]
    calibration: Calibration
    applicability: Applicability

    def estimate(self, graphs: Sequence[BandGraph]) -> Estimate:
        """See ``models.estimate.BarrierModel``."""
        votes = self.votes(graphs)
        mean, spread = votes.mean(axis=0), votes.std(axis=0, ddof=1 if len(votes) > 1 else 0)
        sigma = self.calibration.sigma(features(graphs, mean), spread)
        applicability = np.array([self.applicability(graph) for graph in graphs])
        return Estimate(mean, sigma, applicability, [None] * len(graphs))

    @torch.inference_mode()
    def votes(self, graphs: Sequence[BandGraph]) -> FloatArray:
        """(members, graphs), each member's log(Em / eV + 0.1)."""
        device = self.members[0].target_mean.device
        if device.type == "cuda" and not self.members[0].training:
            runner, _ = self._fused
            if runner is not None:
                return runner.votes(graphs)
        return self._votes(graphs)

    def _votes(self, graphs: Sequence[BandGraph]) -> FloatArray:
        """``votes`` by PyTorch, or on a CPU by its fused networks."""
        device = self.members[0].target_mean.device
        votes = torch.empty(len(self.members), len(graphs))
        for chosen in split_by_cost(graphs, MOST_COST[device.type]):
            votes[:, chosen] = self._vote(collate([graphs[i] for i in chosen], device)).cpu()
        return votes.double().numpy()

    def _vote(self, batch: GraphBatch) -> Tensor:
        """(members, bands)."""
        if batch.vector.device.type == "cpu" and not self.members[0].training:
            return inference_networks(self.members, self.graph)(batch)
        return torch.stack([member(batch) for member in self.members])

    def how_computed(self) -> str:
        """What runs the networks here and in which arithmetic, for a person."""
        device = self.members[0].target_mean.device
        if device.type == "cpu":
            return str(inference_networks(self.members, self.graph))
        return f"{self._fused[1]} on {device}"

    @cached_property
    def _fused(self) -> tuple[DeviceRunner | None, str]:
        """The networks with fused kernels, where these say the same as PyTorch; what is used."""
        graphs = [build_graph(band, self.graph) for band in reference_bands()]
        try:
            runner = DeviceRunner(self.members, self.graph, self.members[0].target_mean.device)
            gap = float(np.abs(runner.votes(graphs) - self._votes(graphs)).max())
        except (RuntimeError, ValueError) as error:
            return None, f"PyTorch (fused kernels do not run: {str(error).splitlines()[0]})"
        if not gap <= _SAME_VOTE:
            return None, f"PyTorch (fused kernels move a vote by {gap:.2g})"
        return runner, "fused kernels"

    def config(self) -> dict[str, Any]:
        """See ``models.estimate.BarrierModel``."""
        return {
            "network": asdict(self.network),
            "members": len(self.members),
            "applicability": asdict(self.applicability),
        }

    def weights(self) -> dict[str, Tensor]:
        """See ``models.estimate.BarrierModel``."""
        return {
            f"members.{index}.{key}": value.detach().cpu().contiguous()
            for index, member in enumerate(self.members)
            for key, value in member.state_dict().items()
        }

    @classmethod
    def restore(
        cls,
        name: str,
        graph: GraphSettings,
        calibration: Calibration,
        config: Mapping[str, Any],
        weights: Mapping[str, Tensor],
    ) -> Ensemble:
        """From what the folder holds; on the device of the weights.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: config or weights are not of one model.
        """
        network = BarrierConfig(
            **{
                **config["network"],
                "trunk": TrunkConfig(**config["network"]["trunk"]),
                "head": tuple(config["network"]["head"]),
            }
        )
        if graph.parts != network.parts:
            raise ValueError(f"graphs of {graph.parts!r} for a network of {network.parts!r}")
        known = config["applicability"]
        applicability = Applicability(
            {int(z): n for z, n in known["ions"].items()},
            {int(z): n for z, n in known["elements"].items()},
            (known["lengths_a"][0], known["lengths_a"][1]),
        )
        members = tuple(_member(network, weights, index) for index in range(int(config["members"])))
        return cls(name, graph, network, members, calibration, applicability)


def _member(config: BarrierConfig, weights: Mapping[str, Tensor], index: int) -> BarrierNetwork:
    prefix = f"members.{index}."
    own = {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
    network = BarrierNetwork(config).to(next(iter(weights.values())).device)
    network.load_state_dict(own)
    return network.eval()
