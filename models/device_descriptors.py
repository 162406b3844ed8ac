"""The paths of many bands in numbers, on any device: ``descriptors.path_descriptor``, batched."""

from __future__ import annotations

import torch
from torch import Tensor

from models.descriptors import ANIONS, CENTRES_A, NEAREST, REACH_A, WIDTH_A
from models.device_bands import Crystals, element_table
from pathways.types import N_IMAGES

_KINDS = 3
"""Anions, the moving species, other atoms of the host."""


def path_descriptors(crystals: Crystals, distances_a: Tensor) -> Tensor:
    """(b, SIZE) float64 numbers of folded bands, not yet standardised.

    Args:
        crystals: folded bands, images first.
        distances_a: from ``device_bands.path_distances_a``.
    """
    ion = crystals.numbers[crystals.first]
    host = crystals.local >= N_IMAGES
    same = crystals.numbers == ion[crystals.owner]
    anion = torch.isin(crystals.numbers, torch.as_tensor(ANIONS, device=same.device))
    kind = torch.where(same, 1, torch.where(anion, 0, 2))
    within = (distances_a <= REACH_A) & host[:, None, None]
    atom, image, cell = torch.nonzero(within, as_tuple=True)
    shell = (crystals.owner[atom] * _KINDS + kind[atom]) * N_IMAGES + image
    hit_a = distances_a[atom, image, cell]
    n_shells = len(crystals) * _KINDS * N_IMAGES
    profiles = torch.cat(
        [_radial(shell, hit_a, n_shells), _nearest(shell, hit_a, n_shells)], dim=1
    ).view(len(crystals), _KINDS, N_IMAGES, -1)
    surroundings = _along_path(profiles)
    framework = host & ~same
    count = torch.bincount(crystals.owner[framework], minlength=len(crystals))
    hop = crystals.frac[crystals.first + N_IMAGES - 1] - crystals.frac[crystals.first]
    length_a = torch.bmm(hop.unsqueeze(1), crystals.lattice).squeeze(1).norm(dim=1)
    table = element_table(same.device)
    of_framework = table.new_zeros(len(crystals), table.shape[1]).index_add(
        0, crystals.owner[framework], table[crystals.numbers[framework]]
    )
    of_framework /= count.clamp_min(1).unsqueeze(1)
    return torch.cat(
        [
            surroundings,
            torch.stack([length_a, count / crystals.volume], dim=1),
            table[ion].double(),
            of_framework.double(),
        ],
        dim=1,
    )


def _along_path(profiles: Tensor) -> Tensor:
    """Profiles (b, kinds, 5, centres and nearest) as what a reversed hop has too, (b, n).

    Per kind first the radial distributions, then the nearest distances, each for the ends, the
    quarters, the middle and the difference of the ends.
    """
    start, first, middle, third, end = profiles.unbind(2)
    rows = torch.stack([(start + end) / 2, (first + third) / 2, middle, (start - end).abs()], dim=2)
    radial, nearest = torch.split(rows, [len(CENTRES_A), NEAREST], dim=3)
    return torch.cat([radial.flatten(2), nearest.flatten(2)], dim=2).flatten(1)


def _radial(shell: Tensor, hit_a: Tensor, n_shells: int) -> Tensor:
    """(shells, centres): atoms per Gaussian shell."""
    centres = torch.as_tensor(CENTRES_A, device=hit_a.device)
    gauss = torch.exp(-(((hit_a.unsqueeze(1) - centres) / WIDTH_A) ** 2))
    return gauss.new_zeros(n_shells, len(centres)).index_add(0, shell, gauss)


def _nearest(shell: Tensor, hit_a: Tensor, n_shells: int) -> Tensor:
    """(shells, 2): the two shortest distances, REACH_A where there is none."""
    order = torch.argsort(hit_a)
    order = order[torch.argsort(shell[order], stable=True)]
    shell, hit_a = shell[order], hit_a[order]
    counts = torch.bincount(shell, minlength=n_shells)
    rank = torch.arange(len(shell), device=shell.device) - (counts.cumsum(0) - counts)[shell]
    leading = rank < NEAREST
    nearest = hit_a.new_full((n_shells, NEAREST), REACH_A)
    nearest[shell[leading], rank[leading]] = hit_a[leading]
    return nearest
