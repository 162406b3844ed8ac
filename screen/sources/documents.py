"""Files as documents: what a driver reads, cheaply, and others parse.

A document is a whole file of one structure, or one or more rows of a table, as bytes. Tables are
streamed, so that their size does not matter.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast

from pathways.types import PathwayError
from screen.sources.columns import Columns, clean_text

_FIRST_CHUNK = 4
_CHUNK = 32
_CHUNK_BYTES = 256_000
"""Structures and bytes of a chunk: some tenths of a second of parsing, few for the first."""
_MOST_BYTES = 1 << 28
"""Largest file that is read at once; more is no structure, but may well fill the memory."""
_ROWS_LOOKED_AT = 100
"""Rows in which a column that was named has to occur: rows of JSON may lack what is not known."""
_PARQUET_BUFFER_BYTES = 1 << 20

_KINDS = {
    "cif": "cif",
    "vasp": "poscar",
    "poscar": "poscar",
    "json": "json",
    "jsonl": "jsonl",
    "parquet": "parquet",
    "xyz": "extxyz",
    "extxyz": "extxyz",
}

_PACKED = ".gz"
"""Ending of files that are read as what they hold, all kinds but Parquet, which packs itself."""

KINDS = ", ".join(["POSCAR*", "CONTCAR*", *(f"*.{suffix}" for suffix in _KINDS)])
"""The names that structure files have, for messages."""

TABLES = ("json", "jsonl", "parquet", "extxyz")
"""Kinds of which one file may hold many structures."""


@dataclass(frozen=True)
class Document:
    """A file or rows of one, read and not parsed."""

    kind: str
    content: bytes | str | PathwayError
    """As in the file; rows of Parquet as an Arrow stream; an error where it could not be read."""
    file: str
    """Its name, for messages."""
    file_id: str
    """Id of what the file holds, where that is one structure without an id of its own."""
    first: int = 1
    """Number in the file of the document's first structure."""
    where: str = ""
    """Place in the file, such as ``line 12``."""
    is_all: bool = True
    """Whether there is nothing else in the file."""


@dataclass(frozen=True)
class _Part:
    content: bytes | str | PathwayError
    where: str = ""
    size: int = 1
    """Structures, as far as is known without parsing."""


def kind_of(name: str) -> str | None:
    """The kind of structure file that is called so, or None when none is."""
    kind = _split(name)[1]
    if kind is None and name.startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    return None if kind == "parquet" and name.endswith(_PACKED) else kind


def stem_of(name: str) -> str:
    """A file's name without the suffix that says its kind; ``POSCAR.mp-1`` keeps its own."""
    stem, kind = _split(name)
    return name.removesuffix(_PACKED) if kind is None else stem


def _split(name: str) -> tuple[str, str | None]:
    """Name without suffix, and kind by suffix; quick, for it is asked of 100,000 names."""
    stem, _, suffix = name.removesuffix(_PACKED).rpartition(".")
    return stem, _KINDS.get(suffix.lower()) if stem else None


def name_of(path: str) -> str:
    """The last part of a path."""
    return path.rpartition(os.sep)[2]


def opened(path: Path) -> BinaryIO:
    """A file to read, unpacked on the way where its name says that it is packed."""
    if path.name.endswith(_PACKED):
        return cast(BinaryIO, gzip.open(path))
    return path.open("rb")


