"""The stand-in as the Materials Project's own client meets it, and as plain HTTP does."""

from __future__ import annotations

import functools
import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.pathways.crystals import KNOWN
from tests.standins.documents import electrode_document, from_snapshot, summary_document
from tests.standins.faults import (
    BLOCKED,
    GARBAGE,
    WEB_PAGE,
    Dropped,
    Fault,
    Meanwhile,
    Reordered,
    Silent,
    Slow,
    Status,
    Truncated,
    too_many,
)
from tests.standins.materials_project import KEY, NONCOMMERCIAL_KEY, MaterialsProject
from tests.standins.mp_identifiers import alpha_id, legacy_id

NAMES = ("MgMn2O4 spinel", "MgTi2S4 spinel", "LiFePO4 olivine", "MgMo6S8 Chevrel")


@functools.cache
def make_documents() -> list[dict[str, Any]]:
    spinel, thio, olivine, chevrel = (KNOWN[name].crystal() for name in NAMES)
    return [
        summary_document(32006, spinel, energy_above_hull=0.01, possible_species=["Mg2+", "O2-"]),
        summary_document(27872, thio, energy_above_hull=0.05, band_gap=0.0, is_stable=False),
        summary_document(19017, olivine, theoretical=True, symmetry=None),
        summary_document(677217, chevrel, energy_above_hull=None, band_gap=None),
        summary_document(99, spinel, deprecated=True),
        summary_document("mp-hilze", spinel, license="BY-NC", batch_id="gnome_r2scan_statics"),
    ]


@pytest.fixture
def server() -> Iterator[MaterialsProject]:
    electrodes = [
        electrode_document([25558, 32006], "Mn2O4", "MgMn2O4"),
        electrode_document([19068, 27872], "Ti2S4", "MgTi2S4", average_voltage=1.2),
        electrode_document([25602, 19017], "FePO4", "LiFePO4", "Li", average_voltage=3.5),
    ]
    with MaterialsProject(make_documents(), electrodes) as running:
        yield running


Get = Callable[..., requests.Response]


@pytest.fixture
def get(server: MaterialsProject) -> Iterator[Get]:
    """Asks for materials, of any fields, as plain HTTP does."""
    with requests.Session() as session:

        def ask(path: str = "materials/summary/", **query: Any) -> requests.Response:
            headers = {"x-api-key": query.pop("key", KEY)}
            return session.get(server.url + path, params=query, headers=headers, timeout=5)

        yield ask


