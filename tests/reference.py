"""``python -m tests.reference``: writes what the program says of its commands and tables."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import duckdb
import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from screen.atomic import replacing
from screen.cli import app
from screen.schema import MIGRATIONS
from tests.transcripts import ROOT

_COMMANDS = "# Commands\n\nWhat `screen COMMAND --help` says, written by `make reference`.\n\n"
_COLUMNS = """# Tables and columns

Written by `make reference` from the schema; [the database](database.md) says what to ask of it.
Units are in the names: `ev`, `a` for Å, `v`, `mah_g`; times are UTC; null means not known.
"""
_COLUMN = re.compile(r"^\s*(?:alter table (\w+) add column |)(\w+) [^-]*?[,;]?\s*-- (.+)$")
_TABLE = re.compile(r"^create table (\w+) \(")


def commands() -> str:
    """The help of all commands as Markdown."""
    group = get_command(app)
    text = get_docs_for_click(obj=group, ctx=typer.Context(group, info_name="screen"))
    lines = [line.rstrip() for line in text.splitlines()]
    # One level down, below the heading of the page.
    lines = [f"#{line}" if line.startswith("#") else line for line in lines]
    return _COMMANDS + "\n".join(lines).strip() + "\n"


def columns() -> str:
    """Every table and view with its columns as Markdown."""
    said, parts = _comments(), [_COLUMNS]
    for kind, names in (("Table", tables()), ("View", views())):
        for name, found in names.items():
            parts.append(f"\n## {kind} {name}\n")
            if kind == "View":
                parts.append(", ".join(f"`{column}`" for column, _ in found))
                continue
            parts.append("| column | type | |\n|---|---|---|")
            parts += [
                f"| `{column}` | {type_.lower()} | {said.get((name, column), '')} |"
                for column, type_ in found
            ]
    return "\n".join(parts) + "\n"


def tables() -> dict[str, list[tuple[str, str]]]:
    """Columns with their types, by table."""
    return _described("BASE TABLE")


def views() -> dict[str, list[tuple[str, str]]]:
    """Columns with their types, by view."""
    return _described("VIEW")


def _described(kind: str) -> dict[str, list[tuple[str, str]]]:
    with duckdb.connect(":memory:") as connection:
        for migration in MIGRATIONS:
            connection.execute(migration.sql)
        rows = connection.execute(
            "select table_name, column_name, data_type from information_schema.columns "
            "join information_schema.tables using (table_schema, table_name) "
            "where table_type = ? order by table_name, ordinal_position",
            [kind],
        ).fetchall()
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, type_ in rows:
        found.setdefault(table, []).append((column, type_))
    return found


def _comments() -> dict[tuple[str, str], str]:
    """What the schema says beside a column, by table and column."""
    said: dict[tuple[str, str], str] = {}
    for migration in MIGRATIONS:
        table = ""
        for line in migration.sql.splitlines():
            if begin := _TABLE.match(line):
                table = begin[1]
            elif found := _COLUMN.match(line):
                said[found[1] or table, found[2]] = found[3]
    return said


PAGES_OF_THE_PROGRAM: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "columns.md": columns,
}


def main() -> int:
    """Write the pages."""
    for name, page in PAGES_OF_THE_PROGRAM.items():
        with replacing(ROOT / "docs" / name) as temporary:
            temporary.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
