"""Barriers of a database: how they are spread, and what else the materials have to offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from models.metrics import GOOD_EV
from pathways.types import FloatArray
from screen.errors import NothingToShow
from screen.pareto import pareto_front
from screen.plots.style import BLACK, COLOURS, MARKS, colour_of, footnote, good_line, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from screen.queries import Record
    from screen.reader import Reader

MOST_EV = 3.0
"""Higher barriers are drawn here, and counted."""
_BIN_EV = 0.05
_MOST_NAMES = 6
"""Of the materials on a front, those of lowest barrier are named."""
_GOOD = "dashes: 0.65 eV"


def histogram(
    reader: Reader, by: Literal["material", "hop"], dimension: int, ion: str | None
) -> Figure:
    """Barriers of materials or hops, a panel for each ion.

    Args:
        reader: of the database.
        by: the easiest way through each material, or every hop.
        dimension: of the way.
        ion: only this one; None takes all.

    Raises:
        NothingToShow: there is no barrier.
    """
    column = f"em_{dimension}d_ev" if by == "material" else "em_ev"
    rows = _rows(reader, f"ranked_{by}s", column, ion)
    ions = sorted({row["ion"] for row in rows if row["em_ev"] is not None})
    figure, axes = panels(len(ions), height=2.3)
    for panel, name in zip(axes, ions, strict=True):
        _bars(panel, _barriers(rows, name), name, colour_of(ions)[name])
    what = f"Em in {dimension}D of materials" if by == "material" else "Em of hops"
    for panel in axes:
        panel.set(xlabel=f"{what} (eV)", ylabel=f"{by}s per {_BIN_EV:g} eV")
        panel.tick_params(labelbottom=True)
    footnote(figure, f"{_said(rows, by, dimension)}; {_GOOD}; light: the part above it.")
    return figure


def _bars(panel: Axes, em_ev: FloatArray, ion: str, colour: str) -> None:
    from matplotlib.ticker import MaxNLocator

    edges = np.arange(0, MOST_EV + _BIN_EV / 2, _BIN_EV)
    counts, _ = np.histogram(np.minimum(em_ev, MOST_EV - 1e-9), edges)
    good = int((em_ev <= GOOD_EV).sum())
    middles = edges[:-1] + _BIN_EV / 2
    bars = panel.bar(middles, counts, 0.94 * _BIN_EV, color=colour)
    for bar, middle in zip(bars, middles.tolist(), strict=True):
        bar.set_alpha(1.0 if middle <= GOOD_EV else 0.45)
    good_line(panel)
    panel.set_title(f"{ion}: n = {len(em_ev):,}, {good:,} up to 0.65 eV", loc="left")
    panel.set_xlim(0, MOST_EV)
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(axis="x", visible=False)


def pareto(reader: Reader, dimension: int, ion: str | None) -> Figure:
    """Barriers of materials over their energy above the hull, the front of each ion marked.

    Args:
        reader: of the database.
        dimension: of the way through.
        ion: only this one; None takes all.

    Raises:
        NothingToShow: no material has both.
    """
    barrier = f"em_{dimension}d_ev"
    rows = _rows(reader, "ranked_materials", barrier, ion, "energy_above_hull_ev, formula,")
    known = [row for row in rows if None not in (row["em_ev"], row["energy_above_hull_ev"])]
    if not known:
        raise NothingToShow(
            f"{reader.path}: no material has a known energy above the hull; --source mp brings "
            "them, or --ehull-column names a table's"
        )
    ions = sorted({row["ion"] for row in known})
    figure, (panel,) = panels(1, 6.2, 4.2)
    for place, name in enumerate(ions):
        own = [row for row in known if row["ion"] == name]
        _front(panel, own, dimension, f"{name} ({len(own):,})", place)
    good_line(panel, vertical=False)
    high = max(row["energy_above_hull_ev"] for row in known)
    panel.set(
        xlabel="Energy above the hull (eV/atom)",
        ylabel=f"Em in {dimension}D (eV)",
        ylim=(0, 1.05 * max(0.8, *(min(row["em_ev"], MOST_EV) for row in known))),
        xlim=(-0.03 * max(high, 0.01), 1.15 * max(high, 0.01)),
    )
    panel.legend(title="ion (rows)", title_fontsize=8, frameon=True, edgecolor="none")
    no_hull = sum(row["energy_above_hull_ev"] is None for row in rows)
    said = _said(rows, "material", dimension, len(known))
    footnote(
        figure,
        f"{said}; {no_hull:,} without a known energy above the hull; {_GOOD}; "
        "line: no other material of the ion is lower in both.",
    )
    return figure


def _front(panel: Axes, rows: Sequence[Record], dimension: int, label: str, place: int) -> None:
    colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
    nothing_else = {"voltage_v": None, "capacity_mah_g": None}
    asked = [{**row, f"em_{dimension}d_ev": row["em_ev"], **nothing_else} for row in rows]
    places = np.array([_place(row) for row in rows])
    on_front = np.array(pareto_front(asked, dimension))
    panel.plot(
        *places.T, mark, color=colour, markersize=3.5, alpha=0.45, markeredgewidth=0, label=label
    )
    order = np.flatnonzero(on_front)[np.lexsort(places[on_front].T)]
    front = places[order]
    panel.step(*front.T, where="post", color=colour, linewidth=1)
    panel.plot(*front.T, mark, color=colour, markersize=5, markeredgecolor=BLACK)
    for row in sorted((rows[index] for index in order), key=lambda row: row["em_ev"])[:_MOST_NAMES]:
        panel.annotate(
            row["formula"] or row["material_id"],
            _place(row),
            xytext=(4, -8),
            textcoords="offset points",
            fontsize=6.5,
        )


def _place(row: Record) -> tuple[float, float]:
    return row["energy_above_hull_ev"], min(row["em_ev"], MOST_EV)


def scenario(reader: Reader, ion: str | None) -> Figure:
    """Barriers of hops by ion and mechanism: all other sites of the ion filled, or all empty.

    Args:
        reader: of the database.
        ion: only this one; None takes all.

    Raises:
        NothingToShow: there is no barrier.
    """
    rows = _rows(reader, "ranked_hops", "em_ev", ion)
    kinds = sorted(
        {(row["ion"], row["mechanism"]) for row in rows}, key=lambda kind: (kind[0], kind[1][::-1])
    )
    figure, (panel,) = panels(1, 6.2, 0.5 + 0.42 * len(kinds))
    values = [
        np.array([row["em_ev"] for row in rows if (row["ion"], row["mechanism"]) == kind])
        for kind in kinds
    ]
    colours = colour_of(sorted({mechanism for _, mechanism in kinds}, reverse=True))
    drawn = panel.boxplot(
        [np.minimum(one, MOST_EV) for one in values],
        orientation="horizontal",
        widths=0.55,
        whis=(5, 95),
        patch_artist=True,
        medianprops={"color": BLACK, "linewidth": 1.5},
        flierprops={"marker": ".", "markersize": 2, "markeredgecolor": "0.5"},
    )
    for box, (_, mechanism) in zip(drawn["boxes"], kinds, strict=True):
        box.set(facecolor=f"{colours[mechanism]}55", edgecolor=colours[mechanism])
    names = [f"{name}, {mechanism}" for name, mechanism in kinds]
    labels = [f"{name} ({len(one):,})" for name, one in zip(names, values, strict=True)]
    panel.set(
        yticks=range(1, len(kinds) + 1),
        yticklabels=labels,
        ylim=(len(kinds) + 0.5, 0.5),
        xlim=(0, None),
        xlabel="Em of hops (eV)",
    )
    good_line(panel)
    footnote(
        figure,
        f"{_said(rows, 'hop', 1)}; {_GOOD}; line: median; box: middle half; whiskers: 5 % to 95 %; "
        "vacancy: all other sites of the ion filled, dilute: all empty.",
    )
    return figure


def _rows(reader: Reader, view: str, column: str, ion: str | None, more: str = "") -> list[Record]:
    """Rows with ``em_ev``, ``ion`` and ``mechanism``, of which one at least has a barrier."""
    where, parameters = ("where ion = ?", [ion]) if ion else ("", [])
    rows = reader.records(
        f"select material_id, ion, mechanism, {more} {column} as em_ev from {view} {where} "
        "order by rank",
        parameters,
    )
    if all(row["em_ev"] is None for row in rows):
        of = f" of {ion}" if ion else ""
        raise NothingToShow(f"{reader.path}: no barrier{of} to draw; `screen status` says why")
    return rows


def _barriers(rows: Sequence[Record], ion: str) -> FloatArray:
    own = [row["em_ev"] for row in rows if row["ion"] == ion and row["em_ev"] is not None]
    return np.array(own, dtype=np.float64)


def _said(rows: Sequence[Record], by: str, dimension: int, shown: int | None = None) -> str:
    """How many rows are shown and what is left out."""
    known = [row["em_ev"] for row in rows if row["em_ev"] is not None]
    n_materials = len({row["material_id"] for row in rows})
    what = "hops" if by == "hop" else "rows, one for each ion and mechanism,"
    n_shown = len(known) if shown is None else shown
    parts = [f"{n_shown:,} of {len(rows):,} {what} of {n_materials:,} materials"]
    if len(known) < len(rows):
        parts.append(f"{len(rows) - len(known):,} without a way through in {dimension}D left out")
    high = sum(one > MOST_EV for one in known)
    if high:
        parts.append(f"{high:,} above {MOST_EV:g} eV drawn there")
    return "; ".join(parts)
