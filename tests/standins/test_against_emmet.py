"""The stand-in against the Materials Project's own server code, where that is installed.

The code runs as it is, on loopback, with ``mongomock`` in place of its database. What is in front
of it in the real world, the gateway with its keys and limits, is not part of it.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from jobs.records import Candidate
from screen.chemsys import parse
from screen.sources.base import Query
from screen.sources.cache import Policy
from screen.sources.materials_project import MaterialsProject as Source
from screen.sources.materials_project import MaterialsProjectOptions
from tests.pathways.crystals import KNOWN
from tests.standins.documents import electrode_document, summary_document
from tests.standins.materials_project import KEY, NONCOMMERCIAL_KEY, MaterialsProject
from tests.standins.mp_routes import ELECTRODES, SUMMARY

pytest.importorskip("emmet.api")
mongomock = pytest.importorskip("mongomock")

_lines = str.split

SUMMARY_QUERIES = _lines("""
    elements=Mg
    elements=Mg,O&_sort_fields=material_id
    elements=Mg&exclude_elements=O&_sort_fields=material_id
    elements=Mg&exclude_elements=Mg
    elements=Xx
    elements=mg
    elements=
    exclude_elements=Li,Na,K,Rb,Cs,Be,Ca,Sr,Ba,Al,Ga,In,Tl,Si,Ge,Sn,Pb,As,Sb,Bi
    exclude_elements=Li,Na,K,Rb,Cs,Be,Ca,Sr,Ba,Al,Ga,In,Tl,Si,Ge,Sn,Pb,As,Sb,Bi,Se
    chemsys=Mg-*&_sort_fields=material_id
    chemsys=Mg-*-*&_sort_fields=material_id
    chemsys=*-*-*&_sort_fields=material_id
    chemsys=*-*-*-*&_sort_fields=material_id
    chemsys=O-Mg-Mn
    chemsys=Mn-Mg-O,Li-Ti-S,Li-Co-O&_sort_fields=material_id
    chemsys=Mg-*,Li-*
    chemsys=Mg-*-*&nelements_min=2&nelements_max=4&_sort_fields=material_id
    chemsys=Mg-*-*&elements=O&_sort_fields=material_id
    nelements_min=3&nelements_max=3&_sort_fields=material_id
    nelements=4&_sort_fields=material_id
    nelements_min=two
    nelements_min=2.5
    nelements_min=3.0&_sort_fields=material_id
    nelements=3&nelements_max=4
    nelements_not_eq=3&_sort_fields=material_id
    nsites_eq_any=14,28&_sort_fields=material_id
    nsites_neq_any=14,x
    energy_above_hull_min=0&energy_above_hull_max=0.04&_sort_fields=material_id
    energy_above_hull_max=0.04&_sort_fields=-material_id
    band_gap_min=1&_sort_fields=material_id
    band_gap_max=high
    theoretical=True&_sort_fields=material_id
    theoretical=no&_sort_fields=material_id
    theoretical=perhaps
    is_stable=true&_sort_fields=material_id
    is_metal=0&_sort_fields=material_id
    deprecated=True&_sort_fields=material_id
    deprecated=False&_sort_fields=material_id
    material_ids=mp-105,mp-101,mp-103
    material_ids=mp-105,mp-101,mp-103&_sort_fields=material_id
    material_ids=mp-105,mp-101&_fields=nsites
    material_ids=mp-aaaaaadx,102,%20mp-aeb
    material_ids=mp-12x
    material_ids=mp-MG
    batch_id=gnome_r2scan_statics
    batch_id_not_eq=gnome_r2scan_statics&_sort_fields=material_id
    batch_id_eq_any=gnome_r2scan_statics,other
    batch_id=a&batch_id_not_eq=b
    license=All&_sort_fields=material_id
    license=mine
    possible_species=Mg2%2B,O2-&_sort_fields=material_id
    has_props=thermo&_sort_fields=material_id
    crystal_system=cubic&_sort_fields=material_id
    crystal_system=round
    spacegroup_number=227,62&_sort_fields=material_id
    ordering=FM
    ordering=fm
    k_vrh_min=10
    _fields=material_id,builder_meta.license,no_such_field&_sort_fields=material_id
    _fields=no_such_field
    _fields=structure.lattice.a,symmetry.number&_sort_fields=material_id
    _all_fields=True&_sort_fields=material_id
    _sort_fields=energy_above_hull,nsites
    _sort_fields=energy_above_hull
    _sort_fields=-energy_above_hull
    _sort_fields=no_such_field
    _limit=3&_skip=2&_sort_fields=material_id
    _limit=3&_skip=1000&_sort_fields=material_id
    _limit=0&_sort_fields=material_id
    _limit=1001
    _limit=-1
    _skip=-1
    _limit=many
    _page=2&_per_page=4&_sort_fields=material_id
    _page=0&_per_page=4&_sort_fields=material_id
    _page=1&_per_page=1001
    _page=-1
    _page=1&_per_page=4&_limit=2000&_sort_fields=material_id
    id_format=legacy&_fields=material_id,task_ids&_sort_fields=material_id
    id_format=alpha&_fields=material_id,task_ids&_sort_fields=material_id
    id_format=other&_sort_fields=material_id
    colour=red
    colour=red&_limit=1001
    colour=red&nelements_min=two
    limit=10
    nsites_min=1&nsites_min=50&_sort_fields=material_id
