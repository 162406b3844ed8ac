"""Sections on how far to trust the barriers, and on what they cost."""

from __future__ import annotations

from screen.report.campaign_figures import PACE, pace
from screen.report.contents import Contents
from screen.report.markup import Html, formula, tag
from screen.report.parts import Section, fact_list, grid, nothing, text_table, with_interval

_SCORES = (
    ("mae_ev", "MAE (eV)"),
    ("rmse_ev", "RMSE (eV)"),
    ("r2", "R2"),
    ("accuracy", "Accuracy at 0.65 eV"),
    ("precision_good", "Precision, good"),
    ("precision_bad", "Precision, bad"),
    ("coverage90", "Coverage of the 90 % interval"),
    ("interval_width_ev", "Median width of it (eV)"),
)
_FOLDS = (
    ("random_folds", "random folds"),
    ("group_folds", "hosts not seen"),
    ("group_folds_without_two_extremes", "hosts not seen, without two extreme labels"),
)
_MOST_CHANGES = 10


def parity_table(contents: Contents) -> Html:
    """Scores against the barriers that came back, by method, functional and ion."""
    columns = ["Predicted by", "Against", "Ion", "n", "MAE (eV)", "R2", "Accuracy", "Coverage"]
    rows = []
    for group in contents.groups:
        scores = group.scores()
        parts = [("all", scores)] if len(scores["by_ion"]) > 1 else []
        for ion, one in [*parts, *scores["by_ion"].items()]:
            keys = ("mae_ev", "r2", "accuracy", "coverage90")
            numbers = [with_interval(one, key) for key in keys]
            rows.append([group.predicted_by, group.title, ion, f"{one['n']:,}", *numbers])
    caption = (
        "Brackets: 95 % bootstrap intervals. Accuracy is of calling a hop good at 0.65 eV, "
        "coverage the share of references within the 90 % interval."
    )
    return tag("div", text_table(columns, rows, caption, 3), class_="card wide")


def comparison_card(contents: Contents) -> Html:
    """What changes on the list with the other model."""
    found = contents.comparison
    numbers = [
        ("Spearman correlation of barriers", found.spearman, ""),
        (f"Mean of {found.model_b} less {found.model_a}", found.mean_shift_ev, " eV"),
        (f"Regret of the best {found.n} by {found.model_a}", found.regret_ev, " eV"),
    ]
    facts = [(name, "–" if n is None else f"{n:.3f}{unit}") for name, n, unit in numbers]
    facts.append(("Of these, without a way through", f"{found.without_way:,}"))
    facts.append(("Ranked by one of them only", f"{found.only_a:,} and {found.only_b:,}"))
    names = ("ion", "rank_a", "rank_b")
    rows = [
        [
            formula(row["formula"]),
            *(row[name] for name in names),
            _ev(row["em_a_ev"]),
            _ev(row["em_b_ev"]),
        ]
        for row in found.entered[:_MOST_CHANGES]
    ]
    caption = (
        f"New among the best {found.n}: shows {len(rows)} of {len(found.entered)}. "
        f"{len(found.left)} left it. Barriers in eV."
    )
    columns = ["Formula", "Ion", "Rank before", "Rank now", "Em before", "Em now"]
    changes = text_table(columns, rows, caption, 2)
    return tag("div", fact_list(facts), changes, class_="card")


def model_section(contents: Contents, reliability: Html) -> Section:
    """The model's card."""
    words = f"{contents.model_id}." if contents.model_id else ""
    card = contents.card
    if card is None:
        why = "The model's card is not at hand; pass its folder as --model to show it."
        return Section("model", "Model", nothing(why), words)
    data = card.get("data") or {}
    facts = [
        ("Summary", card.get("summary")),
        ("Fitted on", f"{data.get('source', 'not said')}, {data.get('bands', '?')} bands"),
        ("How it was scored", card.get("how_scored")),
        ("Note", card.get("note")),
    ]
    kinds = [(key, title) for key, title in _FOLDS if card.get(key)]
    rows = [
        [title, *(with_interval(card[key], name) for key, _ in kinds)]
        for name, title in _SCORES
        if any(card[key].get(name) is not None for key, _ in kinds)
    ]
    parts = []
    if rows:
        caption = "Held-out scores of the card; brackets: 95 % bootstrap intervals."
        text = text_table(["Held out", *(title for _, title in kinds)], rows, caption, 1)
        parts.append(tag("div", text, class_="card wide"))
    parts.append(tag("div", fact_list(facts), class_="card"))
    return Section("model", "Model", grid(*parts, reliability), words)


def pace_card(contents: Contents) -> Html:
    """The pace of every campaign, as far as it is recorded."""
    caption = (
        "From the start of each campaign to its last write, breaks included. The database does not "
        f"record CPU or GPU hours. Shows all {len(contents.campaigns)} campaigns."
    )
    paces = text_table(PACE, [pace(one) for one in contents.campaigns], caption, 2)
    return tag("div", tag("h3", "Pace and cost"), paces, class_="card wide")


def _ev(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
