"""OPTIMADE's filter language, as much of it as clients that look for crystals use.

Grammar: the OPTIMADE specification, appendix "The filter language EBNF grammar".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)'
    r"|(?P<name>[A-Za-z_][\w.]*)|(?P<sign><=|>=|!=|[<>=(),]))"
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}

Test = Callable[[Mapping[str, Any]], bool]
"""Whether an entry's attributes meet a filter."""


class Refused(Exception):  # noqa: N818 - named for what the server does
    """A filter that the server does not answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def parse(text: str, known: Collection[str], unsearchable: Collection[str] = ()) -> Test:
    """The test that a filter stands for.

    Args:
        text: The filter.
        known: Properties that the server has.
        unsearchable: Those of them that it cannot filter by.

    Raises:
        Refused: 400 for what is no filter or of an unknown property, 501 for what is unsearchable.
    """
    parser = _Parser(_tokens(text), known, unsearchable)
    test = parser.either()
    if parser.tokens:
        raise Refused(400, f"Unexpected {parser.tokens[0]!r} in filter")
    return test


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Refused(400, f"Unable to parse filter {text!r} at {at}")
        tokens.append(match[0].strip())
        at = match.end()
    return tokens


class _Parser:
    def __init__(
        self, tokens: list[str], known: Collection[str], unsearchable: Collection[str]
    ) -> None:
        self.tokens = tokens
        self._known = known
        self._unsearchable = unsearchable

    def either(self) -> Test:
        tests = [self._both()]
        while self._found("OR"):
            tests.append(self._both())
        return lambda attributes: any(test(attributes) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._found("AND"):
            tests.append(self._one())
        return lambda attributes: all(test(attributes) for test in tests)

    def _one(self) -> Test:
        if self._found("NOT"):
            test = self._one()
            return lambda attributes: not test(attributes)
        if self._found("("):
            test = self.either()
            self._expect(")")
            return test
        return self._comparison()

    def _comparison(self) -> Test:
        name = self._next()
        base = name.partition(".")[0]
        if base not in self._known:
            raise Refused(400, f"'{name}' is not a known or searchable quantity")
        if name in self._unsearchable:
            raise Refused(501, f"Filtering by {name} has not been implemented")
        if self._found("HAS"):
            how = next((how for how in ("ALL", "ANY", "ONLY") if self._found(how)), "ALL")
            values = [self._value()]
            while self._found(","):
                values.append(self._value())
            return _has(name, how, set(values))
        if self._found("IS"):
            is_known = self._next() == "KNOWN"
            return lambda attributes: (_get(attributes, name) is not None) == is_known
        compare = _COMPARISONS.get(sign := self._next())
        if compare is None:
            raise Refused(400, f"Unexpected {sign!r} in filter")
        value = self._value()
        return lambda attributes: _compared(compare, _get(attributes, name), value)

    def _value(self) -> Any:
        token = self._next()
        return token[1:-1] if token.startswith('"') else float(token)

    def _next(self) -> str:
        if not self.tokens:
            raise Refused(400, "Unexpected end of filter")
        return self.tokens.pop(0)

    def _found(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._found(token):
            raise Refused(400, f"Expected {token!r} in filter")


def _has(name: str, how: str, values: set[Any]) -> Test:
    def test(attributes: Mapping[str, Any]) -> bool:
        found = set(_get(attributes, name) or ())
        if how == "ANY":
            return bool(found & values)
        return found <= values if how == "ONLY" else values <= found

    return test


def _compared(compare: Callable[[Any, Any], bool], found: Any, value: Any) -> bool:
    return found is not None and compare(found, value)


def _get(attributes: Mapping[str, Any], name: str) -> Any:
    value: Any = attributes
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
