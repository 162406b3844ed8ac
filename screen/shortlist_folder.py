"""A shortlist as a folder, there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from screen.errors import FAILED, UserError
from screen.interrupts import Interrupts
from screen.shortlist_choice import Shortlist
from screen.shortlist_files import BAND, CIF, HOP, write_hop
from screen.shortlist_manifest import MARK, for_spreadsheets, manifest, ranked_hops
from screen.shortlist_readme import readme

MANIFEST, MANIFEST_CSV, README = "manifest.parquet", "manifest.csv", "README.md"


def write_shortlist(
    shortlist: Shortlist, folder: Path, db: Path, overwrite: bool = False
) -> list[dict[str, Any]]:
    """Write manifest, README and one folder per hop.

    Args:
        shortlist: what was chosen.
        folder: what is there already is replaced only as ``check_folder`` allows.
        db: where it was chosen from.
        overwrite: whether a shortlist may be replaced.

    Returns:
        The rows of the manifest.

    Raises:
        UserError: the folder may not be replaced, or cannot be written.
    """
    import pyarrow.parquet

    from screen.output import export

    check_folder(folder, overwrite)
    table = manifest(shortlist)
    rows: list[dict[str, Any]] = table.to_pylist()
    attributions = sorted({row["attribution"] for row in rows if row["attribution"]})
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), b"attribution": "; ".join(attributions).encode()}
    )
    models = {model_id: _card(model_id) for model_id in sorted({row["model_id"] for row in rows})}
    try:
        with _whole(folder) as target:
            for row, (_, _, plan) in zip(rows, ranked_hops(shortlist), strict=True):
                (target / row["folder"]).mkdir()
                write_hop(target / row["folder"], row, plan, shortlist.query.images)
            (target / README).write_text(readme(shortlist, db.name, models), encoding="utf-8")
            export(for_spreadsheets(table), target / MANIFEST_CSV)
            pyarrow.parquet.write_table(table, target / MANIFEST, compression="zstd")
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); pass another -o", FAILED
        ) from error
    return rows


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse to write where something else would be lost.

    Raises:
        UserError: there is a file or a folder that is not empty; with ``overwrite``, one that holds
            anything but an untouched shortlist. Or there is no folder to put it in.
    """
    if not folder.absolute().parent.is_dir():
        raise UserError(f"{folder}: no folder {folder.parent}; make it, or pass another -o")
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.is_dir():
        own = _own_files(folder)
        if own is None:
            raise UserError(f"{folder}: not empty and no shortlist; pass another -o")
        if not overwrite:
            raise UserError(f"{folder}: a shortlist is there; pass --overwrite or another -o")
        here = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        if more := sorted(here - own):
            raise UserError(
                f"{folder}: holds {more[0]}, which the shortlist did not write and --overwrite "
                "would delete; pass another -o"
            )
    elif folder.exists() or folder.is_symlink():
        raise UserError(f"{folder}: a file is there, expected a folder; pass another -o")


def _own_files(folder: Path) -> set[str] | None:
    """All that a shortlist wrote, folders too; None where there is no shortlist."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(folder / MANIFEST)
    except (OSError, pa.ArrowException):
        return None
    if MARK not in (table.schema.metadata or {}):
        return None
    hops = {str(name) for name in table["folder"].to_pylist()}
    inside = {f"{hop}/{name}" for hop in hops for name in (CIF, BAND, HOP)}
    return {MANIFEST, MANIFEST_CSV, README} | hops | inside


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A new folder to write to, which takes the place of another when all is written.

    Ctrl-C and SIGTERM leave nothing behind; a killed process leaves a folder whose name begins with
    a dot and ends in ``.tmp``.
    """
    folder = folder.resolve()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    with Interrupts() as interrupts:
        try:
            temporary.mkdir()
            yield temporary
            with interrupts.held():
                _replace(folder, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace(folder: Path, new: Path) -> None:
    """Put a folder in the place of another, which stays if that fails."""
    if not folder.exists():
        new.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _card(model_id: str) -> Mapping[str, Any] | None:
    """The card of a shipped model; None where this machine has not this very one."""
    from models import checkpoint

    name = model_id.partition("@")[0]
    try:
        folder = checkpoint.find_model(name)
        return checkpoint.read_card(folder) if checkpoint.model_id(folder) == model_id else None
    except checkpoint.ModelError:
        return None
