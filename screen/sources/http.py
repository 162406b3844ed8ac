"""Asking servers with patience: every wait is bounded, stated, and ends in one line.

``PatientSession`` tries again where a later answer may differ: 429 (not before ``Retry-After``),
500, 502, 503, 504, broken connections, bodies cut short. Other answers are the caller's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from screen.errors import FAILED, UserError

Notice = Callable[[str], None]

RETRIED = frozenset({429, 500, 502, 503, 504})
_TOO_LONG_S = 900.0
"""A server that asks to wait longer is taken at its word: the run ends and says so."""


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, and how long is waited in between."""

    tries: int = 30
    first_wait_s: float = 1.0
    """Doubled after every try."""
    longest_wait_s: float = 60.0
    blocked_wait_s: float = 30.0
    """Least wait after a 429 that does not say how long."""
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    """Longest silence of a server that has been asked."""

    def wait_s(self, n_tried: int, response: requests.Response | None) -> float:
        """How long to wait after so many tries, the last of which had this response, if any."""
        wait_s = min(self.longest_wait_s, self.first_wait_s * 2.0 ** (n_tried - 1))
        # Half of it by chance, so that the jobs of a cluster do not come back all at once.
        wait_s *= random.uniform(0.5, 1.0)
        if response is None:
            return wait_s
        asked_s = retry_after_s(response.headers.get("Retry-After"))
        if asked_s is not None:
            return max(wait_s, asked_s)
        return max(wait_s, self.blocked_wait_s) if response.status_code == 429 else wait_s


LONG = Patience()
"""Half an hour, for the middle of a run: what is pulled already is worked on meanwhile."""
SHORT = Patience(tries=5)
"""Half a minute, for the first question: somebody may be sitting there."""


class ServerError(UserError):
    """A server did not give an answer that can be used; one line that says what to do."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, FAILED)
        self.status = status
        """HTTP status, None where there was no answer."""


class PatientSession(requests.Session):
    """A session that tries again, and keeps the last response.

    Args:
        server: What the server is called in messages.
        patience: How often and how long.
        notice: Is told of every wait.
        check: Says what is wrong with an answer of status 200, empty for nothing.

    Raises:
        ServerError: From every request: the tries are used up. Statuses that are not worth another
            try come back as a response.
    """

    def __init__(
        self,
        server: str,
        patience: Patience = SHORT,
        notice: Notice | None = None,
        check: Callable[[requests.Response], str] = lambda response: "",
    ) -> None:
        super().__init__()
        self.server = server
        self.patience = patience
        self.last: requests.Response | None = None
        self._notice = notice
        self._check = check

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request until it is answered or the tries are used up."""
        patience = self.patience
        kwargs["timeout"] = (patience.connect_timeout_s, patience.read_timeout_s)
        for n_tried in range(1, patience.tries + 1):
            response, found = self._try(request, kwargs)
            if response is not None and response.status_code not in RETRIED and not found:
                self.last = response
                return response
            wait_s = patience.wait_s(n_tried, response)
            if n_tried == patience.tries or wait_s > _TOO_LONG_S:
                break
            if self._notice is not None:
                self._notice(
                    f"{self.server} {found}; "
                    f"try {n_tried + 1} of {patience.tries} in {wait_s:.0f} s"
                )
            time.sleep(wait_s)
        raise self._given_up(response, found, n_tried, wait_s)

    def _try(
        self, request: requests.PreparedRequest, kwargs: dict[str, Any]
    ) -> tuple[requests.Response | None, str]:
        """One try: the response if there is one, and what is wrong with it, empty for nothing."""
        try:
            response = super().send(request, **kwargs)
        except requests.Timeout:
            return None, "does not answer"
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            return None, f"cannot be reached or breaks off ({_cause(error)})"
        except requests.exceptions.ContentDecodingError:
            return None, "sends a body that cannot be unpacked"
        if response.status_code in RETRIED:
            return response, f"answers {response.status_code}"
        body = response.content.rstrip()
        is_json = "json" in response.headers.get("Content-Type", "")
        if response.ok and is_json and body[-1:] not in (b"}", b"]"):
            return response, "sends an answer that is cut short"
        return response, self._check(response) if response.ok else ""

    def _given_up(
        self, response: requests.Response | None, found: str, n_tried: int, wait_s: float
    ) -> ServerError:
        tries = "once" if n_tried == 1 else f"{n_tried} times"
        if response is not None and response.status_code == 429:
            asked = f" (it asks for {wait_s:,.0f} s)" if wait_s > _TOO_LONG_S else ""
            return ServerError(
                f"{self.server} has blocked this address for asking too often (429): "
                f"wait{asked or ' an hour'}, then give the same command, which goes on from here",
                429,
            )
        status = response.status_code if response is not None else None
        return ServerError(
            f"{self.server} {found}, asked {tries}; give the same command later, "
            "which goes on from here, or --offline for what is in the cache",
            status,
        )


def retry_after_s(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, given as seconds or as a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _cause(error: BaseException) -> str:
    """The innermost reason of a broken connection, without the addresses around it."""
    reason: Any = error
    while True:
        inner = getattr(reason, "reason", None) or reason.__cause__ or reason.__context__
        inner = inner or next((a for a in reason.args if isinstance(a, BaseException)), None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    if isinstance(reason, OSError) and reason.strerror:
        return str(reason.strerror)
    text = " ".join(str(reason).split())
    return text.rpartition(": ")[2][:120] or type(reason).__name__
