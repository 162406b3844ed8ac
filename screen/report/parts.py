"""What sections are made of: lists of facts, tables, and words where there is nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from screen.report.contents import Record
from screen.report.markup import Html, join, tag


class Section(NamedTuple):
    """A part of the page that the navigation names."""

    key: str
    title: str
    content: Html
    words: str = ""

    def html(self) -> Html:
        """As it stands on the page."""
        words = tag("p", self.words) if self.words else None
        return tag("section", tag("h2", self.title), words, self.content, id=self.key)


def grid(*parts: Html) -> Html:
    """Figures and cards in two columns."""
    return tag("div", *parts, class_="grid")


def nothing(words: str) -> Html:
    """Said where a section has nothing to show."""
    return tag("p", words, class_="empty")


def fact_list(facts: Iterable[tuple[str, Any]]) -> Html:
    """Names with what is known of them; those of which nothing is are left out."""
    told = [(name, value) for name, value in facts if value not in (None, "")]
    return tag("dl", *(join([tag("dt", name), tag("dd", value)]) for name, value in told))


def text_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str, n_text: int
) -> Html:
    """A table whose first ``n_text`` columns are text and the others numbers."""
    body = tag("tbody", *(_row("td", row, n_text) for row in rows))
    head = tag("thead", _row("th", columns, n_text))
    return tag("div", tag("table", tag("caption", caption), head, body), class_="scroll")


def with_interval(scores: Record, key: str) -> str:
    """``0.21 [0.15, 0.27]``."""
    value, interval = scores.get(key), scores.get(f"{key}_interval")
    if value is None:
        return "–"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def _row(name: str, values: Sequence[Any], n_text: int) -> Html:
    kinds = ["text"] * n_text + ["number"] * (len(values) - n_text)
    cells = zip(values, kinds, strict=True)
    return tag("tr", *(tag(name, value, class_=kind) for value, kind in cells))
