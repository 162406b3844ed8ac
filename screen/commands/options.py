"""A dataclass of options as the parameters of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

_Command = TypeVar("_Command", bound=Callable[..., None])


def with_options(holder: type) -> Callable[[_Command], _Command]:
    """Give a command one option per field that has a ``help``, before the options of its own.

    The command takes them as keyword arguments, None or an empty list for those not given.

    Args:
        holder: A dataclass whose fields have ``help`` and ``panel`` as metadata.
    """

    def give(function: _Command) -> _Command:
        hints = get_type_hints(holder)
        added = [
            inspect.Parameter(
                entry.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[_kind(hints[entry.name]), _option(entry)],
            )
            for entry in fields(holder)
            if "help" in entry.metadata
        ]
        own_hints = get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(
                annotation=own_hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY
            )
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        # What the framework reads instead of the function's own parameters.
        function.__signature__ = inspect.Signature([*added, *own])  # type: ignore[attr-defined]
        function.__annotations__ = {one.name: one.annotation for one in [*added, *own]}
        return function

    return give


def _option(entry: Field[Any]) -> Any:
    """The option of a field; what is off has no ``--no-…``."""
    names = [f"--{entry.name.replace('_', '-')}"] if entry.default is False else []
    return typer.Option(
        *names, help=entry.metadata["help"], rich_help_panel=entry.metadata["panel"]
    )


def _kind(hint: Any) -> Any:
    """The type of an option that may be left out: a list for a tuple, else the type or None."""
    if get_origin(hint) is tuple:
        return list[get_args(hint)[0]] | None  # type: ignore[misc]
    return hint if isinstance(hint, UnionType) else hint | None
