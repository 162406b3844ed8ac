"""What a run is asked to do: options of the command line over those of a TOML file.

A file has the options by their names with underscores, and tables ``[hops]``, ``[band]`` and
``[jobs]`` for what has no option of its own::

    chemsys = ["Mg-*"]
    max_ehull = 0.05

    [hops]
    min_clearance_a = 0.6
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from jobs.settings import RunSettings
from pathways.hops import HopSettings
from pathways.supercell import BandSettings
from screen.chemsys import DEFAULT_MAX_ELEMENTS, default_ion, parse
from screen.errors import FAILED, UserError
from screen.sources.base import Query

DEFAULT_DB = "ionscreen.duckdb"


@dataclass(frozen=True)
class JobOptions:
    """How work is cut up; seldom worth changing."""

    batch_cost: int | None = None
    chunk: int = 8


@dataclass(frozen=True)
class RunOptions:
    """Everything that ``screen run`` can be told."""

    chemsys: tuple[str, ...] = ()
    ion: str | None = None
    source: tuple[str, ...] = ()
    db: str = DEFAULT_DB
    model: str = "model3"
    limit: int | None = None
    max_ehull: float | None = 0.1
    max_sites: int = 200
    max_elements: int = DEFAULT_MAX_ELEMENTS
    max_hops: int = 40
    cutoff: float | None = None
    engine: str = "ray"
    ray_address: str | None = None
    num_cpus: int | None = None
    num_gpus: float | None = None
    hops: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of ``HopSettings``."""
    band: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``BandSettings``."""
    jobs: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``JobOptions``."""

    def query(self) -> Query:
        """Which candidates are wanted.

        Raises:
            UserError: a pattern or the ion is unknown, or the query can never be met.
        """
        patterns = tuple(parse(text) for text in self.chemsys)
        return Query(
            patterns=patterns,
            ion=self.ion or default_ion(patterns),
            max_sites=self.max_sites,
            max_ehull_ev=self.max_ehull,
            max_elements=self.max_elements,
            limit=self.limit,
        )

    def settings(self) -> RunSettings:
        """How to screen them, and on what.

        Raises:
            UserError: a value can never work.
        """
        engine: Any = self.engine  # checked by RunSettings
        try:
            return RunSettings(
                model=self.model,
                engine=engine,
                hops=HopSettings(
                    cutoff_a=self.cutoff,
                    max_hops=self.max_hops,
                    max_sites=self.max_sites,
                    **self.hops,
                ),
                band=BandSettings(**self.band),
                num_cpus=self.num_cpus,
                num_gpus=self.num_gpus,
                ray_address=self.ray_address,
                **self.jobs,
            )
        except ValueError as error:
            raise UserError(str(error)) from error


_TABLES: dict[str, tuple[type, frozenset[str]]] = {
    "hops": (HopSettings, frozenset({"cutoff_a", "max_hops", "max_sites"})),
    "band": (BandSettings, frozenset()),
    "jobs": (JobOptions, frozenset()),
}
"""Tables of a file: whose fields they hold, and which of these are options of the command line."""


def run_options(config: Path | None, given: Mapping[str, Any]) -> RunOptions:
    """Options given on the command line over those of a file over the defaults.

    Args:
        config: a TOML file, None for none.
        given: options by their names; those that are None or empty were not given.

    Raises:
        UserError: the file is not there, no TOML, or has an unknown key or a value of another kind.
    """
    merged = read_config(config) if config is not None else {}
    merged |= {name: value for name, value in given.items() if value not in (None, ())}
    return RunOptions(**merged)


def read_config(path: Path) -> dict[str, Any]:
    """The options in a TOML file, each checked for its name and kind; raises as ``run_options``."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; pass a TOML file of options") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})", FAILED) from None
    except ValueError as error:  # of TOML, or no text at all
        raise UserError(f"{path}: no TOML: {error}", FAILED) from None
    options: dict[str, Any] = {}
    hints = get_type_hints(RunOptions)
    for name, value in content.items():
        if name in _TABLES:
            options[name] = _table(path, name, value)
        elif name in hints:
            options[name] = _checked(path, name, value, hints[name])
        else:
            raise UserError(_unknown(path, name, hints))
    return options


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    holder, elsewhere = _TABLES[name]
    if not isinstance(value, dict):
        raise UserError(f"{path}: {name} is {value!r}, expected a table [{name}]")
    hints = get_type_hints(holder)
    known = [entry.name for entry in fields(holder) if entry.name not in elsewhere]
    for key in value:
        if key in elsewhere:
            option = key.removesuffix("_a")
            raise UserError(f"{path}: {name}.{key} is set by {option} outside the table")
        if key not in known:
            raise UserError(_unknown(path, f"{name}.{key}", known))
    return {key: _checked(path, f"{name}.{key}", entry, hints[key]) for key, entry in value.items()}


def _unknown(path: Path, name: str, known: Any) -> str:
    return f"{path}: unknown option {name}; expected one of {', '.join(known)}"


def _checked(path: Path, name: str, value: Any, hint: Any) -> Any:
    """A value of a TOML file as the kind that its field has; lists become tuples."""
    choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    for choice in choices:
        if choice is NoneType:
            continue
        if get_origin(choice) is tuple:
            (item, *_) = get_args(choice)
            if isinstance(value, str) and item is str:
                return (value,)
            if isinstance(value, list) and all(_is(entry, item) for entry in value):
                return tuple(value)
        elif _is(value, choice):
            return value
    expected = " or ".join(_kind(choice) for choice in choices if choice is not NoneType)
    raise UserError(f"{path}: {name} is {value!r}, expected {expected}")


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _kind(choice: Any) -> str:
    if get_origin(choice) is tuple:
        return f"a list of {_kind(get_args(choice)[0])}"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[choice]
