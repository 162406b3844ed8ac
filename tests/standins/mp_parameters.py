"""Query parameters of the Materials Project's server, and the criteria that they stand for.

Criteria are as MongoDB's: a dict of path and condition, where a later parameter replaces what an
earlier one says of the same path, as it does on the real server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pathways.elements import SYMBOLS
from tests.standins.mp_identifiers import alpha_id

Criteria = dict[str, Any]

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
_ELEMENTS = frozenset(SYMBOLS[1:]) | {"D", "T"}


class Refused(Exception):  # noqa: N818
    """A request that is answered with an error; ``detail`` None: as an error of the server."""

    def __init__(self, status: int, detail: Any = None) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class Parameters:
    """The parameters of one request, asked for by name.

    Args:
        query: What follows the question mark.
    """

    def __init__(self, query: str) -> None:
        self.given = dict(parse_qsl(query, keep_blank_values=True))
        self._errors: list[dict[str, Any]] = []
        self._asked: set[str] = set()

    def text(self, name: str, max_length: int | None = None) -> str | None:
        value = self._get(name)
        if value is not None and max_length is not None and len(value) > max_length:
            self._wrong(name, "string_too_long", f"at most {max_length} characters")
            return None
        return value

    def texts(self, name: str, max_length: int | None = None) -> list[str]:
        value = self.text(name, max_length)
        return [one.strip() for one in value.split(",")] if value else []

    def number(self, name: str, kind: Callable[[str], float] = float) -> float | None:
        value = self._get(name)
        if value is None:
            return None
        try:
            number = float(value)
            if kind is int and number != int(number):
                raise ValueError
            return kind(number)  # type: ignore[arg-type]
        except (ValueError, OverflowError):
            self._wrong(name, f"{kind.__name__}_parsing", f"a valid {kind.__name__}")
            return None

    def integer(self, name: str, default: int) -> int:
        value = self.number(name, int)
        return default if value is None else int(value)

    def flag(self, name: str, default: bool | None = None) -> bool | None:
        value = self._get(name)
        if value is None:
            return default
        if value.lower() not in _TRUE | _FALSE:
            self._wrong(name, "bool_parsing", "a valid boolean")
        return value.lower() in _TRUE

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str | None:
        value = self._get(name)
        if value is not None and value not in allowed:
            self._wrong(name, "enum", " or ".join(map(repr, allowed)))
        return value

    def beyond(self, *names: str) -> None:
        """Parameters that the real server knows and this one does not."""
        for name in names:
            if self._get(name) is not None:
                raise Refused(501, f"the stand-in does not know {name}, which the server does")

    def check(self) -> None:
        """Raise ``Refused`` for values that are malformed, and parameters that were not asked."""
        if self._errors:
            raise Refused(422, self._errors)
        unknown = [name for name in self.given if name not in self._asked]
        if {"limit", "skip"} & set(unknown):
            raise Refused(400, "'limit' and 'skip' parameters have been renamed.")
        if unknown:
            names = ", ".join(unknown)
            raise Refused(400, f"Request contains query parameters which cannot be used: {names}")

    def _get(self, name: str) -> str | None:
        self._asked.add(name)
        return self.given.get(name)

    def _wrong(self, name: str, kind: str, expected: str) -> None:
        self._errors.append(
            {
                "type": kind,
                "loc": ["query", name],
                "msg": f"Input should be {expected}",
                "input": self.given[name],
            }
        )


@dataclass(frozen=True)
class Page:
    """Which documents of those that match, and what of them."""

    skip: int
    limit: int
    sort: tuple[str, bool] | None
    """Field, and whether the greatest comes first."""
    fields: tuple[str, ...]
    id_format: str | None


def page_of(
    parameters: Parameters,
    model_fields: tuple[str, ...],
    default_fields: tuple[str, ...],
    sort_fields: frozenset[str],
) -> Page:
    """The page that is asked for; raises ``Refused``."""
    page = parameters.number("_page", int)
    per_page = parameters.integer("_per_page", DEFAULT_LIMIT)
    skip, limit = parameters.integer("_skip", 0), parameters.integer("_limit", DEFAULT_LIMIT)
    if page is not None:
        _check_size(int(page), per_page, "_page or _per_page")
        skip, limit = max(0, int(page) - 1) * per_page, per_page
    else:
        _check_size(skip, limit, "_skip or _limit")
    fields = parameters.text("_fields")
    wanted = default_fields if fields is None else tuple(fields.split(","))
    if parameters.flag("_all_fields", False):
        wanted = model_fields
    sort = None
    if sort_field := parameters.text("_sort_fields"):
        if "," in sort_field:
            raise Refused(400, "Please provide at most 1 field(s) to sort with")
        if sort_field.removeprefix("-") in sort_fields:
            sort = sort_field.removeprefix("-"), sort_field.startswith("-")
    return Page(skip, limit, sort, wanted, parameters.text("id_format"))


def numbers(parameters: Parameters, kinds: Mapping[str, type]) -> Criteria:
    """``_min`` and ``_max`` of every numeric field; integers can also be asked for as such."""
    criteria: Criteria = {}
    for field, kind in kinds.items():
        condition: Criteria = {}
        for suffix, operator in (("_max", "$lte"), ("_min", "$gte")):
            bound = parameters.number(field + suffix, kind)
            if bound is not None:
                condition[operator] = bound
        exact = parameters.number(field, kind) if kind is int else None
        if kind is int:
            condition |= _integer_lists(parameters, field)
        if exact is not None and condition:
            raise Refused(500)
        if exact is not None or condition:
            criteria[field] = condition if exact is None else exact
    return criteria


def ranges(parameters: Parameters, paths: Mapping[str, str]) -> Criteria:
    """``_min`` and ``_max`` of parameters that are called other than their path."""
    found = numbers(parameters, dict.fromkeys(paths, float))
    return {paths[name]: condition for name, condition in found.items()}


def elements(parameters: Parameters, name: str, max_length: int | None = None) -> list[str]:
    """Element symbols; raises ``Refused``."""
    value = parameters.text(name, max_length)
    symbols = value.strip().split(",") if value else []
    if not _ELEMENTS.issuperset(symbols):
        raise Refused(400, "Please provide a comma-seperated list of elements")
    return symbols


def systems(parameters: Parameters) -> list[str]:
    """Chemical systems, elements in order; a single one where it has wildcards."""
    given = parameters.texts("chemsys")
    if len(given) > 1 and any("*" in one for one in given):
        raise Refused(400, "Wild cards only supported for single chemsys queries.")
    return given if "*" in "".join(given) else ["-".join(sorted(one.split("-"))) for one in given]


def one_or_any(path: str, values: list[Any]) -> Criteria:
    """One of these values; no condition where there is none."""
    if not values:
        return {}
    return {path: values[0] if len(values) == 1 else {"$in": values}}


def identifiers(given: list[str]) -> list[str]:
    """Ids as they are stored; the server breaks down at what is none."""
    try:
        return [alpha_id(one) for one in given]
    except ValueError:
        raise Refused(500) from None


def _integer_lists(parameters: Parameters, field: str) -> Criteria:
    condition: Criteria = {}
    unequal = parameters.number(f"{field}_not_eq", int)
    if unequal is not None:
        condition["$ne"] = unequal
    for suffix, operator in (("_eq_any", "$in"), ("_neq_any", "$nin")):
        given = parameters.texts(field + suffix)
        try:
            if given:
                condition[operator] = [int(one) for one in given]
        except ValueError:
            raise Refused(500) from None
    return condition


def _check_size(start: int, size: int, names: str) -> None:
    if size > MAX_LIMIT:
        raise Refused(
            400,
            "Requested more data per query than allowed by this endpoint. "
            f"The max limit is {MAX_LIMIT} entries",
        )
    if start < 0 or size < 0:
        raise Refused(400, f"Cannot request negative {names} values")
