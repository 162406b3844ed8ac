"""What a source of candidates is, and what it is asked for. Light: only the standard library."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from screen.chemsys import DEFAULT_MAX_ELEMENTS, Pattern, check_element
from screen.errors import UserError

if TYPE_CHECKING:
    from jobs.records import Candidate, Failure


@dataclass(frozen=True)
class Query:
    """Which candidates a run wants.

    Raises:
        UserError: The query can never be met, whatever the source holds.
    """

    patterns: tuple[Pattern, ...]
    """Chemical systems, any of which will do; empty: every system."""
    ion: str
    """Element symbol of the ion to move; systems without it are left out."""
    max_sites: int = 200
    """Most atoms in the cell as the source gives it."""
    max_ehull_ev: float | None = 0.1
    """Most energy above the hull, eV/atom, where the source knows it; None: any."""
    max_elements: int = DEFAULT_MAX_ELEMENTS
    """Most elements of a system that ``*`` reaches."""
    limit: int | None = None
    """Most candidates; failures do not count."""

    def __post_init__(self) -> None:
        check_element(self.ion)
        if self.max_sites < 1:
            raise UserError(f"--max-sites is {self.max_sites}; expected at least 1")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"--limit is {self.limit}; expected at least 1")
        if self.max_ehull_ev is not None and not self.max_ehull_ev >= 0:
            raise UserError(f"--max-ehull is {self.max_ehull_ev}; expected 0 eV/atom or more")
        for pattern in self.patterns:
            self._check_reachable(pattern)

    def _check_reachable(self, pattern: Pattern) -> None:
        is_open = pattern.n_open > 0
        if is_open and pattern.min_elements > self.max_elements:
            raise UserError(
                f"chemical system {pattern.text} has at least {pattern.min_elements} elements but "
                f"--max-elements is {self.max_elements}; raise it or drop a wildcard"
            )
        if self.ion not in pattern.elements and not (is_open or pattern.n_single):
            raise UserError(
                f"chemical system {pattern.text} never holds the ion {self.ion}; "
                f"add it to the pattern or pass another --ion"
            )

    def selects(self, elements: Collection[str]) -> bool:
        """Whether a system of these elements is asked for.

        Args:
            elements: Element symbols, each once.
        """
        if self.ion not in elements:
            return False
        if not self.patterns:
            return True
        return any(pattern.matches(elements, self.max_elements) for pattern in self.patterns)


class Source(Protocol):
    """Where crystals come from.

    A source never raises on one bad entry: it yields a ``Failure`` with the stage ``source``
    (could not be read) or ``filter`` (above the hull, too many sites) and goes on. An entry of a
    system that was not asked for is passed over in silence. The order is the same every time.
    """

    @property
    def name(self) -> str:
        """Short name, for the ``source`` columns of the store."""
        ...

    @property
    def version(self) -> str:
        """What changes when the source's content does: a digest or a release."""
        ...

    def candidates(self, query: Query) -> Iterator[Candidate | Failure]:
        """Stream the candidates of a query, and a failure for each entry that cannot be one."""
        ...

    def count(self, query: Query) -> int | None:
        """About how many items ``candidates`` yields, for a progress bar; None: not known."""
        ...
