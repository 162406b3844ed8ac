"""Morse parameters of cation and anion: the published ones, and what follows for missing pairs."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

from pathways.elements import SYMBOLS, atomic_number

COULOMB_EV_A = 14.4
"""Energy of two unit charges, eV Å, as the parameters were made with."""

_TABLE = Path(__file__).with_name("bond_valence.csv")
_NOBLE = (2, 10, 18, 36, 54, 86)
# The published relation of bond energy to the other two holds in this form without d electrons.
_MAIN_GROUP = {
    "Li", "Be", "Na", "Mg", "Al", "K", "Ca", "Ga", "Rb", "Sr", "In", "Cs", "Ba", "Tl"
}  # fmt: skip


@dataclass(frozen=True)
class Morse:
    """Energy of one bond, ``depth_ev * ((exp((r_min_a - r) / b_a) - 1)^2 - 1)``."""

    r_min_a: float
    """Distance of least energy, Å."""
    b_a: float
    """Bond valence parameter, Å: how soft the bond is."""
    depth_ev: float
    """Energy that breaks the bond, eV."""
    derived: bool = False
    """Whether it follows from other pairs, rather than being tabulated."""


@cache
def ion_charge(ion: int) -> int | None:
    """The least charge that an element is tabulated with as a cation; None where it is not."""
    charges = [charge for number, charge, _ in _published() if number == ion]
    return min(charges, default=None)


def morse(ion: int, anion: int) -> Morse | None:
    """The bond of a mobile ion to an anion, by atomic numbers; None where nothing is known.

    Tabulated in the softBV set (Chen and Adams, IUCrJ 4, 614 (2017), doi:10.1107/S2052252517010211;
    Chen, Wong and Adams, Acta Cryst. B75, 18 (2019), doi:10.1107/S2052520618015718). Missing pairs
    of main-group ions follow from those that are there: lengths add up from ion and anion, and b,
    being a matter of softness, does too. With each tabulated pair left out in turn, this gives the
    distance within 0.03 Å and b within 0.02 Å on average. The bond energy is then the published
    function of both.
    """
    charge = ion_charge(ion)
    if charge is None:
        return None
    return _published().get((ion, charge, anion)) or derived(ion, charge, anion)


@cache
def derived(ion: int, charge: int, anion: int) -> Morse | None:
    """A pair from the ion's other anions and the anion's other ions, as if it were not tabulated.

    Args:
        ion: atomic number.
        charge: of the ion.
        anion: atomic number.
    """
    if SYMBOLS[ion] not in _MAIN_GROUP:
        return None
    table = {key: pair for key, pair in _published().items() if SYMBOLS[key[0]] in _MAIN_GROUP}
    others = [key for key in table if key[2] == anion and key[0] != ion]
    estimates = []
    for number, valence, known in table:
        if (number, valence) != (ion, charge) or known == anion:
            continue
        steps = [(table[key], table[(*key[:2], known)]) for key in others
                 if (*key[:2], known) in table]  # fmt: skip
        if steps:
            own = table[ion, charge, known]
            estimates.append(
                (
                    own.r_min_a + median(there.r_min_a - here.r_min_a for there, here in steps),
                    own.b_a + median(there.b_a - here.b_a for there, here in steps),
                )
            )
    if not estimates:
        return None
    r_min_a = median(length for length, _ in estimates)
    b_a = median(softness for _, softness in estimates)
    return Morse(r_min_a, b_a, _depth_ev(ion, charge, anion, r_min_a, b_a), derived=True)


@cache
def principal_quantum_number(number: int) -> int:
    """Period of an element."""
    return 1 + sum(number > noble for noble in _NOBLE)


def _depth_ev(ion: int, charge: int, anion: int, r_min_a: float, b_a: float) -> float:
    """Bond energy of an s or p cation (Adams and Rao, PCCP 11, 3210 (2009))."""
    periods = principal_quantum_number(ion) * principal_quantum_number(anion)
    charges = charge * _anion_charges()[anion]
    return float(COULOMB_EV_A * charges * b_a**2 / (2 * r_min_a * periods**0.5))


@cache
def _anion_charges() -> dict[int, int]:
    """Magnitude of the charge of every tabulated anion."""
    return {atomic_number(row["anion"]): -int(row["anion_charge"]) for row in _rows()}


@cache
def _published() -> dict[tuple[int, int, int], Morse]:
    return {
        (atomic_number(row["cation"]), int(row["charge"]), atomic_number(row["anion"])): Morse(
            float(row["r_min_a"]), float(row["b_a"]), float(row["d0_ev"])
        )
        for row in _rows()
    }


def _rows() -> list[dict[str, str]]:
    lines = _TABLE.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))
