"""What a source of candidates is, and what it is asked for. Light: only the standard library."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from screen.chemsys import Pattern, check_element
from screen.errors import UserError
from screen.options import DEFAULT_MAX_ELEMENTS

if TYPE_CHECKING:
    from jobs.records import Candidate, Failure


RANKED = "ranked"
"""What ``--sites`` says for voids that are ranked by what the ion would feel there."""
BY_ENERGY = "chgnet"
"""What it says for those of them whose energy CHGNet finds least."""
BY_ELECTRODE = "electrodes"
"""What it says for sites of the discharged crystal that the Materials Project has of the host."""


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
    unknown_ehull: Literal["keep", "reject"] | None = None
    """What becomes of materials whose energy above the hull is not known; None: as is the custom
    of the source."""
    band_gap_min_ev: float | None = None
    """Least band gap, eV, for electrolytes; a material of unknown gap does not have it."""
    exclude: tuple[str, ...] = ()
    """Elements that no candidate may hold."""
    theoretical: bool = True
    """Whether materials known from computation only are taken."""
    radioactive: bool = False
    """Whether crystals with radioactive elements are taken; those with noble gases never are."""
    other_mobile_ions: bool = True
    """Whether crystals may hold another of ``MOBILE_IONS`` besides the ion."""
    charge_balanced: bool = False
    """Whether common oxidation states have to add up to zero."""
    keep_duplicates: bool = False
    """Whether a crystal is taken again under every id it has."""
    sites: str | None = None
    """Where the ion's sites come from in hosts that hold none of it: ``ranked``, ``chgnet``,
    ``electrodes`` or a file; None refuses such hosts. Patterns are then of the host with the ion
    in it."""
    sites_digest: str = ""
    """Of the file."""
    top_sites: int = 1
    """Orbits of voids that are filled where they are ranked."""

    def __post_init__(self) -> None:
        check_element(self.ion)
        for element in self.exclude:
            check_element(element, "--exclude")
        if self.ion in self.exclude:
            raise UserError(f"--exclude {self.ion} excludes the ion itself; leave it out")
        if self.band_gap_min_ev is not None and not self.band_gap_min_ev >= 0:
            raise UserError(f"--band-gap-min is {self.band_gap_min_ev}; expected 0 eV or more")
        if self.unknown_ehull not in (None, "keep", "reject"):
            raise UserError(f"--unknown-ehull is {self.unknown_ehull!r}; expected keep or reject")
        if self.max_sites < 1:
            raise UserError(f"--max-sites is {self.max_sites}; expected at least 1")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"--limit is {self.limit}; expected at least 1")
        if self.max_ehull_ev is not None and not self.max_ehull_ev >= 0:
            raise UserError(f"--max-ehull is {self.max_ehull_ev}; expected 0 eV/atom or more")
        if self.top_sites < 1:
            raise UserError(f"--top-sites is {self.top_sites}; expected at least 1")
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

    def identity(self) -> dict[str, Any]:
        """All that decides which candidates there are, as JSON types; ``limit`` only how many."""
        record = asdict(self)
        del record["limit"], record["ion"], record["patterns"]
        record["chemsys"] = sorted(pattern.text for pattern in self.patterns)
        record["exclude"] = sorted(self.exclude)
        return record

    def selects(self, elements: Collection[str]) -> bool:
        """Whether a system of these elements is asked for.

        Args:
            elements: Element symbols, each once.
        """
        if self.ion not in elements:
            if self.sites is None:
                return False
            elements = {*elements, self.ion}
        if not self.patterns:
            return True
        return any(pattern.matches(elements, self.max_elements) for pattern in self.patterns)


class Source(Protocol):
    """Where crystals come from.

    A source never raises on one bad entry: it yields a ``Failure`` with the stage ``source``
    (could not be read) or ``filter`` (was refused) and goes on. An entry of a system that was not
    asked for is passed over in silence. The order is the same every time.
    """

    @property
    def name(self) -> str:
        """Short name, for the ``source`` columns of the store."""
        ...

    def version(self, query: Query) -> str:
        """What changes when the source's content for a query does: a digest or a release."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """How the source was opened, where that decides what it yields, as JSON types."""
        return {}

    def candidates(self, query: Query) -> Iterator[Candidate | Failure]:
        """Stream the candidates of a query, and a failure for each entry that cannot be one."""
        ...

    def count(self, query: Query) -> int | None:
        """About how many items ``candidates`` yields, for a progress bar; None: not known."""
        ...

    def left_out(self, query: Query) -> Mapping[str, int]:
        """How many materials a server's own filters left out, by reason."""
        return {}

    def sample(self, query: Query, size: int) -> list[Candidate]:
        """Up to so many candidates, by which to judge the others."""
        from jobs.records import Candidate

        items = self.candidates(replace(query, limit=size))
        return [item for item in items if isinstance(item, Candidate)]
