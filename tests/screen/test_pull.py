"""What is pulled is pulled once: the cache, broken pulls, and servers that do not add up."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from screen.errors import UserError
from screen.sources.cache import Policy
from screen.sources.feeds import Page
from screen.sources.http import ServerError
from screen.sources.pull import Pull


@dataclass
class Letters:
    """A server's list of names, two on a page."""

    names: Sequence[str]
    release: str = "2025.2.12"
    breaks_at: int | None = None
    """Page that cannot be had."""
    asked: list[str | None] = field(default_factory=list)
    source = "letters"
    title = "letters of the alphabet"

    def identity(self) -> dict[str, Any]:
        return {"list": "letters"}

    def version(self) -> str:
        return self.release

    def fetch(self, cursor: str | None) -> Page:
        number = int(cursor or 0)
        if number == self.breaks_at:
            raise ServerError("the server is down")
        self.asked.append(cursor)
        names = self.names[2 * number : 2 * number + 2]
        more = 2 * number + 2 < len(self.names)
        return Page(
            json.dumps(list(names)).encode(),
            tuple(names),
            str(number + 1) if more else None,
            total=len(self.names),
            facts={"client": "1.0"},
        )

    def ids(self, content: bytes) -> tuple[str, ...]:
        return tuple(json.loads(content))


def names(pages: Any) -> list[str]:
    return [name for packed in pages for name in json.loads(gzip.decompress(packed))]


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return Policy(tmp_path / "cache")


@pytest.fixture
def said() -> list[str]:
    return []


def manifest(policy: Policy) -> dict[str, Any]:
    (path,) = policy.folder.glob("letters/*/manifest.json")
    return dict(json.loads(path.read_bytes()))


def test_a_second_time_nothing_is_asked(policy: Policy, said: list[str]) -> None:
    feed = Letters("abcde")
    assert names(Pull(feed, policy, said.append).pages()) == list("abcde")
    again = Pull(feed, policy, said.append)
    assert again.is_complete
    assert (again.total, again.version) == (5, "2025.2.12")
    assert names(again.pages()) == list("abcde")
    assert feed.asked == [None, "1", "2"]
    assert said == []


def test_the_manifest_says_where_it_comes_from(policy: Policy, said: list[str]) -> None:
    list(Pull(Letters("abc"), policy, said.append).pages())
    found = manifest(policy)
    assert found["query"] == {"list": "letters"}
    assert (found["version"], found["total"], found["client"]) == ("2025.2.12", 3, "1.0")
    assert found["finished"] >= found["started"]
    assert [page["items"] for page in found["pages"]] == [2, 1]
    assert all(len(page["sha256"]) == 64 for page in found["pages"])


def test_a_broken_pull_goes_on_at_its_page(policy: Policy, said: list[str]) -> None:
    feed = Letters("abcdefg", breaks_at=2)
    with pytest.raises(ServerError):
        list(Pull(feed, policy, said.append).pages())
    feed.breaks_at = None
    assert names(Pull(feed, policy, said.append).pages()) == list("abcdefg")
    assert feed.asked == [None, "1", "2", "3"]


def test_offline_takes_what_is_there(policy: Policy, said: list[str]) -> None:
    offline = Policy(policy.folder, offline=True)
    with pytest.raises(UserError, match="nothing in the cache"):
        Pull(Letters("abc"), offline, said.append)
    feed = Letters("abcdefg", breaks_at=1)
    with pytest.raises(ServerError):
        list(Pull(feed, policy, said.append).pages())
    feed.version = None  # type: ignore[assignment,method-assign]  # calling it would raise
    assert names(Pull(feed, offline, said.append).pages()) == ["a", "b"]
    assert any("only 2 of 7" in word for word in said)


def test_another_release_is_said_and_taken_on_demand(policy: Policy, said: list[str]) -> None:
    list(Pull(Letters("abc"), policy, said.append).pages())
    newer = Letters("abcd", release="2026.4.13")
    pull = Pull(newer, policy, said.append)
    assert names(pull.pages()) == list("abc")
    assert pull.version == "2025.2.12"
    assert "2026.4.13, which --refresh pulls" in said[0]
    refreshed = Pull(newer, Policy(policy.folder, refresh=True), said.append)
    assert names(refreshed.pages()) == list("abcd")
    assert Pull(newer, policy, said.append).version == "2026.4.13"


