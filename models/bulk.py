"""Bulk properties to pre-train on: crystals with a row of labels each, most of them absent.

Following Devi, Butler and Sai Gautam, npj Comput. Mater. 10, 300 (2024), sets of several properties
are put together by structure; what is absent is NaN. ``models.bulk_files`` reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.dataset import DatasetError
from pathways.types import Crystal, FloatArray, IntArray

MIN_LABELS = 20
"""A property with fewer labels is refused: its validation part would be one or two crystals."""
_SAME_DECIMALS = 3

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Property:
    """One property of a crystal: what it is called and how it is learned."""

    name: str
    column: str
    """Of a table, with the unit in its name."""
    unit: str = ""
    words: tuple[str, ...] = ()
    """Short names."""
    log10: bool = False
    """Whether its decimal logarithm is learned."""
    held_back: bool = False
    """Kept from pre-training, since it is what shows how far pre-training carries."""

    def answers_to(self, word: str) -> bool:
        """Whether this is the property that a word names."""
        return word.lower() in (self.name, self.column.lower(), *self.words)


KNOWN = (
    Property(
        "shear_modulus", "shear_modulus_gv_gpa", "GPa", ("gv", "shear", "shear_modulus_gv"), True
    ),
    Property("phonon_peak", "phonon_peak_ph_cm1", "1/cm", ("ph", "phonon", "phonons")),
    Property(
        "formation_energy", "formation_energy_fe_ev_atom", "eV/atom", ("fe", "formation_energy_fe")
    ),
    Property("band_gap", "band_gap_bg_pbe_ev", "eV", ("bg", "band_gap_bg_pbe", "gap")),
    Property("piezo", "piezo_pz_c_m2", "C/m2", ("pz", "piezo_pz")),
    Property("dielectric", "dielectric_dc_total", "", ("dc", "dielectric_dc")),
    Property("exp_band_gap", "exp_band_gap_ebg_ev", "eV", ("ebg", "exp_band_gap_ebg")),
    Property("jarvis2d_band_gap", "jarvis2d_band_gap_ev", "eV", ("jarvis2d",), held_back=True),
)
"""Names that need no column; any other column of numbers is a property under its own name."""


def find_properties(words: Sequence[str], at_hand: Sequence[Property]) -> tuple[Property, ...]:
    """The properties that words name, in their order.

    Args:
        words: names, short names or columns; empty for all that are not held back.
        at_hand: what a file offers.

    Raises:
        DatasetError: a word names nothing, or two words the same; none is given nor known.
    """
    names = ", ".join(one.name for one in at_hand)
    if not words:
        known = tuple(one for one in at_hand if one in KNOWN and not one.held_back)
        if not known:
            raise DatasetError(f"no known property to take by itself, name some of: {names}")
        return known
    found: list[Property] = []
    for word in words:
        match = next((one for one in at_hand if one.answers_to(word)), None)
        if match is None:
            raise DatasetError(f"no property {word!r}, the file offers: {names}")
        if match in found:
            raise DatasetError(f"{word!r} is {match.name}, which is named twice; leave one out")
        found.append(match)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class BulkTable:
    """Crystals and their labels."""

    names: tuple[str, ...]
    """(n,)."""
    crystals: tuple[Crystal, ...]
    """(n,)."""
    properties: tuple[Property, ...]
    """(p,)."""
    labels: FloatArray
    """(n, p), in the unit of each property; NaN where absent."""
    published_test: BoolArray
    """(n, p), whether the label stands in a published test set."""
    refused: tuple[tuple[str, str], ...]
    """Name and reason of every row or label left out."""
    source: str
    """Name of the file, or of the files."""
    digest: str
    """sha256 of the file, or of the files' digests."""

    def __len__(self) -> int:
        return len(self.crystals)

    def rows(self, chosen: IntArray, refused: Sequence[tuple[str, str]] = ()) -> BulkTable:
        """The table of some rows, with further ones named as refused."""
        return replace(
            self,
            names=tuple(self.names[i] for i in chosen),
            crystals=tuple(self.crystals[i] for i in chosen),
            labels=self.labels[chosen],
            published_test=self.published_test[chosen],
            refused=(*self.refused, *refused),
        )


def merge(tables: Sequence[BulkTable]) -> BulkTable:
    """Several tables as one: a row per crystal, a column per property.

    Crystals are the same when cell and atoms agree to 0.001 (Å and fractions), in whatever order of
    the atoms; the same crystal in another cell stays a row of its own. Of several labels of one
    property the mean counts, and a published test row stays one.
    """
    properties = tuple(dict.fromkeys(one for table in tables for one in table.properties))
    row_of: dict[bytes, int] = {}
    names: list[str] = []
    crystals: list[Crystal] = []
    cells: list[tuple[int, int, float, bool]] = []
    for table in tables:
        at = [properties.index(one) for one in table.properties]
        for index, crystal in enumerate(table.crystals):
            row = row_of.setdefault(crystal_key(crystal), len(crystals))
            if row == len(crystals):
                names.append(table.names[index])
                crystals.append(crystal)
            cells += [
                (row, column, float(label), bool(test))
                for column, label, test in zip(
                    at, table.labels[index], table.published_test[index], strict=True
                )
                if not np.isnan(label)
            ]
    total = np.zeros((len(crystals), len(properties)))
    count = np.zeros_like(total)
    test = np.zeros(total.shape, dtype=np.bool_)
    for row, column, label, published in cells:
        total[row, column] += label
        count[row, column] += 1
        test[row, column] |= published
    digests = [table.digest for table in tables]
    return BulkTable(
        names=tuple(names),
        crystals=tuple(crystals),
        properties=properties,
        labels=np.where(count > 0, total / np.maximum(count, 1), np.nan),
        published_test=test,
        refused=tuple(item for table in tables for item in table.refused),
        source=", ".join(table.source for table in tables),
        digest=digests[0]
        if len(digests) == 1
        else hashlib.sha256(" ".join(digests).encode()).hexdigest(),
    )


def crystal_key(crystal: Crystal) -> bytes:
    """Bytes that the same cell gives in any order of its atoms."""
    frac = np.round(crystal.frac, _SAME_DECIMALS) % 1.0
    atoms = np.round(np.column_stack([crystal.numbers, frac]), _SAME_DECIMALS)
    atoms = atoms[np.lexsort(atoms.T[::-1])]
    # Adding zero makes -0.0 the 0.0 that it equals.
    cell = np.round(crystal.lattice, _SAME_DECIMALS) + 0.0
    return cell.tobytes() + atoms.tobytes()
