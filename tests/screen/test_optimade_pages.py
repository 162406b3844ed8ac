from __future__ import annotations

import gzip
import json
import pickle
from typing import Any

import numpy as np
import pytest

from jobs.records import Candidate, Failure
from pathways.types import PathwayError
from screen.chemsys import parse
from screen.sources.base import Query
from screen.sources.optimade_pages import Parser, crystal_from_attributes
from screen.sources.optimade_providers import PROVIDERS, Provider, find_provider
from tests.small_crystals import crystal_of
from tests.standins.optimade import species, structure_entry

MG = Query((), "Mg")
SOME = Provider("some", "https://example.org/optimade", "some database")


def attributes(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = structure_entry("1", crystal_of("MgAl2O4"), **changes)["attributes"]
    return found


def parsed(
    *entries: Any, provider: Provider = SOME, query: Query = MG
) -> list[tuple[str, Candidate | Failure | None]]:
    packed = gzip.compress(json.dumps({"data": entries}).encode())
    parser = Parser(provider, query, "pulled 2026-11-21")
    found = pickle.loads(pickle.dumps(parser))(packed)  # as on its way to a worker
    return [(identifier, one.item if one is not None else None) for identifier, one in found]


def candidate(entry: Any, provider: Provider = SOME) -> Candidate:
    ((_, item),) = parsed(entry, provider=provider)
    assert isinstance(item, Candidate), item
    return item


@pytest.mark.parametrize("name", ["LiCoO2", "MgAl2O4", "LiFePO4", "MgO"])
def test_a_crystal_comes_back_as_it_was_with_its_atoms_in_order(name: str) -> None:
    crystal = crystal_of(name)
    found = crystal_from_attributes(structure_entry("1", crystal)["attributes"])
    assert found.numbers.tolist() == crystal.numbers.tolist()
    np.testing.assert_allclose(found.lattice, crystal.lattice)
    shift = found.frac - crystal.frac
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-12)
    assert found.frac.min() >= 0
    assert found.frac.max() < 1


def test_atoms_are_wrapped_into_the_cell() -> None:
    there = attributes()
    vectors = np.array(there["lattice_vectors"])
    moved = np.array(there["cartesian_site_positions"]) - 3 * vectors[0] + 2 * vectors[2] - 1e-17
    found = crystal_from_attributes(there | {"cartesian_site_positions": moved.tolist()})
    shift = found.frac - crystal_of("MgAl2O4").frac
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-12)
    assert found.frac.min() >= 0
    assert found.frac.max() < 1


def test_species_go_by_name_not_by_place() -> None:
    """As many species as sites, in another order: rock salt with two atoms."""
    rock_salt = {
        "lattice_vectors": [[0, 2.1, 2.1], [2.1, 0, 2.1], [2.1, 2.1, 0]],
        "cartesian_site_positions": [[0, 0, 0], [2.1, 2.1, 2.1]],
        "species": [
            {"name": "anion", "chemical_symbols": ["O"], "concentration": [1]},
            {"name": "cation", "chemical_symbols": ["Mg"], "concentration": [0.9999999]},
        ],
        "species_at_sites": ["cation", "anion"],
    }
    assert crystal_from_attributes(rock_salt).numbers.tolist() == [12, 8]


def test_species_that_are_left_out_are_the_elements_of_their_names() -> None:
    for nothing in (None, []):
        found = crystal_from_attributes(attributes(species=nothing))
        assert found.numbers.tolist() == crystal_of("MgAl2O4").numbers.tolist()
    with pytest.raises(PathwayError, match="unknown_element"):
        crystal_from_attributes(attributes(species=None, species_at_sites=["M1"] * 56))


