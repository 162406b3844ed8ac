"""Writing the page, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from screen.atomic import replacing
from screen.errors import FAILED, UserError


def check_output(path: Path) -> None:
    """Refuse a name that no page can have, before any work.

    Raises:
        UserError: a name of another kind, or there is no such folder.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{path}: {path.suffix or 'no suffix'} found, expected .html")
    if not path.parent.is_dir():
        raise UserError(f"{path}: no folder {path.parent}; make it, or pass another -o")


def write_page(page: str, path: Path) -> int:
    """Write a page and return its size in bytes.

    Raises:
        UserError: the file cannot be written.
    """
    content = page.encode("utf-8", "replace")
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})", FAILED) from error
    return len(content)
