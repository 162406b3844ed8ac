from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from pymatgen.core.composition import Composition

from jobs.records import Candidate, Failure
from pathways.checks import check_crystal
from pathways.convert import structure_from_crystal
from screen.chemsys import parse
from screen.sources import Query
from screen.sources.catalog import Catalog, Entry
from screen.sources.wyckoff import crystal_from_wyckoff, lattice_from_cell

ENTRIES = Catalog().entries


def by_id(entry: Entry) -> str:
    return f"{entry.mp_id}-{entry.formula}"


def test_enough_hosts_of_every_ion() -> None:
    ions = Counter(ion for entry in ENTRIES for ion in entry.ions)
    assert len(ENTRIES) >= 110
    assert ions["Mg"] >= 50
    assert all(ions[ion] >= 10 for ion in ("Li", "Na", "K", "Ca", "Zn"))


def test_the_known_families_are_there() -> None:
    families = {entry.family for entry in ENTRIES}
    assert families >= {
        "argyrodite",
        "chevrel",
        "garnet",
        "layered oxide",
        "layered sulfide",
        "LGPS",
        "maricite",
        "NASICON",
        "olivine",
        "perovskite",
        "post-spinel",
        "selenospinel",
        "silicate",
        "spinel",
        "tavorite",
        "thiospinel",
        "weberite",
    }


def test_ids_are_unique_and_referenced() -> None:
    assert len({entry.mp_id for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert re.fullmatch(r"mp-\d+", entry.mp_id)
        assert f"Materials Project {entry.mp_id}, Jain et al. 2013" in entry.reference
        assert "CC BY 4.0" in entry.reference


@pytest.mark.parametrize("entry", ENTRIES, ids=by_id)
def test_entry_is_a_sound_crystal(entry: Entry) -> None:
    # Building it already checks each orbit against the multiplicity of its Wyckoff position.
    crystal = entry.crystal()
    for ion in entry.ions:
        check_crystal(crystal, ion)
    structure = structure_from_crystal(crystal)
    assert structure.reduced_formula == entry.formula
    distances = structure.distance_matrix
    np.fill_diagonal(distances, np.inf)
    limit_a = 0.7 if "H" in structure.symbol_set else 1.1
    assert distances.min() > limit_a
    assert np.linalg.det(crystal.lattice) > 0
    multiplicities = Counter[str]()
    for element, position, *_ in entry.sites:
        multiplicities[element] += int(position[:-1])
    assert Composition(multiplicities).reduced_formula == entry.formula
    assert sum(multiplicities.values()) % len(crystal) == 0


@pytest.mark.parametrize("entry", ENTRIES, ids=by_id)
def test_symmetry_is_the_one_stated(entry: Entry) -> None:
    import spglib

    crystal = entry.crystal()
    dataset = spglib.get_symmetry_dataset(
        (crystal.lattice, crystal.frac, crystal.numbers), symprec=1e-3
    )
    assert dataset is not None
    assert (dataset.number, dataset.international) == (entry.number, entry.space_group)
    assert spglib.get_spacegroup_type(entry.hall_number).number == entry.number
    assert len(set(dataset.mapping_to_primitive)) == len(crystal)


def test_every_entry_is_its_materials_project_structure(data_dir: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(
        data_dir / "mp_snapshot.parquet",
        columns=["material_id", "structure"],
        filters=[("material_id", "in", [entry.mp_id for entry in ENTRIES])],
    )
    known = {row["material_id"]: json.loads(row["structure"]) for row in table.to_pylist()}
    matcher = StructureMatcher(ltol=0.02, stol=0.03, angle_tol=1, primitive_cell=True)
    wrong = []
    for entry in ENTRIES:
        stored = known[entry.mp_id]
        structure = Structure(stored["lattice"], stored["species"], stored["frac"])
        if not matcher.fit(structure, structure_from_crystal(entry.crystal())):
            wrong.append(by_id(entry))
    assert wrong == []


def test_the_whole_catalog_is_built_in_no_time() -> None:
    start = time.process_time()
    crystals = [entry.crystal() for entry in Catalog().entries]
    assert time.process_time() - start < 6
    assert sum(len(crystal) <= 60 for crystal in crystals) > 0.9 * len(crystals)


def test_candidates_of_a_pattern() -> None:
    query = Query((parse("Mg-*"),), "Mg")
    items = list(Catalog().candidates(query))
    candidates = [item for item in items if isinstance(item, Candidate)]
    assert len(candidates) == len(items) == Catalog().count(query) >= 50
    assert all(candidate.ion == "Mg" for candidate in candidates)
    first = candidates[0]
    assert first.material_id == ENTRIES[0].mp_id
    assert first.info["source"] == "catalog"
    assert first.info["source_version"] == Catalog().version()
    assert first.info["license"] == "CC-BY-4.0"
    assert first.info["url"].endswith(first.material_id)
    assert first.info["chemsys"] == "Mg-Mn-O"
    assert first.info["nsites"] == len(first.crystal)
    stored = json.loads(first.info["structure_json"])
    np.testing.assert_allclose(stored["frac"], first.crystal.frac, atol=1e-6)


def test_patterns_limits_and_filters() -> None:
    catalog = Catalog()
    spinel = Query((parse("Mg-Cr-O"),), "Mg", limit=1)
    assert [item.material_id for item in catalog.candidates(spinel)] == ["mp-19202"]
    narrow = Query((parse("Mg-Cr-O"),), "Mg", max_sites=14)
    failures = [item for item in catalog.candidates(narrow) if isinstance(item, Failure)]
    assert [(f.stage, f.reason) for f in failures] == [("filter", "too_many_sites")]
    assert list(catalog.candidates(Query((parse("Al-?"),), "Al"))) == []
    everything = Query((), "Li")
    assert all(isinstance(item, Candidate) for item in catalog.candidates(everything))


def test_rounded_special_positions_become_exact() -> None:
    cell = (4.0, 4.0, 6.0, 90.0, 90.0, 120.0)
    crystal = crystal_from_wyckoff(cell, [("Mg", "2d", 0.33333, 0.66667, 0.25)], "P", 488)
    np.testing.assert_allclose(np.sort(crystal.frac[:, 0]), [1 / 3, 2 / 3], atol=1e-12)


def test_a_wrong_multiplicity_is_refused() -> None:
    with pytest.raises(ValueError, match="has multiplicity 4, expected 8a"):
        crystal_from_wyckoff((4, 4, 4, 90, 90, 90), [("Mg", "8a", 0, 0, 0)], "F", 523)


def test_lattice_from_cell_keeps_lengths_and_angles() -> None:
    lattice = lattice_from_cell((3.0, 4.0, 5.0, 80.0, 95.0, 110.0))
    lengths = np.linalg.norm(lattice, axis=1)
    np.testing.assert_allclose(lengths, [3, 4, 5])
    cosines = (lattice @ lattice.T) / np.outer(lengths, lengths)
    np.testing.assert_allclose(
        np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]])), [80, 95, 110]
    )
