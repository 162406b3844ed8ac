"""One filter to one OPTIMADE server, page by page, in words that the server understands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from screen.sources.feeds import Page
from screen.sources.http import LONG, SHORT, Notice, Patience, PatientSession, ServerError
from screen.sources.optimade_pages import entry_id
from screen.sources.optimade_providers import Provider
from screen.sources.optimade_query import Filter

FIELDS = (
    "lattice_vectors",
    "cartesian_site_positions",
    "species",
    "species_at_sites",
    "structure_features",
    "dimension_types",
    "nperiodic_dimensions",
    "elements",
    "last_modified",
    "immutable_id",
)
_PAGE_SIZE = 100
_MAX_DETAIL = 200
_REFUSALS = frozenset({400, 403, 414, 422, 501})
"""Of a request that the server may answer in other words."""
_ONCE = Patience(tries=1, read_timeout_s=20.0)
"""For counts, which nobody should have to wait for."""
_FACTS = ("api_version", "implementation", "provider", "data_available")
_PARTS = {
    "page_size": "the size of the pages",
    "fields": "fields of its own",
    "own_filter": "filters by fields of its own",
    "filter": "the whole filter",
}
_CONSEQUENCES = {
    "page_size": f"in pages of its own size instead of {_PAGE_SIZE}",
    "fields": "energies above the hull and band gaps are not known",
    "own_filter": "they are applied here",
    "filter": "by elements alone, the rest is applied here",
}


class StructureFeed:
    """The structures of one filter.

    A server that refuses something of the request, such as a property that it does not implement,
    is asked again without it, and the user is told.

    Args:
        provider: Whom to ask.
        wanted: What.
        notice: Is told of waits, and of what the server refuses.
    """

    source = "optimade"

    def __init__(self, provider: Provider, wanted: Filter, notice: Notice) -> None:
        self._provider = provider
        self._wanted = wanted
        self._notice = notice
        self._session = PatientSession(provider.title, SHORT, notice)
        self._session.headers["Accept"] = "application/vnd.api+json, application/json"
        self._left_out: list[str] = []
        self._came_from: dict[str, str | None] = {}

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self._wanted.name} of {self._provider.title}"

    def identity(self) -> dict[str, Any]:
        """All that decides the answer."""
        return {
            "base_url": self._provider.base_url,
            "filter": self._wanted.text(),
            "fields": [*FIELDS, *self._provider.fields],
            "page_size": _PAGE_SIZE,
        }

    def version(self) -> str:
        """Empty: the protocol has no version of a database's content."""
        return ""

    def fetch(self, cursor: str | None) -> Page:
        """The page at an address; with the first, what the server's filters leave out."""
        facts: dict[str, Any] = {}
        if cursor is None:
            self._session.patience = SHORT
            self._came_from.clear()
            response, payload = self._negotiated(_PAGE_SIZE)
            facts = {"left_out": list(self._left_out), "refused": self._refused(payload)}
        else:
            self._session.patience = LONG
            response = self._session.get(cursor)
            if not response.ok:
                raise self._refusal(response)
            payload = self._payload(response)
        entries = payload["data"]
        facts |= {name: payload["meta"][name] for name in _FACTS if name in payload["meta"]}
        following = self._next(payload, response.url) if entries else None
        if following is not None and self._came_from.setdefault(following, cursor) != cursor:
            raise ServerError(
                f"{self._provider.title}: its pages go round in a circle; another --source may "
                "have the crystals"
            )
        return Page(
            content=response.content,
            ids=tuple(entry_id(entry) for entry in entries),
            next=following,
            total=_total(payload, is_first=cursor is None, is_last=following is None),
            facts=facts,
        )

    def ids(self, content: bytes) -> tuple[str, ...]:
        """Of a page as received."""
        return tuple(entry_id(entry) for entry in json.loads(content)["data"] or [])

    def total(self) -> int | None:
        """How many structures the server has for this feed, None where it does not say."""
        return _count(self._negotiated(page_size=1)[1])

    def _negotiated(self, page_size: int) -> tuple[requests.Response, dict[str, Any]]:
        """The first page, asked for without what the server refuses."""
        while True:
            parameters = self._parameters(page_size)
            response = self._session.get(self._provider.structures_url, params=parameters)
            if response.ok:
                return response, self._payload(response)
            part = self._to_leave_out(response)
            if part is None:
                raise self._refusal(response)
            self._left_out.append(part)
            detail = _detail(response)
            self._notice(
                f"{self._provider.title} refuses {_PARTS[part]} ({detail}); asked without, "
                f"{_CONSEQUENCES[part]}"
            )

    def _parameters(self, page_size: int) -> dict[str, str]:
        gone = self._left_out
        own = [] if "fields" in gone else self._provider.fields
        wanted = self._wanted
        text = wanted.elements if "filter" in gone else wanted.text(own="own_filter" not in gone)
        parameters = {"filter": text, "response_fields": ",".join([*FIELDS, *own])}
        if "page_size" not in gone or page_size == 1:
            parameters["page_limit"] = str(page_size)
        return parameters

    def _to_leave_out(self, response: requests.Response) -> str | None:
        """What the server means, as far as its message says so, else what is the most special."""
        is_page = "html" in response.headers.get("Content-Type", "")
        if response.status_code not in _REFUSALS or is_page:
            return None
        detail = _detail(response)
        has_own = any(one.is_own for one in self._wanted.conditions)
        candidates = {
            "page_size": "page_limit" in detail or response.status_code == 403,
            "fields": bool(self._provider.fields) and "response_fields" in detail,
            "own_filter": has_own,
            "filter": True,
        }
        order = [part for part, is_meant in candidates.items() if is_meant]
        order += ["page_size", *(["fields"] if self._provider.fields else [])]
        return next((part for part in order if part not in self._left_out), None)

    def _refused(self, payload: Mapping[str, Any]) -> dict[str, int]:
        """How many structures each condition leaves out, by reason, where the server counts."""
        if "filter" in self._left_out or "own_filter" in self._left_out:
            return {}
        conditions = self._wanted.conditions
        self._session.patience = _ONCE
        try:
            counts = [self._count_with(n) for n in range(len(conditions))]
        except ServerError:  # it is good to know, but no run ends for want of it
            return {}
        counts.append(_count(payload))
        refused = {}
        for condition, before, after in zip(conditions, counts, counts[1:], strict=False):
            if before is None or after is None:
                return {}
            refused[condition.reason] = before - after
        return {reason: n for reason, n in refused.items() if n > 0}

    def _count_with(self, n_conditions: int) -> int | None:
        """Structures that meet the first conditions."""
        wanted = {"filter": self._wanted.text(n_conditions), "response_fields": "elements"}
        parameters = {**wanted, "page_limit": "1"}
        response = self._session.get(self._provider.structures_url, params=parameters)
        return _count(self._payload(response)) if response.ok else None

    def _payload(self, response: requests.Response) -> dict[str, Any]:
        """The decoded answer, whose data is a list and whose meta is a mapping."""
        try:
            payload = response.json()
            data, meta = payload["data"] or [], payload.get("meta") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._stranger(response) from None
        if not isinstance(data, list) or not isinstance(meta, Mapping):
            raise self._stranger(response)
        return {**payload, "data": data, "meta": meta}

    def _next(self, payload: Mapping[str, Any], url: str) -> str | None:
        """The next page's address, on the host that was asked: behind a proxy servers name others.

        As in JSON:API, the link is a text or an object with ``href``.
        """
        links = payload.get("links")
        link = links.get("next") if isinstance(links, Mapping) else None
        if isinstance(link, Mapping):
            link = link.get("href")
        if not isinstance(link, str) or not link:
            return None
        found = urlsplit(urljoin(url, link))
        here = urlsplit(self._provider.structures_url)
        # What a proxy puts before the path is in the base URL only.
        path = here.path if found.path.rstrip("/").endswith("/structures") else found.path
        return found._replace(scheme=here.scheme, netloc=here.netloc, path=path).geturl()

    def _refusal(self, response: requests.Response) -> ServerError:
        status = response.status_code
        if status == 404 or not _errors(response):
            return self._stranger(response)
        return ServerError(
            f"{self._provider.title} answers {status}: {_detail(response)}; --refresh asks for "
            "all pages again, another --source may have the crystals",
            status,
        )

    def _stranger(self, response: requests.Response) -> ServerError:
        kind = response.headers.get("Content-Type", "").partition(";")[0] or "no type"
        return ServerError(
            f"{self._provider.structures_url} answers {response.status_code} with {kind} that is "
            "no OPTIMADE; expected the base URL of a database, such as https://oqmd.org/optimade",
            response.status_code,
        )


def _total(payload: Mapping[str, Any], is_first: bool, is_last: bool) -> int | None:
    """Structures on all pages; OQMD among others counts those of the page alone."""
    total = payload["meta"].get("data_returned")
    if not isinstance(total, int):
        return None
    is_whole = is_first and is_last
    return total if is_whole or total > len(payload["data"]) else None


def _count(payload: Mapping[str, Any]) -> int | None:
    """As ``_total``, of a first page."""
    links = payload.get("links")
    has_next = isinstance(links, Mapping) and bool(links.get("next"))
    return _total(payload, is_first=True, is_last=not has_next)


def _errors(response: requests.Response) -> list[Any]:
    try:
        errors = response.json()["errors"]
    except (ValueError, KeyError, TypeError):
        return []
    return errors if isinstance(errors, list) else []


def _detail(response: requests.Response) -> str:
    """The server's own words, shortened; its status where it has none."""
    for error in _errors(response):
        text = error.get("detail") or error.get("title") if isinstance(error, Mapping) else None
        if text:
            line = " ".join(str(text).split())
            return line if len(line) <= _MAX_DETAIL else line[: _MAX_DETAIL - 1] + "…"
    return f"status {response.status_code}"
