"""The k nearest neighbours of the atoms of many crystals at once, on any device.

For each pair of atoms the fractional step bounds which periodic images can lie within the radius;
only those are measured, so the work is that of the box around the sphere, whatever the shape of the
cell. Crystals whose last shell does not fit into the radius are searched again in a larger one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from models.device_bands import Crystals
from models.neighbours import PUBLISHED_MIN_A, SHELL_TOLERANCE_A

LAST_RADIUS_A = 16.0
"""Atoms with fewer neighbours within this many Å are refused, as for single crystals."""
_EXPECTED_PER_K = 1.7
_GROWTH = 1.35
_MARGIN = 1.0 + 1e-9
"""On the radius in cell widths: rounding must not lose an image that just touches it."""
_ROWS = 2**24
"""Candidates of one pass: about 200 bytes each for the time of the search."""

Pairs = tuple[Tensor, Tensor, Tensor]
"""``i`` (m,), ``j`` (m,) atom indices and image (m, 3) of j, one row per neighbour of i."""


def nearest_neighbours(
    crystals: Crystals, k: int, centres: Tensor | None = None, rows: int = _ROWS
) -> tuple[Pairs, Tensor]:
    """The k nearest neighbours of atoms, with all within 1e-3 Å of the k-th.

    The rule is ``models.neighbours``'s ``tolerant``. The ``published`` one splits shells by the
    last bit of one machine's products, which another device does not repeat.

    Args:
        crystals: with coordinates of any cell; images are relative to them.
        k: neighbours.
        centres: (n,) whose neighbours are wanted; None for every atom.
        rows: candidate pairs of one pass, which bounds the memory.

    Returns:
        The pairs, and which crystals (b,) hold a centre with fewer than k neighbours within 16 Å;
        these have no pairs.
    """
    chosen = torch.ones_like(crystals.owner, dtype=torch.bool) if centres is None else centres
    density = crystals.sizes / crystals.volume
    radius = (_EXPECTED_PER_K * k * 0.75 / math.pi / density) ** (1 / 3)
    radius = radius.clamp_max(LAST_RADIUS_A)
    waiting = torch.ones(len(crystals), dtype=torch.bool, device=radius.device)
    found: list[Pairs] = []
    while bool((searching := waiting & (radius <= LAST_RADIUS_A)).any()):
        atoms = torch.nonzero(chosen & searching[crystals.owner]).squeeze(1)
        pieces = [
            _shells(crystals, part, k, radius) for part in _parts(crystals, atoms, radius, rows)
        ]
        unfit = torch.zeros_like(waiting)
        unfit[torch.cat([piece[1] for piece in pieces])] = True
        for pairs, _ in pieces:
            complete = ~unfit[crystals.owner[pairs[0]]]
            found.append((pairs[0][complete], pairs[1][complete], pairs[2][complete]))
        waiting = (waiting & ~searching) | (searching & unfit)
        radius = torch.where(waiting, radius * _GROWTH, radius)
    i, j, image = (torch.cat(column) for column in zip(*found, strict=True))
    return (i, j, image), waiting


def _parts(crystals: Crystals, atoms: Tensor, radius: Tensor, rows: int) -> Iterator[Tensor]:
    """Centres in parts that measure about so many candidates at most."""
    boxes = (2 * radius.unsqueeze(1) / crystals.widths_a + 1).prod(1) * crystals.sizes
    spent = boxes[crystals.owner[atoms]].cumsum(0)
    n_parts = max(1, math.ceil(float(spent[-1]) / rows)) if len(spent) else 1
    if n_parts == 1:
        yield atoms
        return
    bounds = torch.arange(1, n_parts, device=spent.device, dtype=spent.dtype) * rows
    yield from torch.tensor_split(atoms, torch.searchsorted(spent, bounds).cpu())


def _shells(crystals: Crystals, centres: Tensor, k: int, radius: Tensor) -> tuple[Pairs, Tensor]:
    """Neighbours of some atoms up to the whole last shell, and crystals where it does not fit."""
    rank, j, image, distance = _pairs_within(crystals, centres, radius)
    counts = torch.bincount(rank, minlength=len(centres))
    first = counts.cumsum(0) - counts
    column = torch.arange(len(rank), device=rank.device) - first[rank]
    most = max(k, int(counts.max())) if len(counts) else k
    table = distance.new_full((len(centres), most), math.inf)
    table[rank, column] = distance
    shell = table.kthvalue(k, dim=1).values + SHELL_TOLERANCE_A
    owner = crystals.owner[centres]
    unfit = owner[shell >= radius[owner]]
    near = distance <= shell[rank]
    return (centres[rank[near]], j[near], image[near]), unfit


def _pairs_within(
    crystals: Crystals, centres: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rank of the centre, other atom, its image and distance, of all pairs within the radius."""
    owner = crystals.owner[centres]
    reach = (radius.unsqueeze(1) / crystals.widths_a * _MARGIN)[owner]
    middle = crystals.frac[centres]
    rank, j = _ragged(crystals.sizes[owner])
    j += crystals.first[owner][rank]
    # Of every pair, hence in place: images from ``low`` on, so many along each axis.
    other = crystals.frac[j]
    low = (middle - reach)[rank].sub_(other).ceil_()
    choices = (middle + reach)[rank].sub_(other).floor_().sub_(low).add_(1).clamp_min_(0)
    pair, code = _ragged(choices.prod(1).long())
    choices = choices[pair].long()
    image = torch.stack(
        [
            code // (choices[:, 1] * choices[:, 2]),
            code // choices[:, 2] % choices[:, 1],
            code % choices[:, 2],
        ],
        dim=1,
    )
    shift = low[pair] + image
    rank, j = rank[pair], j[pair]
    owner = owner[rank]
    step = other[pair] - middle[rank] + shift
    distance = (step.unsqueeze(2) * crystals.lattice[owner]).sum(1).norm(dim=1)
    near = (distance <= radius[owner]) & (distance > PUBLISHED_MIN_A)
    return rank[near], j[near], shift[near].long(), distance[near]


def _ragged(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Row of each element where row r holds ``counts[r]`` elements, and its place in the row."""
    total = int(counts.sum())
    every = torch.arange(len(counts), device=counts.device)
    row = torch.repeat_interleave(every, counts, output_size=total)
    return row, torch.arange(total, device=row.device) - (counts.cumsum(0) - counts)[row]
