"""What a shell offers for an option's value. Quick: a key is pressed and somebody waits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

_Command = TypeVar("_Command", bound=Callable[..., None])

_CONFIG = "config.json"
"""What a model's folder holds (``models.checkpoint``, which takes seconds to import)."""


def models(incomplete: str) -> list[str]:
    """Shipped models, and folders here that hold one."""
    return sorted(name for name in _models(incomplete) if name.startswith(incomplete))


def _models(incomplete: str) -> Iterator[str]:
    from importlib import resources

    shipped = resources.files("models") / "weights"
    yield from (folder.name for folder in shipped.iterdir() if (folder / _CONFIG).is_file())
    parent = incomplete.rpartition("/")[0]
    try:
        for folder in Path(parent or ".").iterdir():
            if (folder / _CONFIG).is_file():
                yield f"{parent}/{folder.name}" if parent else folder.name
    except OSError:
        return


def sources(incomplete: str) -> list[str]:
    """Names of sources, and files and folders here."""
    from screen.sources.optimade_providers import PROVIDERS

    names = ["mp", "catalog", *(f"optimade:{name}" for name in PROVIDERS)]
    return [name for name in names if name.startswith(incomplete)] + _paths(incomplete)


def _paths(incomplete: str) -> list[str]:
    parent = incomplete.rpartition("/")[0]
    folder = Path(parent or ("/" if incomplete.startswith("/") else "."))
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    before = incomplete[: incomplete.rfind("/") + 1]
    names = (f"{before}{path.name}{'/' if path.is_dir() else ''}" for path in found)
    return [name for name in names if name.startswith(incomplete)]


_BY_OPTION: dict[str, Callable[[str], list[str]]] = {"model": models, "source": sources}


def with_completion(function: _Command) -> _Command:
    """Let a shell complete the options of a command that take a model or a source.

    Args:
        function: a command whose parameters are annotated with their options.
    """
    for name, parameter in inspect.signature(function).parameters.items():
        if name in _BY_OPTION:
            (option,) = parameter.annotation.__metadata__
            option.autocompletion = _BY_OPTION[name]
    return function
