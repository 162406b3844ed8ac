"""Oxidation states of a crystal's atoms, guessed in bounded time, with the guess's source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

from pathways.convert import structure_from_crystal
from pathways.elements import SYMBOLS
from pathways.types import Band, Crystal, FloatArray, IntArray

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SITES = 60
"""Larger cells are not tried by bond valence: the search grows fast with the sites."""
MAX_ASSIGNMENTS = 3_000
"""Formulas with more ways of giving charges to their atoms are balanced, not searched."""

_MAX_PERMUTATIONS = 1000
_SYMPREC_A = 0.1
# Half-reduced anions are what the search makes of frameworks that were emptied of their cations.
_UNLIKELY = ["O-", "S-", "Se-", "Te-", "N-", "N2-"]
_HARD_ANIONS = {"O", "F"}
_SOFT_ANIONS = {"S", "Se", "Te", "Cl", "Br", "I", "N"}
_HIGHEST = 7.0

Formula = tuple[tuple[int, int], ...]
"""Atomic numbers and counts without a common divisor, in order."""


@dataclass(frozen=True, eq=False)
class Oxidation:
    """Charges of the atoms of one crystal."""

    numbers: IntArray
    """(n,), atomic numbers."""
    charges: FloatArray
    """(n,), units of e; all zero where the source is ``none``."""
    source: str
    """``bond_valence`` (site by site, pymatgen's BVAnalyzer), ``composition`` (each element's mean
    in the likeliest assignment that is neutral and has usual anions) or ``none``."""

    @cached_property
    def by_element(self) -> dict[int, float]:
        """Mean charge of each element, by atomic number."""
        elements = np.unique(self.numbers)
        return {int(z): float(self.charges[self.numbers == z].mean()) for z in elements}

    def mean_charges(self, numbers: IntArray) -> FloatArray:
        """(m,) mean charge of each atom's element, zero for elements that are not here."""
        return _looked_up(self.by_element, numbers)


def oxidation_states(crystal: Crystal) -> Oxidation:
    """Charges of all atoms: from bond lengths where the cell is small, else from composition.

    Milliseconds per crystal; composition's guesses are kept from one call to the next. It does not
    raise on a valid crystal: where nothing fits, the charges are zero and the source says ``none``.
    """
    charges = _by_bond_valence(crystal) if len(crystal) <= MAX_SITES else None
    if charges is not None:
        return Oxidation(crystal.numbers, charges, "bond_valence")
    return oxidation_by_composition(crystal.numbers)


def oxidation_by_composition(numbers: IntArray) -> Oxidation:
    """Charges of atoms (n,) from what they are alone, in microseconds for a formula met before."""
    guess = _by_composition(numbers)
    return Oxidation(numbers, _looked_up(guess, numbers), "composition" if guess else "none")


def oxidation_of_band(band: Band) -> Oxidation:
    """Charges of the host's atoms of a band, from composition.

    A host that holds more of the moving species is taken with both ends filled: by the vacancy
    mechanism, that is the crystal that it was cut from, and by others one ion more or less. A host
    that holds none is taken as it stands.
    """
    numbers = band.host_numbers
    if np.any(numbers == band.ion_number):
        both = np.full(2, band.ion_number, dtype=np.int64)
        numbers = np.concatenate([numbers, both])
    whole = oxidation_by_composition(numbers)
    host = len(band.host_numbers)
    return Oxidation(band.host_numbers, whole.charges[:host], whole.source)


def _by_bond_valence(crystal: Crystal) -> FloatArray | None:
    from pymatgen.analysis.bond_valence import BVAnalyzer

    analyzer_type: Any = BVAnalyzer  # pymatgen leaves its constructor untyped
    analyzer = analyzer_type(
        symm_tol=_SYMPREC_A, max_permutations=_MAX_PERMUTATIONS, forbidden_species=_UNLIKELY
    )
    try:
        charges = analyzer.get_valences(structure_from_crystal(crystal))
    except Exception:  # it raises ValueError mostly, and what spglib and its own lookups raise
        return None
    return np.array(charges, dtype=np.float64)


def _looked_up(values: Mapping[int, float], numbers: IntArray) -> FloatArray:
    """(n,) the value of each atom's element, zero where there is none."""
    table = np.zeros(len(SYMBOLS))
    for number, value in values.items():
        table[number] = value
    return np.asarray(table[numbers])


def _by_composition(numbers: IntArray) -> Mapping[int, float]:
    counts = np.bincount(numbers)
    elements = np.flatnonzero(counts)
    smallest = counts[elements] // np.gcd.reduce(counts)
    return _guess(tuple(zip(elements.tolist(), smallest.tolist(), strict=True)))


@lru_cache(maxsize=4096)
def _guess(formula: Formula) -> Mapping[int, float]:
    """Mean charge by atomic number; empty where no neutral assignment is known."""
    from pymatgen.core.composition import Composition

    guesses: list[Mapping[int, float]] = []
    if _assignments(formula) <= MAX_ASSIGNMENTS:
        composition = Composition({SYMBOLS[number]: count for number, count in formula})
        guesses = [
            {number: float(guess[SYMBOLS[number]]) for number, _ in formula}
            for guess in composition.oxi_state_guesses()
        ]
    usual = _usual_charges([number for number, _ in formula])
    whole = [g for g in guesses if all(g[z] == q for z, q in usual.items() if q < 0)]
    return next((g for g in (*whole[:1], _balanced(formula, usual), *guesses[:1]) if g), {})


def _assignments(formula: Formula) -> int:
    """How many ways there are to share each element's known charges among its atoms."""
    from pymatgen.core.periodic_table import Element

    ways = 1
    for number, count in formula:
        element = Element.from_Z(number)
        states = len(element.icsd_oxidation_states or element.oxidation_states)
        ways *= comb(count + states - 1, max(states - 1, 0))
    return ways


def _balanced(formula: Formula, usual: Mapping[int, float]) -> Mapping[int, float]:
    """Usual charges, with the transition metals taking alike what neutrality leaves to them."""
    if not any(charge < 0 for charge in usual.values()):
        return {}
    metals = [(number, count) for number, count in formula if number not in usual]
    if not metals:  # not neutral, so an electrolyte that lacks some or all of its ions
        return usual
    left = -sum(usual.get(number, 0.0) * count for number, count in formula)
    share = left / sum(count for _, count in metals)
    if not 0 < share <= _HIGHEST:
        return {}
    return {**usual, **{number: share for number, _ in metals}}


def _usual_charges(numbers: list[int]) -> dict[int, float]:
    """Charges by atomic number of all elements but transition metals that take several."""
    from pymatgen.core.periodic_table import Element

    elements = [Element.from_Z(number) for number in numbers]
    symbols = {element.symbol for element in elements}
    anions = symbols & (_HARD_ANIONS if symbols & _HARD_ANIONS else _SOFT_ANIONS)
    charges = {}
    for element in elements:
        states = element.common_oxidation_states or (0,)
        if element.symbol in anions:
            charges[element.Z] = float(min(states))
        elif element.symbol == "C" and "N" in anions:  # cyanide
            charges[element.Z] = 2.0
        elif not (element.is_transition_metal and len(element.icsd_oxidation_states) > 1):
            charges[element.Z] = float(max(states))
    return charges