def test_two_releases_are_never_mixed(policy: Policy, said: list[str]) -> None:
    with pytest.raises(ServerError):
        list(Pull(Letters("abcd", breaks_at=1), policy, said.append).pages())
    with pytest.raises(UserError, match="--refresh"):
        Pull(Letters("abcd", release="2026.4.13"), policy, said.append)
    feed = Letters("abcd")
    pages = Pull(feed, Policy(policy.folder, refresh=True), said.append).pages()
    next(pages)
    feed.release = "2026.4.13"
    with pytest.raises(UserError, match=r"went from 2025\.2\.12 to 2026\.4\.13"):
        list(pages)


def test_a_server_that_states_no_release_has_the_day_of_the_pull(
    policy: Policy, said: list[str]
) -> None:
    feed = Letters("abc", release="")
    list(Pull(feed, policy, said.append).pages())
    started = manifest(policy)["started"]
    assert Pull(feed, policy, said.append).version == f"pulled {started[:10]}"
    assert said == []


def test_no_server_is_needed_for_what_is_complete(policy: Policy, said: list[str]) -> None:
    feed = Letters("abc")
    list(Pull(feed, policy, said.append).pages())

    def nobody() -> str:
        raise ServerError("the server is down")

    feed.version = nobody  # type: ignore[method-assign]
    assert names(Pull(feed, policy, said.append).pages()) == list("abc")
    assert "the server is down; taken from the cache" in said[0]
    with pytest.raises(ServerError):
        Pull(feed, Policy(policy.folder / "other"), said.append)


def test_a_damaged_page_is_asked_for_again(policy: Policy, said: list[str]) -> None:
    feed = Letters("abcdef")
    list(Pull(feed, policy, said.append).pages())
    (page,) = policy.folder.glob("letters/*/page-00002-*")
    page.write_bytes(page.read_bytes()[:-3])
    with pytest.raises(UserError, match="damaged"):
        list(Pull(feed, Policy(policy.folder, offline=True), said.append).pages())
    assert names(Pull(feed, policy, said.append).pages()) == list("abcdef")
    assert feed.asked[-1] == "1"
    said.clear()
    assert names(Pull(feed, policy, said.append).pages()) == list("abcdef")
    assert said == []


def test_a_missing_page_is_asked_for_again(policy: Policy, said: list[str]) -> None:
    feed = Letters("abcdef")
    list(Pull(feed, policy, said.append).pages())
    next(policy.folder.glob("letters/*/page-00003-*")).unlink()
    assert names(Pull(feed, policy, said.append).pages()) == list("abcdef")


def test_a_manifest_that_cannot_be_read_is_one_line(policy: Policy, said: list[str]) -> None:
    list(Pull(Letters("abc"), policy, said.append).pages())
    (path,) = policy.folder.glob("letters/*/manifest.json")
    for text in ("", "{}", '{"format": 99}', "[]", '{"format": 1, "pages": [{"what": 1}]}'):
        path.write_text(text)
        with pytest.raises(UserError, match="--refresh"):
            Pull(Letters("abc"), policy, said.append)
    fresh = Pull(Letters("abc"), Policy(policy.folder, refresh=True), said.append)
    assert names(fresh.pages()) == list("abc")


class Shifting(Letters):
    """A list from which an entry vanishes while it is read."""

    def fetch(self, cursor: str | None) -> Page:
        page = super().fetch(cursor)
        if len(self.asked) == 1:
            self.names = self.names[1:]
        return page


def test_a_list_that_shifts_is_read_again(policy: Policy, said: list[str]) -> None:
    """Without ``a``, ``c`` slips onto the first page after that has been read."""
    pull = Pull(Shifting("abcdef"), policy, said.append)
    assert set(names(pull.pages())) == set("abcdef")
    assert any("do not add up" in word for word in said)
    assert set(names(Pull(Letters("bcdef"), policy, said.append).pages())) == set("abcdef")


class Short(Letters):
    """A server that counts more than it gives."""

    def fetch(self, cursor: str | None) -> Page:
        page = super().fetch(cursor)
        return Page(page.content, page.ids, page.next, total=9)


def test_what_never_comes_is_said(policy: Policy, said: list[str]) -> None:
    assert set(names(Pull(Short("abcd"), policy, said.append).pages())) == set("abcd")
    assert "4 of 9 came in 3 rounds" in said[-1]


def test_a_disk_that_takes_no_more_costs_the_cache_only(tmp_path: Path, said: list[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    pull = Pull(Letters("abcde"), Policy(blocked), said.append)
    assert names(pull.pages()) == list("abcde")
    assert len(said) == 1
    assert "going on without the cache" in said[0]


def test_no_page_is_half_written(policy: Policy, said: list[str]) -> None:
    list(Pull(Letters("abcde"), policy, said.append).pages())
    left = [path.name for path in policy.folder.rglob("*") if path.is_file()]
    assert len(left) == 4
    assert not [name for name in left if name.startswith(".")]