def one_line(error: Exception) -> str:
    """What went wrong, for the detail of a failure."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    is_plain = isinstance(error, ValueError | OSError) and str(error)
    return clean_text(str(error) if is_plain else f"{type(error).__name__} while reading: {error}")


def chunks(
    files: Iterable[str], file_ids: Iterable[str], columns: Columns
) -> Iterator[list[Document]]:
    """All documents of some files, in order, by the number that is worth sending to a worker.

    Never raises on what a file is or holds: that is a document with an error.

    Args:
        files: Paths.
        file_ids: One per path.
        columns: What the columns of tables are called.
    """
    chunk: list[Document] = []
    n_structures = n_bytes = 0
    most = _FIRST_CHUNK
    for path, file_id in zip(files, file_ids, strict=True):
        for document, size in _documents(path, clean_text(file_id), columns):
            chunk.append(document)
            n_structures += size
            if not isinstance(document.content, PathwayError):
                n_bytes += len(document.content)
            if n_structures >= most or n_bytes >= _CHUNK_BYTES:
                yield chunk
                chunk, n_structures, n_bytes, most = [], 0, 0, _CHUNK
    if chunk:
        yield chunk


def _documents(path: str, file_id: str, columns: Columns) -> Iterator[tuple[Document, int]]:
    """The documents of a file, each with the number of its structures."""
    name = name_of(path)
    kind = kind_of(name)
    assert kind is not None, f"{name} was not to be listed"
    parts = _checked(_guarded(Path(path), kind, columns), kind, columns)
    first = 1
    part = next(parts, None)
    while part is not None:
        after = next(parts, None)
        is_all = first == 1 and after is None
        yield (
            Document(kind, part.content, clean_text(name), file_id, first, part.where, is_all),
            part.size,
        )
        first += part.size
        part = after


def _guarded(path: Path, kind: str, columns: Columns) -> Iterator[_Part]:
    """The parts of a file; whatever goes wrong with it as a whole is its last part."""
    try:
        if kind == "parquet":
            yield from _parquet_batches(path, columns)
        else:
            yield from _SPLITTERS.get(kind, _whole)(path)
    except Exception as error:  # one bad file is a row, whatever its reader raises
        yield _Part(PathwayError("unreadable", one_line(error)))


def _checked(parts: Iterator[_Part], kind: str, columns: Columns) -> Iterator[_Part]:
    """The same parts, or an error in place of all where the first lack a column that was named."""
    if kind not in ("json", "jsonl", "extxyz") or not columns.named():
        return parts
    head = list(islice(parts, _ROWS_LOOKED_AT))
    present = dict.fromkeys(key for part in head for key in _keys_of(kind, part.content))
    try:
        if present:  # else there is no row that could be read, and each says so
            columns.check(present, but=("structure",) if kind == "extxyz" else ())
    except ValueError as error:
        return iter([_Part(PathwayError("unreadable", str(error)))])
    return chain(head, parts)


def _keys_of(kind: str, content: bytes | str | PathwayError) -> Iterable[str]:
    """The columns that a row of a table has; none where it cannot be read."""
    if isinstance(content, PathwayError):
        return ()
    if isinstance(content, bytes) and kind == "extxyz":
        from screen.sources.extxyz import frame_keys

        return frame_keys(content)
    try:
        row = json.loads(content)
    except (ValueError, RecursionError):
        return ()
    return row if isinstance(row, dict) else ()


def _whole(path: Path) -> Iterator[_Part]:
    with opened(path) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(
            f"one document of more than {_MOST_BYTES >> 20} MB; split it, or make it a table"
        )
    yield _Part(content)


def _json_values(path: Path) -> Iterator[_Part]:
    from screen.sources.json_stream import list_items

    items = list_items(path)
    if items is None:
        yield from _whole(path)
    else:
        yield from (_Part(item, f"item {n}") for n, item in enumerate(items, start=1))


def _lines(path: Path) -> Iterator[_Part]:
    with opened(path) as lines:
        for n, line in enumerate(lines, start=1):
            if not line.isspace():
                yield _Part(line, f"line {n}")


def _frames(path: Path) -> Iterator[_Part]:
    from screen.sources.extxyz import split_frames

    with opened(path) as lines:
        for n, frame in enumerate(split_frames(lines), start=1):
            yield _Part(frame, f"frame {n}")


def _parquet_batches(path: Path, columns: Columns) -> Iterator[_Part]:
    """Rows as Arrow streams: nothing of a row is made Python here."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A buffer instead of what pyarrow does by itself, which is to read all row groups ahead.
    with pq.ParquetFile(path, buffer_size=_PARQUET_BUFFER_BYTES, pre_buffer=False) as file:
        present = file.schema_arrow.names
        columns.check(present)
        if not columns.structure and "structure" not in present:
            raise ValueError(f"columns are {', '.join(present)}; expected one called structure")
        for batch in file.iter_batches(batch_size=_CHUNK, columns=columns.wanted(present)):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            yield _Part(sink.getvalue().to_pybytes(), size=batch.num_rows)


_SPLITTERS: dict[str, Callable[[Path], Iterator[_Part]]] = {
    "json": _json_values,
    "jsonl": _lines,
    "extxyz": _frames,
}
