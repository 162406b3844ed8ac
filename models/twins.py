"""Bands that come again, told by their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pathways.types import FloatArray

_SAME = 1e-6


def find_twins(numbers: FloatArray, others: FloatArray) -> list[int | None]:
    """For each of (n, d) rows the first of (m, d) others that is equal to 1e-6, if any is."""
    if len(others) == 0:
        return [None] * len(numbers)
    twins: list[int | None] = []
    for row in numbers:
        gap = np.abs(others - row) - _SAME * np.maximum(1.0, np.abs(row))
        same = np.flatnonzero((gap <= 0).all(axis=1))
        twins.append(int(same[0]) if len(same) else None)
    return twins


def sort_twins(
    names: Sequence[str], numbers: FloatArray, old_names: Sequence[str], old_numbers: FloatArray
) -> tuple[dict[int, int], list[int], list[tuple[str, str]]]:
    """New bands by whether they are bands again.

    Returns:
        Of new bands that are old ones, which; the new bands that are none; name and reason of those
        that are another new one.
    """
    old_twins = find_twins(numbers, old_numbers)
    first = find_twins(numbers, numbers)
    again, fresh, repeated = {}, [], []
    for index, name in enumerate(names):
        original, old = first[index], old_twins[index]
        if original is not None and original < index:
            repeated.append((name, f"the same path as {names[original]}, which comes before it"))
        elif old is not None:
            again[index] = old
        else:
            fresh.append(index)
    return again, fresh, repeated


def known_already(name: str) -> str:
    """Why a new label of an old band is left out."""
    return f"the model has learnt from this path, as {name}; --replace takes the new label"
