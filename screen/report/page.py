"""The page itself: sections around figures and tables, with all it needs inside."""

from __future__ import annotations

import base64
import hashlib
import importlib
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

from models.metrics import GOOD_EV
from screen.report.band_figures import correction_figures, profile_figure
from screen.report.barrier_figures import barrier_figures
from screen.report.campaign_figures import (
    combined,
    failure_figure,
    funnel_figure,
    progress_figure,
    screened,
)
from screen.report.check_figures import (
    MOST_GROUPS,
    comparison_figure,
    parity_figures,
    reliability_figure,
)
from screen.report.contents import Contents, Record
from screen.report.figures import Figure
from screen.report.markup import Html, formula, join, json_for_script, tag
from screen.report.model_sections import comparison_card, model_section, pace_card, parity_table
from screen.report.parts import Section, grid, nothing
from screen.report.ranked_table import ranked_table, table_controls
from screen.report.sections import citation_section, footer, head, identity_section

_SCRIPTS = ("common", "theme", "charts", "table", "crystal", "material", "start")
_MOST_PACES = 4
"""Campaigns whose work over time is drawn."""
_WIDE = ("lowest", "systems", "hull")


class _Figures:
    """Figures in the order of the page, numbered as they come."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}

    def place(self, figures: Sequence[Figure]) -> Html:
        """The places where the script draws them."""
        return join(self._place(one) for one in figures)

    def _place(self, figure: Figure) -> Html:
        self.records[figure.key] = figure.record()
        number = f"Figure {len(self.records)}. "
        return tag(
            "figure",
            tag("h3", figure.title),
            tag("div", data_figure=figure.key),
            tag("figcaption", tag("b", number), figure.caption),
            class_="plot wide" if figure.key in _WIDE else "plot",
        )


def make_page(contents: Contents, details: Sequence[Record], title: str | None) -> str:
    """The whole report; the same for the same contents.

    Args:
        contents: of the database.
        details: of the first materials of the ranking, in its order.
        title: what stands on top; None says what was screened.
    """
    figures = _Figures()
    sections = list(_sections(contents, details, figures))
    table = ranked_table(contents)
    common = {"figures": figures.records, "table": table, "n_details": len(details)}
    documents = [
        ("report-data", {**common, "good_ev": GOOD_EV}),
        *((f"material-{n}", detail) for n, detail in enumerate(details)),
    ]
    data = join(
        tag("script", Html(json_for_script(value)), type="application/json", id=name)
        for name, value in documents
    )
    scripts = [_plotly(), _own_scripts()]
    heading, top = head(contents, title)
    main = tag("main", *(one.html() for one in sections), class_="wrap")
    body = join([top, _navigation(sections), main, footer(contents), data])
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            tag(
                "head",
                tag("meta", charset="utf-8"),
                tag("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)),
                tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
                tag("meta", name="generator", content="ionscreen"),
                tag("title", heading),
                tag("style", Html(_asset("report.css"))),
            ),
            tag("body", body, *(tag("script", Html(script)) for script in scripts)),
            "</html>\n",
        ]
    )


def _sections(
    contents: Contents, details: Sequence[Record], figures: _Figures
) -> Iterator[Section]:
    """From the result over its checks to where it comes from."""
    barriers = barrier_figures(contents)
    if barriers:
        words = "Barriers are predictions from the unrelaxed crystal: a screen, not a calculation."
        yield Section("results", "Results", grid(figures.place(barriers[:1])), words)
    campaigns = screened(contents)
    total = combined(campaigns)
    parts = figures.place([funnel_figure(total), *failure_figure(total)])
    ids = ", ".join(one["campaign_id"] for one in campaigns)
    words = f"Campaign {ids}." if len(campaigns) == 1 else f"Sum of the campaigns {ids}."
    yield Section("funnel", "Funnel", grid(parts), words)
    if barriers:
        yield Section("barriers", "Barriers", grid(figures.place(barriers[1:])))
    if contents.best:
        yield Section("ranked", "Ranking", table_controls(contents, len(details)))
    else:
        why = "No material is ranked yet: none has hops with a barrier so far."
        yield Section("ranked", "Ranking", nothing(why))
    if details:
        yield Section("materials", "Materials", _browser(details))
    yield _checks(contents, figures)
    compared = comparison_figure(contents)
    if compared:
        parts = join([figures.place(compared), comparison_card(contents)])
        words = (
            f"The chosen one and the last of the others that ranked: {', '.join(contents.models)}."
        )
        words = words if len(contents.models) > 2 else ""
        yield Section("comparison", "Two models", grid(parts), words)
    yield model_section(contents, figures.place(reliability_figure(contents)))
    progress = [figure for one in campaigns[:_MOST_PACES] for figure in progress_figure(one)]
    yield Section("pace", "Throughput", grid(pace_card(contents), figures.place(progress)))
    yield identity_section(contents)
    yield citation_section(contents)


def _checks(contents: Contents, figures: _Figures) -> Section:
    """Against barriers that came back, or why that cannot be."""
    bands = [*correction_figures(contents), *profile_figure(contents)]
    if not contents.groups:
        why = contents.no_groups.rpartition(": ")[2] or "no barrier came back yet"
        none = nothing(f"{why[:1].upper()}{why[1:]}.")
        return Section("checks", "Computed barriers", grid(none, figures.place(bands)))
    n, drawn_n = len(contents.groups), min(MOST_GROUPS, len(contents.groups))
    words = (
        "The reference is the higher of the two ways over a hop; only converged ones count. Shows "
        f"{drawn_n} of {n} pairs of predictions and references, by method and functional."
    )
    drawn = figures.place([*parity_figures(contents), *bands])
    return Section("checks", "Computed barriers", grid(parity_table(contents), drawn), words)


def _browser(details: Sequence[Record]) -> Html:
    def button(detail: Record) -> Html:
        em_ev = detail["barriers"][0][0]
        return tag(
            "button",
            tag("b", formula(detail["formula"] or detail["material_id"])),
            tag("span", "–" if em_ev is None else f"{em_ev:.2f} eV"),
            type="button",
            aria_pressed="false",
        )

    names = join(button(detail) for detail in details)
    return tag(
        "div",
        tag("div", names, id="material-list", class_="card", role="group", aria_label="Materials"),
        tag("div", id="material", class_="card", aria_live="polite"),
        class_="browser",
    )


def _navigation(sections: Sequence[Section]) -> Html:
    items = [tag("li", tag("a", one.title, href=f"#{one.key}")) for one in sections]
    button = tag("button", "Dark", type="button", id="theme", class_="button")
    return tag("nav", tag("div", tag("ul", *items), button, class_="wrap"), aria_label="Sections")


def _policy(scripts: Sequence[str]) -> str:
    """What the page may do: run these scripts, style itself, and nothing from elsewhere."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'"
        for one in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _own_scripts() -> str:
    parts = "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _plotly() -> str:
    """Plotly's script, as its package ships it, fit to stand in a page."""
    source: str = importlib.import_module("plotly.offline").get_plotlyjs()
    # The parser of HTML turns these into line feeds, and the hash would be another's.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    folder = resources.files("screen.report") / "assets"
    return (folder / name).read_text(encoding="utf-8").replace("\r\n", "\n")
