"""The Materials Project as a source, against a stand-in of its server on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.records import Candidate, Failure
from pathways.convert import structure_from_crystal
from pathways.types import Crystal
from screen.chemsys import parse
from screen.errors import UserError
from screen.sources.base import Query
from screen.sources.cache import Policy
from screen.sources.http import Patience, ServerError
from screen.sources.materials_project import MaterialsProject, MaterialsProjectOptions
from screen.sources.mp_client import find_endpoint
from tests.small_crystals import crystal_of
from tests.standins.documents import electrode_document, summary_document
from tests.standins.faults import (
    BAD_GATEWAY,
    BLOCKED,
    GARBAGE,
    WEB_PAGE,
    Dropped,
    Meanwhile,
    Reordered,
    Slow,
    Status,
    Truncated,
    too_many,
)
from tests.standins.materials_project import NONCOMMERCIAL_KEY
from tests.standins.materials_project import MaterialsProject as Server

MG = Query((parse("Mg-*"),), "Mg")
QUICK = Patience(tries=4, first_wait_s=0.01, longest_wait_s=0.02, blocked_wait_s=0.02)


def strained(name: str, n: int) -> Crystal:
    """One of many crystals that are not the same: each a little larger."""
    crystal = crystal_of(name)
    return replace(crystal, lattice=crystal.lattice * (1 + 0.05 * n))


def documents(n: int, start: int = 100, **fields: Any) -> list[dict[str, Any]]:
    crystals = [strained("MgO", at) for at in range(n)]
    return [
        summary_document(f"mp-{start + at}", crystal, **fields)
        for at, crystal in enumerate(crystals)
    ]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for module in ("mp_client", "http"):
        for name in ("SHORT", "LONG"):
            monkeypatch.setattr(f"screen.sources.{module}.{name}", QUICK)
    monkeypatch.setattr("screen.sources.mp_feed._PAGE_SIZE", 4)
    with Server(documents(10)) as running:
        monkeypatch.setenv("MP_API_KEY", running.keys[0])
        yield running


class Opener:
    """Opens the source as a new run would."""

    def __init__(self, server: Server, folder: Path, said: list[str]) -> None:
        self.server, self.folder, self.said = server, folder, said

    def __call__(self, **options: Any) -> MaterialsProject:
        policy = {name: options.pop(name, False) for name in ("offline", "refresh")}
        return MaterialsProject(
            MaterialsProjectOptions(find_endpoint(self.server.url), **options),
            Policy(self.folder, **policy),
            self.said.append,
        )


@pytest.fixture
def open_source(server: Server, tmp_path: Path, said: list[str]) -> Opener:
    return Opener(server, tmp_path / "cache", said)


def ids(items: Any) -> list[str]:
    return [item.material_id for item in items if isinstance(item, Candidate)]


def reasons(items: Any) -> dict[str, str]:
    return {item.material_id: item.reason for item in items if isinstance(item, Failure)}


ALL = [f"mp-{n}" for n in range(100, 110)]


def test_every_material_comes_once_with_what_is_known_of_it(open_source: Opener) -> None:
    source = open_source()
    found = list(source.candidates(MG))
    assert ids(found) == ALL
    first = found[0]
    assert isinstance(first, Candidate)
    expected = crystal_of("MgO")
    assert np.allclose(first.crystal.lattice, expected.lattice, atol=1e-6)
    assert first.crystal.numbers.tolist() == expected.numbers.tolist()
    info = first.info
    assert info["source"] == "mp"
    assert info["source_id"] == "mp-aaaaaadw"
    assert info["source_version"] == source.version(MG) == "2026.2.1"
    assert info["formula"] == "MgO"
    assert (info["energy_above_hull_ev"], info["band_gap_ev"]) == (0.0, 1.5)
    assert info["license"] == "CC-BY-4.0"
    assert "CC BY 4.0" in info["attribution"]
    assert info["url"].endswith("/materials/mp-100")
    assert info["last_updated"].startswith("2024-11-26")
    assert info["fetched_at"].startswith("20")
    assert source.count(MG) == 10


def test_it_is_asked_as_the_server_likes_it(open_source: Opener, server: Server) -> None:
    list(open_source().candidates(MG))
    pages = [one for one in server.data_requests if "structure" in one.query.get("_fields", "")]
    assert [one.query["_page"] for one in pages] == ["1", "2", "3"]
    for one in pages:
        assert one.query["_sort_fields"] == "material_id"
        assert one.query["deprecated"] == "False"
        assert one.query["energy_above_hull_max"] == "0.1"
        assert one.headers["accept-encoding"] == "gzip"


def test_a_rerun_asks_for_nothing_again(open_source: Opener, server: Server) -> None:
    first = list(open_source().candidates(MG))
    n_asked = len(server.data_requests)
    source = open_source()
    assert ids(source.candidates(MG)) == ids(first)
    assert source.count(MG) == 10
    assert len(server.data_requests) == n_asked
    assert ids(open_source(offline=True).candidates(MG)) == ids(first)


def test_without_a_network_the_cache_does(
    open_source: Opener, server: Server, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(open_source().candidates(MG))
    n_asked = len(server.requests)
    monkeypatch.delenv("MP_API_KEY")
    assert ids(open_source(offline=True).candidates(MG)) == ALL
    assert len(server.requests) == n_asked
    with pytest.raises(UserError, match="nothing in the cache"):
        list(open_source(offline=True).candidates(Query((parse("Ca-*"),), "Ca")))


@pytest.mark.parametrize(
    "fault",
    [
        too_many("0"),
        too_many(),
        Status(500),
        BAD_GATEWAY,
        Status(503),
        Status(504),
        Truncated(),
        Dropped(),
        WEB_PAGE,
        Slow(pause_s=0.001),
    ],
    ids=str,
)
def test_what_passes_costs_nothing(open_source: Opener, server: Server, fault: Any) -> None:
    server.faults.extend([fault, None, fault, fault, None, None, None, fault])
    assert ids(open_source().candidates(MG)) == ALL


def test_what_does_not_pass_ends_the_pull_and_the_next_goes_on(
    open_source: Opener, server: Server
) -> None:
    n_counts = 5
    server.faults.extend([None] * (n_counts + 2) + [Status(503)] * QUICK.tries)
    items = open_source().candidates(MG)
    got = [next(items) for _ in range(8)]
    with pytest.raises(ServerError, match="503"):
        next(items)
    before = len(server.data_requests)
    assert ids(open_source().candidates(MG)) == ALL
    assert ids(got) == ALL[:8]
    assert [one.query["_page"] for one in server.data_requests[before:]] == ["3"]


def test_a_block_says_to_wait_and_garbage_what_was_expected(
    open_source: Opener, server: Server
) -> None:
    server.faults.extend([BLOCKED] * QUICK.tries)
    with pytest.raises(ServerError, match=r"429.*wait"):
        list(open_source().candidates(MG))
    server.faults.append(GARBAGE)
    with pytest.raises(ServerError, match="cannot read"):
        list(open_source().candidates(MG))
    server.heartbeat_faults.append(Status(200, {"error": "Your IP has been blocked"}))
    with pytest.raises(ServerError, match="Your IP has been blocked"):
        list(open_source().candidates(MG))


@pytest.mark.parametrize("answer", [WEB_PAGE, Status(404, {"detail": "Not Found"})], ids=str)
def test_another_server_is_told_from_the_materials_projects(
    open_source: Opener, server: Server, answer: Any
) -> None:
    server.heartbeat_faults.append(answer)
    with pytest.raises(ServerError, match="expected a server of the Materials Project"):
        open_source().version(MG)


def test_a_wrong_key_says_how_to_get_one_and_is_never_shown(
    open_source: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]
) -> None:
    wrong = "not-a-key".ljust(32, "9")
    monkeypatch.setenv("MP_API_KEY", wrong)
    with pytest.raises(UserError, match=r"refuses the key.*materialsproject\.org/api") as raised:
        list(open_source().candidates(MG))
    assert wrong not in str(raised.value)
    monkeypatch.setenv("MP_API_KEY", "short")
    with pytest.raises(UserError, match="5 characters, expected 32") as raised:
        open_source()
    assert "short" not in str(raised.value)
    monkeypatch.delenv("MP_API_KEY")
    with pytest.raises(UserError, match="export MP_API_KEY"):
        open_source()


def test_no_key_is_kept(open_source: Opener, server: Server, tmp_path: Path) -> None:
    list(open_source(electrodes=True).candidates(MG))
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(server.keys[0].encode() in path.read_bytes() for path in kept)


def test_what_the_server_left_out_is_counted(open_source: Opener, server: Server) -> None:
    server.set_documents(
        [
            *documents(3),
            *documents(2, 200, energy_above_hull=0.3),
            *documents(1, 300, energy_above_hull=None),
            *documents(4, 400, deprecated=True),
            summary_document("mp-500", crystal_of("MgAl2O4")),
        ]
    )
    source = open_source()
    small = replace(MG, max_sites=20)
    assert ids(source.candidates(small)) == ALL[:3]
    assert source.left_out(small) == {
        "deprecated": 4,
        "unknown_ehull": 1,
        "above_hull": 2,
        "too_many_sites": 1,
    }
    assert open_source(offline=True).left_out(small) == source.left_out(small)


def test_unknown_energies_are_kept_on_demand(open_source: Opener, server: Server) -> None:
    server.set_documents(
        [
            *documents(2),
            *documents(1, 200, energy_above_hull=0.3),
            summary_document("mp-300", crystal_of("MgAl2O4"), energy_above_hull=None),
        ]
    )
    kept = list(open_source().candidates(replace(MG, unknown_ehull="keep")))
    assert ids(kept) == ["mp-100", "mp-101", "mp-300"]
    assert reasons(kept) == {"mp-200": "above_hull"}


def test_patterns_overlap_without_duplicates(open_source: Opener, server: Server) -> None:
    server.set_documents([*documents(5), summary_document("mp-300", crystal_of("MgAl2O4"))])
    both = replace(MG, patterns=(parse("Mg-?"), parse("Mg-*"), parse("Mg-Al-O")))
    assert sorted(ids(open_source().candidates(both))) == [*ALL[:5], "mp-300"]


def test_filters_that_the_server_has_not_are_applied_here(
    open_source: Opener, server: Server
) -> None:
    from pathways.elements import SYMBOLS

    server.set_documents([*documents(2), summary_document("mp-300", crystal_of("MgAl2O4"))])
    long = tuple(symbol for symbol in SYMBOLS[3:60] if symbol not in ("Mg", "O"))
    found = list(open_source().candidates(replace(MG, exclude=long)))
    assert ids(found) == ALL[:2]
    assert reasons(found) == {"mp-300": "excluded_element"}


def test_documents_that_are_not_whole_cost_a_row(open_source: Opener, server: Server) -> None:
    partial = json.loads(json.dumps(documents(1, 200)[0]))
    partial["structure"]["sites"][0]["species"] = [{"element": "Mg", "occu": 0.5}]
    server.set_documents(
        [
            *documents(2),
            partial,
            {name: value for name, value in documents(1, 300)[0].items() if name != "structure"},
            {
                name: value
                for name, value in summary_document("mp-400", crystal_of("MgAl2O4")).items()
                if name not in ("band_gap", "symmetry", "theoretical", "last_updated")
            },
        ]
    )
    found = list(open_source().candidates(MG))
    assert ids(found) == ["mp-100", "mp-101", "mp-400"]
    assert reasons(found) == {"mp-200": "partial_occupancy", "mp-300": "unreadable"}


def test_gnome_is_asked_for_by_name(
    open_source: Opener, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MP_API_KEY", NONCOMMERCIAL_KEY)
    gnome = summary_document(
        "mp-4000000", crystal_of("MgAl2O4"), license="BY-NC", batch_id="gnome_r2scan_statics"
    )
    server.set_documents([*documents(2), gnome])
    assert ids(open_source().candidates(MG)) == ALL[:2]
    found = list(open_source(include_gnome=True).candidates(MG))
    assert len(ids(found)) == 3
    assert {item.info["license"] for item in found if isinstance(item, Candidate)} == {
        "CC-BY-4.0",
        "CC-BY-NC-4.0",
    }


def test_pages_that_overlap_are_read_again(
    open_source: Opener, server: Server, said: list[str]
) -> None:
    server.faults.extend([None] * 5 + [Reordered(1), Reordered(2), Reordered(3)])
    assert sorted(ids(open_source().candidates(MG))) == ALL
    assert any("do not add up" in word for word in said)


def test_a_list_that_grows_while_it_is_read_is_read_again(
    open_source: Opener, server: Server, said: list[str]
) -> None:
    more = [*documents(10), *documents(10, 90)[:1]]
    server.faults.extend([None] * 7 + [Meanwhile(lambda: server.set_documents(more))])
    found = (
        list(open_source(keep=True).candidates(replace(MG, keep_duplicates=True)))
        if False
        else (list(open_source().candidates(replace(MG, keep_duplicates=True))))
    )
    assert sorted(ids(found)) == sorted([*ALL, "mp-90"])


def test_another_release_needs_refresh(
    open_source: Opener, server: Server, said: list[str]
) -> None:
    list(open_source().candidates(MG))
    server.set_version("2026.4.13")
    server.set_documents(documents(3))
    stale = open_source()
    assert stale.version(MG) == "2026.2.1"
    assert len(ids(stale.candidates(MG))) == 10
    assert any("--refresh" in word for word in said)
    fresh = open_source(refresh=True)
    assert fresh.version(MG) == "2026.4.13"
    assert len(ids(fresh.candidates(MG))) == 3


def test_electrodes_bring_voltage_and_capacity(open_source: Opener, server: Server) -> None:
    server.set_electrodes(
        [
            electrode_document(
                ["mp-7", "mp-101", "mp-100"],
                "Mn2O4",
                "MgMn2O4",
                average_voltage=2.5,
                capacity_grav=200.0,
                capacity_vol=800.0,
            ),
            electrode_document(["mp-8", "mp-101"], "V2O5", "MgV2O5", average_voltage=1.5),
            electrode_document(["mp-9", "mp-102"], "V2O5", "CaV2O5", "Ca"),
        ]
    )
    candidates = {
        item.material_id: item
        for item in open_source(electrodes=True).candidates(MG)
        if isinstance(item, Candidate)
    }
    assert candidates["mp-100"].mechanisms == ("vacancy", "dilute")
    assert candidates["mp-102"].mechanisms == ("vacancy",)
    found = {material_id: item.info for material_id, item in candidates.items()}
    info = found["mp-100"]
    assert (info["voltage_v"], info["capacity_mah_g"], info["capacity_mah_cm3"]) == (2.5, 200, 800)
    assert (info["charged_id"], info["discharged_id"]) == ("mp-7", "mp-100")
    assert info["battery_id"] == "mp-7_Mg"
    assert found["mp-101"]["voltage_v"] == 1.5  # discharged here, on the way there
    assert "voltage_v" not in found["mp-102"]
    plain = next(iter(open_source().candidates(MG)))
    assert isinstance(plain, Candidate)
    assert "voltage_v" not in plain.info
    assert plain.mechanisms == ("vacancy",)


def nearest_a(crystal: Crystal) -> float:
    """Distance of the one Li to the nearest atom, Å."""
    structure = structure_from_crystal(crystal)
    (at,) = structure.indices_from_symbol("Li")
    return float(np.delete(structure.distance_matrix[at], at).min())


def test_charged_electrodes_get_sites_from_their_discharged_crystals(
    open_source: Opener, server: Server
) -> None:
    full = crystal_of("LiTiS2")
    keep = full.numbers != 3
    empty = Crystal(full.lattice * 0.98, full.numbers[keep], full.frac[keep])
    server.set_documents(
        [
            summary_document("mp-7", empty),
            summary_document("mp-8", full, energy_above_hull=0.5),  # shows the sites all the same
            summary_document("mp-9", replace(empty, lattice=full.lattice * 0.97)),
        ]
    )
    server.set_electrodes(
        [
            electrode_document(["mp-7", "mp-8"], "TiS2", "LiTiS2", "Li"),
            electrode_document(["mp-9", "mp-404"], "TiS2", "LiTiS2", "Li"),
        ]
    )
    query = Query((parse("Li-*"),), "Li", sites="electrodes")
    found = list(open_source().candidates(query))
    (host,) = [item for item in found if isinstance(item, Candidate)]
    assert (host.material_id, host.was_empty, host.void_orbits) == ("mp-7", True, 0)
    assert host.info["sites_source"] == "mp-8"
    assert host.info["formula"] == "TiS2"
    assert nearest_a(host.crystal) == pytest.approx(nearest_a(full) * 0.98, abs=1e-3)
    assert reasons(found) == {"mp-9": "no_sites"}
    assert ids(open_source(offline=True).candidates(query)) == ["mp-7"]
    assert not ids(open_source().candidates(replace(query, patterns=(parse("Li-Mn-*"),))))
    assert not ids(open_source().candidates(replace(query, sites=None)))


def test_a_sample_comes_from_all_over_the_list(open_source: Opener, server: Server) -> None:
    source = open_source()
    sample = source.sample(MG, 4)
    assert [one.material_id for one in sample] == ["mp-100", "mp-103", "mp-106", "mp-109"]
    assert not (open_source.folder / "mp").exists()


def test_the_limit_pulls_no_more_than_it_needs(open_source: Opener, server: Server) -> None:
    source = open_source()
    limited = replace(MG, limit=3)
    assert ids(source.candidates(limited)) == ALL[:3]
    assert source.count(limited) == 3
    pages = [one for one in server.data_requests if "structure" in one.query.get("_fields", "")]
    assert len(pages) == 1
