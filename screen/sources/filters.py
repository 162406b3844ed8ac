"""The filters that look at one crystal by itself, in order, the cheap ones first.

Each rejection is a failure row of the stage ``filter`` with its reason, so that ``funnel`` counts
it. Crystals that no hop could be computed for (disordered, not periodic) are refused on reading.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from screen.chemsys import MOBILE_IONS
from screen.sources.base import Query

NOBLE_GASES = frozenset({"He", "Ne", "Ar", "Kr", "Xe", "Rn"})

Rejection = tuple[str, str]
"""Reason and detail."""


def reject(amounts: Mapping[str, int], info: Mapping[str, Any], query: Query) -> Rejection | None:
    """Why a crystal is no candidate, or None when it is one.

    Args:
        amounts: Atoms per element in the cell.
        info: What the source knows of the material; what it does not know is absent.
        query: What is asked for.
    """
    return (
        _status(amounts, info, query)
        or _energy_above_hull(info, query)
        or _size(amounts, query)
        or _elements(amounts, query)
        or _charges(amounts, info, query)
        or _band_gap(info, query)
    )


def _status(amounts: Mapping[str, int], info: Mapping[str, Any], query: Query) -> Rejection | None:
    if info.get("deprecated") is True:
        return "deprecated", "the source has withdrawn it"
    if query.ion not in amounts and query.sites is None:
        found = "-".join(sorted(amounts))
        return "no_mobile_ion", f"{found} holds no {query.ion}; --sites finds places for it"
    if info.get("theoretical") is True and not query.theoretical:
        return "theoretical", "known from computation only, and these are left out"
    return None


def _energy_above_hull(info: Mapping[str, Any], query: Query) -> Rejection | None:
    if query.max_ehull_ev is None:
        return None
    ehull_ev = info.get("energy_above_hull_ev")
    if ehull_ev is None:
        if query.unknown_ehull == "reject":
            return "unknown_ehull", "the source knows no energy above the hull"
        return None
    if ehull_ev > query.max_ehull_ev:
        found = f"{ehull_ev:.3f} eV/atom above the hull"
        return "above_hull", f"{found}, at most {query.max_ehull_ev:g} asked for"
    return None


def _size(amounts: Mapping[str, int], query: Query) -> Rejection | None:
    n_sites = sum(amounts.values())
    if n_sites > query.max_sites:
        return "too_many_sites", f"{n_sites} sites, at most {query.max_sites} asked for"
    return None


def _elements(amounts: Mapping[str, int], query: Query) -> Rejection | None:
    for element in amounts:
        if element in query.exclude:
            return "excluded_element", f"{element} is excluded"
        if element in NOBLE_GASES:
            return "noble_gas", f"{element} is a noble gas"
        if not query.radioactive and is_radioactive(element):
            return "radioactive", f"{element} is radioactive; --radioactive takes it"
    if not query.other_mobile_ions:
        others = sorted(set(MOBILE_IONS) & set(amounts) - {query.ion})
        if others:
            return "other_mobile_ion", f"{', '.join(others)} may move besides {query.ion}"
    return None


def _charges(amounts: Mapping[str, int], info: Mapping[str, Any], query: Query) -> Rejection | None:
    if not query.charge_balanced or info.get("possible_species"):
        return None
    if can_be_neutral(amounts):
        return None
    formula = "".join(f"{element}{n}" for element, n in amounts.items())
    return "not_charge_balanced", f"no common oxidation states of {formula} add up to zero"


def _band_gap(info: Mapping[str, Any], query: Query) -> Rejection | None:
    if query.band_gap_min_ev is None:
        return None
    band_gap_ev = info.get("band_gap_ev")
    if band_gap_ev is None:
        return (
            "unknown_band_gap",
            f"the source knows no gap, {query.band_gap_min_ev:g} eV asked for",
        )
    if band_gap_ev < query.band_gap_min_ev:
        return "band_gap", f"gap {band_gap_ev:.2f} eV, at least {query.band_gap_min_ev:g} asked for"
    return None


@cache
def is_radioactive(element: str) -> bool:
    """Whether an element has no stable isotope, bismuth aside."""
    from pymatgen.core.periodic_table import Element

    return bool(Element(element).is_radioactive)


def can_be_neutral(amounts: Mapping[str, int]) -> bool:
    """Whether the atoms can be given common oxidation states, each its own, that add up to zero.

    The states are pymatgen's ``common_oxidation_states``.

    Args:
        amounts: Atoms per element in the cell.
    """
    totals = {0}
    for element, n_atoms in amounts.items():
        states = _oxidation_states(element)
        if not states:
            return False
        totals = {total + own for total in totals for own in _sums(states, n_atoms)}
    return 0 in totals


@cache
def _oxidation_states(element: str) -> tuple[int, ...]:
    from pymatgen.core.periodic_table import Element

    return tuple(int(state) for state in Element(element).common_oxidation_states)


@cache
def _sums(states: Collection[int], n_atoms: int) -> frozenset[int]:
    """Every sum of ``n_atoms`` states."""
    sums = {0}
    for _ in range(n_atoms):
        sums = {total + state for total in sums for state in states}
    return frozenset(sums)
