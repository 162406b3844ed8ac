"""Pymatgen's dicts, read without pymatgen: the same crystals and refusals as through it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pymatgen.core import DummySpecies, Lattice, Molecule, Species, Structure

from pathways.convert import crystal_from_structure, structure_from_crystal
from pathways.types import Crystal, PathwayError
from screen.sources.catalog import Catalog
from screen.sources.structure_json import crystal_from_json


def through_pymatgen(value: dict[str, Any]) -> Crystal:
    return crystal_from_structure(Structure.from_dict(copy.deepcopy(value)))


def rock_salt() -> Structure:
    faces = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    frac = np.concatenate([faces, faces + np.array([0.5, 0, 0])])
    return Structure(Lattice.cubic(4.21), ["Mg"] * 4 + ["O"] * 4, frac)


def decorated(structure: Structure) -> Structure:
    out = structure.copy()
    out.add_oxidation_state_by_element({str(el): 1 for el in structure.composition.elements})
    out.add_spin_by_site([0.5] * len(out))
    out.add_site_property("magmom", [1.5] * len(out))
    return out


def changed(**by_site: Any) -> Callable[[], dict[str, Any]]:
    """Rock salt's dict with its first site changed."""

    def make() -> dict[str, Any]:
        value: dict[str, Any] = rock_salt().as_dict()
        value["sites"][0].update(by_site)
        return value

    return make


def without(*keys: str | int) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        value: dict[str, Any] = rock_salt().as_dict()
        part: Any = value
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]
        return value

    return make


@pytest.mark.parametrize("verbosity", [0, 1])
def test_real_structures_are_the_same_as_through_pymatgen(verbosity: int) -> None:
    entries = Catalog().entries[:40]
    assert len(entries) == 40
    for entry in entries:
        plain = structure_from_crystal(entry.crystal())
        for structure in (plain, decorated(plain)):
            value = json.loads(json.dumps(structure.as_dict(verbosity=verbosity)))
            expected, found = through_pymatgen(value), crystal_from_json(value)
            np.testing.assert_array_equal(found.lattice, expected.lattice)
            np.testing.assert_array_equal(found.numbers, expected.numbers)
            np.testing.assert_array_equal(found.frac, expected.frac)


def test_a_plain_structure_needs_no_pymatgen(monkeypatch: pytest.MonkeyPatch) -> None:
    value = decorated(rock_salt()).as_dict()

    def refuse(*args: object) -> None:
        raise AssertionError("built a Structure")

    monkeypatch.setattr(Structure, "from_dict", refuse)
    assert len(crystal_from_json(value)) == 8


@pytest.mark.parametrize(
    "make",
    [
        changed(species=[{"element": "Mg", "occu": 1}, {"element": "Ca", "occu": 0}]),
        changed(species=[{"element": "D", "occu": 1}]),
        changed(species=[{"element": "Mg", "occu": 1.0, "oxidation_state": None}]),
        changed(abc=["0.25", "0.5", "0.75"]),
        without("lattice", "matrix"),
        without("lattice", "pbc"),
        without("charge"),
        without("sites", 0, "label"),
    ],
)
def test_unusual_dicts_are_the_same_as_through_pymatgen(
    make: Callable[[], dict[str, Any]],
) -> None:
    expected, found = through_pymatgen(make()), crystal_from_json(make())
    np.testing.assert_array_equal(found.lattice, expected.lattice)
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_array_equal(found.frac, expected.frac)


def disordered(**species: float) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        structure = rock_salt()
        structure[3] = species
        value: dict[str, Any] = structure.as_dict()
        return value

    return make


def dummy() -> dict[str, Any]:
    structure = rock_salt()
    structure[0] = DummySpecies("X", 2)
    value: dict[str, Any] = structure.as_dict()
    return value


@pytest.mark.parametrize(
    "make", [disordered(Mg=0.5, Ca=0.5), disordered(Mg=0.9), disordered(Mg=1 - 1e-6), dummy]
)
def test_refusals_are_those_of_pymatgen_structures(make: Callable[[], dict[str, Any]]) -> None:
    with pytest.raises(PathwayError) as expected:
        through_pymatgen(make())
    with pytest.raises(PathwayError) as found:
        crystal_from_json(make())
    assert str(found.value) == str(expected.value)
    assert found.value.reason in ("partial_occupancy", "unknown_element")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Molecule(["C", "O"], [[0, 0, 0], [0, 0, 1.1]]).as_dict(),
        lambda: {**rock_salt().as_dict(), "sites": []},
        lambda: {**rock_salt().as_dict(), "sites": None},
        lambda: {**rock_salt().as_dict(), "sites": ["Mg"]},
        lambda: {**rock_salt().as_dict(), "lattice": None},
        lambda: {**rock_salt().as_dict(), "lattice": {"matrix": [[1, 2], [3]]}},
        without("lattice"),
        without("sites", 0, "species"),
        without("sites", 0, "abc"),
        without("sites", 0, "species", 0, "occu"),
        changed(species=[]),
        changed(species=[{"element": "Qq", "occu": 1}]),
        changed(species={"Mg": 1}),
        changed(species=[{"element": ["Mg"], "occu": 1}]),
        changed(species=[{"element": "Mg", "occu": 2}]),
        changed(abc=[0.5, 0.5]),
        changed(abc=[10**400, 0, 0]),
    ],
)
def test_what_is_no_structure_is_unreadable(make: Callable[[], dict[str, Any]]) -> None:
    with pytest.raises(PathwayError) as caught:
        crystal_from_json(make())
    assert caught.value.reason in ("unreadable", "partial_occupancy")
    with pytest.raises(Exception):  # noqa: B017, PT011 - pymatgen raises whatever its parts raise
        through_pymatgen(make())


@pytest.mark.parametrize("abc", [[float("nan"), 0, 0], [float("inf"), 0, 0], [None, 0, 0]])
def test_values_that_are_not_finite_are_refused(abc: list[Any]) -> None:
    with pytest.raises(PathwayError) as caught:
        crystal_from_json(changed(abc=abc)())
    assert caught.value.reason == "non_finite"


def test_a_slab_is_no_crystal() -> None:
    lattice = Lattice(np.eye(3) * 4, pbc=(True, True, False))
    value = Structure(lattice, [Species("Mg", 2)], [[0, 0, 0]]).as_dict()
    with pytest.raises(PathwayError) as caught:
        crystal_from_json(value)
    assert caught.value.reason == "not_periodic"


def test_properties_are_not_decoded() -> None:
    """To decode them would import and call what they name."""
    bait = {"@module": "this.module.is.not.there", "@class": "Bait"}
    for species in ([{"element": "Mg", "occu": 1}], [{"element": "D", "occu": 1}]):
        value = changed(species=species, properties={"bait": bait})()
        assert len(crystal_from_json(value)) == 8
