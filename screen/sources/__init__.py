"""Sources of candidates, and how a ``--source`` argument names one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from screen.errors import UserError
from screen.options import RunOptions
from screen.sources.base import BY_ELECTRODE, Query, Source

if TYPE_CHECKING:
    from screen.sources.cache import Policy

__all__ = ["Query", "Source", "default_source", "open_source"]

Notice = Callable[[str], None]


def default_source(options: RunOptions) -> str:
    """``mp`` where there is a key or a server for it, else ``catalog``."""
    return "mp" if os.environ.get("MP_API_KEY") or options.mp_endpoint else "catalog"


def open_source(options: RunOptions, notice: Notice) -> Source:
    """Open the source that the user named.

    Args:
        options: ``source`` is ``mp``, ``catalog``, ``optimade:NAME``, ``optimade:URL``, or one or
            more paths and globs; empty for the default.
        notice: Is told what the user should know.

    Raises:
        UserError: No such source, file or folder; a kind of file that holds no structures; no key.
    """
    words = list(options.source) or [default_source(options)]
    named = [word for word in words if word in ("mp", "catalog") or word.startswith("optimade:")]
    if not named and options.sites == BY_ELECTRODE:
        raise UserError(f"--sites {BY_ELECTRODE} needs the electrodes of --source mp, not files")
    if not named:
        from screen.sources.documents import KINDS
        from screen.sources.files import Columns, Files

        columns = Columns(
            structure=options.structure_column,
            material_id=options.id_column,
            energy_above_hull=options.ehull_column,
            band_gap=options.gap_column,
        )
        files = Files(words, columns)
        if files.is_empty:
            notice(f"{', '.join(words)}: no structure file in there; expected {KINDS}")
        return files
    if len(words) > 1:
        raise UserError(f"source {named[0]!r} stands alone; run it and the others one by one")
    (word,) = words
    by_electrode = options.sites == BY_ELECTRODE
    if by_electrode and word != "mp":
        raise UserError(f"--sites {BY_ELECTRODE} needs the electrodes of --source mp, not {word}")
    if options.sites is not None and not by_electrode and word != "catalog":
        raise UserError(
            f"--sites {options.sites} fills hosts of files, {word} is asked for crystals with the "
            f"ion in them; pull the hosts into files first, or pass --sites {BY_ELECTRODE} (mp)"
        )
    if word == "catalog":
        from screen.sources.catalog import Catalog

        return Catalog()
    if word == "mp":
        from screen.sources.materials_project import MaterialsProject, MaterialsProjectOptions
        from screen.sources.mp_client import find_endpoint

        of_mp = MaterialsProjectOptions(
            find_endpoint(options.mp_endpoint), options.include_gnome, options.electrodes
        )
        return MaterialsProject(of_mp, _policy(options), notice)
    from screen.sources.optimade import Optimade

    return Optimade(word.removeprefix("optimade:"), _policy(options), notice)


def _policy(options: RunOptions) -> Policy:
    from screen.sources.cache import Policy, default_folder

    if options.offline and options.refresh:
        raise UserError("--offline asks nothing and --refresh asks for all; leave one of them out")
    folder = Path(options.cache).expanduser() if options.cache else default_folder()
    return Policy(folder.resolve(), options.offline, options.refresh)
