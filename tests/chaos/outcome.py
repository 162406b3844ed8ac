"""What a round or a fault came to, as a line of the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """One line."""

    name: str
    what: str
    """Was done to the run, and when."""
    ended: str
    """How it ended."""
    seconds: float
    violations: list[str] = field(default_factory=list)
    """Of what must hold."""
    skipped: bool = False
    """It cannot be done on this machine; ``ended`` says why."""

    @property
    def verdict(self) -> str:
        """``held``, ``VIOLATED`` or ``skipped``."""
        if self.skipped:
            return "skipped"
        return "VIOLATED" if self.violations else "held"


def table(outcomes: Iterable[Outcome]) -> str:
    """Outcomes as a Markdown table."""
    rows = ["| round | what | how it ended | s | |", "|---|---|---|---|---|"]
    for one in outcomes:
        cells = [one.name, one.what, one.ended, f"{one.seconds:.0f}", one.verdict]
        rows.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(rows)
