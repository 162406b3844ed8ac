"""The program ``screen``: every command, and what becomes of an error.

Only typer is imported here; a command imports what it needs when it runs, so that ``screen --help``
answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from screen.commands import (
    INTERRUPTED,
    app,
    blend,
    compare,
    data,
    doctor,
    finetune,
    look,
    models,
    neb,
    neb_profiles,
    neb_read,
    neb_relax,
    parity,
    paths,
    plot,
    refit,
    report,
    rescore,
    run,
    shortlist,
    sources,
    train,
)
from screen.errors import FAILED, WRONG_USE, UserError

__all__ = [
    "app",
    "blend",
    "compare",
    "data",
    "doctor",
    "finetune",
    "look",
    "main",
    "models",
    "neb",
    "neb_profiles",
    "neb_read",
    "neb_relax",
    "parity",
    "paths",
    "plot",
    "refit",
    "report",
    "rescore",
    "run",
    "shortlist",
    "sources",
    "train",
]

_DOMAIN_ERRORS = {
    "pathways.types.PathwayError": FAILED,
    "models.checkpoint.ModelError": FAILED,
    "models.dataset.DatasetError": FAILED,
    "jobs.errors.EngineError": FAILED,
}
"""Errors of the other packages that are meant for the user, by name: importing them takes long."""


def _version(value: bool) -> None:
    if value:
        from screen.store import code_version

        print(f"ionscreen {code_version()}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: without the program's name; None takes those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    try:
        code = app(given, prog_name=_program(), standalone_mode=False)
        return code if isinstance(code, int) else 0
    except BrokenPipeError:  # as in `screen top | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except typer.Abort:
        _say("aborted")
        return FAILED
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        return _explain(error)


def _program() -> str:
    """The name that this process goes by, which a shell's completion is registered for."""
    name = Path(sys.argv[0]).stem
    return name if name == "ionscreen" else "screen"


def _explain(error: Exception) -> int:
    """Tell an error in one line and return the exit code it stands for."""
    if isinstance(error, UserError):
        is_error = error.exit_code in (FAILED, WRONG_USE)
        _say(f"error: {error}" if is_error else str(error))
        return error.exit_code
    wrong_use = getattr(error, "format_message", None)  # typer's own, wherever it keeps the class
    if wrong_use is not None:
        message = wrong_use().replace("Value error, ", "").rstrip(".")
        if message:
            _say(f"error: {message} (see --help)")
        return int(getattr(error, "exit_code", WRONG_USE))
    kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    for name, code in _DOMAIN_ERRORS.items():
        if name in kinds:
            _say(f"error: {error}")
            return code
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        _say(f"error: {place}{error.strerror or error}")
        return FAILED
    _say(f"error: {type(error).__name__}: {error}; this is a defect, --debug shows where")
    return FAILED


def _say(message: str) -> None:
    print(" ".join(message.split()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
