"""The commands, one module per group; each registers itself with ``command``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup

INTERRUPTED = 130
"""Exit code of what Ctrl-C or SIGTERM ended; the same command goes on."""

_ORDER = (
    "run",
    "sources",
    "paths",
    "status",
    "top",
    "sql",
    "report",
    "plot",
    "shortlist",
    "neb",
    "parity",
    "evaluate",
    "train",
    "refit",
    "rescore",
    "compare",
    "models",
    "data",
    "doctor",
)
"""Commands as help lists them: in the order of the work."""


class _InOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


app = typer.Typer(
    cls=_InOrder,
    name="screen",
    help="Screens crystals for ions that move fast: every hop, its barrier, ranked.",
    epilog="Every command has --help with an example, and --debug for the traceback of an error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Command = TypeVar("_Command", bound=Callable[..., None])


def command(
    example: str, name: str | None = None, to: typer.Typer = app
) -> Callable[[_Command], _Command]:
    """Register a function as a command whose help ends with an example.

    Args:
        example: a command line that works.
        name: of the command; None takes the function's.
        to: the group it belongs to.
    """
    return to.command(name, epilog=f"Example: {example}")
