"""The user's own structures as a source: files, folders of them, patterns and tables.

The driver lists and reads files and streams tables, since workers may not see its disk; parsing,
which takes most of the time, is done where ``jobs.parallel.mapped`` finds workers. What needs to
know all that came before is done here again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs.parallel import mapped
from jobs.records import Candidate, Failure
from screen.sources.base import Query, Source
from screen.sources.columns import Columns
from screen.sources.documents import TABLES, chunks, kind_of, name_of
from screen.sources.listing import Listing
from screen.sources.readers import Parser
from screen.sources.selection import Examined, admit, failed

__all__ = ["Columns", "Files"]

_AHEAD = 32
"""Most chunks that workers have at once."""


class Files(Source):
    """Structures from paths, streamed: a table is read by rows, a folder file by file.

    A material's id is the one its table gives, else the file's stem (with a number where the file
    holds several structures); where stems repeat, the path relative to what the files share.

    Args:
        paths: Files, folders that are searched to the bottom, and patterns such as ``*.cif``.
        columns: What the columns of tables are called.

    Raises:
        UserError: A path does not exist, a pattern matches nothing, or a file is of no kind that
            holds structures.
    """

    def __init__(self, paths: Sequence[str | Path], columns: Columns | None = None) -> None:
        self._listing = Listing(paths)
        self._columns = columns or Columns()

    @property
    def name(self) -> str:
        """Of the only file or folder, else ``files``."""
        return self._listing.name

    def version(self, query: Query | None = None) -> str:
        """Twelve hex digits, see ``Listing.version``; the same for every query."""
        return self._listing.version

    @property
    def is_empty(self) -> bool:
        """Whether no file of a kind that holds structures was found."""
        return not self._listing.files

    def settings(self) -> dict[str, Any]:
        """The columns that were named."""
        named = self._columns.named()
        return {"columns": named} if named else {}

    def candidates(self, query: Query) -> Iterator[Candidate | Failure]:
        """Stream the structures that the query selects, and a failure for each bad one."""
        return admit(self._examined(query), query)

    def count(self, query: Query) -> int | None:
        """How many structures there are to look at; None where tables would have to be read."""
        files = self._listing.files
        if any(kind_of(name_of(path)) in TABLES for path in files):
            return None
        return len(files) if query.limit is None else min(len(files), query.limit)

    def _examined(self, query: Query) -> Iterator[Examined | None]:
        """What was found; an id that was there before is a failure, whatever has it."""
        info = {"source": self.name, "source_version": self.version()}
        parse = Parser(query, info, self._columns)
        documents = chunks(self._listing.files, self._listing.ids(), self._columns)
        n_seen: dict[str, int] = {}
        for found in mapped(parse, documents, _AHEAD):
            for material_id, place, examined in found:
                n = n_seen[material_id] = n_seen.get(material_id, 0) + 1
                if n == 1:
                    yield examined
                    continue
                detail = f"{place}: material_id {material_id} was there before; make ids unique"
                repeated = failed(f"{material_id}#{n}", "source", "duplicate_id", detail)
                yield Examined(repeated)
