"""Which crystals of a source were there before under another id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathways.types import FloatArray, IntArray

TOLERANCE_A = 0.04
"""Default, Å. Among 59,437 crystals of up to 40 atoms from the Materials Project, 110 pairs are
within it, and pymatgen's ``StructureMatcher`` agrees on 95. Of the others 10 are the same, as the
100 nearest distances of every atom agree to 0.05 Å, and 5 are other orderings or stackings. Within
0.05 Å there are 181 pairs, 19 of them different. Not counted are the polytypes of ZnS: 96 of their
pairs are within it and differ. Relaxations of one crystal that ended further apart are taken twice,
which costs time and loses nothing."""

_STEP_A = 1e-3
"""Distances are kept in whole steps of this, two bytes each: rounding is far below a tolerance."""


@dataclass(eq=False, slots=True)
class _Known:
    """The crystals of one reduced composition that differ, in the order of their coming."""

    ids: list[str]
    steps: bytearray
    """One row of 16-bit steps for each id."""


class Duplicates:
    """Which crystals of a stream were there before under another id.

    Two crystals are the same if their reduced compositions are and no distance of their
    fingerprints differs by more than a tolerance. The first of them is kept to compare with, and
    only it: what resembles a duplicate but not the first crystal itself counts as new. So the
    answers depend on the order of the stream, and on nothing else.
    """

    def __init__(self, tolerance_a: float = TOLERANCE_A) -> None:
        self._tolerance = round(tolerance_a / _STEP_A)
        self._known: dict[bytes, _Known] = {}

    def first(self, material_id: str, numbers: IntArray, fingerprint: FloatArray) -> str | None:
        """The id under which the same crystal came first, or None (and remembers this one).

        Args:
            material_id: Id of the crystal.
            numbers: (n,), its atomic numbers.
            fingerprint: Its ``pathways.fingerprint.fingerprint``, Å.
        """
        composition = _composition(numbers)
        steps = np.rint(fingerprint / _STEP_A).astype(np.uint16)
        known = self._known.get(composition)
        if known is None:
            self._known[composition] = _Known([material_id], bytearray(steps))
            return None
        index = _first_within(known.steps, steps, self._tolerance)
        if index is not None:
            return known.ids[index]
        known.ids.append(material_id)
        known.steps += steps.tobytes()
        return None


def _first_within(rows: bytearray, steps: npt.NDArray[np.uint16], tolerance: int) -> int | None:
    """Index of the first row that is nowhere further than the tolerance from ``steps``."""
    table = np.frombuffer(rows, dtype=np.uint16).reshape(-1, len(steps))
    gaps = np.abs(table.astype(np.int32) - steps.astype(np.int32))
    same = np.flatnonzero((gaps <= tolerance).all(axis=1))
    return int(same[0]) if len(same) else None


def _composition(numbers: IntArray) -> bytes:
    """Elements and their reduced amounts, as a key."""
    elements, counts = np.unique(numbers, return_counts=True)
    return np.stack([elements, counts // np.gcd.reduce(counts)]).astype(np.int32).tobytes()
