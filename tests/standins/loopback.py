"""The part of a stand-in that is any server's: connections, faults, a log of requests."""

from __future__ import annotations

import contextlib
import gzip
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.standins.faults import Answer, Fault

_WORTH_PACKING = 1000
"""Bytes from which on an answer is gzipped, for those that accept it."""


@dataclass
class Request:
    """What was asked of the server, without the key."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in small letters."""
    status: int | None
    """None: nothing was answered."""
    time: float
    """When, by ``time.monotonic``."""


class LoopbackServer:
    """A server on 127.0.0.1 that runs while its context is open; answers each client in a thread.

    Args:
        port: 0: a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self.faults: deque[Fault | None] = deque()
        """Of the next requests."""
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._server = _Server(self, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """With a slash at its end."""
        return f"http://127.0.0.1:{self.port}/"

    def answer(self, target: str, headers: Mapping[str, str], shuffle: int | None) -> Answer:
        """What is answered to a GET where nothing goes wrong.

        Args:
            target: Path and query.
            headers: Of the request, whatever their case.
            shuffle: Seed of an order other than the one that is asked for, where not None.
        """
        raise NotImplementedError

    def faults_of(self, path: str) -> deque[Fault | None]:
        """The queue that a request for this path takes its fault from."""
        return self.faults


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: LoopbackServer, port: int) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def hang_up(self) -> None:
        """Close what clients keep open: a server that is closed answers nobody."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that went away
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection; also the exchange that a fault plays with."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    @property
    def closing(self) -> threading.Event:
        return self.server.owner.closing

    def do_GET(self) -> None:
        owner = self.server.owner
        self._request = self._logged()
        owner.requests.append(self._request)
        fault = None
        with contextlib.suppress(IndexError):
            fault = owner.faults_of(self._request.path).popleft()
        if fault is None:
            self.send(self.usual())
        else:
            fault.play(self)

    def do_HEAD(self) -> None:
        self.do_GET()

    def usual(self, shuffle: int | None = None) -> Answer:
        answer = self.server.owner.answer(self.path, self.headers, shuffle)
        accepted = self.headers.get("Accept-Encoding", "")
        if "gzip" not in accepted or len(answer.body) < _WORTH_PACKING:
            return answer
        packed = gzip.compress(answer.body, 1)
        return Answer(answer.status, packed, {**answer.headers, "Content-Encoding": "gzip"})

    def send(self, answer: Answer, pieces: Iterator[bytes] | None = None) -> None:
        self._request.status = answer.status
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        for piece in pieces or iter([answer.body]):
            self.wfile.write(piece)

    def drop(self) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""

    def _logged(self) -> Request:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        headers.pop("x-api-key", None)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        return Request(self.command, url.path, query, headers, None, time.monotonic())
