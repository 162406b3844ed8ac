"""The members of an ensemble for prediction on CPUs: side by side as far as a cache lets them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from models import fused
from models.alignn import Trunk
from models.barrier import TARGET_OFFSET_EV, BarrierNetwork
from models.batch import GraphBatch, collate
from models.graph import GraphSettings, build_graph
from models.inference import InferenceTrunk
from models.inference_bands import reference_bands
from models.precision import bfloat16_wanted, has_bfloat16_products

MOST_BFLOAT16_EV = 0.002
"""Largest change of a reference band's barrier with which products stay in bfloat16, eV."""
_MOST_CHANNELS = 512
"""Of members side by side: more do not leave room for their rows in a core's second cache."""
_LEAST_BFLOAT16_WIDTH = 128
"""In narrower networks conversions cost more than products."""

_Exports = WeakKeyDictionary[BarrierNetwork, "tuple[int, InferenceNetworks]"]
_EXPORTS: _Exports = WeakKeyDictionary()
"""By first member, with the state of all weights at the time."""


class InferenceNetworks:
    """Barrier networks of one config; later changes of their weights do not reach it."""

    def __init__(self, members: Sequence[BarrierNetwork], *, bfloat16: bool = False) -> None:
        """Fold the weights of all members, which must be on a CPU and not in training."""
        together = max(1, _MOST_CHANNELS // members[0].config.trunk.width)
        self.members = [_for_inference(member) for member in members]
        self.trunks = [
            InferenceTrunk(
                [member.trunk for member in members[first : first + together]], bfloat16=bfloat16
            )
            for first in range(0, len(members), together)
        ]
        for trunk in self.trunks:
            trunk.spaces = self.trunks[0].spaces
        self.products = "bfloat16" if bfloat16 else str(self.trunks[0].dtype).split(".")[1]
        self.refused = ""
        """Why products are not in bfloat16 though that was asked for."""

    @torch.inference_mode()
    def __call__(self, batch: GraphBatch) -> Tensor:
        """(members, bands) log(Em / eV + 0.1).

        Raises:
            ValueError: the graphs are of other parts than the networks read.
        """
        self.members[0].check_parts(batch)
        return torch.stack(
            [
                member.from_atoms(x, batch)
                for member, x in zip(self.members, self._features(batch), strict=True)
            ]
        )

    def _features(self, batch: GraphBatch) -> Iterator[Tensor]:
        for trunk in self.trunks:
            yield from trunk(batch).split(trunk.config.width, dim=1)

    def __str__(self) -> str:
        """What computes, in words for a person."""
        way = self.trunks[0].convolve
        name = str(way) if isinstance(way, fused.Kernel) else "PyTorch"
        if any(pair.gate.units for trunk in self.trunks for pair in trunk.pairs):
            name += " and matrix units"
        return f"{name}, products in {self.products}" + (f" ({self.refused})" * bool(self.refused))


def inference_networks(
    members: Sequence[BarrierNetwork], settings: GraphSettings
) -> InferenceNetworks:
    """The members for prediction, made once and again only where their weights have changed.

    Where bfloat16 is wanted (``precision.bfloat16_wanted``) and the processor has products in it,
    these are used, if the trained weights bear it: no reference band's barrier may change by more
    than ``MOST_BFLOAT16_EV``.

    Args:
        members: of an ensemble, on a CPU, not in training.
        settings: of their graphs.
    """
    state = sum(
        0 if value.is_inference() else value._version
        for member in members
        for value in (*member.parameters(), *member.buffers())
    )
    known = _EXPORTS.get(members[0])
    if known is not None and known[0] == state and len(known[1].members) == len(members):
        return known[1]
    networks = InferenceNetworks(members)
    if bfloat16_wanted():
        networks = _checked(members, settings, networks)
    _EXPORTS[members[0]] = (state, networks)
    return networks


def _checked(
    members: Sequence[BarrierNetwork], settings: GraphSettings, exact: InferenceNetworks
) -> InferenceNetworks:
    """Networks in bfloat16, or the exact ones with the reason why not."""
    width = members[0].config.trunk.width
    if width < _LEAST_BFLOAT16_WIDTH:
        exact.refused = f"bfloat16 refused: no faster for networks of width {width}"
        return exact
    if not has_bfloat16_products():
        exact.refused = "bfloat16 refused: this processor has no products in it"
        return exact
    quick = InferenceNetworks(members, bfloat16=True)
    batch = collate([build_graph(band, settings) for band in reference_bands()])
    change_ev = largest_change_ev(exact(batch), quick(batch))
    if change_ev <= MOST_BFLOAT16_EV:
        return quick
    exact.refused = (
        f"bfloat16 refused: moves a reference barrier by {1e3 * change_ev:.2g} meV, "
        f"at most {1e3 * MOST_BFLOAT16_EV:g} are allowed"
    )
    return exact


def largest_change_ev(before: Tensor, after: Tensor) -> float:
    """Between votes (members, bands), of a band's mean vote as a barrier, eV; infinite for NaN."""
    em_ev = [torch.exp(votes.double().mean(0)) - TARGET_OFFSET_EV for votes in (before, after)]
    change = (em_ev[1] - em_ev[0]).abs().max()
    return float(torch.nan_to_num(change, nan=torch.inf))


def _for_inference(module: nn.Module) -> Any:
    """The module with an ``InferenceTrunk`` in place of every trunk in it; weights are shared."""
    clone = copy.copy(module)
    vars(clone)["_modules"] = {
        name: InferenceTrunk([child]) if isinstance(child, Trunk) else _for_inference(child)
        for name, child in module._modules.items()
        if child is not None
    }
    return clone