ORDERED = [species("Al"), species("O")]
BAD: list[tuple[str, dict[str, Any]]] = [
    ("not_periodic", {"dimension_types": [1, 1, 0]}),
    ("not_periodic", {"nperiodic_dimensions": 2}),
    ("not_periodic", {"lattice_vectors": None}),
    ("not_periodic", {"lattice_vectors": [[8, 0, 0], [0, 8, 0], [None, None, None]]}),
    ("bad_shape", {"lattice_vectors": []}),
    ("bad_shape", {"lattice_vectors": [[8, 0, 0], [0, 8], [0, 0, 8]]}),
    ("bad_shape", {"cartesian_site_positions": [[0, 0, 0]]}),
    ("bad_shape", {"cartesian_site_positions": None}),
    ("bad_shape", {"cartesian_site_positions": [["a", 0, 0]] * 56}),
    ("bad_shape", {"species_at_sites": []}),
    ("bad_shape", {"species_at_sites": [12] * 56}),
    ("bad_shape", {"species": ORDERED}),
    ("bad_shape", {"species": [*ORDERED, species("Mg"), species("Mg")]}),
    ("bad_shape", {"species": [*ORDERED, {"name": "Mg"}]}),
    ("bad_shape", {"species": [*ORDERED, {**species("Mg"), "concentration": [0.5, 0.5]}]}),
    ("bad_shape", {"species": {"Mg": 1}}),
    ("non_finite", {"lattice_vectors": [[8, 0, 0], [0, 8, 0], [0, 0, float("nan")]]}),
    ("non_finite", {"cartesian_site_positions": [[0, 0, float("inf")]] * 56}),
    ("singular_cell", {"lattice_vectors": [[8, 0, 0], [0, 8, 0], [8, 8, 0]]}),
    ("singular_cell", {"lattice_vectors": [[8, 0, 0], [0, 8, 0], [0, 0, 0]]}),
    ("partial_occupancy", {"species": [*ORDERED, species("Mg", Mg=0.5, Zn=0.5)]}),
    ("partial_occupancy", {"species": [*ORDERED, species("Mg", Mg=0.9)]}),
    ("partial_occupancy", {"species": [*ORDERED, species("Mg", Mg=0.9, vacancy=0.1)]}),
    ("partial_occupancy", {"species": [*ORDERED, species("Mg", vacancy=1.0)]}),
    ("partial_occupancy", {"structure_features": ["disorder"]}),
    ("partial_occupancy", {"structure_features": ["assemblies"]}),
    ("unknown_element", {"species": [*ORDERED, species("Mg", X=1.0)]}),
    ("attached_atoms", {"species": [*ORDERED, {**species("Mg"), "attached": ["H"]}]}),
    ("attached_atoms", {"structure_features": ["site_attachments"]}),
    ("implicit_atoms", {"structure_features": ["implicit_atoms"]}),
]


@pytest.mark.parametrize(
    ("reason", "changes"), BAD, ids=[f"{r}-{n}" for n, (r, _) in enumerate(BAD)]
)
def test_what_is_no_crystal_is_one_row_with_its_reason(
    reason: str, changes: dict[str, Any]
) -> None:
    good = structure_entry("good", crystal_of("MgO"))
    bad = structure_entry("bad", crystal_of("MgAl2O4"), **changes)
    (_, failure), (_, item) = parsed(bad, good)
    assert isinstance(item, Candidate)
    assert isinstance(failure, Failure)
    assert (failure.material_id, failure.stage, failure.reason) == ("some/bad", "source", reason)
    assert failure.detail
    assert "\n" not in failure.detail


def test_a_species_that_no_site_has_does_no_harm() -> None:
    entry = structure_entry("1", crystal_of("MgO"))
    entry["attributes"]["species"].append(species("Zn", Zn=0.5, vacancy=0.5))
    assert candidate(entry).info["chemsys"] == "Mg-O"


def test_what_is_no_entry_is_one_row_each() -> None:
    good = structure_entry("good", crystal_of("MgO"))
    nameless = {**good, "id": None}
    found = parsed({"id": "1"}, {"id": "2", "attributes": None}, "text", nameless, 7, good)
    failures = [item for _, item in found if isinstance(item, Failure)]
    assert [failure.reason for failure in failures] == ["unreadable"] * 5
    assert len({failure.material_id for failure in failures}) == 5
    assert isinstance(found[-1][1], Candidate)


