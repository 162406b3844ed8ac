"""Networks that vote, on a GPU: bands or their graphs in, votes out, in batches that fit.

One Python path for every device, tested on CPUs; it has not run on a GPU yet. Launches cost a few
microseconds each whatever their size, so batches are made large: a forward pass of the published
trunk is a hundred or two of them for hundreds of bands. Captured CUDA graphs would need fixed
shapes, and padding every batch would cost more than it saves. The host waits for the device only
where sizes depend on data, in the building of graphs, so that it packs the next bands while a
forward pass runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.applicability import Applicability, chord_clear, known_share
from models.barrier import BarrierNetwork
from models.batch import MOST_COST, GraphBatch, collate
from models.calibration import Calibration, error_features
from models.device_bands import LAST_ELEMENT
from models.device_graphs import device_batch
from models.device_memory import Backoff
from models.device_trunk import EXACT, TrunkArithmetic, fuse
from models.estimate import Estimate
from models.graph import BandGraph, GraphSettings
from models.triton_conv import STORAGE, TILES, Tiles
from pathways.types import Band, FloatArray, IntArray, PathwayError

_MEMORY_SHARE = 0.6
_DEGREE = 13.0
"""Edges into an atom, about."""

Anything = TypeVar("Anything")


@dataclass(frozen=True, eq=False)
class BandVotes:
    """What networks say of bands, and what an estimate needs beside it; NaN for failed bands."""

    votes: FloatArray
    """(members, n), log(Em / eV + 0.1)."""
    length_a: FloatArray
    clearance_a: FloatArray
    ion: FloatArray
    """(n,), atomic numbers."""
    elements: FloatArray
    """(n, 101), 1 for elements that the graph holds."""
    failures: dict[int, PathwayError]
    """By index of the band."""


class DeviceRunner:
    """Networks of one ensemble on one device, fused for prediction."""

    def __init__(
        self,
        networks: Sequence[BarrierNetwork],
        settings: GraphSettings,
        device: torch.device | str,
        arithmetic: TrunkArithmetic = EXACT,
        tiles: Tiles = TILES,
    ) -> None:
        self.settings, self.device = settings, torch.device(device)
        self.members = [fuse(network, arithmetic, tiles).to(self.device) for network in networks]
        self.backoff = Backoff(_most_cost(self.device, networks[0], arithmetic))

    @torch.inference_mode()
    def votes(self, graphs: Sequence[BandGraph]) -> FloatArray:
        """(members, graphs), each member's log(Em / eV + 0.1).

        Raises:
            PathwayError: ``out_of_memory``, a graph does not fit into the device's memory.
        """
        done: list[tuple[list[int], Tensor]] = []

        def work(chosen: list[int]) -> None:
            batch = sent(collate([graphs[i] for i in chosen]), self.device)
            done.append((chosen, self._forward(batch)))

        refused = self.backoff.run([graph.cost for graph in graphs], work)
        if refused:
            raise _no_room(graphs[refused[0]].cost)
        votes = np.empty((len(self.members), len(graphs)))
        for chosen, values in done:
            votes[:, chosen] = values.double().cpu().numpy()
        return votes

    @torch.inference_mode()
    def votes_of_bands(self, bands: Sequence[Band]) -> BandVotes:
        """As ``votes``, with the graphs built on the device; bands that cannot go on are named."""
        n = len(bands)
        votes = np.full((len(self.members), n), np.nan)
        facts = np.full((3 + LAST_ELEMENT + 1, n), np.nan)
        done: list[tuple[list[int], Tensor]] = []
        failures: dict[int, PathwayError] = {}

        def work(chosen: list[int]) -> None:
            built, failed = device_batch([bands[i] for i in chosen], self.settings, self.device)
            if built is not None:
                path = torch.stack([built.length_a, built.clearance_a, built.ion.double()])
                rows = [self._forward(built.batch).double(), path, built.elements.T.double()]
                well = [band for index, band in enumerate(chosen) if index not in failed]
                done.append((well, torch.cat(rows)))
            failures.update({chosen[index]: error for index, error in failed.items()})

        costs = band_costs(bands, self.settings).tolist()
        failures.update({index: _no_room(costs[index]) for index in self.backoff.run(costs, work)})
        for chosen, values in done:
            both = values.cpu().numpy()
            votes[:, chosen], facts[:, chosen] = both[: len(votes)], both[len(votes) :]
        return BandVotes(votes, facts[0], facts[1], facts[2], facts[3:].T, failures)

    def estimate(
        self, bands: Sequence[Band], calibration: Calibration, applicability: Applicability
    ) -> tuple[Estimate, dict[int, PathwayError]]:
        """What ``Ensemble.estimate`` says of the graphs of bands, and bands that cannot go on.

        Rows of the latter are NaN.
        """
        found = self.votes_of_bands(bands)
        mean = found.votes.mean(axis=0)
        spread = found.votes.std(axis=0, ddof=1 if len(found.votes) > 1 else 0)
        rows = error_features(found.length_a, found.clearance_a, mean)
        sigma = calibration.sigma(rows, spread)
        shares = _applicability(applicability, found)
        return Estimate(mean, sigma, shares, [None] * len(bands)), found.failures

    def _forward(self, batch: GraphBatch) -> Tensor:
        """(members, bands), still on the device."""
        return torch.stack([member(batch) for member in self.members])


def _no_room(cost: int) -> PathwayError:
    return PathwayError(
        "out_of_memory", f"a graph of about {cost:,} edges and triplets does not fit on the device"
    )


def _most_cost(device: torch.device, network: BarrierNetwork, arithmetic: TrunkArithmetic) -> int:
    """Edges plus triplets of a batch that fits: rows before and after a pass, and their indices."""
    most = MOST_COST[device.type]
    if device.type != "cuda":
        return most
    number = STORAGE[arithmetic.pairs].itemsize
    row = network.config.trunk.width * (2 * number + 4) + 64
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(most, int(_MEMORY_SHARE * free) // row))


def _applicability(known: Applicability, found: BandVotes) -> FloatArray:
    """(n,) ``known`` of every band at once."""
    ions, elements = (
        np.array([known_share(counts.get(number, 0)) for number in range(LAST_ELEMENT + 1)])
        for counts in (known.ions, known.elements)
    )
    rarest = np.where(found.elements == 1, elements, 1.0).min(axis=1)
    low, high = known.lengths_a
    beyond = np.maximum(np.maximum(low - found.length_a, found.length_a - high), 0.0)
    clear = np.array([chord_clear(clearance) for clearance in found.clearance_a.tolist()])
    ion = ions[np.nan_to_num(found.ion).astype(np.int64)]
    shares: FloatArray = ion * rarest * np.exp(-beyond) * clear
    return shares


def band_costs(bands: Sequence[Band], settings: GraphSettings) -> IntArray:
    """(n,) edges plus triplets that the graphs of bands will have, about.

    With an environment: of the atoms in the capsule around the hop.
    """
    atoms = np.array([len(band) for band in bands], dtype=np.float64)
    if settings.environment_a is not None:
        volume = np.abs(np.linalg.det(np.stack([band.lattice for band in bands])))
        length_a = np.array([band.length_a for band in bands])
        reach = settings.environment_a
        capsule = np.pi * reach**2 * (4 / 3 * reach + length_a)
        atoms = np.minimum(atoms, 5 + atoms * capsule / volume)
    per_atom = _DEGREE * (1 + _DEGREE) * settings.k / 12
    graphs = 2 if settings.parts in ("ends", "local") else 1
    return np.ceil(graphs * per_atom * atoms).astype(np.int64)


def sent(batch: GraphBatch, device: torch.device) -> GraphBatch:
    """A batch on a device, copied from pinned memory without waiting where that is a GPU."""

    def moved(tensor: Tensor) -> Tensor:
        if device.type != "cuda":
            return tensor.to(device)
        return tensor.pin_memory().to(device, non_blocking=True)

    return _mapped(batch, moved)


def _mapped(value: Anything, change: Callable[[Tensor], Tensor]) -> Anything:
    """Dataclasses and tuples with every tensor in them changed."""
    changed: Any = value
    if isinstance(value, Tensor):
        changed = change(value)
    elif isinstance(value, tuple):
        changed = tuple(_mapped(item, change) for item in value)
    elif is_dataclass(value) and not isinstance(value, type):
        named = {one.name: getattr(value, one.name) for one in fields(value)}
        changed = type(value)(**{name: _mapped(item, change) for name, item in named.items()})
    return changed  # type: ignore[no-any-return]
