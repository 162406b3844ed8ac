"""What a check comes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """What, in a word or two."""
    state: State
    """``warn``: something will be slow or is missing; ``fail``: something will not work."""
    found: str
    """One line, never a secret."""
    advice: str = ""
    """What to do; empty where there is nothing to do."""

    def record(self) -> dict[str, str]:
        """As JSON types."""
        return asdict(self)
