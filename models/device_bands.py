"""Many bands as flat arrays on a device: what graphs and descriptors are built from there.

The arrays are ragged: the atoms of all crystals follow each other, and ``sizes`` says where one
ends. Nothing is padded to the largest cell, and no step loops over crystals. Runs on CPUs, where
the tests hold it against the graphs of single bands; it has not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from models.elements import cgcnn_features
from pathways.types import N_IMAGES, Band

LAST_ELEMENT = 100
"""Atomic number of the last element that has features."""


@dataclass(frozen=True, eq=False)
class Crystals:
    """Several crystals, atom after atom, on one device."""

    lattice: Tensor
    """(b, 3, 3) float64, Å; rows are the cell vectors."""
    numbers: Tensor
    """(n,), atomic numbers."""
    frac: Tensor
    """(n, 3) float64, fractional coordinates; of folded bands the ion's images come first."""
    sizes: Tensor
    """(b,), atoms of each crystal."""

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def first(self) -> Tensor:
        """(b,), index of the first atom of each crystal."""
        return self.sizes.cumsum(0) - self.sizes

    @cached_property
    def owner(self) -> Tensor:
        """(n,), the crystal of each atom."""
        every = torch.arange(len(self), device=self.sizes.device)
        return torch.repeat_interleave(every, self.sizes, output_size=len(self.numbers))

    @cached_property
    def local(self) -> Tensor:
        """(n,), index of each atom in its crystal."""
        return torch.arange(len(self.numbers), device=self.sizes.device) - self.first[self.owner]

    @cached_property
    def volume(self) -> Tensor:
        """(b,), Å^3."""
        a, b, c = self.lattice.unbind(1)
        volume: Tensor = (a * torch.linalg.cross(b, c)).sum(1).abs()
        return volume

    @cached_property
    def widths_a(self) -> Tensor:
        """(b, 3), distances between opposite faces of the cells, Å."""
        a, b, c = self.lattice.unbind(1)
        faces = [torch.linalg.cross(*sides).norm(dim=1) for sides in ((b, c), (c, a), (a, b))]
        return self.volume.unsqueeze(1) / torch.stack(faces, dim=1)

    def of(self, chosen: Tensor) -> Crystals:
        """The crystals (b,) that are chosen."""
        inside = chosen[self.owner]
        return Crystals(
            self.lattice[chosen], self.numbers[inside], self.frac[inside], self.sizes[chosen]
        )

    def keep(self, kept: Tensor) -> Crystals:
        """All crystals with only the atoms (n,) that are kept."""
        sizes = torch.bincount(self.owner[kept], minlength=len(self))
        return Crystals(self.lattice, self.numbers[kept], self.frac[kept], sizes)

    def wrapped(self) -> Crystals:
        """The same crystals with every atom in its home cell, so that images are small numbers."""
        return replace(self, frac=self.frac - self.frac.floor())

    def joined(self, other: Crystals) -> Crystals:
        """These crystals, then the others."""
        return Crystals(
            torch.cat([self.lattice, other.lattice]),
            torch.cat([self.numbers, other.numbers]),
            torch.cat([self.frac, other.frac]),
            torch.cat([self.sizes, other.sizes]),
        )


def pack(bands: Sequence[Band], device: torch.device | str = "cpu") -> Crystals:
    """Folded bands as flat arrays; pinned and sent without waiting where the device is a GPU."""
    device = torch.device(device)
    pieces: list[np.ndarray] = []
    for band in bands:
        pieces += (band.ion_frac, band.host_frac)
    frac = np.concatenate(pieces)
    sizes = np.array([len(band) for band in bands])
    ion = np.repeat([band.ion_number for band in bands], sizes)
    host = np.concatenate([band.host_numbers for band in bands])
    local = np.arange(len(ion)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    ion[local >= N_IMAGES] = host
    lattice = np.stack([band.lattice for band in bands])
    return Crystals(*(_sent(array, device) for array in (lattice, ion, frac, sizes)))


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def element_table(device: torch.device | str) -> Tensor:
    """(101, 92) float32 features of the elements, row Z; row 0 is unused."""
    known = cgcnn_features(np.arange(1, LAST_ELEMENT + 1))
    return torch.as_tensor(np.concatenate([np.zeros_like(known[:1]), known]), device=device)


def path_distances_a(crystals: Crystals) -> Tensor:
    """(n, 5, 27) distances of every atom to the ion's images of its folded band, Å.

    As ``descriptors.image_distances_a``: exact up to 1.5 widths of the cell.
    """
    images = crystals.first[crystals.owner, None] + torch.arange(
        N_IMAGES, device=crystals.sizes.device
    )
    step = crystals.frac.unsqueeze(1) - crystals.frac[images]
    step = step - step.round()
    lattice = crystals.lattice[crystals.owner]
    one = torch.arange(-1, 2, device=step.device, dtype=step.dtype)
    shift = torch.cartesian_prod(one, one, one) @ crystals.lattice
    step = step @ lattice
    # |step + shift|^2 multiplied out, as for one band.
    squares = 2.0 * step @ shift.transpose(1, 2)[crystals.owner]
    squares += step.square().sum(2, keepdim=True)
    squares += shift.square().sum(2)[crystals.owner].unsqueeze(1)
    return squares.clamp_min_(0.0).sqrt_()
