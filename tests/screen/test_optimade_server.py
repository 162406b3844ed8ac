"""The same answers from the consortium's own server as from the stand-in: ``optimade[server]``."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from jobs.records import Candidate, Failure
from screen.chemsys import parse
from screen.sources import optimade_feed
from screen.sources.base import Query
from screen.sources.cache import Policy
from screen.sources.optimade import Optimade
from screen.sources.optimade_providers import PROVIDERS, Provider, Quantity
from tests.small_crystals import crystal_of
from tests.standins.optimade import Entry, OptimadeServer, species, structure_entry

pytest.importorskip("optimade.server")
uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("mongomock")

# The server's own affair.
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the 'model_fields':DeprecationWarning")

OWN = ("_some_hull", "_some_gap")
PAGE_SIZE, MAX_PAGE_SIZE = 2, 50


def entries() -> list[Entry]:
    """Good ones and bad ones; what the server's own models would not let through is left out."""
    known = {"_some_hull": 0.05, "_some_gap": 3.0}
    half = [species("Mg", Mg=0.5, Zn=0.5), species("O")]
    empty = [species("Mg", Mg=0.9, vacancy=0.1), species("O")]
    oxide, spinel = crystal_of("MgO"), crystal_of("MgAl2O4")
    return [
        structure_entry("oxide", oxide, **known),
        structure_entry("spinel", spinel, **known),
        structure_entry("layered", crystal_of("LiCoO2"), **known),
        structure_entry("olivine", crystal_of("LiFePO4"), **known | {"_some_gap": 0.5}),
        structure_entry("above", oxide, **known | {"_some_hull": 0.2}),
        structure_entry("unknown", oxide, _some_gap=3.0),
        structure_entry("shared", oxide, species=half, structure_features=["disorder"], **known),
        structure_entry("vacant", oxide, species=empty, structure_features=["disorder"], **known),
        structure_entry("slab", oxide, dimension_types=[1, 1, 0], nperiodic_dimensions=2, **known),
        structure_entry("bare", oxide, lattice_vectors=None, **known),
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of the consortium's server with the entries."""
    from optimade.server.config import ServerConfig
    from optimade.server.create_app import create_app

    path = tmp_path_factory.mktemp("optimade") / "entries.jsonl"
    lines: list[dict[str, Any]] = [{"x-optimade": {"meta": {"api_version": "1.2.0"}}}]
    for one in entries():
        own = {name.removeprefix("_some_"): one["attributes"].pop(name, None) for name in OWN}
        one["attributes"] |= {"last_modified": {"$date": "2026-02-03T04:05:06Z"}, **own}
        lines.append(one)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = ServerConfig(
        database_backend="mongomock",
        insert_test_data=False,
        insert_from_jsonl=path,
        page_limit=PAGE_SIZE,
        page_limit_max=MAX_PAGE_SIZE,
        provider={"prefix": "some", "name": "some database", "description": "of a test"},
        provider_fields={
            "structures": [
                {"name": "hull", "type": "float", "unit": "eV/atom", "description": "hull"},
                {"name": "gap", "type": "float", "unit": "eV", "description": "gap"},
            ]
        },
    )
    server = uvicorn.Server(
        uvicorn.Config(create_app(config), host="127.0.0.1", port=0, log_level="error")
    )
    up = threading.Event()
    startup = server.startup

    async def started(*args: Any, **kwargs: Any) -> None:
        await startup(*args, **kwargs)
        up.set()

    server.startup = started
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert up.wait(60)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def stand_in() -> Iterator[str]:
    with OptimadeServer(
        entries(), own=OWN, max_page_size=MAX_PAGE_SIZE, unknown_fields="refuse"
    ) as server:
        yield server.base_url


QUERIES = {
    "all": Query((parse("Mg-*"),), "Mg"),
    "keep": Query((parse("Mg-*"),), "Mg", unknown_ehull="keep"),
    "any": Query((parse("Mg-*"),), "Mg", max_ehull_ev=None),
    "exact": Query((parse("Mg-O"),), "Mg"),
    "single": Query((parse("Li-?-?"),), "Li"),
    "several": Query((parse("Li-*"), parse("Li-Co-O")), "Li"),
    "none": Query((), "Li", band_gap_min_ev=1.0),
    "small": Query((parse("Mg-*"),), "Mg", max_sites=50, exclude=("Al", "Pb")),
    "empty": Query((parse("Ca-*"),), "Ca"),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_the_stand_in_answers_as_the_real_server(
    query: Query,
    reference: str,
    stand_in: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(optimade_feed, "_PAGE_SIZE", PAGE_SIZE)
    found = []
    for name, base_url in (("reference", reference), ("stand-in", stand_in)):
        provider = Provider(
            "some",
            base_url,
            "some database",
            energy_above_hull=Quantity("_some_hull", condition="_some_hull"),
            band_gap=Quantity("_some_gap", condition="_some_gap"),
        )
        monkeypatch.setitem(PROVIDERS, provider.name, provider)
        said: list[str] = []
        source = Optimade(base_url, Policy(tmp_path / name), said.append)
        count = source.count(query)
        items = [shown(item) for item in source.candidates(query)]
        found.append((count, items, source.left_out(query), said))
    assert found[0] == found[1]
    assert found[0][3] == []  # the real server understands all that it is asked


def shown(item: Candidate | Failure) -> Any:
    if isinstance(item, Failure):
        return item
    kept = {key: value for key, value in item.info.items() if key not in ("url", "source_version")}
    kept["last_updated"] = kept["last_updated"][:19]
    return item.material_id, kept, item.crystal.frac.round(9).tolist()


def test_the_filters_find_something(reference: str, tmp_path: Path) -> None:
    """Unlike the comparison, this fails when both servers answer nothing."""
    said: list[str] = []
    source = Optimade(f"{reference}/v1", Policy(tmp_path), said.append)
    items = list(source.candidates(QUERIES["all"]))
    reasons = {item.material_id.rpartition("/")[2]: getattr(item, "reason", "") for item in items}
    assert reasons == {
        "oxide": "",
        "spinel": "",
        "above": "duplicate_structure",
        "unknown": "duplicate_structure",
        "shared": "partial_occupancy",
        "vacant": "partial_occupancy",
        "slab": "not_periodic",
        "bare": "not_periodic",
    }
    assert any("Max allowed page_limit" in line for line in said)  # 100 are asked for


@pytest.mark.parametrize(
    "query",
    [
        "filter=nosuchthing=1",
        "filter=elements HAS",
        "page_limit=100",
        "response_fields=nosuchthing",
    ],
)
def test_refusals_have_the_same_form(query: str, reference: str, stand_in: str) -> None:
    urls = [f"{base_url}/v1/structures?{query}" for base_url in (reference, stand_in)]
    answers = [requests.get(url, timeout=30) for url in urls]
    assert answers[0].status_code == answers[1].status_code >= 400
    assert all(answer.json()["errors"][0]["detail"] for answer in answers)
    if "=100" in query or "_fields" in query:
        word = query.partition("=")[0]
        assert all(word in answer.json()["errors"][0]["detail"] for answer in answers)
