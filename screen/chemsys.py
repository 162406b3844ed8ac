"""Chemical systems as patterns: ``Mg-*``, ``Mg-?``, ``Mg-Mn-O``, ``Mg-?-O``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pathways.elements import SYMBOLS
from screen.errors import UserError
from screen.options import DEFAULT_MAX_ELEMENTS

MOBILE_IONS = ("Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Zn", "Al")
"""Elements that a pattern without ``--ion`` may stand for."""

_ELEMENTS = frozenset(SYMBOLS[1:])
_EXPECTED = "expected element symbols, '*' or '?' joined by '-', such as Mg-*, Mg-? or Mg-Mn-O"


@dataclass(frozen=True)
class Pattern:
    """A set of chemical systems; made by ``parse``."""

    text: str
    """As the user wrote it, without spaces."""
    elements: tuple[str, ...]
    """Elements that must be there, in the order written."""
    n_single: int = 0
    """How many ``?``: each stands for exactly one further element."""
    n_open: int = 0
    """How many ``*``: each stands for one or more further elements."""

    @property
    def min_elements(self) -> int:
        """Fewest elements of a system that matches."""
        return len(self.elements) + self.n_single + self.n_open

    def matches(self, elements: Collection[str], max_elements: int = DEFAULT_MAX_ELEMENTS) -> bool:
        """Whether a system of these elements belongs to the pattern.

        Args:
            elements: Element symbols of the system, each once.
            max_elements: Bound on the elements of a system that ``*`` may reach; patterns without
                ``*`` fix the number themselves.
        """
        n_elements = len(elements)
        if self.n_open:
            right_size = self.min_elements <= n_elements <= max_elements
        else:
            right_size = n_elements == self.min_elements
        return right_size and all(element in elements for element in self.elements)


def parse(text: str) -> Pattern:
    """Read one pattern.

    Raises:
        UserError: The pattern is malformed or names an unknown element.
    """
    parts = [part.strip() for part in text.split("-")]
    elements: list[str] = []
    for part in parts:
        if part in ("*", "?"):
            continue
        if part not in _ELEMENTS:
            raise UserError(_unknown(part, text))
        if part in elements:
            raise UserError(f"chemical system {text!r} names {part} twice; name each element once")
        elements.append(part)
    return Pattern("-".join(parts), tuple(elements), parts.count("?"), parts.count("*"))


def check_element(symbol: str, option: str = "--ion") -> str:
    """Return an element's symbol as given, if there is such an element.

    Raises:
        UserError: There is none.
    """
    if symbol in _ELEMENTS:
        return symbol
    raise UserError(
        f"{option} {symbol!r} is no element{_suggest(symbol)}; pass a symbol such as Mg"
    )


def default_ion(patterns: Sequence[Pattern]) -> str:
    """The mobile ion that the patterns stand for when none is given.

    The first element of the first pattern that is one of ``MOBILE_IONS`` and that the other
    patterns name too (those that name no mobile ion do not count).

    Raises:
        UserError: There is no pattern, none names a mobile ion, or they name different ones.
    """
    named = [[e for e in pattern.elements if e in MOBILE_IONS] for pattern in patterns]
    named = [ions for ions in named if ions]
    if not patterns:
        raise UserError(
            "which ion moves is not said; pass it, such as --ion Mg, or a chemical system that "
            'names it, such as --chemsys "Mg-*"'
        )
    if not named:
        found = ", ".join(pattern.text for pattern in patterns)
        raise UserError(
            f"{found} names none of the mobile ions {', '.join(MOBILE_IONS)}; "
            "pass the one to move, such as --ion Mg"
        )
    for ion in named[0]:
        if all(ion in ions for ions in named):
            return ion
    found = ", ".join(pattern.text for pattern in patterns)
    raise UserError(
        f"the patterns {found} share no mobile ion; run once per ion, or pass the one to move, "
        f"such as --ion {named[0][0]}"
    )


def notice(patterns: Sequence[Pattern]) -> str | None:
    """What the wildcards mean next to the Materials Project's own client; None without them."""
    for pattern in patterns:
        if pattern.n_open:
            narrow = pattern.text.replace("*", "?")
            return (
                f"{pattern.text}: each * stands for one or more further elements; what the "
                f"Materials Project's client writes {pattern.text} is {narrow} here"
            )
    for pattern in patterns:
        if pattern.n_single:
            return (
                f"{pattern.text}: each ? stands for exactly one further element, as in "
                f"{pattern.text.replace('?', '*')} of the Materials Project's client"
            )
    return None


def _unknown(part: str, text: str) -> str:
    if not part:
        return f"chemical system {text!r} is malformed; {_EXPECTED}"
    return f"unknown element {part!r} in chemical system {text!r}{_suggest(part)}; {_EXPECTED}"


def _suggest(symbol: str) -> str:
    other = symbol.strip().capitalize()
    return f" (did you mean {other}?)" if other != symbol and other in _ELEMENTS else ""
