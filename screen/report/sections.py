"""Sections in words: what the page is about, where all comes from, and how to cite it."""

from __future__ import annotations

import json
from typing import Any

from models.metrics import GOOD_EV
from screen.report.contents import Contents, Record
from screen.report.markup import Html, formula, join, tag
from screen.report.parts import Section, fact_list, grid, text_table

_METHOD = "R. Devi, K. T. Butler, G. Sai Gautam, npj Comput. Mater. (2026), arXiv:2508.06436"
_MOST_SYSTEMS, _MOST_SOURCES, _MOST_TERMS = 3, 3, 50


def head(contents: Contents, title: str | None) -> tuple[str, Html]:
    """The title, and the band on top with the numbers that matter."""
    campaign = contents.campaigns[0]
    title = title or _title(contents)
    model = contents.model_id or campaign["model_id"]
    named = [f"{one['source']} {one['source_version']}" for one in contents.terms]
    sources = ", ".join(dict.fromkeys(named[:_MOST_SOURCES])) or campaign["source"]
    state = _state(campaign)
    lede = f"Barriers by {model}; materials of {sources}. {state[:1].upper()}{state[1:]}."
    band = tag(
        "div",
        tag("p", "ionscreen report", class_="kicker"),
        tag("h1", title),
        tag("p", lede, class_="lede"),
        tag("div", *_tiles(contents), class_="tiles"),
        class_="wrap",
    )
    parts = [tag("header", band, class_="band")]
    age_s = contents.snapshot_age_s
    if age_s is not None:
        words = f"A run was writing {contents.database}: this is its snapshot, {age_s:.0f} s old."
        parts.append(tag("div", tag("p", words, class_="notice"), class_="wrap"))
    return title, join(parts)


def _tiles(contents: Contents) -> list[Html]:
    with_way = [row["em_1d_ev"] for row in contents.ranked if row["em_1d_ev"] is not None]
    good = sum(em_ev <= GOOD_EV for em_ev in with_way)
    n_hops = sum(row["n"] for row in contents.hop_bins)
    tiles: list[tuple[str, str | Html]] = [
        (f"{len({row['material_id'] for row in contents.ranked}):,}", "materials ranked"),
        (f"{n_hops:,}", "hops with a barrier"),
        (f"{len(with_way):,}", "rankings with a way through the crystal"),
        (f"{good:,}", f"of these with Em ≤ {GOOD_EV} eV in 1D"),
    ]
    if with_way:
        best = contents.best[0]
        name = formula(best["formula"] or best["material_id"])
        tiles.append((f"{min(with_way):.2f} eV", join(["lowest Em: ", name])))
    return [tag("div", tag("b", number), tag("span", of)) for number, of in tiles]


def identity_section(contents: Contents) -> Section:
    """Every campaign of the database with all that decides its results."""
    cards = [_identity(campaign) for campaign in contents.campaigns]
    return Section("identity", "Provenance", grid(*cards))


def _identity(campaign: Record) -> Html:
    facts = [
        ("Ion", campaign["ion"]),
        ("Chemical systems", ", ".join(campaign["chemsys"] or []) or "all systems"),
        ("Source", f"{campaign['source']}, version {campaign['source_version']}"),
        ("Model", campaign["model_id"]),
        ("ionscreen", campaign["code_version"]),
        ("Started", f"{_time(campaign['started'])} UTC"),
        ("State", _state(campaign)),
    ]
    settings = json.dumps(campaign["settings"], indent=2, sort_keys=True, ensure_ascii=False)
    return tag(
        "div",
        tag("h3", f"Campaign {campaign['campaign_id']}"),
        fact_list(facts),
        tag("details", tag("summary", "All settings"), tag("pre", settings)),
        class_="card",
    )


def citation_section(contents: Contents) -> Section:
    """Whom to cite, and under which terms the data are."""
    names = ("attribution", "license", "source", "source_version")
    rows = [
        ["not known" if one[name] is None else one[name] for name in names]
        for one in contents.terms[:_MOST_TERMS]
    ]
    columns = ["Data of", "Licence", "Source", "Version"]
    terms = text_table(
        columns, rows, f"Shows {len(rows)} of {len(contents.terms)} kinds of data.", len(columns)
    )
    versions = ", ".join(dict.fromkeys(one["code_version"] for one in contents.campaigns))
    models = ", ".join(dict.fromkeys(one["model_id"] for one in contents.campaigns))
    items = [
        "the data, as named in the table, with the database version;",
        f"ionscreen {versions}, with the model {models};",
    ]
    fitted_on = ((contents.card or {}).get("data") or {}).get("source") or ""
    if "em_bands" in str(fitted_on):
        items.append(f"the linear bands and literature barriers behind the model: {_METHOD}.")
    cite = tag("ul", *(tag("li", item) for item in items))
    return Section(
        "cite",
        "How to cite",
        grid(
            tag("div", tag("h3", "Terms of the data"), terms, class_="card"),
            tag("div", tag("h3", "Please cite"), cite, class_="card"),
        ),
        "A table or figure taken from here carries the terms of the data it shows.",
    )


def footer(contents: Contents) -> Html:
    """What made the page."""
    words = (
        f"Made from {contents.database} by ionscreen. The page holds all it needs and loads "
        "nothing; its figures are drawn by Plotly.js (MIT licence), which is in it."
    )
    note = tag("noscript", " Figures and tables need JavaScript, which is switched off here.")
    return tag("footer", tag("div", words, note, class_="wrap"))


def _title(contents: Contents) -> str:
    ions = contents.ions or tuple(one["ion"] for one in contents.campaigns[-1:] if one["ion"])
    found = dict.fromkeys(system for one in contents.campaigns for system in one["chemsys"] or [])
    systems = [*found][:_MOST_SYSTEMS]
    more = " …" if len(found) > len(systems) else ""
    where = f" in {', '.join(systems)}{more}" if systems else ""
    verb = "move" if len(ions) > 1 else "moves"
    return f"Where {', '.join(ions)} {verb}{where}" if ions else "Ion migration barriers"


def _state(campaign: Record) -> str:
    if campaign["state"] == "finished":
        return f"finished {_time(campaign['finished'])} UTC"
    left = campaign["remaining"]
    return str(campaign["state"]) + (f", {left:,} items left" if left else "")


def _time(moment: Any) -> str:
    return str(moment.isoformat(" ", "minutes"))
