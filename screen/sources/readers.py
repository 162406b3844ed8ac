"""Documents parsed, on any machine: good entries and bad ones, then candidates and failures."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pathways.types import Crystal, PathwayError
from screen.sources.base import Query
from screen.sources.columns import Columns, clean_text
from screen.sources.documents import Document, one_line
from screen.sources.extxyz import crystal_from_frame, frame_keys
from screen.sources.selection import Examined, examine, failed
from screen.sources.structure_json import crystal_from_json

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


@dataclass(frozen=True, eq=False)
class Entry:
    """One structure of a document, or why it is none."""

    crystal: Crystal | PathwayError
    where: str = ""
    """Place in the document; empty where the document is one structure."""
    material_id: str | None = None
    """Where the document gives one."""
    info: Mapping[str, Any] = field(default_factory=dict)


class Found(NamedTuple):
    """What came of one entry."""

    material_id: str
    place: str
    """File and place in it, for messages."""
    examined: Examined | None
    """None for a system not asked for."""


@dataclass(frozen=True)
class Parser:
    """Documents into what was found in them. Never raises on what a document holds.

    Attributes:
        query: What is asked for.
        info: Of all materials alike, for ``Candidate.info``.
        columns: What the columns of tables are called.
    """

    query: Query
    info: Mapping[str, Any]
    columns: Columns

    def __call__(self, documents: Iterable[Document]) -> list[Found]:
        """What was found, in order."""
        return [found for document in documents for found in self._parsed(document)]

    def _parsed(self, document: Document) -> Iterator[Found]:
        entries = list(_entries(document, self.columns))
        is_single = document.is_all and len(entries) == 1
        for n, entry in enumerate(entries, start=document.first):
            fallback = document.file_id if is_single else f"{document.file_id}-{n}"
            where = entry.where or document.where
            place = f"{document.file}, {where}" if where else document.file
            material_id = fallback if entry.material_id is None else entry.material_id
            yield Found(material_id, place, self._examined(material_id, place, entry))

    def _examined(self, material_id: str, place: str, entry: Entry) -> Examined | None:
        if isinstance(entry.crystal, PathwayError):
            error = entry.crystal
            detail = f"{place}: {clean_text(error.detail)}"
            return Examined(failed(material_id, "source", error.reason, detail))
        try:
            return examine(material_id, entry.crystal, {**self.info, **entry.info}, self.query)
        except Exception as error:  # a crystal so odd that it cannot be compared with others
            detail = f"{place}: {one_line(error)}"
            return Examined(failed(material_id, "source", "unreadable", detail))


def _entries(document: Document, columns: Columns) -> Iterator[Entry]:
    """The entries of a document; what goes wrong with it as a whole is one more."""
    content = document.content
    if isinstance(content, PathwayError):
        yield Entry(content)
        return
    try:
        yield from _READERS[document.kind](document, _as_bytes(content), columns)
    except Exception as error:  # one bad document is a row, whatever its reader raises
        yield Entry(PathwayError("unreadable", one_line(error)))


def _as_bytes(content: bytes | str) -> bytes:
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content


def _read_cif(document: Document, content: bytes, columns: Columns) -> Iterator[Entry]:
    yield from _cif_entries(content.decode("utf-8", "replace"))


def _cif_entries(text: str) -> Iterator[Entry]:
    """Every structure of a CIF, in the cell of the file; blocks without atoms are no structures."""
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser = CifParser.from_str(text, check_cif=False)
        structures = parser.parse_structures(primitive=False, on_error="ignore")
    for n, structure in enumerate(structures, start=1):
        yield Entry(_crystal(structure), f"structure {n}" if n > 1 else "")
    for warning in parser.warnings:  # type: ignore[attr-defined]
        # A block without atoms, such as data_global, is no loss.
        if warning.startswith("No structure parsed") and "_atom_site_label" not in warning:
            yield Entry(PathwayError("unreadable", warning), "one of its blocks")


def _read_poscar(document: Document, content: bytes, columns: Columns) -> Iterator[Entry]:
    yield Entry(_poscar_crystal(content.decode()))


def _poscar_crystal(text: str) -> Crystal | PathwayError:
    from pymatgen.io.vasp.inputs import Poscar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Without element symbols pymatgen would call them H, He, Li …
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
        return _crystal(Poscar.from_str(text).structure)


def _crystal(structure: Structure) -> Crystal | PathwayError:
    from pathways.convert import crystal_from_structure

    try:
        crystal = crystal_from_structure(structure)
    except PathwayError as error:
        return error
    if not (np.isfinite(crystal.lattice).all() and np.isfinite(crystal.frac).all()):
        return PathwayError("non_finite", "lattice or sites hold values that are not finite")
    return crystal


def _read_json(document: Document, content: bytes, columns: Columns) -> Iterator[Entry]:
    """One structure, or a row with one."""
    try:
        row = json.loads(content)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None
    yield _row_entry(row, "", columns)


def _read_parquet(document: Document, content: bytes, columns: Columns) -> Iterator[Entry]:
    import pyarrow as pa

    with pa.ipc.open_stream(content) as stream:
        rows = stream.read_all().to_pylist()
    for n, row in enumerate(rows, start=document.first):
        yield _row_entry(row, f"row {n}", columns)


def _row_entry(row: object, where: str, columns: Columns) -> Entry:
    """An entry from a row ``{"material_id": …, "structure": …, …}`` or from a bare structure."""
    if not isinstance(row, dict):
        found = type(row).__name__
        return Entry(PathwayError("unreadable", f"{found}, expected a JSON object"), where)
    crystal: Crystal | PathwayError
    try:
        crystal = _crystal_from_cell(columns.structure_of(row))
    except PathwayError as error:
        crystal = error
    except Exception as error:  # one bad row, whatever its reader raises
        crystal = PathwayError("unreadable", one_line(error))
    return Entry(crystal, where, columns.id_of(row), columns.info_of(row))


def _crystal_from_cell(value: object) -> Crystal:
    """The crystal in a table's cell: JSON, as text or not, or the text of a CIF or POSCAR."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str) or text.lstrip().startswith("{") or "\n" not in text.strip():
        return crystal_from_json(text)
    if "data_" not in text and "_cell_length" not in text:
        crystals = [_poscar_crystal(text)]
    else:
        crystals = [entry.crystal for entry in _cif_entries(text)]
    if len(crystals) > 1:
        raise PathwayError("unreadable", f"{len(crystals)} structures, expected one in a row")
    if isinstance(crystals[0], PathwayError):
        raise crystals[0]
    return crystals[0]


def _read_extxyz(document: Document, content: bytes, columns: Columns) -> Iterator[Entry]:
    keys = frame_keys(content)
    crystal: Crystal | PathwayError
    try:
        crystal = crystal_from_frame(content)
    except PathwayError as error:
        crystal = error
    yield Entry(crystal, "", columns.id_of(keys), columns.info_of(keys))


_READERS: dict[str, Callable[[Document, bytes, Columns], Iterator[Entry]]] = {
    "cif": _read_cif,
    "poscar": _read_poscar,
    "json": _read_json,
    "jsonl": _read_json,
    "parquet": _read_parquet,
    "extxyz": _read_extxyz,
}
