"""One reader per kind of file: each streams what the file holds, good entries and bad ones."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathways.types import Crystal, PathwayError
from screen.sources.structure_json import crystal_from_json

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

ROWS_PER_BATCH = 512

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


@dataclass(frozen=True, eq=False)
class Entry:
    """One structure of a file, or why it is none."""

    crystal: Crystal | PathwayError
    where: str = ""
    """Place in the file, such as ``line 12``; empty where the file is one structure."""
    material_id: str | None = None
    """Where the file gives one."""
    info: Mapping[str, Any] = field(default_factory=dict)


Reader = Callable[[Path], Iterator[Entry]]
"""May raise anything when the file as a whole cannot be read (on)."""


def reader_for(name: str) -> Reader | None:
    """The reader for a file's name, or None when no kind of structure file is called so."""
    reader = _READERS.get(os.path.splitext(name)[1].lower())  # noqa: PTH122 - names by the 100,000
    if reader is None and name.startswith(("POSCAR", "CONTCAR")):
        return read_poscar
    return reader


def stem_of(name: str) -> str:
    """A file's name without the suffix that says its kind; ``POSCAR.mp-1`` keeps its own."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    return stem if suffix.lower() in _READERS else name


def read_cif(path: Path) -> Iterator[Entry]:
    """Every structure of a CIF, in the cell of the file; blocks without atoms are no structures."""
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser = CifParser(path, check_cif=False)
        structures = parser.parse_structures(primitive=False, on_error="ignore")
    yield from _from_structures(structures, "structure")
    for warning in parser.warnings:  # type: ignore[attr-defined]
        # A block without atoms, such as data_global, is no loss.
        if warning.startswith("No structure parsed") and "_atom_site_label" not in warning:
            yield Entry(PathwayError("unreadable", warning), "one of its blocks")


def read_poscar(path: Path) -> Iterator[Entry]:
    """The structure of a VASP file."""
    from pymatgen.io.vasp.inputs import Poscar

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Without element symbols pymatgen would call them H, He, Li …
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
        poscar = Poscar.from_file(path, check_for_potcar=False)
    yield from _from_structures([poscar.structure], "structure")


def read_json(path: Path) -> Iterator[Entry]:
    """One structure, a row with a structure, or a list of either."""
    value = json.loads(path.read_bytes())
    rows = value if isinstance(value, list) else [value]
    yield from (entry_from_row(row, f"item {n}") for n, row in enumerate(rows, start=1))


def read_jsonl(path: Path) -> Iterator[Entry]:
    """One row with a structure, or one structure, per line; empty lines are skipped."""
    with path.open("rb") as lines:
        for n, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield Entry(PathwayError("unreadable", f"no JSON: {error}"), f"line {n}")
                continue
            yield entry_from_row(row, f"line {n}")


def read_parquet(path: Path) -> Iterator[Entry]:
    """The rows of a table with a ``structure`` column, a batch at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = file.schema_arrow.names
        if "structure" not in columns:
            raise ValueError(f"columns are {', '.join(columns)}; expected one called structure")
        wanted = [c for c in columns if c in ("structure", "material_id", *_INFO_COLUMNS)]
        n = 0
        for batch in file.iter_batches(batch_size=ROWS_PER_BATCH, columns=wanted):
            for row in batch.to_pylist():
                n += 1
                yield entry_from_row(row, f"row {n}")


def entry_from_row(row: object, where: str) -> Entry:
    """An entry from a row ``{"material_id": …, "structure": …, …}`` or from a bare structure."""
    if not isinstance(row, dict):
        found = type(row).__name__
        return Entry(PathwayError("unreadable", f"{found}, expected a JSON object"), where)
    material_id = row.get("material_id")
    info = {
        name: known
        for column, name in _INFO_COLUMNS.items()
        if (known := _known(name, row.get(column))) is not None
    }
    try:
        crystal: Crystal | PathwayError = crystal_from_json(row.get("structure", row))
    except PathwayError as error:
        crystal = error
    return Entry(crystal, where, None if material_id is None else str(material_id), info)


def _known(name: str, value: object) -> object:
    """A value of the type its column has, or None: tables write missing as null, NaN or text."""
    if name in ("energy_above_hull_ev", "band_gap_ev"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number and value == value else None  # type: ignore[arg-type]
    if name == "theoretical":
        return value if isinstance(value, bool) else None
    return value if isinstance(value, str) and value else None


def _from_structures(structures: Iterable[Structure], what: str) -> Iterator[Entry]:
    from pathways.convert import crystal_from_structure

    for n, structure in enumerate(structures, start=1):
        try:
            crystal: Crystal | PathwayError = crystal_from_structure(structure)
        except PathwayError as error:
            crystal = error
        yield Entry(crystal, f"{what} {n}" if n > 1 else "")


def _read_extxyz(path: Path) -> Iterator[Entry]:
    from screen.sources.extxyz import read_frames

    for n, (crystal, keys) in enumerate(read_frames(path), start=1):
        yield Entry(crystal, f"frame {n}", keys.get("material_id"))


_READERS: dict[str, Reader] = {
    ".cif": read_cif,
    ".vasp": read_poscar,
    ".poscar": read_poscar,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
    ".xyz": _read_extxyz,
    ".extxyz": _read_extxyz,
}

KINDS = ", ".join(["POSCAR*", "CONTCAR*", *(f"*{suffix}" for suffix in _READERS)])
"""The names that structure files have, for messages."""

TABLES = (".jsonl", ".parquet", ".xyz", ".extxyz", ".json")
"""Kinds of which one file may hold many structures."""
