"""Tables of bulk properties from Parquet and HDF5, row by row: a bad one is named and left out.

Parquet, as the published sets are joined: ``id``, ``structure`` (JSON text ``{"lattice": 3x3 Å,
"species": symbols, "frac": n x 3}``), a nullable column of numbers per property, and, where it is
there, ``paper_test_props``: the short names of the properties whose published test set has the row.

HDF5, for nodes that have no pyarrow: ``names``, ``lattice`` (n, 3, 3), ``numbers`` and ``frac`` of
all atoms one after another with ``offsets`` (n + 1), ``labels`` (n, p), ``published_test`` (n, p);
attributes ``format``, ``properties`` (JSON), ``source`` and ``digest`` of what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.bulk import KNOWN, BoolArray, BulkTable, Property, find_properties, merge
from models.dataset import DatasetError
from models.elements import cgcnn_features
from pathways.elements import atomic_number
from pathways.types import Crystal, FloatArray, PathwayError

_FORMAT = "bulk-1"
_HDF5 = (".h5", ".hdf5")
_NO_LABELS = {"id", "structure", "natoms", "formula"}


def load_bulk(paths: Sequence[Path], words: Sequence[str] = ()) -> BulkTable:
    """Labelled crystals of one or several files, merged by structure.

    Args:
        paths: Parquet, or HDF5 (``.h5``, ``.hdf5``).
        words: names, short names or columns of the properties; none for all known ones but those
            held back. Each has to be in at least one file.

    Raises:
        DatasetError: a file is missing or unreadable, a word names nothing, no row is usable.
    """
    opened = [
        _open_hdf5(path) if path.suffix.lower() in _HDF5 else _open_parquet(path) for path in paths
    ]
    at_hand = tuple(dict.fromkeys(one for offered, _ in opened for one in offered))
    wanted = find_properties(words, at_hand)
    tables = [
        read(tuple(one for one in wanted if one in offered))
        for offered, read in opened
        if set(offered) & set(wanted)
    ]
    table = merge(tables)
    if not len(table):
        first = f"; first: {table.refused[0][1]}" if table.refused else ""
        raise DatasetError(f"{table.source}: no crystal with one of these labels{first}")
    order = [table.properties.index(one) for one in wanted]
    return replace(
        table,
        properties=wanted,
        labels=table.labels[:, order],
        published_test=table.published_test[:, order],
    )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(
            f"{path}: {error.strerror or error}; pass a Parquet or HDF5 table of bulk properties"
        ) from None


def _open_parquet(path: Path) -> tuple[tuple[Property, ...], Any]:
    """What a Parquet file offers, and a function that reads some of it."""
    import pyarrow
    from pyarrow import parquet

    digest = _digest(path)
    try:
        schema = parquet.read_schema(path)
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise DatasetError(f"{path}: not readable as Parquet ({first})") from None
    if "structure" not in schema.names:
        raise DatasetError(
            f"{path}: no column 'structure', found {', '.join(schema.names[:8])}; expected JSON of "
            "lattice, species and frac"
        )
    numeric = {
        field.name
        for field in schema
        if pyarrow.types.is_floating(field.type) or pyarrow.types.is_integer(field.type)
    } - _NO_LABELS
    known = [one for one in KNOWN if one.column in numeric]
    others = sorted(numeric - {one.column for one in known})
    offered = (*known, *(Property(column.lower(), column) for column in others))

    def read(wanted: tuple[Property, ...]) -> BulkTable:
        columns = ["structure", *(one.column for one in wanted)]
        columns += [name for name in ("id", "paper_test_props") if name in schema.names]
        table = parquet.read_table(path, columns=columns)
        labels = [table[one.column].to_numpy().astype(np.float64) for one in wanted]
        count = len(table)
        names = table["id"].to_pylist() if "id" in columns else list(range(count))
        tests = table["paper_test_props"].to_pylist() if "paper_test_props" in columns else [None]
        return _checked(
            [str(name) for name in names],
            table["structure"].to_pylist(),
            wanted,
            np.stack(labels, axis=1),
            _published(tests if count == len(tests) else [None] * count, wanted),
            path.name,
            digest,
        )

    return offered, read


def _published(tests: Sequence[Any], wanted: Sequence[Property]) -> BoolArray:
    """(n, p) from comma-separated short names."""
    words = [str(text or "").split(",") for text in tests]
    return np.array(
        [[any(one.answers_to(word) for word in row) for one in wanted] for row in words],
        dtype=np.bool_,
    ).reshape(len(words), len(wanted))


def _checked(
    names: Sequence[str],
    structures: Sequence[Any],
    properties: tuple[Property, ...],
    labels: FloatArray,
    published_test: BoolArray,
    source: str,
    digest: str,
) -> BulkTable:
    """The table of the rows that have a label and can be read; the others are named."""
    labels = labels.copy()
    refused: list[tuple[str, str]] = []
    for column, one in enumerate(properties):
        values = labels[:, column]
        bad = np.isinf(values) | (values <= 0 if one.log10 else False)
        for row in np.flatnonzero(bad).tolist():
            needs = "positive and finite" if one.log10 else "finite"
            refused.append((names[row], f"{one.name} is {values[row]:g}, expected {needs}"))
        values[bad] = np.nan
    crystals, kept = [], []
    for row in np.flatnonzero(~np.isnan(labels).all(axis=1)).tolist():
        try:
            crystals.append(_crystal(structures[row]))
        except (PathwayError, KeyError, TypeError, ValueError) as error:
            detail = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            refused.append((names[row], f"no usable structure: {detail}"))
            continue
        kept.append(row)
    return BulkTable(
        tuple(names[row] for row in kept),
        tuple(crystals),
        properties,
        labels[kept],
        published_test[kept],
        tuple(refused),
        source,
        digest,
    )


def _crystal(structure: Any) -> Crystal:
    if isinstance(structure, Crystal):
        crystal = structure
    else:
        content = json.loads(structure)
        numbers = [atomic_number(str(symbol)) for symbol in content["species"]]
        crystal = Crystal(
            np.array(content["lattice"], dtype=np.float64),
            np.array(numbers, dtype=np.int64),
            np.array(content["frac"], dtype=np.float64),
        )
    lattice, frac = crystal.lattice, crystal.frac
    if lattice.shape != (3, 3) or frac.shape != (len(crystal), 3) or not len(crystal):
        raise ValueError(f"lattice {lattice.shape} and frac {frac.shape}, expected (3, 3), (n, 3)")
    if not (np.isfinite(lattice).all() and np.isfinite(frac).all()):
        raise ValueError("the cell or a coordinate is not finite")
    if abs(np.linalg.det(lattice)) < 1e-3:
        raise ValueError("the cell has no volume")
    cgcnn_features(crystal.numbers)
    return crystal


def _open_hdf5(path: Path) -> tuple[tuple[Property, ...], Any]:
    """What an HDF5 file offers, and a function that reads some of it."""
    digest = _digest(path)
    content, attributes = _hdf5_content(path)
    offered = tuple(
        Property(**{**one, "words": tuple(one["words"])})
        for one in json.loads(attributes["properties"])
    )

    def read(wanted: tuple[Property, ...]) -> BulkTable:
        columns = [offered.index(one) for one in wanted]
        bounds = content["offsets"]
        crystals = [
            Crystal(lattice, content["numbers"][start:end], content["frac"][start:end])
            for lattice, start, end in zip(content["lattice"], bounds[:-1], bounds[1:], strict=True)
        ]
        return _checked(
            [name.decode() for name in content["names"]],
            crystals,
            wanted,
            content["labels"][:, columns],
            content["published_test"][:, columns],
            path.name,
            digest,
        )

    return offered, read


def _hdf5_content(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != _FORMAT:
                raise DatasetError(f"{path}: no table of bulk properties ({_FORMAT}) in this HDF5")
            content = {name: file[name][:] for name in file}
            attributes = dict(file.attrs)
            n, p = content["labels"].shape
            sizes = (len(content["names"]), len(content["lattice"]), len(content["offsets"]) - 1)
            atoms = {len(content["numbers"]), len(content["frac"]), int(content["offsets"][-1])}
            whole = set(sizes) == {n} and content["published_test"].shape == (n, p)
            if not whole or len(atoms) != 1 or len(json.loads(attributes["properties"])) != p:
                raise DatasetError(f"{path}: its arrays do not fit together; write it again")
    except (OSError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: not readable as HDF5 of bulk properties ({error})") from None
    return content, attributes


def write_bulk(table: BulkTable, path: Path) -> None:
    """Write a table as HDF5, whole or not at all."""
    import h5py

    sizes = [len(crystal) for crystal in table.crystals]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    arrays = {
        "names": np.array([name.encode() for name in table.names]),
        "lattice": np.stack([crystal.lattice for crystal in table.crystals]),
        "numbers": np.concatenate([crystal.numbers for crystal in table.crystals]),
        "frac": np.concatenate([crystal.frac for crystal in table.crystals]),
        "offsets": np.concatenate([[0], np.cumsum(sizes)]),
        "labels": table.labels,
        "published_test": table.published_test,
    }
    with h5py.File(temporary, "w") as file:
        file.attrs["format"] = _FORMAT
        file.attrs["properties"] = json.dumps([asdict(one) for one in table.properties])
        file.attrs["source"], file.attrs["digest"] = table.source, table.digest
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip", shuffle=True)
    temporary.replace(path)
