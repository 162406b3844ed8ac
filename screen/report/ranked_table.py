"""The ranking as a table that the page's script sorts, searches and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from screen.report.contents import Contents
from screen.report.figures import rounded, shown
from screen.report.markup import Html, tag


@dataclass(frozen=True)
class _Column:
    key: str
    label: str
    kind: str = "text"
    unit: str = ""
    digits: int = 2
    title: str = ""


_COLUMNS = (
    _Column("rank", "#", "number", digits=0, title="Rank by the barrier in one dimension"),
    _Column("formula", "Formula", title="Formula; opens the material where there is more"),
    _Column("mechanism", "Mechanism", title="What else is there while one ion moves"),
    _Column("em_1d_ev", "Em 1D", "number", "eV", title="Barrier in 1D, with its 90 % interval"),
    _Column("em_2d_ev", "2D", "number", "eV", title="Barrier of the way through in 2 dimensions"),
    _Column("em_3d_ev", "3D", "number", "eV", title="Barrier of the way through in 3 dimensions"),
    _Column("p_good_1d", "P(good)", "number", title="Probability that Em 1D is at most 0.65 eV"),
    _Column("applicability", "Appl.", "number", title="0 to 1: likeness to the training data"),
    _Column("material_id", "Material", title="Id in the source, with a link to it"),
    _Column("ion", "Ion"),
    _Column("dimension", "Dim.", "number", digits=0, title="Dimensions of the way through"),
    _Column("energy_above_hull_ev", "E hull", "number", "eV/atom", 3, "Energy above the hull"),
    _Column("voltage_v", "Voltage", "number", "V", title="Average, against the ion's metal"),
    _Column("capacity_mah_g", "Capacity", "number", "mAh/g", 0),
    _Column("band_gap_ev", "Gap", "number", "eV"),
    _Column("chemsys", "System", title="Chemical system"),
    _Column("space_group", "Space group"),
    _Column("n_hops", "Hops", "number", digits=0, title="Symmetry-distinct hops"),
    _Column("em_1d_low_ev", "Low", "number", "eV", title="Lower end of the 90 % interval, 1D"),
    _Column("em_1d_high_ev", "High", "number", "eV", title="Upper end of the 90 % interval, 1D"),
    _Column("note", "Note"),
)
_OPTIONAL = ("energy_above_hull_ev", "voltage_v", "capacity_mah_g", "band_gap_ev", "mechanism")


def ranked_table(contents: Contents) -> dict[str, Any]:
    """Columns, rows in their order, and each row's address at the source."""
    rows = contents.best
    columns = [one for one in _COLUMNS if one.key not in _OPTIONAL or _is_told(one.key, rows)]
    return {
        "columns": [vars(column) for column in columns],
        "rows": [[rounded(row[column.key]) for column in columns] for row in rows],
        "urls": [row["url"] for row in rows],
    }


def _is_told(key: str, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether a column says anything."""
    if key == "mechanism":
        return any(row[key] != "vacancy" for row in rows)
    return any(row[key] is not None for row in rows)


def table_controls(contents: Contents, n_details: int) -> Html:
    """The table's frame, for the script to fill."""
    ions = [tag("option", "all", value=""), *(tag("option", ion) for ion in contents.ions)]
    several = len(contents.ions) > 1
    tools = tag(
        "div",
        _labelled("Search", tag("input", id="search", type="search", placeholder="MgV2O4, mp-…")),
        _labelled("Ion", tag("select", *ions, id="ion-filter")) if several else None,
        _labelled("Em at most, eV", tag("input", id="em-filter", type="number", min=0, step=0.05)),
        _labelled(
            "Way through in",
            tag(
                "select",
                tag("option", "any", value="0"),
                *(tag("option", f"{d}D", value=d) for d in (1, 2, 3)),
                id="dimension-filter",
            ),
        ),
        tag("button", "Download CSV", type="button", id="csv", class_="button"),
        class_="tools",
    )
    table = tag("table", tag("thead"), tag("tbody"), id="ranking")
    pager = tag(
        "div",
        tag("span", id="range", aria_live="polite"),
        tag("button", "Previous", type="button", id="previous"),
        tag("button", "Next", type="button", id="next"),
        class_="pager",
    )
    rest = shown(len(contents.best), len(contents.ranked), "rankings", "of lower rank")
    caption = (
        f"{rest} A name in blue opens the material below (the first {n_details}); the bar is the "
        "90 % interval from 0 to 2 eV, the dashes are 0.65 eV. The file has what the filters leave."
    )
    return tag(
        "div",
        tools,
        tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Ranked table"),
        pager,
        tag("figcaption", caption),
        class_="card",
    )


def _labelled(words: str, control: Html) -> Html:
    return tag("label", words, control, class_="grow" if words == "Search" else None)
