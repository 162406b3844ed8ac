"""``--write-config``: every option of a run as a commented TOML file that ``--config`` reads."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from screen.atomic import replacing
from screen.errors import FAILED, UserError
from screen.options import RunOptions
from screen.settings import TABLES, kind_of, table_fields

_WIDTH = 96
_HEAD = (
    "Options of `screen run`, read by --config. What is commented out is the default; what is "
    "given on the command line counts more."
)


def write_config(options: RunOptions, file: Path) -> None:
    """Write the options as a file; ``-`` prints them.

    Raises:
        UserError: the file is there already, or cannot be written.
    """
    if str(file) == "-":
        print(config_text(options), end="")
        return
    if file.exists():
        raise UserError(f"{file}: there already; pass another name, or - to print")
    try:
        with replacing(file) as temporary:
            temporary.write_text(config_text(options), "utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror})", FAILED) from error


def config_text(options: RunOptions) -> str:
    """The file as text: each option with its help, those that are not the default set."""
    lines = list(_comment(_HEAD))
    hints = get_type_hints(RunOptions)
    panel = ""
    for entry in fields(RunOptions):
        if entry.name in TABLES:
            continue
        if entry.metadata["panel"] != panel:
            panel = entry.metadata["panel"]
            lines += ["", f"# ---- {panel} ----"]
        help_text = entry.metadata["help"]
        value = getattr(options, entry.name)
        lines += ["", *_comment(help_text), _line(entry, value, hints[entry.name])]
    for name in TABLES:
        lines += ["", *_table(name, getattr(options, name))]
    return "\n".join(lines) + "\n"


def _table(name: str, given: Mapping[str, Any]) -> Iterator[str]:
    holder, _ = TABLES[name]
    hints, notes = get_type_hints(holder), _docstrings(holder)
    by_name = {entry.name: entry for entry in fields(holder)}
    yield f"[{name}]"
    for key in table_fields(name):
        if key in notes:
            yield from _comment(notes[key])
        entry = by_name[key]
        yield _line(entry, given.get(key, entry.default), hints[key])


def _line(entry: Field[Any], value: Any, hint: Any) -> str:
    """``name = value``, commented out where it is the default."""
    if value is None:
        choices = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        kinds = " or ".join(kind_of(choice) for choice in choices if choice is not NoneType)
        return f"# {entry.name} =    # {kinds}"
    sign = "# " if value == entry.default else ""
    return f"{sign}{entry.name} = {_toml(value)}"


def _toml(value: Any) -> str:
    """A value as TOML has it, whose text and lists are written as JSON's."""
    plain = list(value) if isinstance(value, tuple) else value
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH)]


def _docstrings(holder: type) -> dict[str, str]:
    """What stands under each field of a class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(holder))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for entry, note in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant)
        if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name) and is_text:
            found[entry.target.id] = str(note.value.value)  # type: ignore[attr-defined]
    return found
