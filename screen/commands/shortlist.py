"""``screen shortlist``: what to compute next, as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from screen.commands import command

if TYPE_CHECKING:
    from screen.shortlist_choice import Shortlist

_FILTERS, _BALANCE, _COSTS = "What may be on it", "How it is chosen", "Cost"
_MOST_NAMED = 5
"""Hops left out that are named one by one."""

Db = Annotated[Path, typer.Option("--db", help="Database.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")]
Count = Annotated[int, typer.Option("-n", min=1, help="How many materials, each by one mechanism.")]
MaxEm = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Highest barrier, eV; what is explored may exceed it. (default: any)",
        rich_help_panel=_FILTERS,
    ),
]
MinPGood = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Least P(Em <= 0.65 eV); what is explored may have less.",
        rich_help_panel=_FILTERS,
    ),
]
Dimension = Annotated[
    int,
    typer.Option(
        min=1, max=3, help="Dimensions in which the ion must get through.", rich_help_panel=_FILTERS
    ),
]
MinApplicability = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Least applicability.", rich_help_panel=_FILTERS),
]
Ion = Annotated[
    str | None, typer.Option(help="Only this ion. (default: all)", rich_help_panel=_FILTERS)
]
Pareto = Annotated[
    bool,
    typer.Option(
        "--pareto",
        help="Only the front of barrier, energy above hull, voltage and capacity.",
        rich_help_panel=_FILTERS,
    ),
]
IncludeKnown = Annotated[
    bool,
    typer.Option(
        "--include-known",
        help="Also hops whose barrier has come back.",
        rich_help_panel=_FILTERS,
    ),
]
PerChemsys = Annotated[
    int | None,
    typer.Option(
        min=1, help="Most of one chemical system. (default: any)", rich_help_panel=_BALANCE
    ),
]
PerFramework = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Most of one framework, the host's anonymised formula and space group. "
        "(default: one in 20 of -n, at least 2)",
        rich_help_panel=_BALANCE,
    ),
]
Explore = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Share of -n that is uncertain and near --max-em, or 0.65 eV.",
        rich_help_panel=_BALANCE,
    ),
]
StrategyName = Annotated[
    Literal["top", "uncertainty", "expected-improvement"],
    typer.Option(
        help="By the lowest barrier, by what is most open at --max-em (or 0.65 eV), or by how far "
        "under it a barrier may be expected.",
        rich_help_panel=_BALANCE,
    ),
]
Hops = Annotated[
    Literal["limiting", "path"],
    typer.Option(
        help="Of each material: the hop that limits it, or all on its way.",
        rich_help_panel=_BALANCE,
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        help="Node-hours that all may take; needs the price of an image.", rich_help_panel=_COSTS
    ),
]
Price = Annotated[
    float | None,
    typer.Option(
        help="Price of one image of 100 atoms; others as atoms^2.5, an assumption.",
        rich_help_panel=_COSTS,
    ),
]
Images = Annotated[
    int, typer.Option(min=1, help="Images between the ends of a hop.", rich_help_panel=_COSTS)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a shortlist that holds nothing else.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@command("screen shortlist -n 50 --max-em 0.65 --db mg.duckdb -o shortlist")
def shortlist(
    output: Output,
    db: Db = Path("ionscreen.duckdb"),
    n: Count = 100,
    max_em: MaxEm = None,
    min_p_good: MinPGood = None,
    dimension: Dimension = 1,
    min_applicability: MinApplicability = None,
    ion: Ion = None,
    pareto: Pareto = False,
    include_known: IncludeKnown = False,
    per_chemsys: PerChemsys = None,
    per_framework: PerFramework = None,
    explore: Explore = 0.1,
    strategy: StrategyName = "top",
    hops: Hops = "limiting",
    budget: Budget = None,
    node_hours_per_image: Price = None,
    images: Images = 5,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """What to compute next: a folder with the crystal and band of each hop, and a manifest.

    The best materials, not too many alike, and some whose prediction is open; nothing that has been
    computed already.
    """
    from screen.chemsys import check_element
    from screen.reader import open_reader
    from screen.shortlist import ShortlistQuery
    from screen.shortlist_choice import make_shortlist
    from screen.shortlist_folder import check_folder, write_shortlist

    if ion is not None:
        check_element(ion)
    query = ShortlistQuery(
        n=n,
        max_em_ev=max_em,
        min_p_good=min_p_good,
        dimension=dimension,
        min_applicability=min_applicability,
        ion=ion,
        per_chemsys=per_chemsys,
        per_framework=per_framework,
        explore=explore,
        pareto=pareto,
        strategy=strategy,
        budget_node_hours=budget,
        node_hours_per_image=node_hours_per_image,
        images=images,
        hops=hops,
        include_known=include_known,
    )
    check_folder(output, overwrite)
    with open_reader(db) as reader:
        age_s = reader.snapshot_age_s
        found = make_shortlist(reader, query)
    rows = write_shortlist(found, output, db, overwrite)
    _report(found, rows, output, age_s, as_json)


def _report(
    found: Shortlist, rows: list[dict[str, Any]], output: Path, age_s: float | None, as_json: bool
) -> None:
    from dataclasses import asdict

    from screen.output import notice, print_json, print_table

    if age_s is not None:
        notice(f"a run is writing the database: this is as of {age_s:.0f} s ago")
    for n, why in (
        (found.capped, "because of the caps per chemical system and framework"),
        (found.too_dear, "because of --budget"),
        (found.known, "because their barriers have come back"),
    ):
        if n:
            notice(f"{n:,} materials passed over {why}")
    for hop_id, reason in found.left_out[:_MOST_NAMED]:
        notice(f"left out {hop_id}: {reason}")
    if len(found.left_out) > _MOST_NAMED:
        notice(f"and {len(found.left_out) - _MOST_NAMED:,} more hops; --json names all")
    if as_json:
        counts = {name: getattr(found, name) for name in ("capped", "too_dear", "known")}
        settings = {**asdict(found.query), "per_framework": found.query.framework_cap}
        left_out = [{"hop_id": hop_id, "reason": why} for hop_id, why in found.left_out]
        document = {"path": str(output), "settings": settings, **counts, "left_out": left_out}
        print_json({**document, "hops": rows})
        return
    shown = ("rank", "formula", "hop_id", "em_predicted_ev", "p_good", "neb_atoms", "why")
    columns = ("#", "formula", "hop", "Em eV", "P(good)", "atoms", "why")
    print_table(columns, [[row[name] for name in shown] for row in rows], right=("#", "atoms"))
    total = sum(row["cost_node_hours"] or 0.0 for row in rows)
    price = f", {total:,.1f} node-hours" if total else ""
    n_materials = len({row["material_id"] for row in rows})
    notice(f"{len(rows):,} hops of {n_materials:,} materials in {output}{price}")
    for attribution in sorted({row["attribution"] for row in rows if row["attribution"]}):
        notice(f"with data of {attribution}: cite it where you publish them")
