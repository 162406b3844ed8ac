"""Each hop's inputs as a folder that is there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathways.types import PathwayError
from screen.neb.images import NebImages, build_images
from screen.neb.inputs import hop_folders, read_hop
from screen.neb.settings import Code, NebSettings
from screen.output import plain

Writer = Callable[[NebImages, Path], Mapping[str, Any]]
"""Writes the files of a code into an empty folder and returns what ``meta.json`` says of them."""


@dataclass(frozen=True)
class Outcome:
    """What became of one hop."""

    folder: Path
    """Of the hop's inputs."""
    hop_id: str
    """Empty where the hop could not be read."""
    state: str
    """``written``, ``kept`` (it was there before) or ``failed``."""
    reason: str = ""
    """Short code of a failure."""
    detail: str = ""
    """One line."""
    n_atoms: int | None = None
    n_images: int | None = None
    """The two ends counted."""


def writer_of(code: Code, settings: NebSettings) -> Writer:
    """What writes the inputs of a code.

    Raises:
        UserError: the code cannot do what is asked, or needs a package that is not installed.
    """
    match code:
        case "vasp":
            from screen.neb.vasp import write_vasp as writer
        case "qe":
            from screen.neb.espresso import check_espresso
            from screen.neb.espresso import write_espresso as writer

            check_espresso(settings)
        case "ase":
            from screen.neb.ase_script import check_ase
            from screen.neb.ase_script import write_ase as writer

            check_ase(settings)
        case "atomate2":
            from screen.neb.atomate2_flow import check_atomate2
            from screen.neb.atomate2_flow import write_atomate2 as writer

            check_atomate2()
    return writer


def write_shortlist(
    shortlist: Path, code: Code, settings: NebSettings, overwrite: bool = False
) -> Iterator[Outcome]:
    """Write the inputs of every hop of a shortlist, one after the other.

    A hop that cannot be written is an outcome with its reason, and the others go on.

    Args:
        shortlist: folder of ``screen shortlist``; inputs go to a folder named after the code in
            each hop's own.
        code: that they are for.
        settings: of the calculations.
        overwrite: replace inputs that are there, and with them all results in their folder.

    Raises:
        UserError: no such folder, no hop in it, or the code needs what is not installed.
    """
    folders, write = hop_folders(shortlist), writer_of(code, settings)
    for folder in folders:
        yield _write_one(folder, code, settings, write, overwrite)


def _write_one(
    folder: Path, code: Code, settings: NebSettings, write: Writer, overwrite: bool
) -> Outcome:
    target, hop_id = folder / code, ""
    try:
        listed = read_hop(folder)
        hop_id = listed.hop_id
        if target.exists() and not overwrite:
            return Outcome(target, hop_id, "kept")
        images = build_images(listed, settings)
        with replacing_folder(target) as temporary:
            own = write(images, temporary)
            meta = {**images.meta(code), **own}
            (temporary / "meta.json").write_text(json.dumps(plain(meta), indent=1) + "\n")
    except PathwayError as error:
        return Outcome(target, hop_id, "failed", error.reason, error.detail)
    return Outcome(
        target,
        hop_id,
        "written",
        n_atoms=len(images.numbers),
        n_images=len(images.frac),
    )


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside ``path`` to write to; it becomes ``path`` unless the block raises.

    Args:
        path: what is there is replaced, and only once the new folder is whole.

    Raises:
        OSError: the folder cannot be made or renamed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
