"""OPTIMADE as a source, against a server on loopback that differs and fails as servers do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.records import Candidate, Failure
from pathways.types import Crystal
from screen.chemsys import parse
from screen.errors import UserError
from screen.sources import optimade_feed
from screen.sources.base import Query
from screen.sources.cache import Policy
from screen.sources.http import Patience, ServerError
from screen.sources.optimade import Optimade
from screen.sources.optimade_providers import PROVIDERS, Provider, Quantity
from tests.small_crystals import crystal_of
from tests.standins.faults import (
    BAD_GATEWAY,
    WEB_PAGE,
    Dropped,
    Reordered,
    Status,
    Truncated,
    too_many,
)
from tests.standins.optimade import Entry, OptimadeServer, structure_entry

MG_O = Query((parse("Mg-O"),), "Mg")
MG = Query((parse("Mg-*"),), "Mg")


def rock_salt(copy: int = 0, cation: int = 12, anion: int = 8) -> Crystal:
    """Rock salt of two atoms; each copy is another crystal."""
    half = (2.1 + 0.15 * copy) * (np.ones((3, 3)) - np.eye(3))
    return Crystal(half, np.array([cation, anion]), np.array([[0.0] * 3, [0.5] * 3]))


def entries(n: int = 7) -> list[Entry]:
    return [structure_entry(f"{number:03}", rock_salt(number)) for number in range(n)]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return Policy(tmp_path / "cache")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of hundredths of seconds in place of seconds."""
    patience = Patience(tries=3, first_wait_s=0.02, blocked_wait_s=0.02, read_timeout_s=5.0)
    monkeypatch.setattr(optimade_feed, "SHORT", patience)
    monkeypatch.setattr(optimade_feed, "LONG", patience)
    monkeypatch.setattr(optimade_feed, "_PAGE_SIZE", 3)


