"""Pages of online sources on disk, as received, with a manifest of where they come from.

A query has a folder named by its digest::

    <cache>/<source>/<digest>/manifest.json
    <cache>/<source>/<digest>/page-00001-3f2a9c01.json.gz

The manifest has the query, the database's version, and of every page its sha256, its items and
where the next one is. Files are written under another name and renamed, the page before the
manifest that names it; the names of pages carry their digest, so that two runs that pull the same
query do not disturb one another. Keys are in neither.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from screen.atomic import replacing
from screen.errors import FAILED, UserError

_FORMAT = 1
_COMPRESSION = 4


@dataclass(frozen=True)
class Policy:
    """How the cache is used."""

    folder: Path
    offline: bool = False
    """Ask nothing of any server."""
    refresh: bool = False
    """Ask for everything again."""


@dataclass(frozen=True)
class Entry:
    """A page in the manifest."""

    file: str
    sha256: str
    bytes: int
    items: int
    new: int
    """Items that no earlier page had."""
    total: int | None
    """Items of all pages, as the server said with this one."""
    round: int
    """All pages may have to be asked for more than once."""
    cursor: str | None
    """Where this page is; None: the first."""
    next: str | None
    """Where the next one is; None: this was the last."""
    fetched: str


class CacheFolder:
    """The folder of one query.

    Args:
        folder: Made with the first page.
        identity: All that decides the answer, as JSON types.
        ignore: Take what is there for nothing.

    Raises:
        UserError: The manifest cannot be read or is of another version of the program.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], ignore: bool = False) -> None:
        self.folder = folder
        self.entries: list[Entry] = []
        self.facts: dict[str, Any] = {}
        """The manifest without the pages."""
        if not ignore:
            self._read()
        self._identity = identity

    def begin(self, version: str) -> None:
        """Forget what is there; nothing is removed from the disk before a new page is written."""
        self.entries = []
        self.facts = {
            "format": _FORMAT,
            "query": self._identity,
            "version": version,
            "started": now(),
            "finished": None,
        }

    def add(self, packed: bytes, at: int, **known: Any) -> Entry:
        """Name a page in the manifest, in its place: the next one, or that of a damaged one."""
        digest = hashlib.sha256(packed).hexdigest()
        entry = Entry(
            file=f"page-{at + 1:05}-{digest[:8]}.json.gz",
            sha256=digest,
            bytes=len(packed),
            fetched=now(),
            **known,
        )
        self.entries[at : at + 1] = [entry]
        return entry

    def finish(self) -> None:
        """Note that every page is there."""
        self.facts["finished"] = now()

    def save(self, entry: Entry | None = None, packed: bytes = b"") -> None:
        """Write a page and the manifest, or the manifest alone; raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if entry is not None:
            _write(self.folder / entry.file, packed)
        total = self.entries[-1].total if self.entries else None
        pages = [asdict(one) for one in self.entries]
        text = json.dumps({**self.facts, "total": total, "pages": pages}, indent=1)
        _write(self.folder / "manifest.json", text.encode())

    def load(self, entry: Entry) -> bytes:
        """A page, gzipped.

        Raises:
            OSError: It cannot be read, or its digest is not the manifest's.
        """
        packed = (self.folder / entry.file).read_bytes()
        if hashlib.sha256(packed).hexdigest() != entry.sha256:
            raise OSError("its sha256 is not the manifest's")
        return packed

    def _read(self) -> None:
        path = self.folder / "manifest.json"
        try:
            facts = json.loads(path.read_bytes())
            if facts["format"] != _FORMAT:
                raise ValueError(f"its format is {facts['format']}, not {_FORMAT}")
            self.entries = [Entry(**entry) for entry in facts.pop("pages")]
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: no manifest of this version ({error}); --refresh pulls anew", FAILED
            ) from None
        self.facts = facts


def folder_for(cache: Path, source: str, identity: dict[str, Any]) -> Path:
    """Where the pages of a query are."""
    text = json.dumps(identity, sort_keys=True)
    return cache / source / hashlib.sha256(text.encode()).hexdigest()[:16]


def default_folder() -> Path:
    """``IONSCREEN_CACHE``, else ``ionscreen`` in the user's cache folder."""
    own = os.environ.get("IONSCREEN_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ionscreen"


def pack(content: bytes) -> bytes:
    """Gzipped, the same bytes for the same content."""
    return gzip.compress(content, _COMPRESSION, mtime=0)


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(path: Path, content: bytes) -> None:
    """A file, whole or not at all, even when the power goes."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
