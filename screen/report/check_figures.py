"""Figures that say how far to trust the barriers: against references, and against another model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.metrics import GOOD_EV
from screen.report.contents import Contents, Record, by_frequency
from screen.report.figures import (
    MARKS,
    Figure,
    Json,
    axis,
    colour,
    column,
    label,
    model_name,
    named,
    rounded,
    shown,
    threshold,
)

MOST_GROUPS = 6
"""Of kinds of references that are drawn; the table has all."""
_MOST_HOPS = 60
_MOST_POINTS = 3_000


def parity_figures(contents: Contents) -> list[Figure]:
    """Two for each method and functional: parity, and which intervals hold their reference."""
    figures = []
    for number, group in enumerate(contents.groups[:MOST_GROUPS]):
        figures.append(_parity(group, number))
        figures += _coverage(group, number)
    return figures


def _parity(group: Any, number: int) -> Figure:
    rows = group.rows
    drawn = rows[:_MOST_POINTS]
    top = max(1.0, *(max(row["reference_ev"], row["em_ev"]) for row in drawn)) * 1.08
    traces = [_diagonal(top)]
    for place, ion in enumerate(by_frequency(row["ion"] for row in drawn)):
        own = [row for row in drawn if row["ion"] == ion]
        ink = colour(place)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": column(own, "reference_ev"),
                "y": column(own, "em_ev"),
                "error_y": {**_bars(own), "color": f"{ink}:73" if ink != "@muted" else ink},
                "text": [label(f"{row['formula'] or ''} {row['hop_id']}") for row in own],
                "marker": {"color": ink, "symbol": MARKS[place % len(MARKS)], "size": 8},
                "name": f"{label(ion)} ({len(own):,})",
                "hovertemplate": "%{text}<br>%{x:.2f} → %{y:.2f} eV<extra></extra>",
            }
        )
    layout = {
        "xaxis": axis(f"Em by {group.title} (eV)", range=[0, top]),
        "yaxis": axis(f"Em by {model_name(group.predicted_by)} (eV)", range=[0, top]),
        "shapes": [*threshold("x", False)["shapes"], *threshold("y", False)["shapes"]],
    }
    caption = (
        f"Predictions by {group.predicted_by} against {group.title}; bars: 90 % interval, dashes: "
        f"{GOOD_EV} eV. {shown(len(drawn), len(rows), 'hops')}"
    )
    title = f"Parity with {group.title}"
    return Figure(f"parity-{number}", title, caption, traces, layout, 460)


def _bars(rows: Sequence[Record]) -> Json:
    """From each prediction to the ends of its interval, where there is one."""
    ends = [(row["em_ev"], row["em_low_ev"], row["em_high_ev"]) for row in rows]
    known = [0 if high is None else rounded(max(0.0, high - em)) for em, _, high in ends]
    below = [0 if low is None else rounded(max(0.0, em - low)) for em, low, _ in ends]
    return {
        "type": "data",
        "symmetric": False,
        "array": known,
        "arrayminus": below,
        "thickness": 1.2,
        "width": 0,
    }


def _coverage(group: Any, number: int) -> list[Figure]:
    """Every interval with its reference, by the prediction; nothing without intervals."""
    known = [row for row in group.rows if None not in (row["em_low_ev"], row["em_high_ev"])]
    if not known:
        return []
    inside = [row["em_low_ev"] <= row["reference_ev"] <= row["em_high_ev"] for row in known]
    order = sorted(range(len(known)), key=lambda n: (known[n]["em_ev"], known[n]["hop_id"]))
    drawn = [(known[n], inside[n]) for n in order[:_MOST_HOPS]]
    traces: list[Json] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [x for n in range(len(drawn)) for x in (n + 1, n + 1, None)],
            "y": [
                y
                for row, _ in drawn
                for y in (rounded(row["em_low_ev"]), rounded(row["em_high_ev"]), None)
            ],
            "line": {"color": "@s0:66", "width": 6},
            "hoverinfo": "skip",
            "name": "90 % interval",
        }
    ]
    for is_in, name, ink, symbol in (
        (True, "reference within it", "@s2", "circle"),
        (False, "reference outside", "@s1", "x"),
    ):
        places = [n for n, (_, found) in enumerate(drawn) if found is is_in]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [n + 1 for n in places],
                "y": [rounded(drawn[n][0]["reference_ev"]) for n in places],
                "text": [label(drawn[n][0]["hop_id"]) for n in places],
                "marker": {"color": ink, "symbol": symbol, "size": 8},
                "name": f"{name} ({len(places)})",
                "hovertemplate": "%{text}<br>%{y:.2f} eV<extra></extra>",
            }
        )
    layout = {
        "xaxis": axis("Hops, lowest prediction first (number)", showgrid=False, zeroline=False),
        "yaxis": axis("Em (eV)", rangemode="tozero"),
        **threshold("y"),
    }
    n_inside = sum(inside)
    caption = (
        f"{n_inside} of {len(known)} references ({n_inside / len(known):.0%}) lie within the 90 % "
        f"interval of {group.predicted_by}; 90 % should, and of few hops by chance more or fewer. "
        + shown(len(drawn), len(group.rows), "hops")
    )
    title = f"Do the intervals hold? {group.title}"
    return [Figure(f"coverage-{number}", title, caption, traces, layout, 380)]


def reliability_figure(contents: Contents) -> list[Figure]:
    """How often held-out hops were good against the probability they were given, of the card."""
    card = contents.card or {}
    kinds = (("group_folds", "hosts never seen"), ("random_folds", "random folds"))
    traces = [_diagonal(1.0)]
    n = 0
    for place, (kind, name) in enumerate(kinds):
        bins = card.get(f"{kind}_reliability") or []
        n += sum(one["n"] for one in bins)
        if bins:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "x": [rounded(one["p_good"]) for one in bins],
                    "y": [rounded(one["share_good"]) for one in bins],
                    "text": [f"{one['n']:,} held-out predictions" for one in bins],
                    "marker": {"color": colour(place), "symbol": MARKS[place], "size": 8},
                    "line": {"color": colour(place), "width": 1.5},
                    "name": name,
                    "hovertemplate": "%{text}<br>said %{x:.2f}, was %{y:.2f}<extra></extra>",
                }
            )
    if len(traces) == 1:
        return []
    layout = {
        "xaxis": axis("Predicted P(Em ≤ 0.65 eV), no unit", range=[-0.02, 1.02]),
        "yaxis": axis("Share with Em ≤ 0.65 eV, no unit", range=[-0.02, 1.02]),
    }
    caption = (
        "On literature barriers that the model had not seen: on the line, a probability is worth "
        f"what it says. Shows all {n:,} held-out predictions of the card, repeats included."
    )
    return [Figure("reliability", "What a probability is worth", caption, traces, layout, 400)]


def comparison_figure(contents: Contents) -> list[Figure]:
    """One model's barriers over another's, of the materials that both have ranked."""
    found = contents.comparison
    if found is None:
        return []
    both = [row for row in found.materials if None not in (row["em_a_ev"], row["em_b_ev"])]
    if not both:
        return []
    drawn = both[:_MOST_POINTS]
    top = max(1.0, *(max(row["em_a_ev"], row["em_b_ev"]) for row in drawn)) * 1.05
    entered = {(row["material_id"], row["ion"], row["mechanism"]) for row in found.entered}
    traces = [_diagonal(top)]
    for is_new, name, ink in ((False, "ranked by both", "@s0"), (True, "new on the list", "@s1")):
        own = [
            row
            for row in drawn
            if ((row["material_id"], row["ion"], row["mechanism"]) in entered) is is_new
        ]
        if own:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": column(own, "em_a_ev"),
                    "y": column(own, "em_b_ev"),
                    "text": [named(row) for row in own],
                    "marker": {"color": ink, "size": 7, "opacity": 0.75},
                    "name": f"{name} ({len(own):,})",
                    "hovertemplate": "%{text}<br>%{x:.2f} → %{y:.2f} eV<extra></extra>",
                }
            )
    layout = {
        "xaxis": axis(f"Em by {model_name(found.model_a)}, 1D (eV)", range=[0, top]),
        "yaxis": axis(f"Em by {model_name(found.model_b)}, 1D (eV)", range=[0, top]),
        "shapes": [*threshold("x", False)["shapes"], *threshold("y", False)["shapes"]],
    }
    caption = (
        f"New on the list: among the best {found.n} by {found.model_b}, not by {found.model_a}. "
        + shown(
            len(drawn), len(found.materials), "rankings of both models", "no way through by one"
        )
    )
    return [Figure("models", "Two models side by side", caption, traces, layout, 460)]


def _diagonal(top: float) -> Json:
    """The line on which both axes say the same."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [0, rounded(top)],
        "y": [0, rounded(top)],
        "line": {"color": "@muted", "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
    }
