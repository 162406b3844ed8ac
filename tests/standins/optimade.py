"""An OPTIMADE server on loopback, with the differences that servers of that protocol have.

It goes wrong as it is told (``faults``), and differs from the reference as its arguments say.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from math import gcd
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from pathways.elements import SYMBOLS
from pathways.types import Crystal
from tests.standins.faults import Answer
from tests.standins.loopback import LoopbackServer
from tests.standins.optimade_filter import Refused, parse

Entry = dict[str, Any]

_STANDARD = frozenset(
    [
        "id",
        "type",
        "immutable_id",
        "last_modified",
        "elements",
        "nelements",
        "chemical_formula_reduced",
        "nsites",
        "dimension_types",
        "nperiodic_dimensions",
        "lattice_vectors",
        "cartesian_site_positions",
        "species",
        "species_at_sites",
        "structure_features",
    ]
)


def structure_entry(identifier: Any, crystal: Crystal, **changes: Any) -> Entry:
    """An entry as a server would give it, species in an order other than that of the sites.

    Args:
        identifier: Its id.
        crystal: What it is of.
        changes: Attributes of other values, or more of them.
    """
    symbols = [SYMBOLS[number] for number in crystal.numbers]
    counts = Counter(symbols)
    unit = gcd(*counts.values())
    formula = [f"{one}{counts[one] // unit}".removesuffix("1") for one in sorted(counts)]
    first_seen = list(dict.fromkeys(symbols))
    attributes = {
        "immutable_id": f"immutable-{identifier}",
        "last_modified": "2026-02-03T04:05:06Z",
        "elements": sorted(counts),
        "nelements": len(counts),
        "chemical_formula_reduced": "".join(formula),
        "nsites": len(symbols),
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "lattice_vectors": crystal.lattice.tolist(),
        "cartesian_site_positions": (crystal.frac @ crystal.lattice).tolist(),
        "species": [species(one) for one in reversed(first_seen)],
        "species_at_sites": symbols,
        "structure_features": [],
    }
    return {"id": identifier, "type": "structures", "attributes": attributes | changes}


def species(name: str, **shares: float) -> dict[str, Any]:
    """A species: the element of its name, unless it is said what shares of what it has."""
    shares = shares or {name: 1.0}
    return {
        "name": name,
        "chemical_symbols": list(shares),
        "concentration": list(shares.values()),
    }


class OptimadeServer(LoopbackServer):
    """The server.

    Args:
        entries: As ``structure_entry`` makes them.
        path: Between host and version, such as ``/db``.
        page_size: Of clients that ask for none.
        max_page_size: Larger ones are refused.
        own: Attributes that filters know besides the standard's.
        unsearchable: Attributes that no filter may name.
        unknown_fields: Whether fields that the server does not have are refused, or left out.
        count: What ``data_returned`` counts.
        link: How the next page is named: a text, an object, or an address without a host.
        link_base: Scheme, host and path in links, where they are other than what clients see.
    """

    def __init__(
        self,
        entries: Iterable[Entry] = (),
        *,
        path: str = "",
        page_size: int = 3,
        max_page_size: int = 500,
        own: Collection[str] = (),
        unsearchable: Collection[str] = (),
        unknown_fields: Literal["refuse", "ignore"] = "ignore",
        count: Literal["all", "page", "none"] = "all",
        link: Literal["text", "object", "relative"] = "text",
        link_base: str | None = None,
    ) -> None:
        self.entries = list(entries)
        self._path = path
        self._page_size = page_size
        self._max_page_size = max_page_size
        self._own = frozenset(own)
        self._unsearchable = unsearchable
        self._unknown_fields = unknown_fields
        self._count = count
        self._link = link
        self._link_base = link_base
        super().__init__()

    @property
    def base_url(self) -> str:
        """Without version."""
        return f"{self.url.rstrip('/')}{self._path}"

    def answer(self, target: str, headers: Mapping[str, str], shuffle: int | None = None) -> Answer:
        url = urlsplit(target)
        if url.path != f"{self._path}/v1/structures":
            return _error(Refused(404, "The requested URL was not found"))
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            return self._structures(query, shuffle)
        except Refused as refused:
            return _error(refused)

    def _structures(self, query: dict[str, str], shuffle: int | None) -> Answer:
        size = int(query.get("page_limit", self._page_size))
        if size > self._max_page_size:
            detail = f"Max allowed page_limit is {self._max_page_size}, you requested {size}"
            raise Refused(403, detail)
        found = self._found(query.get("filter"))
        if shuffle is not None:
            random.Random(shuffle).shuffle(found)
        start = int(query.get("page_offset", 0))
        page = found[start : start + size]
        content = {
            "data": [self._shown(one, query.get("response_fields")) for one in page],
            "links": {
                "next": self._next(query, start + size) if start + size < len(found) else None
            },
            "meta": self._meta(len(found), len(page), start + size < len(found)),
        }
        body = json.dumps(content).encode()
        return Answer(200, body, {"Content-Type": "application/vnd.api+json"})

    def _found(self, text: str | None) -> list[Entry]:
        if not text:
            return list(self.entries)
        test = parse(text, _STANDARD | self._own, self._unsearchable)
        return [one for one in self.entries if test(_attributes(one))]

    def _shown(self, entry: Entry, wanted: str | None) -> Entry:
        if wanted is None or not isinstance(entry.get("attributes"), dict):
            return entry
        names = wanted.split(",")
        unknown = {name for name in names if name not in _STANDARD | self._own}
        if unknown and self._unknown_fields == "refuse":
            detail = f"Unrecognised OPTIMADE field(s) in requested `response_fields`: {unknown}."
            raise Refused(400, detail)
        kept = {name: entry["attributes"][name] for name in names if name in entry["attributes"]}
        return {**entry, "attributes": kept}

    def _next(self, query: dict[str, str], start: int) -> Any:
        asked = urlencode({**query, "page_offset": start})
        if self._link == "relative":
            return f"?{asked}"
        base = self._link_base or f"{self.base_url}/v1/structures"
        return {"href": f"{base}?{asked}"} if self._link == "object" else f"{base}?{asked}"

    def _meta(self, n_found: int, n_shown: int, has_more: bool) -> dict[str, Any]:
        meta = {
            "api_version": "1.2.0",
            "data_available": len(self.entries),
            "more_data_available": has_more,
            "implementation": {"name": "stand-in", "version": "1.0"},
            "provider": {"name": "Stand-in", "prefix": "standin"},
        }
        if self._count != "none":
            meta["data_returned"] = n_found if self._count == "all" else n_shown
        return meta


def _attributes(entry: Entry) -> dict[str, Any]:
    attributes = entry.get("attributes")
    return {"id": entry.get("id"), **(attributes if isinstance(attributes, dict) else {})}


def _error(refused: Refused) -> Answer:
    error = {"status": str(refused.status), "title": "Error", "detail": refused.detail}
    body = json.dumps({"errors": [error], "meta": {"api_version": "1.2.0"}}).encode()
    return Answer(refused.status, body, {"Content-Type": "application/vnd.api+json"})
