"""Patience with servers: what is tried again, how long, and what is said in the end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from screen.sources.http import LONG, SHORT, Patience, PatientSession, ServerError, retry_after_s

QUICK = Patience(tries=4, first_wait_s=0.01, longest_wait_s=0.02, blocked_wait_s=0.05)
GOOD = b'{"data": []}'


class Scripted:
    """A server that answers each request with the next of its replies."""

    def __init__(self, *replies: Callable[[Any], None]) -> None:
        self.replies = list(replies)
        self.n_asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                reply = outer.replies[min(outer.n_asked, len(outer.replies) - 1)]
                outer.n_asked += 1
                reply(self)

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Scripted:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def status(code: int, body: bytes = GOOD, **headers: str) -> Callable[[Any], None]:
    def reply(handler: Any) -> None:
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def truncated(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    handler.close_connection = True


def cut(handler: Any) -> None:
    """Cut short without a length that would give it away."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.wfile.write(b'{"data": [1, 2')
    handler.close_connection = True


def dropped(handler: Any) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def silent(handler: Any) -> None:
    threading.Event().wait(2)
    handler.close_connection = True


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.mark.parametrize(
    "fault",
    [status(429), status(500), status(502), status(503), status(504), truncated, cut, dropped],
)
def test_what_may_pass_is_tried_again(fault: Callable[[Any], None], said: list[str]) -> None:
    with Scripted(fault, fault, status(200)) as server:
        session = PatientSession("the server", QUICK, said.append)
        response = session.get(server.url)
    assert response.json() == {"data": []}
    assert session.last is response
    assert server.n_asked == 3
    assert [word for word in said if "try 2 of 4" in word or "try 3 of 4" in word] == said


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_what_will_not_pass_comes_back_at_once(code: int, said: list[str]) -> None:
    with Scripted(status(code)) as server:
        response = PatientSession("the server", QUICK, said.append).get(server.url)
    assert response.status_code == code
    assert server.n_asked == 1
    assert said == []


def test_silence_is_bounded() -> None:
    patience = Patience(tries=2, first_wait_s=0.01, read_timeout_s=0.1)
    with Scripted(silent) as server, pytest.raises(ServerError, match="does not answer") as raised:
        PatientSession("the server", patience).get(server.url)
    assert raised.value.status is None
    assert "asked 2 times" in str(raised.value)


def test_nobody_there_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServerError, match="cannot be reached") as raised:
        PatientSession("the server", QUICK).get(f"http://127.0.0.1:{port}/")
    assert "\n" not in str(raised.value)
    assert "object at 0x" not in str(raised.value)


def test_a_block_says_to_wait(said: list[str]) -> None:
    with Scripted(status(429)) as server, pytest.raises(ServerError, match="wait") as raised:
        PatientSession("the server", QUICK, said.append).get(server.url)
    assert raised.value.status == 429
    assert server.n_asked == QUICK.tries


def test_a_server_that_asks_for_hours_is_believed(said: list[str]) -> None:
    with Scripted(status(429, Retry_After="7200")) as server:
        with pytest.raises(ServerError, match="7,200 s"):
            PatientSession("the server", QUICK, said.append).get(server.url)
        assert server.n_asked == 1
    assert said == []


def _response(code: int, retry_after: str | None) -> Any:
    import requests

    response = requests.Response()
    response.status_code = code
    if retry_after is not None:
        response.headers["Retry-After"] = retry_after
    return response


def test_waits_double_up_to_a_limit_and_heed_the_server() -> None:
    patience = LONG
    for n_tried, longest_s in ((1, 1), (2, 2), (3, 4), (10, 60), (29, 60)):
        assert longest_s / 2 <= patience.wait_s(n_tried, None) <= longest_s
    assert patience.wait_s(1, _response(429, None)) >= 30
    assert patience.wait_s(1, _response(429, "12")) == 12
    assert patience.wait_s(1, _response(503, "45")) == 45
    assert patience.wait_s(20, _response(429, "1")) >= 30  # not before, but later is allowed
    assert SHORT.tries < LONG.tries


def test_a_time_to_come_back_may_be_a_date() -> None:
    import time

    in_a_minute = retry_after_s(formatdate(time.time() + 60, usegmt=True))
    assert in_a_minute is not None
    assert 55 < in_a_minute <= 60
    assert retry_after_s("2.5") == 2.5
    assert retry_after_s("soon") is None
    assert retry_after_s(None) is None
