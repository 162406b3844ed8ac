"""Sources of candidates, and how a ``--source`` argument names one."""

from __future__ import annotations

from collections.abc import Sequence

from screen.errors import UserError
from screen.sources.base import Query, Source

__all__ = ["DEFAULT_SOURCE", "Query", "Source", "open_source"]

DEFAULT_SOURCE = "catalog"

_NOT_YET = ("mp", "optimade")
"""Online sources, named so that a file of that name is not looked for; they plug in here."""


def open_source(spec: str | Sequence[str] | None = None) -> Source:
    """Open the source that the user named.

    Args:
        spec: ``catalog``, or one or more paths to structures; None for the default.

    Raises:
        UserError: No such source, file or folder, or a kind of file that holds no structures.
    """
    specs = [spec or DEFAULT_SOURCE] if isinstance(spec, str) or spec is None else list(spec)
    for word in specs:
        if word.partition(":")[0] in _NOT_YET:
            raise UserError(
                f"source {word!r} is not available in this version; "
                "use 'catalog' or a path to structures"
            )
    if specs == ["catalog"]:
        from screen.sources.catalog import Catalog

        return Catalog()
    if "catalog" in specs:
        raise UserError("source 'catalog' stands alone; run it and the paths one after the other")

    from screen.sources.files import Files

    return Files(specs)