def ids(response: requests.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [legacy_id(document["material_id"]) for document in response.json()["data"]]


@pytest.fixture
def rester(server: MaterialsProject) -> Iterator[Any]:
    summary = pytest.importorskip("mp_api.client.routes.materials.summary")
    options = {"use_document_model": False, "mute_progress_bars": True, "timeout": 2}
    with summary.SummaryRester(KEY, server.url, **options) as client:
        yield client


def test_the_client_finds_materials(rester: Any, server: MaterialsProject) -> None:
    found = rester.search(
        elements=["Mg"], energy_above_hull=(0, 0.05), fields=["material_id", "structure"]
    )
    assert {legacy_id(document["material_id"]) for document in found} == {"mp-32006", "mp-27872"}
    assert rester.db_version == "2026.2.1"
    assert rester.access_controlled_batch_ids == ["gnome_r2scan_statics"]
    (request,) = server.data_requests
    assert request.query["energy_above_hull_max"] == "0.05"
    assert "mp-api" in request.headers["user-agent"]
    assert KEY not in repr(server.requests)


def test_structures_are_pymatgens(rester: Any) -> None:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core.structure import Structure

    (document,) = rester.search(material_ids=["mp-32006"], fields=["structure"])
    structure = Structure.from_dict(document["structure"])
    assert StructureMatcher().fit(structure, KNOWN[NAMES[0]].structure)


def test_shared_sites_are_kept_as_they_are(server: MaterialsProject, get: Get) -> None:
    structure = KNOWN["MgMn2O4 spinel"].structure.copy()
    structure.replace(0, {"Mg": 0.5, "Zn": 0.5})
    document = summary_document(7, structure.as_dict())
    assert document["chemsys"] == "Mg-Mn-O-Zn"
    server.set_documents([document])
    (found,) = get(elements="Zn", _fields="structure").json()["data"]
    assert type(structure).from_dict(found["structure"]) == structure


def test_documents_are_valid_for_the_client(server: MaterialsProject) -> None:
    summary = pytest.importorskip("mp_api.client.routes.materials.summary")
    electrodes = pytest.importorskip("mp_api.client.routes.materials.electrodes")
    options = {"mute_progress_bars": True}
    with summary.SummaryRester(KEY, server.url, **options) as client:
        found = client.search(material_ids=["mp-32006"])
    assert found[0].symmetry.number == 227
    assert found[0].structure.composition.reduced_formula == "MgMn2O4"
    with electrodes.ElectrodeRester(KEY, server.url, **options) as client:
        found = client.search(working_ion="Mg", average_voltage=(2, 3))
    assert [electrode.formula_discharge for electrode in found] == ["MgMn2O4"]


def test_the_client_pages(rester: Any, server: MaterialsProject) -> None:
    crystal = KNOWN["LiTiS2 layered"].crystal()
    server.set_documents(summary_document(number, crystal) for number in range(1, 26))
    found = rester.search(
        elements=["Li"], chunk_size=10, fields=["material_id"], _sort_fields="-material_id"
    )
    assert [document["material_id"] for document in found] == [
        alpha_id(number) for number in range(25, 0, -1)
    ]
    assert [request.query.get("_skip") for request in server.data_requests] == [None, "10", "20"]
    found = rester.search(elements=["Li"], chunk_size=10, _page=3, fields=["material_id"])
    assert len(found) == 5


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"chemsys": "Mg-*-*"}, {32006, 27872, 677217}),
        ({"chemsys": "O-Mn-Mg,Li-Fe-O-P"}, {32006, 19017}),
        ({"elements": "Mg", "exclude_elements": "O,Mo"}, {27872}),
        ({"elements": "Mg", "nsites_min": 46}, {32006, 27872}),
        ({"nelements_min": 4}, {19017}),
        ({"energy_above_hull_max": 0.01}, {32006, 19017}),
        ({"band_gap_min": 0, "band_gap_max": 0}, {27872}),
        ({"theoretical": "True"}, {19017}),
        ({"is_stable": "false"}, {27872}),
        ({"deprecated": "True"}, {99}),
        ({"possible_species": "Mg2+"}, {32006}),
        ({"crystal_system": "cubic"}, {32006, 27872}),
        ({"material_ids": "mp-19017,mp-aaaabpga,mp-99"}, {19017, 27872}),
        ({"batch_id_not_eq": "gnome_r2scan_statics"}, {32006, 27872, 19017, 677217}),
    ],
)
def test_filters(get: Get, query: dict[str, Any], expected: set[int]) -> None:
    response = get(**query)
    assert set(ids(response)) == {f"mp-{number}" for number in expected}
    assert response.json()["meta"]["total_doc"] == len(expected)


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"chemsys": "Mg-*,Li-*"}, 400, "single chemsys"),
        ({"colour": "red"}, 400, "cannot be used: colour"),
        ({"_limit": 1001}, 400, "max limit is 1000"),
        ({"elements": "Xx"}, 400, "list of elements"),
        ({"exclude_elements": ",".join(["Mg"] * 21)}, 422, "at most 60 characters"),
        ({"nelements_min": "two"}, 422, "nelements_min"),
        ({"material_ids": "mp-1x"}, 500, "Internal Server Error"),
        ({"formula": "MgO"}, 501, "stand-in does not know formula"),
        ({"key": "x" * 32}, 401, "Unauthorized"),
        ({"key": None}, 401, "No API key"),
        ({"path": "materials/phonon/"}, 404, "no Route matched"),
    ],
)
def test_refusals(get: Get, query: dict[str, Any], status: int, said: str) -> None:
    response = get(**query)
    assert response.status_code == status
    assert said in response.text


def test_only_some_keys_get_non_commercial_data(get: Get) -> None:
    query = {"elements": "Mn", "id_format": "alpha"}
    assert ids(get(**query)) == ["mp-32006"]
    assert ids(get(**query, key=NONCOMMERCIAL_KEY)) == ["mp-32006", "mp-aaahilze"]


def test_fields(get: Get) -> None:
    (document,) = get(
        material_ids="677217", _fields="builder_meta.license,band_gap,no_such"
    ).json()["data"]
    assert document == {"builder_meta": {"license": "BY-C"}}
    (document,) = get(material_ids="677217", _fields="structure.lattice.a,nsites").json()["data"]
    assert document["nsites"] == len(KNOWN[NAMES[3]].crystal())
    assert document["structure"] == {"lattice": {"a": pytest.approx(9.46, abs=0.01)}}
    (document,) = get(material_ids="677217", _all_fields=True).json()["data"]
    assert {"structure", "symmetry", "builder_meta"} < document.keys()
    assert "energy_above_hull" not in document


def test_gzip_only_on_request(server: MaterialsProject) -> None:
    url, key = f"{server.url}materials/summary/?_all_fields=1", {"x-api-key": KEY}
    plain = requests.get(url, headers=key | {"Accept-Encoding": "identity"}, timeout=5)
    packed = requests.get(url, headers=key | {"Accept-Encoding": "gzip"}, timeout=5, stream=True)
    raw = packed.raw.read(decode_content=False)
    assert json.loads(gzip.decompress(raw))["data"] == plain.json()["data"]
    assert len(raw) < len(plain.content) / 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Status(500), "status code 500"),
        (Status(503, headers={"Retry-After": "0"}), "as told"),
        (Status(403), "status code 403"),
        (GARBAGE, None),
        (WEB_PAGE, None),
        (Truncated(), None),
    ],
)
def test_the_client_fails_as_told(
    rester: Any, server: MaterialsProject, fault: Fault, message: str | None
) -> None:
    server.faults.extend([fault] * 5)
    with pytest.raises(Exception, match=message):
        rester.search(elements=["Mg"], fields=["material_id"])
    server.faults.clear()
    assert rester.search(elements=["Mg"], fields=["material_id"])


