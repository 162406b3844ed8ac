"""Rows (edges or triplets) grouped by the node that they are summed into, for the fused kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RowGroups:
    """Which rows each node sums, and which node each row comes from; index tensors are int64."""

    node: Tensor
    """(groups,), every node once."""
    first_row: Tensor
    """(groups + 1,), rows of a group stand together."""
    first_source: Tensor
    """(groups,) where in ``source`` the group's begin, one for each of its rows."""
    source: Tensor
    """(sources,), nodes."""
    weight: Tensor
    """(rows,) or, not ``weight_by_row``, (nodes,), multiplicities."""
    weight_by_row: bool

    def chunks(self, most_rows: int) -> list[tuple[int, int, int, int]]:
        """First and last group, first and last row, of parts of at most so many rows.

        A group of more rows comes alone.
        """
        first_row = self.first_row.numpy()
        found, begin, last = [], 0, len(first_row) - 1
        while begin < last:
            end = int(np.searchsorted(first_row, first_row[begin] + most_rows, side="right")) - 1
            end = min(max(end, begin + 1), last)
            found.append((begin, end, int(first_row[begin]), int(first_row[end])))
            begin = end
        return found


def groups_of_edges(source: Tensor, destination: Tensor, weight: Tensor, n_nodes: int) -> RowGroups:
    """Of edges (e,) ordered by destination; an atom without edges is a group without rows."""
    count = torch.bincount(destination, minlength=n_nodes)
    first_row = torch.cat([count.new_zeros(1), count.cumsum(0)])
    nodes = torch.arange(n_nodes)
    return RowGroups(nodes, first_row, first_row[:-1], source, weight.reshape(-1), True)


def groups_of_blocks(blocks: Sequence[tuple[Tensor, Tensor]], weight: Tensor) -> RowGroups:
    """Of dense blocks of triplets, as ``batch.TripletLayout`` holds them."""
    sizes = [tuple(enter.shape) for enter, _ in blocks]
    degree = np.repeat([d for _, d in sizes], [atoms * d for atoms, d in sizes])
    # Every edge out of an atom gathers from all edges into it.
    per_atom = np.repeat([d for _, d in sizes], [atoms for atoms, _ in sizes])
    first_source = np.repeat(np.cumsum(per_atom) - per_atom, per_atom)
    return RowGroups(
        torch.cat([leave.reshape(-1) for _, leave in blocks]),
        torch.from_numpy(np.concatenate([[0], np.cumsum(degree)])),
        torch.from_numpy(first_source),
        torch.cat([enter.reshape(-1) for enter, _ in blocks]),
        weight.reshape(-1),
        False,
    )
