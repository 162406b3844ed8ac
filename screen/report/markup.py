"""HTML in which text stays text: whatever is no ``Html`` already is escaped."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any

_FORMULA = re.compile(r"(?:[A-Z][a-z]?|[()\[\]]|\d+(?:\.\d+)?)+")
_VOID = frozenset({"meta", "br", "input"})
# In a script element all of these are text as well, but none of them can end it.
_IN_SCRIPT = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class Html(str):
    """Markup that is ready for the page."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element with its children.

    Args:
        name: of the element.
        children: ``Html`` as it is, None as nothing, all else as text.
        attributes: ``_`` stands for ``-``, and is dropped at the end (``class_``); None or False
            leaves one out, True gives it no value.
    """
    words = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{join(children)}</{name}>")


def formula(value: object) -> Html:
    """A chemical formula with its numbers set low; anything else as text."""
    shown = text(value)
    if not _FORMULA.fullmatch(shown):
        return shown
    return Html(re.sub(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)", r"<sub>\1</sub>", shown))


def join(children: Iterable[object]) -> Html:
    """Children one after the other."""
    return Html("".join(text(child) for child in children))


def text(value: object) -> Html:
    """A value as the page shows it."""
    if value is None:
        return Html("")
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def link(url: object, label: object) -> Html:
    """A link to another site; the label alone where the address is none of the web's."""
    if isinstance(url, str) and url.lower().startswith(("https://", "http://")):
        return tag("a", label, href=url, target="_blank", rel="noopener noreferrer")
    return text(label)


def json_for_script(value: Any) -> str:
    """JSON that stands in a script element, whatever its strings hold.

    Raises:
        ValueError: a number is not finite.
    """
    document = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A lone surrogate has no UTF-8.
    document = document.encode("utf-8", "replace").decode("utf-8")
    return document.translate(_IN_SCRIPT)


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(value)}"'
