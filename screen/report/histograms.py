"""Figures of how barriers are spread: by ion, by hop and by chemical system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from screen.report.contents import BIN_EV, OPEN_BIN, Contents, Record, by_frequency
from screen.report.figures import (
    COUNTS,
    NO_WAY,
    SERIES,
    Figure,
    axis,
    colour,
    label,
    shown,
    threshold,
)

_FINE_FROM = 400
"""Rows from which a histogram has bins of 0.05 rather than 0.1 eV."""
_MOST_SYSTEMS = 20


def by_ion(contents: Contents, with_way: Sequence[Record]) -> Figure:
    """Materials by their barrier in one dimension, stacked by ion."""
    counts: Counter[tuple[str, int]] = Counter()
    for row in with_way:
        counts[row["ion"], _bin(row["em_1d_ev"])] += 1
    caption = "Rankings by the barrier of their easiest way through in one dimension. " + shown(
        len(with_way), len(contents.ranked), "rankings", NO_WAY
    )
    what = "Em of the way through in 1D (eV)"
    return _histogram("materials", "Barriers of materials", counts, "Rankings", what, caption)


def hops_by_ion(contents: Contents) -> list[Figure]:
    """The same of every single hop."""
    counts = Counter({(row["ion"], row["bin"]): row["n"] for row in contents.hop_bins})
    n = sum(counts.values())
    if not n:
        return []
    caption = (
        f"Every hop by its own barrier, whether or not it is on a way through. Shows all {n:,} "
        "hops that this model has predicted."
    )
    what = "Em of one hop (eV)"
    return [_histogram("hops", "Barriers of single hops", counts, "Hops", what, caption)]


def by_system(contents: Contents, with_way: Sequence[Record]) -> Figure:
    """Materials by barrier and chemical system, as a map of counts."""
    systems = by_frequency(row["chemsys"] for row in with_way)
    shown_ones = systems[:_MOST_SYSTEMS]
    edges, place_of = _bins(0)
    rows = {system: [0] * (len(edges) - 1) for system in shown_ones}
    n = 0
    for row in with_way:
        if row["chemsys"] in rows:
            rows[row["chemsys"]][place_of[_bin(row["em_1d_ev"])]] += 1
            n += 1
    last = max((k for row in rows.values() for k, m in enumerate(row) if m), default=0)
    stop = max(last + 1, 9)
    most = max(max(row) for row in rows.values())
    trace = {
        "type": "heatmap",
        "x": edges[: stop + 1],
        "y": [label(system) for system in shown_ones],
        "z": [[m or None for m in rows[system][:stop]] for system in shown_ones],
        "text": [[_range(edges, k) for k in range(stop)] for _ in shown_ones],
        "hovertemplate": "%{y}<br>Em %{text} eV: %{z}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "colorscale": [[0, "@s0:38"], [1, "@s0"]],
        "colorbar": {**COUNTS, "dtick": 1} if most < 6 else COUNTS,
    }
    layout = {
        "xaxis": axis(f"Em of the way through in 1D (eV){_open(edges, stop)}"),
        "yaxis": {"autorange": "reversed", "showgrid": False, "type": "category"},
        **threshold(),
    }
    n_rare = len(systems) - len(shown_ones)
    why = f"of {n_rare:,} less frequent systems, or {NO_WAY}" if n_rare else NO_WAY
    caption = f"The {len(shown_ones)} most frequent of {len(systems):,} chemical systems. " + shown(
        n, len(contents.ranked), "rankings", why
    )
    height = 150 + 22 * len(shown_ones)
    return Figure("systems", "Barriers by chemical system", caption, [trace], layout, height)


def _histogram(
    key: str, title: str, counts: Counter[tuple[str, int]], of: str, what: str, caption: str
) -> Figure:
    totals: Counter[str] = Counter()
    for (ion, _), n in counts.items():
        totals[ion] += n
    ions = sorted(totals, key=lambda ion: (-totals[ion], ion))
    edges, place_of = _bins(counts.total())
    stop = max(place_of[max(bin_ for _, bin_ in counts)] + 1, 9)
    parts = [(ion, [ion]) for ion in ions[:SERIES]]
    if len(ions) > SERIES:
        parts.append((f"{len(ions) - SERIES} other ions", ions[SERIES:]))
    traces = []
    for number, (name, members) in enumerate(parts):
        heights = [0] * stop
        for (ion, bin_), n in counts.items():
            if ion in members:
                heights[place_of[bin_]] += n
        traces.append(
            {
                "type": "bar",
                "x": [_middle(edges, k) for k in range(stop)],
                "width": [_width(edges, k) for k in range(stop)],
                "y": heights,
                "text": [_range(edges, k) for k in range(stop)],
                "textposition": "none",
                "hovertemplate": "Em %{text} eV: %{y}<extra>" + label(name) + "</extra>",
                "name": f"{label(name)} ({sum(totals[one] for one in members):,})",
                "marker": {"color": colour(number), "line": {"width": 0.5, "color": "@surface"}},
            }
        )
    layout = {
        "xaxis": axis(f"{what}{_open(edges, stop)}"),
        "yaxis": axis(of, rangemode="tozero"),
        "barmode": "stack",
        "bargap": 0,
        **threshold(),
    }
    return Figure(key, title, caption, traces, layout)


def _bins(n: int) -> tuple[list[float], list[int]]:
    """Edges, one of which is 0.65 eV, and the place of each bin of 0.05 eV between them."""
    step = 1 if n >= _FINE_FROM else 2
    starts = sorted({0, *range(step - 1, OPEN_BIN, step)})
    edges = [round(start * BIN_EV, 2) for start in starts]
    edges += [round(OPEN_BIN * BIN_EV, 2), round((OPEN_BIN + step) * BIN_EV, 2)]
    places = [sum(start <= bin_ for start in starts) - 1 for bin_ in range(OPEN_BIN)]
    return edges, [*places, len(starts)]


def _bin(em_ev: float) -> int:
    return max(0, min(OPEN_BIN, int(em_ev / BIN_EV + 1e-9)))


def _middle(edges: Sequence[float], place: int) -> float:
    return round((edges[place] + edges[place + 1]) / 2, 4)


def _width(edges: Sequence[float], place: int) -> float:
    return round(edges[place + 1] - edges[place], 4)


def _range(edges: Sequence[float], place: int) -> str:
    if place == len(edges) - 2:
        return f"{edges[place]:.2f} and more"
    return f"{edges[place]:.2f} to {edges[place + 1]:.2f}"


def _open(edges: Sequence[float], stop: int) -> str:
    return f"; last bin: {OPEN_BIN * BIN_EV:g} and more" if stop == len(edges) - 1 else ""
