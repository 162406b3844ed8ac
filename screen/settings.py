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
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from jobs.settings import RunSettings
from pathways.hops import HopSettings
from pathways.supercell import BandSettings
from screen.chemsys import default_ion, parse
from screen.errors import FAILED, UserError
from screen.options import RunOptions
from screen.sources.base import Query


def query(options: RunOptions) -> Query:
    """Which candidates are wanted.

    Raises:
        UserError: A pattern or the ion is unknown, or the query can never be met.
    """
    from screen.sources.empty_hosts import open_sites

    patterns = tuple(parse(text) for text in options.chemsys)
    ion = options.ion or default_ion(patterns)
    unknown_ehull: Any = options.unknown_ehull  # checked by Query
    excluded = ",".join(options.exclude).replace(" ", ",").split(",")
    return Query(
        patterns=patterns,
        ion=ion,
        max_sites=options.max_sites,
        max_ehull_ev=options.max_ehull,
        max_elements=options.max_elements,
        limit=options.limit,
        unknown_ehull=unknown_ehull,
        band_gap_min_ev=options.band_gap_min,
        exclude=tuple(sorted({element for element in excluded if element})),
        theoretical=options.theoretical,
        radioactive=options.radioactive,
        other_mobile_ions=options.other_mobile,
        charge_balanced=options.charge_balanced,
        keep_duplicates=options.keep_duplicates,
        sites=options.sites,
        sites_digest=open_sites(options.sites, ion) if options.sites else "",
        top_sites=options.top_sites,
    )


def run_settings(options: RunOptions) -> RunSettings:
    """How to screen them, and on what.

    Raises:
        UserError: A value can never work.
    """
    engine: Any = options.engine  # checked by RunSettings
    mechanism: Any = options.mechanism  # the same
    try:
        return RunSettings(
            model=options.model,
            engine=engine,
            hops=HopSettings(
                cutoff_a=options.cutoff,
                max_hops=options.max_hops,
                max_sites=options.max_sites,
                **options.hops,
            ),
            band=BandSettings(**options.band),
            mechanism=mechanism,
            num_cpus=options.num_cpus,
            num_gpus=options.num_gpus,
            ray_address=options.ray_address,
            **options.jobs,
        )
    except ValueError as error:
        raise UserError(_by_option(str(error))) from error


def _by_option(message: str) -> str:
    """A message that begins with the name of a field, with that of its option instead."""
    name, is_, rest = message.partition(" is ")
    known = {entry.name for entry in fields(RunOptions)}
    return f"--{name.replace('_', '-')}{is_}{rest}" if name in known else message


TABLES: dict[str, tuple[type, frozenset[str]]] = {
    "hops": (HopSettings, frozenset({"cutoff_a", "max_hops", "max_sites"})),
    "band": (BandSettings, frozenset()),
    "jobs": (
        RunSettings,
        frozenset(
            {
                *("model", "engine", "hops", "band", "mechanism"),
                *("num_cpus", "num_gpus", "ray_address"),
            }
        ),
    ),
}
"""Tables of a file: whose fields they hold, and which of these are options of the command line."""


def table_fields(name: str) -> list[str]:
    """Keys of one of ``TABLES``."""
    holder, elsewhere = TABLES[name]
    return [entry.name for entry in fields(holder) if entry.name not in elsewhere]


def run_options(config: Path | None, given: Mapping[str, Any]) -> RunOptions:
    """Options given on the command line over those of a file over the defaults.

    Args:
        config: a TOML file, None for none.
        given: options by their names; those that are None or empty were not given.

    Raises:
        UserError: the file is not there, no TOML, or has an unknown key or a value of another kind.
    """
    merged = read_config(config) if config is not None else {}
    for name, value in given.items():
        if value not in (None, (), []):
            merged[name] = tuple(value) if isinstance(value, list) else value
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
    return checked(str(path), content)


def checked(place: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name, each of the kind that it has to be; lists become tuples.

    Args:
        place: where they stand, for messages.
        given: what stands there.

    Raises:
        UserError: an unknown name, or a value of another kind.
    """
    options: dict[str, Any] = {}
    hints = get_type_hints(RunOptions)
    for name, value in given.items():
        if name in TABLES:
            options[name] = _table(place, name, value)
        elif name in hints:
            options[name] = _checked(place, name, value, hints[name])
        else:
            in_tables = [f"{table}.{key}" for table in TABLES for key in table_fields(table)]
            raise UserError(_unknown(place, name, list(hints), in_tables))
    return options


def _table(place: str, name: str, value: Any) -> dict[str, Any]:
    holder, elsewhere = TABLES[name]
    if not isinstance(value, Mapping):
        raise UserError(f"{place}: {name} is {value!r}, expected a table [{name}]")
    hints = get_type_hints(holder)
    known = table_fields(name)
    for key in value:
        if key in elsewhere:
            option = key.removesuffix("_a")
            raise UserError(f"{place}: {name}.{key} is set by {option} outside the table")
        if key not in known:
            raise UserError(_unknown(place, f"{name}.{key}", [f"{name}.{one}" for one in known]))
    return {
        key: _checked(place, f"{name}.{key}", entry, hints[key]) for key, entry in value.items()
    }


def _unknown(place: str, name: str, known: list[str], elsewhere: Sequence[str] = ()) -> str:
    """What is not known, what is, and which of these was meant, dashes and tables aside."""
    plain = name.replace("-", "_")
    by_last = {one.rpartition(".")[2]: one for one in elsewhere}
    near = get_close_matches(plain, known, 1) or [
        by_last[key] for key in get_close_matches(plain, list(by_last), 1)
    ]
    if near:
        return f"{place}: unknown option {name}, did you mean {near[0]}?"
    return f"{place}: unknown option {name}; expected one of {', '.join(known)}"


def _checked(place: str, name: str, value: Any, hint: Any) -> Any:
    """A value as the kind that its field has; lists become tuples."""
    choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    for choice in choices:
        if choice is NoneType:
            if value is None:
                return None
            continue
        if get_origin(choice) is tuple:
            (item, *_) = get_args(choice)
            if isinstance(value, str) and item is str:
                return (value,)
            if isinstance(value, list | tuple) and all(_is(entry, item) for entry in value):
                return tuple(value)
        elif _is(value, choice):
            return value
    expected = " or ".join(kind_of(choice) for choice in choices if choice is not NoneType)
    raise UserError(f"{place}: {name} is {value!r}, expected {expected}")


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def kind_of(choice: Any) -> str:
    """A kind of value in words."""
    if get_origin(choice) is tuple:
        kinds = {int: "whole numbers", float: "numbers", str: "texts"}
        return f"a list of {kinds[get_args(choice)[0]]}"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[choice]
