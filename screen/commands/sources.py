"""``screen sources``: where candidates can come from."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from screen.commands import command


@command("screen sources")
def sources(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """The sources of `screen run --source`, what each needs and under which licence it is."""
    from screen.output import print_json, print_table

    found = _sources()
    if as_json:
        print_json(found)
        return
    columns = ["source", "what", "needs", "licence"]
    print_table(columns, [[row[column] for column in columns] for row in found])


def _sources() -> list[dict[str, Any]]:
    from screen.sources.catalog import LICENSE, Catalog
    from screen.sources.mp_client import KEYS_URL
    from screen.sources.optimade_providers import PROVIDERS

    n_entries = len(Catalog().entries)
    key = "MP_API_KEY (set)" if os.environ.get("MP_API_KEY") else f"MP_API_KEY, from {KEYS_URL}"
    rows = [
        ("mp", "the Materials Project", key, "CC-BY-4.0"),
        ("catalog", f"{n_entries} known ion hosts, shipped", "nothing", LICENSE),
        ("PATH", "CIF, POSCAR, extxyz, JSON, JSONL, Parquet; folders, globs", "files", None),
    ]
    rows += [
        (f"optimade:{name}", one.title, "the network", one.license)
        for name, one in PROVIDERS.items()
    ]
    rows.append(("optimade:URL", "any OPTIMADE server", "the network", None))
    names = ("source", "what", "needs", "licence")
    return [dict(zip(names, row, strict=True)) for row in rows]
