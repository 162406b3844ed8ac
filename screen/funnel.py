"""How many came through each stage of a campaign, and why the others did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from screen.database import rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Funnel:
    """How many came through each stage of a campaign."""

    source: int = 0
    """Items of the source that are done, good and bad."""
    filtered: int = 0
    """Of these, the candidates left after the filters."""
    enumerated: int = 0
    """Of these, with at least one hop."""
    hops: int = 0
    predicted: int = 0
    failed: tuple[tuple[str, str, int], ...] = ()
    """Stage, reason and count of rows, most frequent first. Of the stage ``server`` are materials
    that a server's own filters left out: they never came, and have no rows."""

    @property
    def n_failures(self) -> int:
        """Rows of ``failures``."""
        return sum(n for stage, _, n in self.failed if stage != "server")

    def record(self) -> dict[str, Any]:
        """As JSON types."""
        counts = {
            "candidates": self.source,
            "filtered": self.filtered,
            "enumerated": self.enumerated,
        }
        failed = [{"stage": s, "reason": r, "n": n} for s, r, n in self.failed]
        return {**counts, "hops": self.hops, "predicted": self.predicted, "failed": failed}


def read_funnel(con: DuckDBPyConnection, campaign_id: str) -> Funnel:
    """The counts of a campaign from the view ``funnel``."""
    counts: dict[str, int] = {}
    failed: list[tuple[str, str, int]] = []
    for stage, failed_stage, reason, n in rows(
        con,
        "select stage, failed_stage, reason, n from funnel where campaign_id = ? "
        "order by position, n desc, failed_stage, reason",
        [campaign_id],
    ):
        if stage == "failed":
            failed.append((failed_stage, reason, n))
        else:
            counts[stage] = n
    return Funnel(**counts, failed=tuple(failed))
