"""The structure files that paths, folders and patterns name, and what tells their content."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from screen.errors import FAILED, UserError
from screen.sources.documents import KINDS, kind_of, name_of, stem_of

_MOST_HASHED = 100
_MOST_HASHED_BYTES = 1 << 30
"""Named files up to these are told by their content; to read more would hold up the first one."""
_ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".zst", ".7z")


@dataclass(frozen=True)
class _Root:
    """What one argument names."""

    folder: str
    """That ids are relative to."""
    paths: tuple[str, ...]
    """Files, and folders to search."""
    is_file: bool = False
    """Whether the argument is one file."""


class Listing:
    """Structure files, each once, in an order that depends on nothing but their names.

    Args:
        paths: Files, folders that are searched to the bottom, and patterns with ``*``, ``?``,
            ``[…]`` and ``**``, which match folders too.

    Raises:
        UserError: A path does not exist, a pattern matches nothing, or a file is of no kind that
            holds structures.
    """

    # Text, not Path: a folder of 100,000 files is listed before its first structure is read.

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self._roots = [_root(str(path)) for path in paths]

    @property
    def name(self) -> str:
        """Of the only file or folder, else ``files``."""
        if len(self._roots) > 1:
            return "files"
        (root,) = self._roots
        return name_of(root.paths[0] if root.is_file else root.folder) or "files"

    @cached_property
    def files(self) -> list[str]:
        """Absolute paths.

        Raises:
            UserError: A folder cannot be listed.
        """
        found: dict[str, None] = {}
        for root in self._roots:
            for path in root.paths:
                is_folder = not root.is_file and os.path.isdir(path)  # noqa: PTH112
                found.update(dict.fromkeys(_walk(path) if is_folder else [path]))
        return list(found)

    def ids(self) -> Iterator[str]:
        """An id per file: its stem, or its relative path where another file has that stem."""
        stems = [stem_of(name_of(path)) for path in self.files]
        counts = Counter(stems)
        for path, stem in zip(self.files, stems, strict=True):
            yield stem if counts[stem] == 1 else self._relative(path)

    @cached_property
    def version(self) -> str:
        """Twelve hex digits: of the content of files that are named, of the listing of others.

        A folder or pattern is told by the paths, sizes and times of its files, and so are named
        files that are many or large, because reading it all would hold up the first candidate.
        """
        digest = hashlib.sha256()
        hashed = self._hashed()
        for path in self.files:
            try:
                if path in hashed:
                    with Path(path).open("rb") as file:
                        mark = hashlib.file_digest(file, "sha256").hexdigest()
                else:
                    found = os.stat(path)  # noqa: PTH116
                    mark = f"{self._relative(path)} {found.st_size} {found.st_mtime_ns}"
            except OSError as error:
                mark = str(error)  # the file will be a failure row; it must not stop the others
            digest.update(mark.encode("utf-8", "surrogateescape") + b"\n")
        return digest.hexdigest()[:12]

    def _hashed(self) -> set[str]:
        named = {root.paths[0] for root in self._roots if root.is_file}
        if len(named) > _MOST_HASHED:
            return set()
        return named if sum(map(_size, named)) <= _MOST_HASHED_BYTES else set()

    def _relative(self, path: str) -> str:
        return path[self._common_length :].lstrip(os.sep).replace(os.sep, "/")

    @cached_property
    def _common_length(self) -> int:
        return len(os.path.commonpath([root.folder for root in self._roots]))


def _root(given: str) -> _Root:
    path = Path(given).expanduser()
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if glob.has_magic(given):
            return _matched(given, path)
        found = "no such file or folder" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"{given}: {found}; pass a path to structures") from None
    if stat.S_ISDIR(mode):
        folder = str(path.resolve())
        return _Root(folder, (folder,))
    if kind_of(path.name) is None:
        if path.suffix.lower() in _ARCHIVES:
            raise UserError(f"{given}: an archive; unpack it and pass what comes out")
        raise UserError(f"{given}: not a kind of structure file; expected {KINDS}")
    folder = str(path.parent.resolve())  # a link keeps its own name, which says the kind
    return _Root(folder, (_joined(folder, path.name),), is_file=True)


def _matched(given: str, pattern: Path) -> _Root:
    """The files and folders that match a pattern, those of no kind left out."""
    n_fixed = next(n for n, part in enumerate(pattern.parts) if glob.has_magic(part))
    folder = str(Path(*pattern.parts[:n_fixed]).resolve())
    rest = os.path.join(*pattern.parts[n_fixed:])  # noqa: PTH118
    matches = sorted(glob.iglob(rest, root_dir=folder, recursive=True))  # noqa: PTH207
    paths = [_joined(folder, match) for match in matches if match]
    kept = tuple(p for p in paths if kind_of(name_of(p)) or os.path.isdir(p))  # noqa: PTH112
    if not kept:
        found = f"{len(paths):,} matches, none of them a" if paths else "matches no"
        raise UserError(f"{given}: {found} structure file or folder; expected {KINDS}")
    return _Root(folder, kept)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def _joined(folder: str, name: str) -> str:
    return f"{folder.rstrip(os.sep)}{os.sep}{name}"


def _walk(folder: str) -> Iterator[str]:
    """Structure files under a folder, sorted within each folder; hidden ones are left out."""

    def refuse(error: OSError) -> None:
        raise UserError(
            f"{error.filename}: cannot be listed ({error.strerror}); make it readable", FAILED
        )

    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and kind_of(name) is not None:
                yield f"{where}{os.sep}{name}"
