"""Element symbols by atomic number, for code that has no pymatgen at hand."""

from __future__ import annotations

_TABLE = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga "
    "Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd "
    "Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac "
    "Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr "
)
SYMBOLS: tuple[str, ...] = tuple(_TABLE.split())
"""``SYMBOLS[26]`` is ``"Fe"``; index 0 is no element."""

_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}


def atomic_number(symbol: str) -> int:
    """Atomic number of an element symbol.

    Raises:
        ValueError: the symbol is no element up to Lr.
    """
    try:
        return _NUMBERS[symbol]
    except KeyError:
        raise ValueError(f"{symbol!r} is no element symbol, expected one such as 'Mg'") from None