""")
ELECTRODE_QUERIES = _lines("""
    working_ion=Mg
    working_ion=Mg,Li&_sort_fields=average_voltage
    working_ion=Mg&average_voltage_min=2&average_voltage_max=3
    battery_ids=mp-301_Mg
    battery_ids=mp-aaaaaapt_Mg,mp-305_Li
    elements=Mn&exclude_elements=Li
    elements=Xx
    chemsys=Mn-O
    chemsys=Mg-Mn-O,Li-Fe-O-P
    chemsys=Mg-*-*
    chemsys=*-*-*
    nelements_max=2
    num_steps=1
    stability_discharge_max=0.01&_sort_fields=-capacity_grav
    _fields=battery_id,id_discharge,framework_formula
    _fields=material_ids,id_charge&id_format=legacy
    _all_fields=True
    deprecated=False
    _limit=1&_skip=1&_sort_fields=battery_id
""")


def summaries() -> list[dict[str, Any]]:
    """Every crystal, with gaps in what is known of it, in no order."""
    documents = []
    for number, known in enumerate(KNOWN.values(), start=101):
        odd = number % 2 == 1
        fields = {
            "energy_above_hull": None if number % 5 == 0 else number % 7 / 50,
            "band_gap": None if number % 4 == 0 else float(number % 3),
            "is_stable": odd,
            "is_metal": None if number % 6 == 0 else odd,
            "theoretical": number % 3 == 0,
            "deprecated": number % 11 == 0,
            "possible_species": [f"{known.ion}2+", "O2-"] if odd else None,
            "ordering": "FM" if odd else "NM",
            "bulk_modulus": {"vrh": 5.0 * (number % 4)} if odd else None,
        }
        documents.append(summary_document(number, known.crystal(), **fields))
    crystal = KNOWN["MgMn2O4 spinel"].crystal()
    restricted = {"license": "BY-NC", "batch_id": "gnome_r2scan_statics"}
    documents.append(summary_document("mp-hilze", crystal, **restricted))
    return documents[::-1]


def electrodes() -> list[dict[str, Any]]:
    return [
        electrode_document([301, 302], "Mn2O4", "MgMn2O4"),
        electrode_document(
            [303, 304], "Ti2S4", "MgTi2S4", average_voltage=1.2, capacity_grav=190.0
        ),
        electrode_document([305, 306], "FePO4", "LiFePO4", "Li", average_voltage=3.5),
    ]


class AsyncCollection:
    """What the server asks of its driver, answered by mongomock; hints and limits are lost."""

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self._collection = mongomock.MongoClient().mp.documents
        self._collection.insert_many(copy.deepcopy(documents))

    async def count_documents(self, criteria: dict[str, Any], **_: Any) -> int:
        return int(self._collection.count_documents(criteria))

    async def estimated_document_count(self) -> int:
        return int(self._collection.estimated_document_count())

    async def aggregate(self, pipeline: list[dict[str, Any]], **_: Any) -> AsyncCursor:
        return AsyncCursor(list(self._collection.aggregate(pipeline)))


class AsyncCursor:
    def __init__(self, found: list[dict[str, Any]]) -> None:
        self._found = found

    async def to_list(self) -> list[dict[str, Any]]:
        return self._found


@pytest.fixture(scope="module")
def emmet_url() -> Iterator[str]:
    """Where the real code answers."""
    import uvicorn
    from emmet.api.core.api import MAPI
    from emmet.api.resource.utils import CollectionWithKey
    from emmet.api.routes.materials.insertion_electrodes.resources import (
        insertion_electrodes_resource,
    )
    from emmet.api.routes.materials.summary.resources import summary_resource

    resources = [
        summary_resource(CollectionWithKey(AsyncCollection(summaries()), "material_id")),
        insertion_electrodes_resource(
            CollectionWithKey(AsyncCollection(electrodes()), "battery_id")
        ),
    ]
    app = MAPI(resources={"materials": resources}).app
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    assert started.wait(60)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def standin() -> Iterator[MaterialsProject]:
    with MaterialsProject(summaries(), electrodes()) as running:
        yield running


def answer(url: str, path: str, key: str, group: str) -> tuple[int, Any]:
    """Status, and of an answer all but its time; of a refusal its words, where they are words."""
    # The gateway turns a key into groups; the code behind it sees those alone.
    headers = {"x-api-key": key, "x-consumer-groups": group}
    response = requests.get(url + path, headers=headers, timeout=20)
    if response.status_code == 200:
        content = response.json()
        content["meta"].pop("time_stamp")
        return 200, content
    if response.status_code == 422:
        return 422, [one["loc"][-1] for one in response.json()["detail"]]
    return response.status_code, None


@pytest.mark.parametrize("query", SUMMARY_QUERIES)
@pytest.mark.parametrize("group", ["", "TERMS:ACCEPT-NC"], ids=["free", "noncommercial"])
def test_summaries(emmet_url: str, standin: MaterialsProject, query: str, group: str) -> None:
    path, key = f"materials/summary/?{query}", NONCOMMERCIAL_KEY if group else KEY
    real = answer(emmet_url, path, key, group)
    assert answer(standin.url, path, key, group) == real


@pytest.mark.parametrize("query", ELECTRODE_QUERIES)
def test_electrodes(emmet_url: str, standin: MaterialsProject, query: str) -> None:
    path = f"materials/insertion_electrodes/?{query}"
    assert answer(standin.url, path, KEY, "") == answer(emmet_url, path, KEY, "")


def test_the_queries_find_something(standin: MaterialsProject) -> None:
    found = [
        content["meta"]["total_doc"]
        for query in SUMMARY_QUERIES
        for status, content in [answer(standin.url, f"materials/summary/?{query}", KEY, "")]
        if status == 200
    ]
    assert sum(0 < total < len(KNOWN) for total in found) > len(SUMMARY_QUERIES) / 3


def test_heartbeats(emmet_url: str, standin: MaterialsProject) -> None:
    real, ours = (
        requests.get(f"{url}heartbeat", timeout=20).json() for url in (emmet_url, standin.url)
    )
    assert real.keys() == ours.keys()


@pytest.mark.parametrize(
    "path", ["materials/summary?elements=Mg", "materials/insertion_electrodes"]
)
def test_redirects(emmet_url: str, standin: MaterialsProject, path: str) -> None:
    for url in (emmet_url, standin.url):
        response = requests.get(url + path, allow_redirects=False, timeout=20)
        assert response.status_code == 307
        before, question, after = path.partition("?")
        assert response.headers["Location"] == f"{url}{before}/{question}{after}"


@pytest.mark.parametrize("route", ["summary", "insertion_electrodes"])
def test_fields_are_those_of_the_models(standin: MaterialsProject, route: str) -> None:
    from emmet.core.electrode import InsertionElectrodeDoc
    from emmet.core.summary import SummaryDoc

    model: Any = SummaryDoc if route == "summary" else InsertionElectrodeDoc
    ours = SUMMARY if route == "summary" else ELECTRODES
    assert set(ours.model_fields) == set(model.model_fields)
    for name, field in model.model_fields.items():
        is_number = field.annotation in (int, float, int | None, float | None)
        status, _ = answer(standin.url, f"materials/{route}/?{name}_min=0", KEY, "")
        assert status == (200 if is_number else 400), name


def test_sort_fields_are_the_servers() -> None:
    from emmet.api.core.settings import MAPISettings
    from emmet.api.routes.materials.insertion_electrodes import resources

    assert set(SUMMARY.sort_fields) == set(MAPISettings().SORT_FIELDS)
    assert set(ELECTRODES.sort_fields) == set(resources.sort_fields)


def test_our_source_reads_both_alike(
    emmet_url: str,
    standin: MaterialsProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MP_API_KEY", KEY)
    query = Query((parse("Mg-*"), parse("Mg-Mn-O")), "Mg", max_ehull_ev=0.05)
    found = []
    for url in (emmet_url, standin.url):
        said: list[str] = []
        options = MaterialsProjectOptions(url, electrodes=True)
        source = Source(options, Policy(tmp_path / url[-6:-1]), said.append)
        items = [
            (one.material_id, {**one.info, "source_version": "", "fetched_at": ""})
            if isinstance(one, Candidate)
            else one
            for one in source.candidates(query)
        ]
        found.append((items, source.count(query), source.left_out(query), said))
    assert found[0] == found[1]
    assert found[0][0]
    assert found[0][2]
