"""Which labels of bulk properties train, validate and test, and the scale that they are learned in.

Each target is scaled to [-1, 1] by the least and the greatest label of the training rows alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.bulk import MIN_LABELS, BoolArray, BulkTable, crystal_key
from models.dataset import DatasetError
from pathways.types import Crystal, FloatArray

_HELD_OUT = 0.1
"""Share of the rows that validate, and that test."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which labels train, validate and test; no crystal is in two parts."""

    train: BoolArray
    """(n, p)."""
    validation: BoolArray
    """(n, p)."""
    test: BoolArray
    """(n, p)."""


def split(table: BulkTable, seed: int, published: bool = False) -> Split:
    """About 80 % of the crystals to train on, 10 % to validate and 10 % to test.

    The part of a crystal follows from its structure and the seed alone. So it is the same in every
    table, and a network fine-tuned to another property is not tested on what its source has seen.

    Args:
        table: labelled crystals.
        seed: of the draw.
        published: test on the published test labels instead. A crystal with one of them gives no
            other label to the training. Properties without any are tested on the draw.

    Raises:
        DatasetError: a property has fewer than ``MIN_LABELS`` labels, or none in one of the parts.
    """
    present = ~np.isnan(table.labels)
    for one, count in zip(table.properties, present.sum(axis=0), strict=True):
        if count < MIN_LABELS:
            raise DatasetError(
                f"{table.source}: {one.name} has {count} usable labels, expected at least "
                f"{MIN_LABELS}; leave it out of the properties"
            )
    given = table.published_test & present if published else np.zeros_like(present)
    drawn = ~given.any(axis=0)
    free = ~given.any(axis=1)
    lot = np.array([_lot(crystal, seed) for crystal in table.crystals])
    validates, tests = free & (lot < _HELD_OUT), free & (lot >= 1 - _HELD_OUT)
    if not drawn.any():
        tests[:] = False
    test = given | (present & drawn & tests[:, None])
    train = present & (free & ~validates & ~tests)[:, None]
    result = Split(train, present & validates[:, None], test)
    for name, mask in (("train on", train), ("validate", result.validation), ("test", test)):
        for column, one in enumerate(table.properties):
            if not mask[:, column].any():
                raise DatasetError(
                    f"{table.source}: the draw leaves no label of {one.name} to {name}; "
                    "leave the property out or pass another --split-seed"
                )
    return result


def _lot(crystal: Crystal, seed: int) -> float:
    """A number in [0, 1) that crystal and seed decide."""
    digest = hashlib.sha256(f"{seed}:".encode() + crystal_key(crystal)).digest()
    return int.from_bytes(digest[:6]) / 2**48


@dataclass(frozen=True, eq=False)
class Scale:
    """Labels to the range that is learned, and back."""

    low: FloatArray
    """(p,), what becomes -1: label, or its decimal logarithm."""
    high: FloatArray
    """(p,), what becomes 1."""
    log10: tuple[bool, ...]

    def to_target(self, labels: FloatArray) -> FloatArray:
        """(n, p) labels in their units, NaN kept, to the learned scale."""
        values = _transformed(labels, self.log10)
        target: FloatArray = 2.0 * (values - self.low) / (self.high - self.low) - 1.0
        return target

    def to_label(self, target: FloatArray) -> FloatArray:
        """(n, p) from the learned scale to units."""
        values = (target + 1.0) / 2.0 * (self.high - self.low) + self.low
        label: FloatArray = np.where(np.array(self.log10), 10.0 ** np.minimum(values, 300), values)
        return label


def fit_scale(table: BulkTable, train: BoolArray) -> Scale:
    """The scale of the training labels alone.

    Raises:
        DatasetError: a property has no training label, or all of them are the same.
    """
    for one, count in zip(table.properties, train.sum(axis=0), strict=True):
        if count == 0:
            raise DatasetError(f"{table.source}: no training label of {one.name}; draw more")
    log10 = tuple(one.log10 for one in table.properties)
    values = np.where(train, _transformed(table.labels, log10), np.nan)
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    for column, one in enumerate(table.properties):
        if low[column] == high[column]:
            raise DatasetError(
                f"{table.source}: every training label of {one.name} is the same; leave it out"
            )
    return Scale(low, high, log10)


def _transformed(labels: FloatArray, log10: Sequence[bool]) -> FloatArray:
    chosen = np.array(log10)
    values = labels.copy()
    values[:, chosen] = np.log10(values[:, chosen])
    return values
