"""Figures of the ranking: the lowest barriers, how all are spread, and what they go with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from screen.pareto import pareto_front
from screen.report.contents import Contents, Record
from screen.report.figures import (
    COUNTS,
    MARKS,
    NO_WAY,
    Figure,
    Json,
    axis,
    colour,
    column,
    label,
    named,
    rounded,
    shown,
    threshold,
)
from screen.report.histograms import by_ion, by_system, hops_by_ion

_BEST = 20
_MOST_POINTS = 3_000
"""That are drawn one by one; more become a map of their density, with the front on it."""
_DIMENSIONS = (
    ("1", "circle", 8, 0, "@s0"),
    ("2", "circle-open", 13, 2, "@s1"),
    ("3", "circle-open", 19, 2, "@s2"),
)


def barrier_figures(contents: Contents) -> list[Figure]:
    """All of them that there is something to draw for."""
    with_way = [row for row in contents.ranked if row["em_1d_ev"] is not None]
    if not with_way:
        return []
    front = pareto_front(with_way, 1)
    pairs = (
        ("hull", "energy_above_hull_ev", "Energy above hull (eV/atom)"),
        ("voltage", "voltage_v", "Average voltage (V)"),
        ("capacity", "capacity_mah_g", "Capacity (mAh/g)"),
    )
    return [
        lowest(contents),
        by_ion(contents, with_way),
        *hops_by_ion(contents),
        by_system(contents, with_way),
        *(one for pair in pairs for one in against(contents, with_way, front, *pair)),
    ]


def lowest(contents: Contents) -> Figure:
    """The easiest ways through, with their intervals, in 1, 2 and 3 dimensions."""
    best = [row for row in contents.best if row["em_1d_ev"] is not None][:_BEST]
    names = [named(row) for row in best]
    traces: list[Json] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [end for row in best for end in (*_ends(row), None)],
            "y": [y for place in range(len(best)) for y in (place, place, None)],
            "line": {"color": "@s0:59", "width": 7},
            "hoverinfo": "skip",
            "name": "90 % interval, 1D",
        }
    ]
    for dimension, symbol, size, rim, ink in _DIMENSIONS:
        places = [n for n, row in enumerate(best) if row[f"em_{dimension}d_ev"] is not None]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [rounded(best[n][f"em_{dimension}d_ev"]) for n in places],
                "y": places,
                "text": [names[n] for n in places],
                "marker": {"color": ink, "symbol": symbol, "size": size, "line": {"width": rim}},
                "name": f"{dimension}D",
                "hovertemplate": "%{text}<br>Em " + dimension + "D %{x:.2f} eV<extra></extra>",
            }
        )
    ticks = {"tickvals": list(range(len(best))), "ticktext": names, "showgrid": False}
    top = max(1.0, *(row["em_1d_high_ev"] or 0.0 for row in best)) * 1.05
    beyond = sum((row[f"em_{d}d_ev"] or 0) > top for row in best for d in (2, 3))
    ways = f" {beyond} barriers in 2D or 3D lie beyond the axis." if beyond else ""
    layout = {
        "xaxis": axis("Migration barrier Em (eV)", range=[0, top]),
        "yaxis": {**ticks, "range": [len(best) - 0.4, -0.6], "zeroline": False},
        **threshold(),
    }
    caption = (
        "The lowest barriers of a way through, best first: dots in one dimension, with the 90 % "
        "interval, rings in two and three. "
        + shown(len(best), len(contents.ranked), "rankings", f"of higher barrier, or {NO_WAY}")
        + ways
    )
    height = 150 + 23 * len(best)
    return Figure("lowest", "Easiest ways through", caption, traces, layout, height)


def against(
    contents: Contents,
    with_way: Sequence[Record],
    front: Sequence[bool],
    key: str,
    name: str,
    title: str,
) -> list[Figure]:
    """Barriers over another property, where it is known of some."""
    known = [(row, on) for row, on in zip(with_way, front, strict=True) if row[name] is not None]
    if not known:
        return []
    rows = [row for row, _ in known]
    best = [row for row, on in known if on]
    traces = _density(rows, name) if len(rows) > _MOST_POINTS else _points(contents, rows, name)
    traces.append(
        {
            **_marks(best, name),
            "marker": {
                "symbol": "circle-open",
                "size": 13,
                "color": "@front",
                "line": {"width": 2.2, "color": "@front"},
            },
            "name": f"Pareto front ({len(best):,})",
        }
    )
    layout = {
        "xaxis": axis(title, rangemode="tozero"),
        "yaxis": axis("Em of the way through in 1D (eV)", rangemode="tozero"),
        **threshold("y"),
    }
    short = title.partition(" (")[0].lower()
    drawn = " as a map of their density" if len(rows) > _MOST_POINTS else ""
    why = f"{short} not known, or {NO_WAY}"
    caption = (
        f"Barrier and {short}{drawn}. Rings: no other material of the ion is at least as good in "
        "barrier, energy above hull, voltage and capacity and better in one; unknown counts as "
        f"worst. {shown(len(rows), len(contents.ranked), 'rankings', why)}"
    )
    return [Figure(key, f"Barrier and {short}", caption, traces, layout, 440)]


def _points(contents: Contents, rows: Sequence[Record], name: str) -> list[Json]:
    traces = []
    for number, ion in enumerate(contents.ions):
        own = [row for row in rows if row["ion"] == ion]
        if own:
            mark = {"color": colour(number), "symbol": MARKS[number % len(MARKS)], "size": 7}
            mark["opacity"] = 0.75
            title = f"{label(ion)} ({len(own):,})"
            traces.append({**_marks(own, name), "marker": mark, "name": title})
    return traces


def _marks(rows: Sequence[Record], name: str) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": column(rows, name),
        "y": column(rows, "em_1d_ev"),
        "text": [named(row) for row in rows],
        "cliponaxis": False,
        "hovertemplate": "%{text}<br>%{x:.3g}, Em %{y:.2f} eV<extra></extra>",
    }


def _density(rows: Sequence[Record], name: str) -> list[Json]:
    x, y = (np.array([row[one] for row in rows], dtype=float) for one in (name, "em_1d_ev"))
    top = float(np.quantile(y, 0.995))
    counts, x_edges, y_edges = np.histogram2d(x, np.minimum(y, top), bins=(60, 50))
    return [
        {
            "type": "heatmap",
            "x": [rounded(float(one)) for one in (x_edges[1:] + x_edges[:-1]) / 2],
            "y": [rounded(float(one)) for one in (y_edges[1:] + y_edges[:-1]) / 2],
            "z": [[int(m) or None for m in row] for row in counts.T],
            "colorscale": [[0, "@s0:26"], [1, "@s0"]],
            "hoverongaps": False,
            "hovertemplate": "%{x:.3g}, Em %{y:.2f} eV: %{z}<extra></extra>",
            "colorbar": COUNTS,
        }
    ]


def _ends(row: Record) -> tuple[Any, Any]:
    low, high = row["em_1d_low_ev"], row["em_1d_high_ev"]
    known = low is not None and high is not None
    return (rounded(low), rounded(high)) if known else (rounded(row["em_1d_ev"]),) * 2