@pytest.fixture
def source(policy: Policy, said: list[str]) -> Callable[..., Optimade]:
    def opened(server: OptimadeServer | str, **changes: Any) -> Optimade:
        url = server if isinstance(server, str) else server.base_url
        changed = Policy(policy.folder, **changes)
        return Optimade(url, changed, said.append)

    return opened


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a server that of a provider with energies above the hull."""

    def register(server: OptimadeServer, condition: str | None = "_some_hull") -> None:
        provider = Provider(
            "some",
            server.base_url,
            "some database",
            energy_above_hull=Quantity("_some_hull", condition=condition),
            band_gap=Quantity("_some_gap", condition="_some_gap"),
        )
        monkeypatch.setitem(PROVIDERS, provider.name, provider)

    return register


def ids(items: Iterator[Candidate | Failure]) -> list[str]:
    return [item.material_id.rpartition("/")[2] for item in items]


def manifest(policy: Policy) -> dict[str, Any]:
    (path,) = policy.folder.glob("optimade/*/manifest.json")
    return dict(json.loads(path.read_bytes()))


ALL = [f"{number:03}" for number in range(7)]
LINKS: list[dict[str, Any]] = [
    {"link": "text"},
    {"link": "object"},
    {"link": "relative"},
    {"path": "/db/pbe"},
    {"path": "/db", "link_base": "https://another.invalid/db/v1/structures"},
    # A proxy answers by https under a path that the server behind it does not know of.
    {"path": "/db", "link_base": "http://localhost:5000/v1/structures", "link": "object"},
    {"count": "none"},
    {"count": "page"},
]


@pytest.mark.parametrize("manner", LINKS, ids=lambda manner: "-".join(map(str, manner.values())))
def test_every_page_comes_however_it_is_linked(
    manner: dict[str, Any], source: Callable[..., Optimade], said: list[str], policy: Policy
) -> None:
    with OptimadeServer(entries(), **manner) as server:
        opened = source(server)
        assert ids(opened.candidates(MG_O)) == ALL
        assert opened.version(MG_O).startswith("pulled 20")
        pages = [one for one in server.requests if "page_offset" in one.query]
    assert len(pages) == 2
    assert [line for line in said if "energies" not in line] == []
    assert manifest(policy)["finished"]


@pytest.mark.parametrize("written", ["{}", "{}/", "{}/v1", "{}/v1/structures", "optimade:{}/v1/"])
def test_the_base_url_may_be_written_in_many_ways(
    written: str, policy: Policy, said: list[str]
) -> None:
    with OptimadeServer(entries(2), path="/db") as server:
        opened = Optimade(written.format(server.base_url), policy, said.append)
        place = f"127.0.0.1_{server.port}/db"
        assert opened.name == f"optimade:{place}"
        assert [item.material_id for item in opened.candidates(MG_O)] == [
            f"{place}/000",
            f"{place}/001",
        ]


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("nobody", "known are aflow, alexandria.pbe"),
        ("ftp://example.org", "no web address"),
        ("https://", "no web address"),
        ("https://example.org:port/x", "Port"),
        ("https://me:secret@example.org/x", "holds a password"),
        ("https://example.org/x?filter=y", "more than the address"),
    ],
)
def test_what_names_no_server_is_said_at_once(spec: str, found: str, policy: Policy) -> None:
    with pytest.raises(UserError, match=found) as raised:
        Optimade(spec, policy, print)
    assert "secret" not in str(raised.value)


def test_filters_are_the_servers_work_as_far_as_it_goes(
    source: Callable[..., Optimade], known: Callable[..., None]
) -> None:
    listed = [
        structure_entry("kept", rock_salt(), _some_hull=0.1, _some_gap=2.0),
        structure_entry("above", rock_salt(1), _some_hull=0.11, _some_gap=2.0),
        structure_entry("unknown", rock_salt(2), _some_gap=2.0),
        structure_entry("large", crystal_of("MgAl2O4"), _some_hull=0.0, _some_gap=2.0),
        structure_entry("lead", rock_salt(3, anion=82), _some_hull=0.0, _some_gap=2.0),
        structure_entry("metal", rock_salt(4), _some_hull=0.0, _some_gap=0.1),
        structure_entry("other", rock_salt(5, cation=20), _some_hull=0.0, _some_gap=2.0),
    ]
    query = Query(MG.patterns, "Mg", max_sites=50, exclude=("Pb",), band_gap_min_ev=1.0)
    with OptimadeServer(listed, own=("_some_hull", "_some_gap")) as server:
        known(server)
        opened = source(server)
        assert opened.count(query) == 1
        assert ids(opened.candidates(query)) == ["kept"]
        expected = {"above_hull": 2, "too_many_sites": 1, "excluded_element": 1, "band_gap": 1}
        assert opened.left_out(query) == expected
        first = next(one for one in server.requests if one.query["page_limit"] == "3")
    assert first.query["filter"] == (
        'elements HAS ALL "Mg" AND nelements>=2 AND nelements<=6 AND _some_hull<=0.1 '
        'AND nsites<=50 AND NOT (elements HAS ANY "Pb") AND _some_gap>=1.0'
    )
    assert "_some_hull" in first.query["response_fields"]
    assert "references" not in first.query["response_fields"]


def test_unknown_energies_are_kept_on_request(
    source: Callable[..., Optimade], known: Callable[..., None]
) -> None:
    listed = [
        structure_entry("kept", rock_salt(), _some_hull=0.0),
        structure_entry("above", rock_salt(1), _some_hull=0.2),
        structure_entry("unknown", rock_salt(2)),
    ]
    query = Query(MG.patterns, "Mg", unknown_ehull="keep")
    with OptimadeServer(listed, own=("_some_hull",)) as server:
        known(server)
        items = list(source(server).candidates(query))
    assert [item.material_id for item in items if isinstance(item, Candidate)] == [
        "some/kept",
        "some/unknown",
    ]
    assert [item.reason for item in items if isinstance(item, Failure)] == ["above_hull"]


@pytest.mark.parametrize(
    ("unsearchable", "told", "large"),
    [
        ("_some_hull", "filters by fields of its own", []),
        ("nsites", "the whole filter", ["too_many_sites"]),
        ("nelements", "the whole filter", ["too_many_sites"]),
    ],
)
def test_what_a_server_cannot_filter_is_filtered_here(
    unsearchable: str,
    told: str,
    large: list[str],
    source: Callable[..., Optimade],
    known: Callable[..., None],
    said: list[str],
    policy: Policy,
) -> None:
    listed = [
        structure_entry("kept", rock_salt(), _some_hull=0.0),
        structure_entry("above", rock_salt(1), _some_hull=0.2),
        structure_entry("large", crystal_of("MgAl2O4"), _some_hull=0.0),
    ]
    query = Query(MG.patterns, "Mg", max_sites=50)
    with OptimadeServer(listed, own=("_some_hull",), unsearchable=(unsearchable,)) as server:
        known(server)
        opened = source(server)
        items = list(opened.candidates(query))
        assert opened.left_out(query) == {}
    assert [getattr(item, "reason", "") for item in items] == ["", "above_hull", *large]
    assert any(told in line for line in said)
    assert manifest(policy)["left_out"]


def test_fields_that_a_server_does_not_know_are_left_out(
    source: Callable[..., Optimade], known: Callable[..., None], said: list[str]
) -> None:
    with OptimadeServer(entries(2), unknown_fields="refuse") as server:
        known(server, condition=None)
        query = Query(MG.patterns, "Mg", unknown_ehull="keep")
        assert ids(source(server).candidates(query)) == ["000", "001"]
    assert any("energies above the hull and band gaps are not known" in line for line in said)


def test_pages_are_as_large_as_the_server_has_them(
    source: Callable[..., Optimade], said: list[str]
) -> None:
    with OptimadeServer(entries(), page_size=2, max_page_size=2) as server:
        assert ids(source(server).candidates(MG_O)) == ALL
        assert len([one for one in server.requests if "page_offset" in one.query]) == 3
    assert any("Max allowed page_limit is 2, you requested 3" in line for line in said)


def test_energies_that_a_provider_does_not_give_are_said_to_be_missing(
    source: Callable[..., Optimade], said: list[str]
) -> None:
    with OptimadeServer(entries(2)) as server:
        opened = source(server)
        assert len(list(opened.candidates(MG_O))) == 2
        opened.count(MG_O)
        opened.version(MG_O)
        assert len([line for line in said if "energies above the hull" in line]) == 1
        query = Query(MG_O.patterns, "Mg", max_ehull_ev=None, band_gap_min_ev=1.0)
        items = list(source(server).candidates(query))
    assert {getattr(item, "reason", "") for item in items} == {"unknown_band_gap"}
    assert any("band gaps are not known" in line for line in said)


def test_several_patterns_are_one_list_without_repetition(
    source: Callable[..., Optimade], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [
        structure_entry("oxide", rock_salt()),
        structure_entry("sulphide", rock_salt(1, anion=16)),
        structure_entry("spinel", crystal_of("MgAl2O4")),
        structure_entry("cobaltate", crystal_of("LiCoO2")),
    ]
    query = Query((parse("Mg-O"), parse("Mg-?"), parse("Mg-?-O")), "Mg", limit=10)
    with OptimadeServer(listed) as server:
        assert ids(source(server).candidates(query)) == ["oxide", "sulphide", "spinel"]
        one_list = len(server.requests)
        # The same when addresses have no room for more than one pattern.
        monkeypatch.setattr("screen.sources.optimade_query._MAX_CHARACTERS", 1)
        assert ids(source(server, refresh=True).candidates(query)) == [
            "oxide",
            "sulphide",
            "spinel",
        ]
        assert len(server.requests) > 2 * one_list


def test_without_patterns_everything_with_the_ion_comes(source: Callable[..., Optimade]) -> None:
    listed = [structure_entry("1", rock_salt()), structure_entry("2", crystal_of("LiCoO2"))]
    with OptimadeServer(listed) as server:
        assert ids(source(server).candidates(Query((), "Mg"))) == ["1"]


def test_a_limit_ends_the_pull(source: Callable[..., Optimade]) -> None:
    query = Query(MG_O.patterns, "Mg", limit=2)
    with OptimadeServer(entries()) as server:
        opened = source(server)
        assert ids(opened.candidates(query)) == ["000", "001"]
        assert opened.count(query) == 2
        assert [one for one in server.requests if "page_offset" in one.query] == []
        assert [item.material_id[-3:] for item in opened.sample(MG_O, 3)] == ALL[:3]


def test_counting_pulls_no_structures(source: Callable[..., Optimade]) -> None:
    with OptimadeServer(entries()) as server:
        assert source(server).count(MG_O) == 7
        assert [one.query["page_limit"] for one in server.requests] == ["1"]
    with OptimadeServer(entries(), count="page") as server:
        assert source(server).count(MG_O) is None


def test_a_second_run_asks_nothing(
    source: Callable[..., Optimade], policy: Policy, said: list[str]
) -> None:
    with OptimadeServer(entries()) as server:
        url = server.base_url
        before = list(source(server).candidates(MG_O))
        n_requests = len(server.requests)
        opened = source(server)
        assert ids(opened.candidates(MG_O)) == ids(iter(before))
        assert opened.count(MG_O) == 7
        assert len(server.requests) == n_requests
        facts = manifest(policy)
    assert facts["api_version"] == "1.2.0"
    assert facts["implementation"]["name"] == "stand-in"
    assert facts["data_available"] == 7
    assert source(url, offline=True).version(MG_O) == f"pulled {facts['started'][:10]}"
    for offline in (False, True):  # the server is gone, and is not missed
        assert ids(source(url, offline=offline).candidates(MG_O)) == ALL


def test_a_pull_of_another_day_has_changed_nothing(
    source: Callable[..., Optimade], policy: Policy
) -> None:
    with OptimadeServer(entries()) as server:
        list(source(server).candidates(MG_O))
        (path,) = policy.folder.glob("optimade/*/manifest.json")
        facts = json.loads(path.read_bytes()) | {"started": "2024-01-31T10:00:00+00:00"}
        path.write_text(json.dumps(facts))
        opened = source(server)
        assert opened.version(MG_O) == "pulled 2024-01-31"
        infos = [item.info for item in opened.candidates(MG_O) if isinstance(item, Candidate)]
    assert {info["source_version"] for info in infos} == {"pulled 2024-01-31"}


def test_a_broken_pull_goes_on_at_its_page(
    source: Callable[..., Optimade], said: list[str]
) -> None:
    with OptimadeServer(entries()) as server:
        # The first page and its count come, then nothing for as long as anybody has patience.
        server.faults.extend([None, None, *[BAD_GATEWAY] * 3])
        pulled = source(server).candidates(MG_O)
        assert [next(pulled).material_id[-3:] for _ in range(3)] == ALL[:3]
        with pytest.raises(ServerError, match="goes on from here"):
            next(pulled)
        n_requests = len(server.requests)
        assert ids(source(server).candidates(MG_O)) == ALL
        assert [one.query["page_offset"] for one in server.requests[n_requests:]] == ["3", "6"]
    with OptimadeServer(entries()) as other, pytest.raises(UserError, match="nothing in the cache"):
        list(source(other, offline=True).candidates(MG_O))


def test_what_passes_is_waited_for(source: Callable[..., Optimade], said: list[str]) -> None:
    with OptimadeServer(entries()) as server:
        server.faults.extend([too_many("0"), BAD_GATEWAY, None, None, Truncated(), Dropped()])
        assert ids(source(server).candidates(MG_O)) == ALL
    assert any("answers 429" in line for line in said)


def test_a_list_that_is_reordered_meanwhile_is_asked_for_again(
    source: Callable[..., Optimade],
) -> None:
    with OptimadeServer(entries(9)) as server:
        server.faults.extend([None, None, Reordered(3), Reordered(4)])
        found = ids(source(server).candidates(MG_O))
    assert sorted(found) == [f"{number:03}" for number in range(9)]


def test_pages_in_a_circle_are_left(source: Callable[..., Optimade]) -> None:
    class Circle(OptimadeServer):
        def _next(self, query: dict[str, str], start: int) -> Any:
            return f"?filter=x&page_offset={3 if start == 9 else start}"

        def _found(self, text: str | None) -> list[Entry]:
            return list(self.entries)

    with Circle(entries(12)) as server, pytest.raises(ServerError, match="round in a circle"):
        list(source(server).candidates(MG_O))


def test_a_page_that_is_lost_from_the_cache_is_asked_for_again(
    source: Callable[..., Optimade], policy: Policy
) -> None:
    with OptimadeServer(entries()) as server:
        opened = source(server)
        assert ids(opened.candidates(MG_O)) == ALL
        for path in policy.folder.glob("optimade/*/page-0000[23]*"):
            path.unlink()
        assert ids(opened.candidates(MG_O)) == ALL
        asked = [one.query.get("page_offset") for one in server.requests]
    assert asked[-2:] == ["3", "6"]


def test_a_server_that_cannot_count_is_not_waited_for(source: Callable[..., Optimade]) -> None:
    with OptimadeServer(entries()) as server:
        server.faults.extend([None, BAD_GATEWAY])
        opened = source(server)
        assert ids(opened.candidates(MG_O)) == ALL
        assert opened.left_out(MG_O) == {}
        assert [one.status for one in server.requests] == [200, 502, 200, 200]


def test_bad_entries_cost_a_row_each(source: Callable[..., Optimade]) -> None:
    listed = [
        structure_entry("disordered", rock_salt(), structure_features=["disorder"]),
        structure_entry("molecule", rock_salt(), lattice_vectors=None),
        structure_entry("good", rock_salt()),
        {**structure_entry("", rock_salt(1)), "id": None},
        structure_entry("same", rock_salt()),
    ]
    with OptimadeServer(listed) as server:
        items = list(source(server).candidates(MG_O))
    assert [getattr(item, "reason", "") for item in items] == [
        "partial_occupancy",
        "not_periodic",
        "",
        "unreadable",
        "duplicate_structure",
    ]


ERROR = {
    "errors": [{"status": "400", "title": "Bad Request", "detail": "Cannot\n do " + 400 * "x"}]
}


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (WEB_PAGE, "with text/html that is no OPTIMADE"),
        (Status(404, "<html>not here</html>"), "answers 404 with text/html that is no OPTIMADE"),
        (Status(404, {"message": "no"}), "answers 404 with application/json that is no OPTIMADE"),
        (Status(403, "<html>go away</html>"), "answers 403 with text/html"),
        (Status(200, {"heartbeat": 1}), "that is no OPTIMADE"),
        (Status(200, [1]), "that is no OPTIMADE"),
        (Status(200, {"data": {"id": "1"}}), "that is no OPTIMADE"),
        (Status(400, ERROR), "answers 400: Cannot do x"),
        (Status(401, {"errors": [{"detail": "an API key is needed"}]}), "an API key is needed"),
        (BAD_GATEWAY, "answers 502"),
    ],
)
def test_a_server_that_cannot_answer_is_one_line(
    fault: Status, found: str, source: Callable[..., Optimade]
) -> None:
    with OptimadeServer(entries()) as server:
        server.faults.extend([fault] * 20)
        with pytest.raises(ServerError) as raised:
            list(source(server).candidates(MG_O))
    message = str(raised.value)
    assert found in message
    assert len(message) < 500
    assert raised.value.exit_code == 1


def test_nobody_there_is_one_line(source: Callable[..., Optimade]) -> None:
    with OptimadeServer() as server:
        url = server.base_url
    with pytest.raises(ServerError, match="cannot be reached"):
        list(source(url).candidates(MG_O))


def test_a_page_that_a_server_no_longer_has_is_said(source: Callable[..., Optimade]) -> None:
    with OptimadeServer(entries()) as server:
        gone = Status(400, {"errors": [{"detail": "this cursor has expired"}]})
        server.faults.extend([None, None, gone])
        with pytest.raises(ServerError, match="this cursor has expired; --refresh"):
            list(source(server).candidates(MG_O))


def test_nothing_there_is_no_error(source: Callable[..., Optimade], policy: Policy) -> None:
    with OptimadeServer() as server:
        opened = source(server)
        assert list(opened.candidates(MG_O)) == []
        assert opened.count(MG_O) == 0
    assert manifest(policy)["finished"]