@pytest.mark.parametrize("fault", [too_many("0"), too_many(), Status(502), Status(504), Dropped()])
def test_the_client_tries_again(rester: Any, server: MaterialsProject, fault: Fault) -> None:
    server.faults.append(fault)
    assert rester.search(elements=["Mg"], fields=["material_id"])
    assert len(server.data_requests) == 2
    assert server.data_requests[0].status == getattr(fault, "status", None)


def test_a_blocked_client_is_told_by_the_heartbeat(server: MaterialsProject, get: Get) -> None:
    server.heartbeat_faults.append(BLOCKED)
    server.faults.append(None)
    response = get("heartbeat")
    assert response.status_code == 429
    assert "temporarily" in response.json()["error"]
    assert get("heartbeat").json()["db_version"] == "2026.2.1"
    assert len(server.faults) == 1


def test_a_slow_answer_comes_when_it_may(server: MaterialsProject, get: Get) -> None:
    gate = threading.Event()
    server.faults.append(Slow(until=gate))
    answers: list[requests.Response] = []
    asking = threading.Thread(target=lambda: answers.append(get(_all_fields=True)))
    asking.start()
    asking.join(0.2)
    assert asking.is_alive()
    gate.set()
    asking.join(5)
    assert len(ids(answers[0])) == 4
    server.faults.append(Slow(pieces=5, pause_s=0.001))
    assert len(ids(get())) == 4


def test_a_silent_server_never_answers(server: MaterialsProject) -> None:
    server.faults.append(Silent())
    with pytest.raises(requests.ReadTimeout):
        requests.get(
            f"{server.url}materials/summary/", headers={"x-api-key": KEY}, timeout=(5, 0.1)
        )


def test_pages_in_another_order_overlap(server: MaterialsProject, get: Get) -> None:
    crystal = KNOWN["LiTiS2 layered"].crystal()
    server.set_documents(summary_document(number, crystal) for number in range(1, 41))
    server.faults.extend(Reordered(seed) for seed in range(4))
    pages = [
        ids(get(_sort_fields="material_id", _limit=10, _skip=skip)) for skip in (0, 10, 20, 30)
    ]
    assert sum(map(len, pages)) == 40
    assert len(set().union(*pages)) < 40
    assert ids(get(_sort_fields="material_id", _limit=10)) == [f"mp-{n}" for n in range(1, 11)]


def test_the_database_changes_on_the_way(server: MaterialsProject, get: Get) -> None:
    fewer = server.documents()[1:]
    server.faults.extend(
        [
            None,
            Meanwhile(lambda: server.set_documents(fewer)),
            Meanwhile(lambda: server.set_version("2026.4.13")),
        ]
    )
    totals = [get(elements="Mg").json()["meta"]["total_doc"] for _ in range(3)]
    assert totals == [3, 2, 2]
    assert get("heartbeat").json()["db_version"] == "2026.4.13"


def test_a_closed_server_is_gone_and_can_come_back(get: Get) -> None:
    session = requests.Session()
    with MaterialsProject() as first:
        session.get(f"{first.url}heartbeat", timeout=5)
    with pytest.raises(requests.ConnectionError):
        session.get(f"{first.url}heartbeat", timeout=5)
    with MaterialsProject(port=first.port) as second:
        assert session.get(f"{second.url}heartbeat", timeout=5).ok
    session.close()


def test_addresses_without_the_slash_are_redirected(server: MaterialsProject, get: Get) -> None:
    assert ids(get("materials/summary", elements="Ti")) == ["mp-27872"]
    assert [request.status for request in server.requests] == [307, 200]


def test_a_snapshot_is_served_by_a_process_of_its_own(data_dir: Path) -> None:
    snapshot = data_dir / "mp_snapshot.parquet"
    expected = list(from_snapshot(snapshot, ["Mg", "O"], limit=30, energy_above_hull=0.02))
    arguments = "--elements Mg,O --limit 30 --port 0 --field energy_above_hull=0.02 --key"
    module = ["-m", "tests.standins.materials_project", "--snapshot", str(snapshot)]
    command = [sys.executable, *module, *arguments.split(), "k" * 32]
    folders = (str(Path(__file__).parents[2]), os.environ["PYTHONPATH"])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            query = {
                "elements": "Mg",
                "energy_above_hull_max": 0.1,
                "_fields": "material_id,structure",
            }
            response = requests.get(
                f"{url}materials/summary/", query, headers={"x-api-key": "k" * 32}, timeout=5
            )
        finally:
            process.terminate()
    documents = response.json()["data"]
    assert [one["material_id"] for one in documents] == [one["material_id"] for one in expected]
    assert documents[0]["structure"] == json.loads(expected[0]["structure"])
    assert process.returncode == 0
