"""A server of the Materials Project on loopback, for tests that nobody has to be online for.

It speaks as the real one does (``mp_routes``), as far as ``mp-api`` and this project ask it, and
goes wrong as it is told (``faults``)::

    with MaterialsProject([summary_document("mp-1265", crystal)]) as server:
        server.faults.extend([too_many("1"), None, Truncated()])

As a process of its own, with many documents::

    python -m tests.standins.materials_project --snapshot FILE --elements Mg --port 8765
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.standins.documents import Document, from_snapshot
from tests.standins.faults import Answer, Fault
from tests.standins.loopback import LoopbackServer, Request
from tests.standins.mp_collection import Collection
from tests.standins.mp_parameters import MAX_LIMIT, Parameters, Refused, page_of
from tests.standins.mp_routes import ELECTRODES, SUMMARY, Route

KEY = "stand-in".ljust(32, "0")
"""Of an account that gets what is free for every use."""
NONCOMMERCIAL_KEY = "stand-in".ljust(32, "1")
"""Of an account that has accepted the terms for non-commercial data."""
API_VERSION = "0.87.3"
_PATHS: dict[str, Route] = {
    "/materials/summary/": SUMMARY,
    "/materials/insertion_electrodes/": ELECTRODES,
}
_TRANSPORT = {"Content-Type": "application/json"}


class MaterialsProject(LoopbackServer):
    """The server; ``faults`` are those of requests for data.

    Args:
        documents: Of materials, as ``summary_document`` makes them.
        electrodes: As ``electrode_document`` makes them.
        keys: Those that are let in.
        noncommercial_keys: Those that also get documents of the licence BY-NC.
        version: Of the database.
        port: 0: a free one.
    """

    def __init__(
        self,
        documents: Iterable[Mapping[str, Any]] = (),
        electrodes: Iterable[Mapping[str, Any]] = (),
        *,
        keys: Iterable[str] = (KEY,),
        noncommercial_keys: Iterable[str] = (NONCOMMERCIAL_KEY,),
        version: str = "2026.2.1",
        port: int = 0,
    ) -> None:
        self.collections = {SUMMARY: Collection(documents), ELECTRODES: Collection(electrodes)}
        self.noncommercial_keys = frozenset(noncommercial_keys)
        self.keys = (*keys, *self.noncommercial_keys)
        self.version = version
        self.heartbeat_faults: deque[Fault | None] = deque()
        super().__init__(port)

    @property
    def environment(self) -> dict[str, str]:
        """By which programs find the server and are let in."""
        return {"MP_API_KEY": self.keys[0], "MP_API_ENDPOINT": self.url}

    @property
    def data_requests(self) -> list[Request]:
        """The requests but for heartbeats."""
        return [request for request in self.requests if request.path != "/heartbeat"]

    def documents(self) -> list[Document]:
        """Of the materials, decoded."""
        return self.collections[SUMMARY].documents()

    def set_documents(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Replace the documents of materials, all at once."""
        self.collections[SUMMARY] = Collection(documents)

    def set_electrodes(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Replace the documents of electrodes, all at once."""
        self.collections[ELECTRODES] = Collection(documents)

    def set_version(self, version: str) -> None:
        """Make it another release of the database."""
        self.version = version

    def faults_of(self, path: str) -> deque[Fault | None]:
        return self.heartbeat_faults if path == "/heartbeat" else self.faults

    def answer(self, target: str, headers: Mapping[str, str], shuffle: int | None = None) -> Answer:
        """What the real server and the gateway before it would answer to a GET."""
        url = urlsplit(target)
        if url.path == "/heartbeat":
            return self._heartbeat()
        if f"{url.path}/" in _PATHS:
            slashed = f"{self.url.rstrip('/')}{url.path}/" + f"?{url.query}" * bool(url.query)
            return Answer(307, b"", {"Location": slashed})
        if url.path not in _PATHS:
            return _error(404, {"message": "no Route matched with those values"})
        key = headers.get("x-api-key")
        if key not in self.keys:
            found = "Unauthorized" if key else "No API key found in request"
            return _error(401, {"message": found}, {"WWW-Authenticate": "Key"})
        try:
            return self._search(
                _PATHS[url.path], url.query, key in self.noncommercial_keys, shuffle
            )
        except Refused as refused:
            if refused.status == 500:
                return Answer(500, b"Internal Server Error", {"Content-Type": "text/plain"})
            return _error(refused.status, {"detail": refused.detail})

    def _heartbeat(self) -> Answer:
        content = {
            "status": "OK",
            "time": _now(),
            "version": API_VERSION,
            "pymatgen": "2026.10.16",
            "db_version": self.version,
            "suffix": None,
            "access_controlled_batch_ids": ["gnome_r2scan_statics"],
        }
        return Answer(200, json.dumps(content).encode(), _TRANSPORT)

    def _search(self, route: Route, query: str, noncommercial: bool, shuffle: int | None) -> Answer:
        parameters = Parameters(query)
        criteria = route.criteria(parameters)
        page = page_of(parameters, route.model_fields, route.default_fields, route.sort_fields)
        parameters.check()
        if route is SUMMARY:
            licences = ["BY-C", "BY-NC"] if noncommercial else ["BY-C"]
            criteria["builder_meta.license"] = {"$in": licences}
        data, total = self.collections[route].page(criteria, page, route.id_fields, shuffle)
        meta = {
            "api_version": API_VERSION,
            "time_stamp": _now(),
            "total_doc": total,
            "facet": None,
            "max_limit": MAX_LIMIT,
            "default_fields": route.default_fields,
        }
        return Answer(200, b'{"data":%b,"meta":%b}' % (data, json.dumps(meta).encode()), _TRANSPORT)


def _error(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(content).encode(), {**_TRANSPORT, **(headers or {})})


def _now() -> str:
    return datetime.now(UTC).isoformat()


def main() -> None:
    """Serve a snapshot until interrupted."""
    parser = argparse.ArgumentParser(description="A stand-in of the Materials Project's server.")
    parser.add_argument("--snapshot", type=Path, required=True, help="Parquet file")
    parser.add_argument("--elements", default="Mg", help="such as Mg,O")
    parser.add_argument("--limit", type=int, help="most documents")
    parser.add_argument("--field", action="append", default=[], help="such as band_gap=1.5")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--version", default="2026.2.1", help="of the database")
    given = parser.parse_args()
    fields = {
        name: json.loads(value) for name, _, value in (one.partition("=") for one in given.field)
    }
    documents = from_snapshot(given.snapshot, given.elements.split(","), given.limit, **fields)
    options = {"keys": [given.key], "version": given.version, "port": given.port}
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with MaterialsProject(documents, **options) as server:
        print(server.url, flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
