"""The Materials Project's own client, ``mp-api``, with the patience and the bounds it lacks.

Asked page by page, sorted, gzipped and as plain documents, always with a filter: without one the
client leaves the server for a download of the whole database.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from requests import Response

from screen.errors import FAILED, UserError
from screen.sources.http import LONG, SHORT, Notice, PatientSession, ServerError

DEFAULT_ENDPOINT = "https://api.materialsproject.org/"
KEYS_URL = "https://next-gen.materialsproject.org/api"
KEY_LENGTH = 32

Route = Literal["summary", "electrodes"]

_TOTAL = re.compile(rb'"total_doc"\s*:\s*(\d+)')


def find_key() -> str | None:
    """The user's key: ``MP_API_KEY``, else pymatgen's setting ``PMG_MAPI_KEY``."""
    key = os.environ.get("MP_API_KEY")
    if not key:
        from pymatgen.core import SETTINGS

        key = SETTINGS.get("PMG_MAPI_KEY")
    return str(key) if key else None


def find_endpoint(given: str | None = None) -> str:
    """Where the server is: as given, else ``MP_API_ENDPOINT``, else the Materials Project's own.

    Raises:
        UserError: It is no web address.
    """
    endpoint = given or os.environ.get("MP_API_ENDPOINT") or DEFAULT_ENDPOINT
    if not endpoint.startswith(("http://", "https://")):
        raise UserError(
            f"--mp-endpoint is {endpoint!r}; expected an address such as {DEFAULT_ENDPOINT}"
        )
    return endpoint.rstrip("/") + "/"


@dataclass(frozen=True)
class Answer:
    """One page."""

    content: bytes
    """As received, JSON."""
    documents: list[dict[str, Any]]
    total: int
    """Documents that match, on all pages."""


class Client:
    """One connection to one server.

    Args:
        endpoint: As ``find_endpoint`` returns it.
        notice: Is told of every wait.
    """

    def __init__(self, endpoint: str, notice: Notice) -> None:
        self.endpoint = endpoint
        self._session = PatientSession("the Materials Project's server", SHORT, notice, _check)
        self._heartbeat: dict[str, Any] = {}

    def version(self) -> str:
        """The database's version now.

        Raises:
            ServerError: There is no answer, or none of such a server.
        """
        url = f"{self.endpoint}heartbeat"
        # Open to all, hence without the key: whoever answers here may be somebody else.
        keyless: Any = {"x-api-key": None}
        response = self._session.get(url, headers=keyless)
        try:
            heartbeat = response.json()
            if response.ok and heartbeat.get("db_version"):
                self._heartbeat = dict(heartbeat)
                return str(heartbeat["db_version"])
            found = str(heartbeat.get("error") or f"answers {response.status_code}")
        except (ValueError, KeyError, TypeError, AttributeError):
            found = f"answers {response.status_code} without a database version"
        raise ServerError(
            f"{url}: {found}; expected a server of the Materials Project, see --mp-endpoint",
            response.status_code,
        )

    def facts(self) -> dict[str, Any]:
        """Versions of server and clients, for the manifest of what was pulled."""
        from importlib import metadata

        names = ("mp-api", "emmet-core", "pymatgen-core")
        return {
            "emmet_version": self._heartbeat.get("version"),
            "client_versions": {name: metadata.version(name) for name in names},
        }

    def search(
        self, route: Route, page: int, page_size: int, fields: list[str], **criteria: Any
    ) -> Answer:
        """One page of a search, ordered by id.

        Args:
            route: Kind of document.
            page: From 1.
            page_size: At most 1,000.
            fields: Of the documents.
            criteria: Arguments of the rester's own ``search``.

        Raises:
            UserError: The key is missing, malformed or refused.
            ServerError: No answer, after all patience.
        """
        from mp_api.client.core.exceptions import MPRestError

        rester = self._resters[route]
        # Somebody may be waiting for the first page; nobody for the last.
        self._session.patience = SHORT if page == 1 else LONG
        try:
            documents = rester.search(
                **criteria,
                fields=fields,
                chunk_size=page_size,
                _page=page,
                _sort_fields="material_id" if route == "summary" else "battery_id",
            )
        except MPRestError as error:
            raise self._refused(error) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServerError(
                f"{self.endpoint}: an answer that the client cannot read ({error}); "
                "expected a server of the Materials Project, see --mp-endpoint"
            ) from None
        response = self._session.last
        assert response is not None
        found = _TOTAL.search(response.content)
        return Answer(response.content, documents, int(found[1]) if found else len(documents))

    def count(self, **criteria: Any) -> int:
        """How many materials match."""
        return self.search("summary", 1, 1, ["material_id"], **criteria).total

    def _refused(self, error: Exception) -> UserError:
        status = self._session.last.status_code if self._session.last is not None else None
        if status in (401, 403):
            return ServerError(
                f"the Materials Project refuses the key in MP_API_KEY ({status}); "
                f"copy yours from {KEYS_URL}",
                status,
            )
        text = " ".join(str(error).replace(self._key, "…").split())
        return ServerError(f"the Materials Project's server: {text[:300]}", status)

    @cached_property
    def _key(self) -> str:
        return checked_key()

    @cached_property
    def _resters(self) -> Mapping[Route, Any]:
        """The client's objects; making one asks the server for its version, without patience."""
        key = self._key
        if not self._heartbeat:
            self.version()
        from mp_api.client.routes.materials.electrodes import ElectrodeRester
        from mp_api.client.routes.materials.summary import SummaryRester

        self._session.headers.update({"x-api-key": key, "Accept-Encoding": "gzip"})
        common: dict[str, Any] = {
            "api_key": key,
            "endpoint": self.endpoint,
            "session": self._session,
            "headers": {"Accept-Encoding": "gzip"},
            "use_document_model": False,
            "mute_progress_bars": True,
        }
        return {
            "summary": _quick(SummaryRester)(**common),
            "electrodes": _quick(ElectrodeRester)(**common),
        }


def _check(response: Response) -> str:
    """What is wrong with an answer: hotels and gateways send web pages in place of data."""
    is_data = "/materials/" in str(response.url)
    return "sends something else than data" if is_data and b'"meta"' not in response.content else ""


def _quick(rester: Any) -> Any:
    """A rester that makes its list of fields once: a search looks it up for each of its fields.

    The client forgets the id of electrodes in its list, though the server has it.
    """

    def available_fields(self: Any) -> list[str]:
        return [*rester.available_fields.fget(self), rester.primary_key]

    return type(rester.__name__, (rester,), {"available_fields": cached_property(available_fields)})


def checked_key() -> str:
    """The user's key.

    Raises:
        UserError: There is none, or none of the right length; says how to get one.
    """
    key = find_key()
    if key is None:
        raise UserError(
            f"MP_API_KEY is not set; get your key at {KEYS_URL} and export MP_API_KEY=…, "
            "or pass --source catalog"
        )
    if len(key) != KEY_LENGTH:
        raise UserError(
            f"the key in MP_API_KEY has {len(key)} characters, expected {KEY_LENGTH}; "
            f"copy it anew from {KEYS_URL}",
            FAILED,
        )
    return key
