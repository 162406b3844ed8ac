"""The questions that ``top`` and ``status`` ask of a database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from screen.database import utc_now
from screen.reader import Reader

Record = dict[str, Any]

_RATE_OVER = timedelta(seconds=60)


@dataclass(frozen=True)
class TopQuery:
    """Which part of the ranking is wanted."""

    n: int = 20
    dimension: int = 1
    """In how many dimensions a material must let the ion through: 1, 2 or 3."""
    max_em_ev: float | None = None
    ion: str | None = None

    def filters(self, barrier: str) -> tuple[str, list[Any]]:
        """The ``where`` clause and its parameters."""
        wanted: list[tuple[str, Any]] = []
        if self.ion is not None:
            wanted.append(("ion = ?", self.ion))
        if self.max_em_ev is not None:
            wanted.append((f"{barrier} <= ?", self.max_em_ev))
        clause = " and ".join(condition for condition, _ in wanted)
        return (f"where {clause}" if clause else ""), [value for _, value in wanted]


def top_materials(reader: Reader, query: TopQuery) -> list[Record]:
    """The materials of lowest barrier, best first; ``rank`` is among those that were asked for."""
    barrier = f"em_{query.dimension}d_ev"
    where, parameters = query.filters(barrier)
    return reader.records(
        f"""select row_number() over (order by {barrier} nulls last, rank) as rank, * exclude (rank)
        from ranked_materials {where} order by 1 limit ?""",
        [*parameters, query.n],
    )


def top_hops(reader: Reader, query: TopQuery) -> list[Record]:
    """The hops of lowest barrier, best first; ``rank`` is among those that were asked for."""
    where, parameters = query.filters("em_ev")
    return reader.records(
        f"""select row_number() over (order by rank) as rank, * exclude (rank)
        from ranked_hops {where} order by 1 limit ?""",
        [*parameters, query.n],
    )


def campaigns(reader: Reader) -> list[Record]:
    """Every campaign, the latest first, with its counts, failures, rate and what is left."""
    found = reader.records(
        """select campaign_id, source, source_version, model_id, code_version, expected,
            settings->>'ion' as ion, (settings->'query'->'chemsys')::text[] as chemsys,
            started, finished, max(written_at) as last_written
        from campaigns left join campaign_materials using (campaign_id)
        group by all order by started desc, campaign_id desc"""
    )
    # Of those that have not ended, one is running at most: a single process can write.
    open_ones = [campaign for campaign in found if campaign["finished"] is None]
    running = None
    if open_ones and reader.snapshot_age_s is not None:
        running = max(open_ones, key=lambda one: one["last_written"] or one["started"])
    return [_with_counts(reader, campaign, campaign is running) for campaign in found]


def _with_counts(reader: Reader, campaign: Record, is_running: bool) -> Record:
    funnel = reader.funnel(campaign["campaign_id"])
    expected, finished = campaign["expected"], campaign["finished"] is not None
    state = "finished" if finished else "running" if is_running else "interrupted"
    left = None if expected is None else max(0, expected - funnel.source)
    return {
        **campaign,
        "state": state,
        **funnel.record(),
        "bands_per_s": _rate(reader, campaign) if is_running else None,
        "remaining": 0 if finished else left,
    }


def _rate(reader: Reader, campaign: Record) -> float | None:
    """Predictions per second over the last minute."""
    last = campaign["last_written"]
    if last is None:
        return None
    begin = max(utc_now() - _RATE_OVER, campaign["started"])
    ((n,),) = [
        tuple(row.values())
        for row in reader.records(
            "select coalesce(sum(n_predicted), 0) as n from campaign_materials "
            "where campaign_id = ? and written_at >= ?",
            [campaign["campaign_id"], begin],
        )
    ]
    seconds = (utc_now() - begin).total_seconds()
    return float(n) / seconds if seconds > 0 else None
