"""Documents in memory, encoded field by field, so that a page is joined bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from tests.standins.mp_identifiers import alpha_id, legacy_id, number_of
from tests.standins.mp_parameters import Criteria, Page
from tests.standins.mp_structures import Encoded

_MISSING = object()


class Entry:
    """One document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.encoded = {
            field: bytes(value) if isinstance(value, Encoded) else json.dumps(value).encode()
            for field, value in document.items()
        }
        self.plain = {
            field: value for field, value in document.items() if not isinstance(value, Encoded)
        }
        """All that can be searched: not what came encoded."""

    def whole(self) -> dict[str, Any]:
        return {field: json.loads(value) for field, value in self.encoded.items()}

    def some(self, fields: Iterable[str]) -> bytes:
        """The fields that it has, in its own order; dotted ones as far as they reach."""
        wanted: dict[str, list[str]] = {}
        for field in fields:
            top, _, rest = field.partition(".")
            wanted.setdefault(top, []).append(rest)
        parts = []
        for field, value in self.encoded.items():
            rests = wanted.get(field)
            if rests is None:
                continue
            if "" not in rests:
                value = json.dumps(_cut(json.loads(value), rests)).encode()
            parts.append(b'"%b":%b' % (field.encode(), value))
        return b"{" + b",".join(parts) + b"}"


class Collection:
    """Documents of one kind; never changed, only replaced."""

    def __init__(self, documents: Iterable[Mapping[str, Any]] = ()) -> None:
        self.entries = [Entry(document) for document in documents]

    def documents(self) -> list[dict[str, Any]]:
        return [entry.whole() for entry in self.entries]

    def select(self, criteria: Criteria, sort: tuple[str, bool] | None) -> list[Entry]:
        """The documents that match, in order; in their own where none is asked for."""
        key = repr((criteria, sort))
        if key not in self._selected:
            found = [entry for entry in self.entries if _matches(entry.plain, criteria)]
            if sort is not None:
                path, descending = sort
                found.sort(key=lambda entry: _rank(_at(entry.plain, path)), reverse=descending)
            self._selected[key] = found
        return self._selected[key]

    def page(
        self, criteria: Criteria, page: Page, id_fields: tuple[str, ...], shuffle: int | None = None
    ) -> tuple[bytes, int]:
        """A page as a JSON list, and how many documents match.

        Args:
            criteria: Which documents.
            page: Which of those.
            id_fields: Fields that hold ids.
            shuffle: Seed of an order other than the one that was asked for.
        """
        found = self.select(criteria, page.sort if shuffle is None else None)
        total = len(found)
        if shuffle is not None:
            found = random.Random(shuffle).sample(found, total)
        # MongoDB takes a limit of 0 for none at all.
        found = found[page.skip : page.skip + page.limit if page.limit else None]
        in_order = criteria.get("material_id", {}).get("$in")
        if in_order and page.sort is None and "material_id" in page.fields:
            found = sorted(found, key=lambda entry: in_order.index(entry.plain["material_id"]))
        if page.id_format in ("legacy", "alpha"):
            found = [_with_ids(entry, id_fields, page.id_format) for entry in found]
        return b"[" + b",".join(entry.some(page.fields) for entry in found) + b"]", total

    @cached_property
    def _selected(self) -> dict[str, list[Entry]]:
        return {}


def _matches(document: Mapping[str, Any], criteria: Criteria) -> bool:
    return all(_meets(_at(document, path), condition) for path, condition in criteria.items())


def _meets(value: Any, condition: Any) -> bool:
    """Whether a value is as MongoDB would have it; a list is, where any of its items is."""
    if not isinstance(condition, dict):
        return condition in _items(value)
    for operator, operand in condition.items():
        match operator:
            case "$exists":
                met = (value is not _MISSING) == operand
            case "$gte":
                met = any(_is_number(item) and item >= operand for item in _items(value))
            case "$lte":
                met = any(_is_number(item) and item <= operand for item in _items(value))
            case "$ne":
                met = operand not in _items(value)
            case "$in":
                met = any(item in operand for item in _items(value))
            case "$nin":
                met = not any(item in operand for item in _items(value))
            case "$all":
                met = all(item in _items(value) for item in operand)
            case _:
                raise NotImplementedError(operator)
        if not met:
            return False
    return True


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _at(document: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(document, dict) or step not in document:
            return _MISSING
        document = document[step]
    return document


def _rank(value: Any) -> tuple[int, Any]:
    """MongoDB's order of values: those that are missing come first."""
    if value is _MISSING or value is None:
        return 0, 0
    return (1, value) if _is_number(value) else (2, str(value))


def _cut(value: Any, paths: list[str]) -> Any:
    if isinstance(value, list):
        return [_cut(item, paths) for item in value if isinstance(item, dict | list)]
    kept: dict[str, Any] = {}
    for field, inner in value.items() if isinstance(value, dict) else ():
        rests = [
            path[len(field) :].lstrip(".") for path in paths if f"{path}.".startswith(f"{field}.")
        ]
        if rests:
            kept[field] = inner if "" in rests else _cut(inner, rests)
    return kept


def _with_ids(entry: Entry, fields: tuple[str, ...], id_format: str) -> Entry:
    changed = Entry({})
    changed.plain, changed.encoded = entry.plain, dict(entry.encoded)
    for field in fields:
        value = entry.plain.get(field)
        if value:
            ids = [_formatted(one, field, id_format) for one in _items(value)]
            changed.encoded[field] = json.dumps(ids if isinstance(value, list) else ids[0]).encode()
    return changed


def _formatted(identifier: str, field: str, id_format: str) -> str:
    """An id as asked for; those of tasks have either digits or no prefix."""
    if field != "task_ids":
        return legacy_id(identifier) if id_format == "legacy" else alpha_id(identifier)
    if id_format == "alpha":
        return alpha_id(identifier).removeprefix("mp-")
    return f"mp-{number_of(identifier)}"
