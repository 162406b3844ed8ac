"""Figures of how a campaign went: what came through, what failed, and how fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from screen.report.contents import Contents, Record
from screen.report.figures import Figure, axis, label

_STAGES = (
    ("candidates", "from the source"),
    ("filtered", "after filters"),
    ("enumerated", "with hops"),
)
_MOST_REASONS = 20
_MOST_MOMENTS = 300


def screened(contents: Contents) -> list[Record]:
    """Campaigns that brought the materials: of the model where there are, each setting once."""
    found = [one for one in contents.campaigns if one["source"] != "rescore"]
    own = [one for one in found if one["model_id"] == contents.model_id]
    latest: dict[str, Record] = {}
    for one in own or found or contents.campaigns:
        latest.setdefault(repr(one["settings"]), one)
    return list(latest.values())


def combined(campaigns: Sequence[Record]) -> Record:
    """The counts and failures of several campaigns together."""
    keys = [key for key, _ in _STAGES] + ["hops", "predicted"]
    total: Record = {key: sum(one[key] or 0 for one in campaigns) for key in keys}
    expected = [one["expected"] for one in campaigns]
    total["expected"] = None if None in expected else sum(expected)
    failed: Counter[tuple[str, str]] = Counter()
    for one in campaigns:
        for entry in one["failed"]:
            failed[entry["stage"], entry["reason"]] += entry["n"]
    total["failed"] = [
        {"stage": stage, "reason": reason, "n": n}
        for (stage, reason), n in sorted(failed.items(), key=lambda item: (-item[1], item[0]))
    ]
    return total


def funnel_figure(campaign: Record) -> Figure:
    """Materials, then hops, that came through each stage."""
    counts = [(name, campaign[key] or 0) for key, name in _STAGES]
    hops = [("hops", campaign["hops"] or 0), ("barriers", campaign["predicted"] or 0)]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [name for name, _ in part],
            "x": [n for _, n in part],
            "text": [f"{n:,}" for _, n in part],
            "textposition": "auto",
            "cliponaxis": False,
            "hovertemplate": "%{y}: %{x:,}<extra></extra>",
            "marker": {"color": ink},
            "name": of,
        }
        for part, ink, of in ((counts, "@s0", "materials"), (hops, "@s1", "hops"))
    ]
    layout = {
        "xaxis": axis("Materials or hops (number)", rangemode="tozero"),
        "yaxis": {"autorange": "reversed", "type": "category", "showgrid": False},
        "bargap": 0.25,
    }
    expected = campaign["expected"]
    of = f" The source says it has {expected:,}." if expected is not None else ""
    caption = (
        f"Materials, then their symmetry-distinct hops, that came through each stage.{of} "
        f"Shows all {campaign['candidates'] or 0:,} items that are done."
    )
    return Figure("funnel", "What came through", caption, traces, layout, 300)


def failure_figure(campaign: Record) -> list[Figure]:
    """Failures by stage and reason; nothing where there are none."""
    failed = campaign["failed"]
    if not failed:
        return []
    drawn = failed[:_MOST_REASONS]
    names = [label(f"{one['stage']}: {one['reason']}") for one in drawn]
    total, n = (sum(one["n"] for one in part) for part in (failed, drawn))
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [one["n"] for one in drawn],
        "text": [f"{one['n']:,}" for one in drawn],
        "textposition": "auto",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{x:,}<extra></extra>",
        "marker": {"color": "@s4"},
    }
    layout = {
        "xaxis": axis("Materials or hops (number)", rangemode="tozero"),
        "yaxis": {"autorange": "reversed", "type": "category", "showgrid": False},
        "bargap": 0.25,
        "showlegend": False,
    }
    rest = f", the {_MOST_REASONS} most frequent reasons" if len(failed) > len(drawn) else ""
    caption = (
        "Why the others did not: each is one row of the table failures, but for the stage server, "
        f"where the source's own filters kept materials back. Shows {n:,} of {total:,}{rest}."
    )
    height = 130 + 28 * len(drawn)
    return [Figure("failures", "What failed, and why", caption, [trace], layout, height)]


def progress_figure(campaign: Record) -> list[Figure]:
    """Items done over time; nothing for a campaign that ended within a few writes."""
    written = campaign["written"]
    if len(written) < 2:
        return []
    every = -(-len(written) // _MOST_MOMENTS)
    started = campaign["started"]
    hours, done, n = [0.0], [0], 0
    for number, row in enumerate(written):
        n += row["n"]
        if number % every == every - 1 or number == len(written) - 1:
            hours.append(max(0.0, (row["moment"] - started).total_seconds() / 3600))
            done.append(n)
    scale, unit = next(
        (scale, unit)
        for scale, unit, least_h in ((1.0, "h", 2.0), (60.0, "min", 1 / 30), (3600.0, "s", 0.0))
        if hours[-1] >= least_h
    )
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": [round(hour * scale, 4) for hour in hours],
        "y": done,
        "line": {"color": "@s0", "width": 2.5, "shape": "hv"},
        "fill": "tozeroy",
        "fillcolor": "@s0:1f",
        "hovertemplate": "%{x:.2f} " + unit + ": %{y:,}<extra></extra>",
    }
    layout = {
        "xaxis": axis(f"Time since the start ({unit})", rangemode="tozero"),
        "yaxis": axis("Items done (number)", rangemode="tozero"),
        "showlegend": False,
    }
    thinned = f", one in {every} writes drawn" if every > 1 else ""
    caption = (
        f"Items of the source that campaign {campaign['campaign_id']} had done, as the database "
        f"recorded them; level stretches are breaks. Shows all {n:,} items{thinned}."
    )
    return [
        Figure(
            f"progress-{campaign['campaign_id']}", "Work over time", caption, [trace], layout, 300
        )
    ]


PACE = (
    *("Campaign", "Model", "Items", "Barriers", "Elapsed", "Candidates per hour"),
    "Barriers per second",
)
"""Columns of ``pace``."""


def pace(campaign: Record) -> list[str]:
    """What the database records of a campaign's pace, from its start to its last write."""
    written = campaign["written"]
    items = sum(row["n"] for row in written)
    barriers = sum(row["predicted"] or 0 for row in written)
    found = [campaign["campaign_id"], campaign["model_id"], f"{items:,}", f"{barriers:,}"]
    last = written[-1]["moment"] if written else campaign["started"]
    seconds = (last - campaign["started"]).total_seconds()
    if seconds < 1:
        return [*found, "–", "–", "–"]
    rates = [f"{items / seconds * 3600:,.0f}", f"{barriers / seconds:,.1f}"]
    return [*found, duration(seconds), *rates]


def duration(seconds: float) -> str:
    """``2 h 05 min``, ``3 min 20 s`` or ``12 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {left:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
