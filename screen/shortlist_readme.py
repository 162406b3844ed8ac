"""The README of a shortlist: what it is, by which model, whose data, and what to do with it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from shlex import quote
from typing import Any

from screen.acquisition import COST_EXPONENT
from screen.shortlist import ShortlistQuery
from screen.shortlist_choice import EXPLORE, Shortlist
from screen.shortlist_files import ATOM_ORDER

_MARKDOWN = re.compile(r"([\\`*_\[\]|#~])")
_MOST_ROWS = 20
_TITLE = "# Shortlist: barriers to compute next"
_FILES = f"""\
* `manifest.csv`, `manifest.parquet`: one row per hop. In the CSV, text is one line, and what a
  spreadsheet would compute has a `'` before it; the Parquet file has everything as it is.
* `<rank>_<formula>_<hop>/crystal.cif`: the crystal as its source has it.
* `<rank>_<formula>_<hop>/band.extxyz`: five frames, start to end, straight, nothing relaxed, in the
  supercell of the prediction. `em_predicted_ev` is no label: `em_ev` in the comment lines, once it
  is computed, makes a labelled band. Order of atoms:
  {ATOM_ORDER}.
* `<rank>_<formula>_<hop>/hop.json`: ids, sites, supercells, prediction, source.
"""
_COST = f"""\
`cost_node_hours` = (images + 2) x (`neb_atoms` / 100)^{COST_EXPONENT:g} x the price of one image of
100 atoms. The price is yours; the exponent is an assumption, so try it on two of your own cells.
`neb_atoms` are those of the smallest supercell at least 10 Å wide, and twice the hop's length.
"""
_NEXT = """\
```
screen neb write . --code vasp            # one folder per hop: submit each job.sh
screen neb write . --code ase             # or by a machine-learned potential, here:
screen neb relax . --calculator chgnet
screen neb read . --db {db}
screen refit --db {db} -o refitted
```
"""


def readme(shortlist: Shortlist, db: str, models: Mapping[str, Mapping[str, Any] | None]) -> str:
    """The text, in Markdown.

    Args:
        shortlist: what was chosen.
        db: name of the database.
        models: card of every model that predicted, None where it is not on this machine.
    """
    n_hops = sum(len(choice.plans) for choice in shortlist.choices)
    n_materials = len({choice.row["material_id"] for choice in shortlist.choices})
    n_explore = sum(choice.why == EXPLORE for choice in shortlist.choices)
    db = "".join(one for one in db if one.isprintable() and one != "`")
    parts = [
        _TITLE,
        f"{n_hops} hops of {n_materials} materials from {escaped(db)}; ranks that explore: "
        f"{n_explore}, predictions that may well lie on the other side of "
        f"{shortlist.query.threshold_ev:g} eV. A material has a rank for each ion and mechanism.",
        "\n".join(_table(shortlist)),
        "## Settings",
        "\n".join(_settings(shortlist.query)),
        *_counts(shortlist),
        "## Model",
        "\n".join(_model(model_id, card) for model_id, card in models.items()),
        "## Sources",
        "\n".join(_sources(shortlist)),
        "## Files",
        _FILES.rstrip(),
        "## Cost",
        _COST.rstrip(),
        "## Next",
        "In this folder, for a database that lies beside it (give its own path where it does not):",
        _NEXT.format(db=quote(f"../{db}")).rstrip(),
    ]
    return "\n\n".join(parts) + "\n"


def escaped(text: object) -> str:
    """Text that is no markup, on one line."""
    folded = "".join(one if one.isprintable() else " " for one in str(text))
    return _MARKDOWN.sub(r"\\\1", html.escape(folded, quote=False))


def _table(shortlist: Shortlist) -> Iterator[str]:
    d = shortlist.query.dimension
    yield f"| # | formula | material | ion | Em {d}D eV (90 %) | why |"
    yield "|---|---|---|---|---|---|"
    for rank, choice in enumerate(shortlist.choices[:_MOST_ROWS], start=1):
        row = choice.row
        ends = [row[f"em_{d}d_{end}ev"] for end in ("", "low_", "high_")]
        barrier, low, high = ("–" if one is None else f"{one:.2f}" for one in ends)
        cells = (row["formula"], row["material_id"], f"{row['ion']} {row['mechanism']}")
        shown = " | ".join(map(escaped, cells))
        yield f"| {rank} | {shown} | {barrier} ({low}–{high}) | {choice.why} |"
    if len(shortlist.choices) > _MOST_ROWS:
        yield f"\nThe first {_MOST_ROWS}; the manifest has all {len(shortlist.choices)}."


def _settings(query: ShortlistQuery) -> Iterator[str]:
    for entry in fields(query):
        value = getattr(query, entry.name)
        if entry.name == "per_framework":
            value = query.framework_cap
        if value is not None:
            yield f"* `{entry.name}`: {value}"
    yield f"* threshold: {query.threshold_ev:g} eV"
    yield "* framework: formula of the host without the ion, elements as letters, and space group"


def _counts(shortlist: Shortlist) -> Iterator[str]:
    lines = [
        f"* {n} materials passed over {why}"
        for n, why in (
            (shortlist.capped, "because of the caps"),
            (shortlist.too_dear, "because of the budget"),
            (shortlist.known, "because their barriers have come back"),
        )
        if n
    ]
    left_out = shortlist.left_out
    lines += [f"* left out {escaped(hop)}: {escaped(why)}" for hop, why in left_out[:_MOST_ROWS]]
    if len(left_out) > _MOST_ROWS:
        lines.append(f"* and {len(left_out) - _MOST_ROWS} more hops left out")
    if lines:
        yield "\n".join(lines)


def _model(model_id: str, card: Mapping[str, Any] | None) -> str:
    if card is None:
        return f"* {escaped(model_id)}: its card is not on this machine"
    scores = card.get("group_folds") or {}
    mae_ev, coverage = scores.get("mae_ev"), scores.get("coverage90")
    said = [
        f"* {escaped(model_id)}: {escaped(card.get('summary', 'no summary'))}",
        f"trained on {escaped(card.get('data', {}).get('bands', 'an unknown number of'))} bands",
    ]
    if mae_ev is not None:
        said.append(f"MAE {mae_ev:.3f} eV on hosts never seen (group folds)")
    if coverage is not None:
        said.append(f"90 % intervals hold {100 * coverage:.0f} % there")
    return "; ".join(said)


def _sources(shortlist: Shortlist) -> Iterator[str]:
    keys = ("source", "source_version", "license", "attribution")
    found = {tuple(choice.row[key] or "" for key in keys) for choice in shortlist.choices}
    for source, version, licence, attribution in sorted(found):
        yield (
            f"* {escaped(source) or 'a source without name'} {escaped(version)}: licence "
            f"{escaped(licence) or 'not stated'}; cite "
            f"{escaped(attribution) or 'the source (it does not say how)'}"
        )
