"""The catalog that ships with the program: ion hosts as crystallographic facts, always at hand."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from typing import Any

from jobs.records import Candidate, Failure
from pathways.types import Crystal
from screen.sources.base import Query, Source
from screen.sources.mp_pages import ATTRIBUTION, URL
from screen.sources.selection import Examined, admit, examine
from screen.sources.wyckoff import Site, crystal_from_wyckoff

LICENSE = "CC-BY-4.0"


@dataclass(frozen=True)
class Entry:
    """One material of the catalog."""

    mp_id: str
    """Id in the Materials Project, and in the store."""
    name: str
    family: str
    """Structure family, such as ``spinel``."""
    formula: str
    """Reduced formula."""
    ions: tuple[str, ...]
    """Elements taken to move in this host."""
    space_group: str
    """International short symbol."""
    number: int
    """In the International Tables."""
    hall_number: int
    """The setting, in spglib's list."""
    cell: tuple[float, ...]
    """a, b, c in Å and alpha, beta, gamma in degrees of the conventional cell."""
    sites: tuple[Site, ...] = field(repr=False)
    """Asymmetric unit."""
    reference: str
    """Where the facts come from."""

    def crystal(self) -> Crystal:
        """The primitive crystal."""
        return crystal_from_wyckoff(self.cell, self.sites, self.space_group[0], self.hall_number)


def read_entries(text: str) -> tuple[Entry, ...]:
    """The entries of a catalog file.

    Raises:
        ValueError: The text is no TOML.
        TypeError: An entry lacks a field or has one too many.
    """
    rows = tomllib.loads(text)["material"]
    return tuple(Entry(**{key: _frozen(value) for key, value in row.items()}) for row in rows)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


class Catalog(Source):
    """The shipped catalog as a source."""

    name = "catalog"

    @cached_property
    def _text(self) -> str:
        return resources.files("screen.sources").joinpath("catalog.toml").read_text("utf-8")

    def version(self, query: Query | None = None) -> str:
        """Digest of the catalog file: 12 hex digits of its sha256."""
        return hashlib.sha256(self._text.encode()).hexdigest()[:12]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, in the order of the file."""
        return read_entries(self._text)

    def candidates(self, query: Query) -> Iterator[Candidate | Failure]:
        """Stream the entries that the query selects, in the order of the file."""
        return admit(self._examined(query), query)

    def count(self, query: Query) -> int:
        """How many items ``candidates`` yields."""
        return sum(1 for _ in self.candidates(query))

    def _examined(self, query: Query) -> Iterator[Examined | None]:
        version = self.version()
        for entry in self.entries:
            if not query.selects({element for element, *_ in entry.sites}):
                continue  # before the crystal is built, and silent: nobody handed this entry in
            info = {
                "source": self.name,
                "source_version": version,
                "formula": entry.formula,
                "space_group": entry.space_group,
                "license": LICENSE,
                "attribution": ATTRIBUTION,
                "url": URL.format(material_id=entry.mp_id),
                "name": entry.name,
                "family": entry.family,
                "reference": entry.reference,
            }
            yield examine(entry.mp_id, entry.crystal(), info, query)
