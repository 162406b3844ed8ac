"""Filters: their order, their reasons, and what is not known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from pymatgen.core import Composition

from jobs.records import Candidate, Failure
from screen.chemsys import parse
from screen.errors import UserError
from screen.sources.base import Query
from screen.sources.filters import can_be_neutral, is_radioactive, reject
from screen.sources.selection import admit, examine
from tests.small_crystals import crystal_of

MG = Query((parse("Mg-*"),), "Mg")
SPINEL = {"Mg": 2, "Al": 4, "O": 8}


def reason(amounts: dict[str, int], query: Query = MG, **info: Any) -> str | None:
    rejection = reject(amounts, info, query)
    return rejection[0] if rejection else None


def test_a_plain_crystal_passes() -> None:
    assert reason(SPINEL) is None
    assert reason(SPINEL, energy_above_hull_ev=0.1, band_gap_ev=0.0) is None


@pytest.mark.parametrize(
    ("expected", "amounts", "change", "info"),
    [
        ("deprecated", SPINEL, {}, {"deprecated": True}),
        ("no_mobile_ion", {"Ca": 1, "O": 1}, {}, {}),
        ("theoretical", SPINEL, {"theoretical": False}, {"theoretical": True}),
        ("above_hull", SPINEL, {}, {"energy_above_hull_ev": 0.101}),
        ("unknown_ehull", SPINEL, {"unknown_ehull": "reject"}, {}),
        ("too_many_sites", {"Mg": 100, "O": 101}, {}, {}),
        ("excluded_element", SPINEL, {"exclude": ("Al",)}, {}),
        ("noble_gas", {"Mg": 1, "Xe": 1}, {}, {}),
        ("radioactive", {"Mg": 1, "U": 1, "O": 4}, {}, {}),
        ("other_mobile_ion", SPINEL, {"other_mobile_ions": False}, {}),
        ("not_charge_balanced", {"Mg": 17, "Cu": 12}, {"charge_balanced": True}, {}),
        ("unknown_band_gap", SPINEL, {"band_gap_min_ev": 1.0}, {}),
        ("band_gap", SPINEL, {"band_gap_min_ev": 1.0}, {"band_gap_ev": 0.99}),
    ],
)
def test_each_filter_has_its_reason_and_can_be_opened(
    expected: str, amounts: dict[str, int], change: dict[str, Any], info: dict[str, Any]
) -> None:
    assert reason(amounts, replace(MG, **change), **info) == expected
    detail = reject(amounts, info, replace(MG, **change))
    assert detail is not None
    assert "\n" not in detail[1]


def test_what_is_switched_off_lets_pass() -> None:
    assert reason({"Mg": 1, "U": 1, "O": 4}, replace(MG, radioactive=True)) is None
    assert reason(SPINEL, replace(MG, max_ehull_ev=None), energy_above_hull_ev=3.0) is None
    assert reason(SPINEL, replace(MG, unknown_ehull="keep")) is None
    no_other = replace(MG, other_mobile_ions=False)
    assert reason({"Mg": 1, "O": 1}, no_other) is None


def test_the_cheap_filter_comes_first() -> None:
    all_wrong = replace(MG, exclude=("O",), max_sites=1, band_gap_min_ev=5.0)
    info = {"deprecated": True, "energy_above_hull_ev": 9.0, "band_gap_ev": 0.0}
    seen = []
    steps: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({}, {"deprecated": False}),
        ({}, {"energy_above_hull_ev": 0.0}),
        ({"max_sites": 200}, {}),
        ({"exclude": ()}, {}),
        ({}, {"band_gap_ev": 6.0}),
    ]
    for change, known in steps:
        all_wrong, info = replace(all_wrong, **change), info | known
        seen.append(reason({"Mg": 1, "O": 1}, all_wrong, **info))
    in_order = ["deprecated", "above_hull", "too_many_sites", "excluded_element", "band_gap", None]
    assert seen == in_order


@pytest.mark.parametrize(
    ("formula", "neutral"),
    [
        ("MgAl2O4", True),
        ("Fe3O4", True),
        ("NH4NO3", True),
        ("MgMn2O4", True),
        ("LiO9", False),
        ("MgCu2", False),
        ("NaCl2", False),
        ("Mg2Si", True),
    ],
)
def test_charge_balance_lets_every_atom_have_its_own_state(formula: str, neutral: bool) -> None:
    amounts = {str(el): int(n) for el, n in Composition(formula).get_el_amt_dict().items()}
    assert can_be_neutral(amounts) is neutral
    tripled = {element: 3 * n for element, n in amounts.items()}
    assert can_be_neutral(tripled) or not neutral


def test_charge_balance_agrees_with_pymatgen() -> None:
    """With the common states of both, on formulas small enough for its search."""
    for formula in ("MgO", "MgTi2S4", "Mg3Bi2", "MgMn2O4", "KCl3", "V2O5", "CaF3", "Li3PO4"):
        composition = Composition(formula)
        amounts = {str(el): int(n) for el, n in composition.get_el_amt_dict().items()}
        states = {
            el: list(composition.elements[i].common_oxidation_states)
            for i, el in enumerate(amounts)
        }
        guessed = composition.oxi_state_guesses(oxi_states_override=states)
        assert can_be_neutral(amounts) is bool(guessed), formula


def test_what_the_source_knows_of_charges_is_believed() -> None:
    strict = replace(MG, charge_balanced=True)
    assert reason({"Mg": 17, "Cu": 12}, strict, possible_species=["Mg2+", "Cu+"]) is None


def test_radioactive_elements_are_those_without_a_stable_isotope() -> None:
    assert [
        el for el in ("Tc", "Pm", "Po", "Th", "U", "Pb", "Bi", "Mg", "La") if is_radioactive(el)
    ] == ["Tc", "Pm", "Po", "Th", "U"]


def test_one_crystal_under_two_ids_is_taken_once() -> None:
    crystal = crystal_of("MgAl2O4")
    found = [examine(name, crystal, {}, MG) for name in ("a", "b", "c")]
    items = list(admit(found, MG))
    assert [type(item) for item in items] == [Candidate, Failure, Failure]
    assert {item.reason for item in items if isinstance(item, Failure)} == {"duplicate_structure"}
    assert all("same crystal as a" in item.detail for item in items if isinstance(item, Failure))
    both = replace(MG, keep_duplicates=True)
    kept = admit([examine(name, crystal, {}, both) for name in ("a", "b", "c")], both)
    assert Counter(type(item) for item in kept) == {Candidate: 3}


def test_the_limit_counts_candidates_only() -> None:
    limited = replace(MG, limit=1)
    found = [
        examine("high", crystal_of("MgO"), {"energy_above_hull_ev": 1.0}, limited),
        examine("a", crystal_of("MgO"), {}, limited),
        examine("b", crystal_of("MgAl2O4"), {}, limited),
    ]
    assert [item.material_id for item in admit(found, limited)] == ["high", "a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exclude": ("Mg",)}, "excludes the ion itself"),
        ({"exclude": ("Xx",)}, "no element"),
        ({"band_gap_min_ev": -1.0}, "--band-gap-min"),
        ({"unknown_ehull": "drop"}, "--unknown-ehull"),
    ],
)
def test_filters_that_can_never_work_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(MG, **change)
