"""The user's own structures as a source: files, folders of them, and tables."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from jobs.records import Candidate, Failure
from pathways.types import PathwayError
from screen.errors import FAILED, UserError
from screen.sources.base import Query
from screen.sources.readers import KINDS, TABLES, Entry, reader_for, stem_of
from screen.sources.selection import failed, select, up_to


class Files:
    """Structures from paths, streamed: a table is read by batches, a folder file by file.

    A material's id is the one its table gives, else the file's stem (with a number where the file
    holds several structures); where stems repeat, the path relative to what the files share.

    Args:
        paths: Files, and folders that are searched to the bottom.

    Raises:
        UserError: A path does not exist, or is a file of no kind that holds structures.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        # Text, not Path: a folder of 100,000 files is listed before its first structure is read.
        self._roots = [str(Path(path).expanduser().resolve()) for path in paths]
        for given, root in zip(paths, self._roots, strict=True):
            if not Path(root).exists():
                raise UserError(
                    f"{given}: no such file or folder; pass a path to structures, or 'catalog'"
                )
            if not Path(root).is_dir() and reader_for(Path(root).name) is None:
                raise UserError(f"{given}: not a kind of structure file; expected {KINDS}")
        self.name = Path(self._roots[0]).name if len(self._roots) == 1 else "files"

    @cached_property
    def version(self) -> str:
        """Twelve hex digits: of the content of a file, of the listing of a folder.

        A folder is told by the paths, sizes and times of its files, because reading it all would
        hold up the first candidate.
        """
        digest = hashlib.sha256()
        for path in self._files:
            try:
                if path in self._roots:
                    with Path(path).open("rb") as file:
                        mark = hashlib.file_digest(file, "sha256").hexdigest()
                else:
                    stat = os.stat(path)  # noqa: PTH116 - see __init__
                    mark = f"{self._relative(path)} {stat.st_size} {stat.st_mtime_ns}"
            except OSError as error:
                mark = str(error)  # the file will be a failure row; it must not stop the others
            digest.update(f"{mark}\n".encode())
        return digest.hexdigest()[:12]

    @cached_property
    def _files(self) -> list[str]:
        """All structure files, each once, in an order that depends on nothing but their names."""
        found: dict[str, None] = {}
        for root in self._roots:
            paths = _walk(root) if Path(root).is_dir() else [root]
            found.update(dict.fromkeys(paths))
        return list(found)

    def candidates(self, query: Query) -> Iterator[Candidate | Failure]:
        """Stream the structures that the query selects, and a failure for each bad one."""
        return up_to(self._select(query), query.limit)

    def count(self, query: Query) -> int | None:
        """How many structures there are to look at; None where tables would have to be read."""
        if any(path.lower().endswith(TABLES) for path in self._files):
            return None
        n_files = len(self._files)
        return n_files if query.limit is None else min(n_files, query.limit)

    def _select(self, query: Query) -> Iterator[Candidate | Failure]:
        seen: Counter[str] = Counter()
        for path, file_id in zip(self._files, self._file_ids(), strict=True):
            name = _name(path)
            for material_id, entry in _identified(Path(path), file_id):
                place = f"{name}, {entry.where}" if entry.where else name
                seen[material_id] += 1
                if seen[material_id] > 1:
                    yield failed(
                        f"{material_id}#{seen[material_id]}",
                        "source",
                        "duplicate_id",
                        f"{place}: material_id {material_id} was there before; make ids unique",
                    )
                    continue
                if isinstance(entry.crystal, PathwayError):
                    error = entry.crystal
                    detail = f"{place}: {error.detail}"
                    yield failed(material_id, "source", error.reason, detail)
                    continue
                info = {"source": self.name, "source_version": self.version, **entry.info}
                item = select(material_id, entry.crystal, info, query)
                if item is not None:
                    yield item

    def _file_ids(self) -> Iterator[str]:
        """An id per file: its stem, or its relative path where another file has that stem."""
        stems = Counter(stem_of(_name(path)) for path in self._files)
        for path in self._files:
            stem = stem_of(_name(path))
            yield stem if stems[stem] == 1 else self._relative(path)

    def _relative(self, path: str) -> str:
        return path[self._common_length :].lstrip(os.sep).replace(os.sep, "/")

    @cached_property
    def _common_length(self) -> int:
        folders = [root if Path(root).is_dir() else str(Path(root).parent) for root in self._roots]
        return len(os.path.commonpath(folders))


def _walk(folder: str) -> Iterator[str]:
    """Structure files under a folder, sorted within each folder; hidden ones are left out."""

    def refuse(error: OSError) -> None:
        raise UserError(
            f"{error.filename}: cannot be listed ({error.strerror}); make it readable", FAILED
        )

    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and reader_for(name) is not None:
                yield f"{where}{os.sep}{name}"


def _name(path: str) -> str:
    return path.rpartition(os.sep)[2]


def _identified(path: Path, file_id: str) -> Iterator[tuple[str, Entry]]:
    """The entries of a file with their ids: the file's own id where it holds a single one.

    Whatever goes wrong with the file as a whole is one more entry.
    """
    held: Entry | None = None  # the first entry, until it is known whether there is a second
    n = 0
    for n, entry in enumerate(_entries(path), start=1):
        if entry.material_id is not None:
            yield entry.material_id, entry
        elif n == 1:
            held = entry
            continue
        else:
            if held is not None:
                yield f"{file_id}-1", held
                held = None
            yield f"{file_id}-{n}", entry
    if held is not None:
        yield file_id if n == 1 else f"{file_id}-1", held


def _entries(path: Path) -> Iterator[Entry]:
    reader = reader_for(path.name)
    if reader is None:
        return
    try:
        yield from reader(path)
    except Exception as error:  # one bad file is a row, whatever its reader raises
        is_plain = isinstance(error, ValueError | OSError) and str(error)
        detail = str(error) if is_plain else f"{type(error).__name__} while reading: {error}"
        yield Entry(PathwayError("unreadable", detail))
