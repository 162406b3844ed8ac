"""Which columns of a table mean what. Light: only the standard library and ``pathways.types``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pathways.types import PathwayError

STRUCTURE, MATERIAL_ID = "structure", "material_id"

_INFO_COLUMNS = {
    "formula": "formula",
    "space_group": "space_group",
    "energy_above_hull_ev_atom": "energy_above_hull_ev",
    "energy_above_hull_ev": "energy_above_hull_ev",
    "energy_above_hull": "energy_above_hull_ev",
    "band_gap_ev": "band_gap_ev",
    "band_gap": "band_gap_ev",
    "theoretical": "theoretical",
    "license": "license",
    "url": "url",
}
"""Columns of a table of structures, and what they are called in ``Candidate.info``."""


@dataclass(frozen=True)
class Columns:
    """Names of columns, where they are not the usual ones; None: by their usual names.

    Columns are those of a Parquet file, the keys of a JSON object, or the keys of an extended XYZ
    comment line (which has no column of structures).
    """

    structure: str | None = None
    material_id: str | None = None
    energy_above_hull: str | None = None
    """eV/atom."""
    band_gap: str | None = None
    """eV."""

    def named(self) -> dict[str, str]:
        """The names that were given, by field."""
        return {field: name for field, name in asdict(self).items() if name is not None}

    def check(self, present: Collection[str], but: Collection[str] = ()) -> None:
        """Make sure that a table has the columns that were named.

        Args:
            present: Its columns.
            but: Fields that do not apply to it.

        Raises:
            ValueError: It lacks one.
        """
        named = [name for field, name in self.named().items() if field not in but]
        missing = [name for name in named if name not in present]
        if missing:
            raise ValueError(
                f"no column called {', '.join(missing)}; there are {', '.join(present) or 'none'}"
            )

    def wanted(self, present: Collection[str]) -> list[str]:
        """Those of a table's columns that are read."""
        names = {self.structure or STRUCTURE, self.material_id or MATERIAL_ID}
        names |= {column for column, _ in self._info()}
        return [column for column in present if column in names]

    def structure_of(self, row: Mapping[str, Any]) -> Any:
        """What a row holds as its structure: by default the row itself where it has no such column.

        Raises:
            PathwayError: ``unreadable``, the column that was named is not in the row.
        """
        if self.structure is None:
            return row.get(STRUCTURE, row)
        if self.structure not in row:
            raise PathwayError("unreadable", f"no {self.structure}; there are {', '.join(row)}")
        return row[self.structure]

    def id_of(self, row: Mapping[str, Any]) -> str | None:
        """A row's id as text, None where it has none: tables write that as null, NaN or nothing."""
        value = row.get(self.material_id or MATERIAL_ID)
        if isinstance(value, float):  # integers, where some are missing
            if value != value:
                return None
            value = int(value) if value.is_integer() else value
        return None if value is None or value == "" else clean_text(str(value))

    def info_of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What a row says of its material, by the keys of ``Candidate.info``."""
        return {
            name: known
            for column, name in self._info()
            if (known := _known(name, row.get(column))) is not None
        }

    def _info(self) -> Iterator[tuple[str, str]]:
        """Columns and what they are in ``Candidate.info``."""
        given = {
            "energy_above_hull_ev": self.energy_above_hull,
            "band_gap_ev": self.band_gap,
        }
        for column, name in _INFO_COLUMNS.items():
            if given.get(name) is None:
                yield column, name
        yield from ((column, name) for name, column in given.items() if column is not None)


def clean_text(text: str) -> str:
    """Text that can be stored: a lone surrogate, of a name or escape that is no UTF-8, is ``?``."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _known(name: str, value: Any) -> object:
    """A value of the type its column has, or None: tables write missing as null, NaN or text."""
    if name in ("energy_above_hull_ev", "band_gap_ev"):
        if isinstance(value, bool):
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return None
        return None if number != number else number
    if name == "theoretical":
        return value if isinstance(value, bool) else None
    return clean_text(value) if isinstance(value, str) and value else None
