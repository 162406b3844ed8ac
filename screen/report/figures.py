"""Parts of figures, as Plotly's JSON; colours are names that the page gives values to.

A colour is ``@name`` or ``@name:40``, with its opacity as two hex digits, so that figures follow
the page from light to dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.metrics import GOOD_EV
from screen.report.markup import Html, formula, text

SERIES = 8
"""Colours ``@s0`` to ``@s7`` of the page, told apart with any colour vision."""
NO_WAY = "no way through"
COUNTS = {"title": {"text": "rankings", "side": "right"}, "thickness": 10, "tickformat": "d"}
MARKS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star", "x")

Json = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One figure and what stands under it."""

    key: str
    """Of its place on the page."""
    title: str
    caption: str
    """What is drawn, in which unit, how many rows it shows and what it leaves out."""
    traces: list[Json]
    layout: Json = field(default_factory=dict)
    height_px: int = 380

    def record(self) -> Json:
        """As the page's script takes it."""
        return {"data": self.traces, "layout": {**self.layout, "height": self.height_px}}


def label(value: object) -> str:
    """Text for Plotly, which would read markup in it, and knows few entities."""
    return _without_quotes(text("–" if value is None else value))


def named(row: Json) -> str:
    """A material and its ion as Plotly shows them."""
    way = "" if row.get("mechanism", "vacancy") == "vacancy" else f", {row['mechanism']}"
    name = _without_quotes(formula(row["formula"] or row["material_id"]))
    return f"{name} ({label(row['ion'])}{label(way)})"


def axis(title: str, **more: Any) -> Json:
    """An axis; its title has the unit."""
    return {"title": {"text": label(title)}, **more}


def colour(number: int) -> str:
    """Of a series by its number; those beyond the last share the muted one."""
    return f"@s{number}" if number < SERIES else "@muted"


def threshold(way: str = "x", labelled: bool = True) -> Json:
    """The line at 0.65 eV across a figure, as a part of its layout."""
    across = {"x0": GOOD_EV, "x1": GOOD_EV, "yref": "paper", "y0": 0, "y1": 1}
    if way == "y":
        across = {"y0": GOOD_EV, "y1": GOOD_EV, "xref": "paper", "x0": 0, "x1": 1}
    line = {"type": "line", **across, "line": {"color": "@good", "width": 1.5, "dash": "dash"}}
    if not labelled:
        return {"shapes": [line]}
    place: Json = {"x": GOOD_EV, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "top"}
    if way == "y":
        place = {
            "y": GOOD_EV,
            "x": 1,
            "xref": "paper",
            "xanchor": "right",
            "yanchor": "bottom",
            "yshift": 2,
        }
    words: Json = {"text": " 0.65 eV", "showarrow": False, "bgcolor": "@surface:cc"}
    words["font"] = {"color": "@good", "size": 12}
    return {"shapes": [line], "annotations": [{**place, **words}]}


def shown(n: int, total: int, of: str, why: str = "") -> str:
    """``Shows 80 of 86 materials; 6 left out: no way through.``"""
    rest = f"; {total - n:,} left out{': ' + why if why else ''}" if total > n else ""
    return f"Shows {n:,} of {total:,} {of}{rest}."


def model_name(model_id: str) -> str:
    """A model without its digest, for axes; captions have all of it."""
    return model_id.rpartition("@")[0] or model_id


def rounded(value: Any, digits: int = 4) -> Any:
    """A number as short as a figure needs it; what is none stays, but for nan and infinity."""
    if not isinstance(value, float):
        return value
    return round(value, digits) if math.isfinite(value) else None


def column(rows: Sequence[Json], name: str) -> list[Any]:
    """One column of rows, rounded."""
    return [rounded(row[name]) for row in rows]


def _without_quotes(words: Html) -> str:
    """Quotation marks as they are: only markup needs to be escaped."""
    return words.replace("&quot;", '"').replace("&#x27;", "'")