def test_other_systems_are_passed_over_even_if_they_are_broken() -> None:
    query = Query((parse("Mg-O"),), "Mg")
    broken = structure_entry("1", crystal_of("LiCoO2"), lattice_vectors=None)
    # OQMD writes elements as one text; the crystal itself tells.
    unclear = structure_entry("2", crystal_of("LiCoO2"), elements="Co,Li,O")
    asked = structure_entry("3", crystal_of("MgO"))
    found = parsed(broken, unclear, asked, query=query)
    assert [type(item).__name__ for _, item in found] == ["NoneType", "NoneType", "Candidate"]


def test_what_is_known_of_a_material() -> None:
    oqmd = find_provider("oqmd")
    entry = structure_entry(
        4815213,
        crystal_of("MgAl2O4"),
        elements="Al,Mg,O",
        species=[],
        _oqmd_stability=-0.02,
        _oqmd_band_gap=5.1,
        _oqmd_entry_id=675180,
    )
    found = candidate(entry, oqmd)
    assert found.material_id == "oqmd/4815213"
    assert {key: value for key, value in found.info.items() if key != "structure_json"} == {
        "source": "optimade:oqmd",
        "source_version": "pulled 2026-11-21",
        "source_id": "4815213",
        "formula": "MgAl2O4",
        "chemsys": "Al-Mg-O",
        "nsites": 56,
        "energy_above_hull_ev": 0.0,
        "band_gap_ev": 5.1,
        "last_updated": "2026-02-03T04:05:06Z",
        "license": "CC-BY-4.0",
        "attribution": oqmd.attribution,
        "url": "https://oqmd.org/materials/entry/675180",
    }


def test_the_materials_project_calls_a_material_alike_in_both_sources() -> None:
    mp = find_provider("mp")
    stability = {
        "gga_gga+u": {"energy_above_hull": 0.05},
        "gga_gga+u_r2scan": {"energy_above_hull": 0.03},
    }
    for identifier in ("mp-1265", "mp-aaaaabwr"):
        found = candidate(
            structure_entry(identifier, crystal_of("MgO"), _mp_stability=stability), mp
        )
        assert found.material_id == "mp-1265"
        assert found.info["energy_above_hull_ev"] == 0.03
        assert found.info["url"] == "https://next-gen.materialsproject.org/materials/mp-1265"
    older = {"gga_gga+u": {"energy_above_hull": 0.05}}
    entry = structure_entry("mp-1", crystal_of("MgO"), _mp_stability=older)
    assert candidate(entry, mp).info["energy_above_hull_ev"] == 0.05


@pytest.mark.parametrize("value", [None, -99999, -99999.0, "na", True, float("nan")])
def test_marks_for_what_was_not_computed_are_no_energies(value: object) -> None:
    entry = structure_entry("JVASP-1", crystal_of("MgO"), _jarvis_ehull=value)
    assert "energy_above_hull_ev" not in candidate(entry, find_provider("jarvis")).info


def test_ids_cannot_be_taken_for_parts_of_a_hops_id() -> None:
    aflow = find_provider("aflow")
    ids = ["aflow:0123", "aflow%3A0123", "aflow_0123"]
    found = [aflow.material_id(identifier) for identifier in ids]
    assert all(":" not in material_id for material_id in found)
    assert len(set(found)) == len(ids)
    entry = structure_entry("aflow:0123", crystal_of("MgO"))
    assert candidate(entry, aflow).info["source_id"] == "aflow:0123"


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_every_provider_is_found_by_name_and_by_url(provider: Provider) -> None:
    assert find_provider(provider.name) is provider
    for end in ("", "/", "/v1", "/v1/structures"):
        assert find_provider(provider.base_url + end) is provider
    assert candidate(structure_entry("1", crystal_of("MgO")), provider).info["url"]
