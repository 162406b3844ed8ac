"""The questions that ``top`` and ``status`` ask of a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from screen.database import utc_now
from screen.errors import UserError
from screen.reader import Reader
from screen.views import HOP_RANKINGS, MATERIAL_RANKINGS

Record = dict[str, Any]

_TIES = "em_1d_ev nulls last, dimension desc, material_id, ion, mechanism desc"
"""In which order the view ``ranked_materials`` has what is alike."""
_RATE_OVER = timedelta(seconds=60)


@dataclass(frozen=True)
class TopQuery:
    """Which part of the ranking is wanted."""

    n: int = 20
    dimension: int = 1
    """In how many dimensions a material must let the ion through: 1, 2 or 3."""
    max_em_ev: float | None = None
    ion: str | None = None
    model_id: str | None = None
    """Whose ranking; None takes of each material the model that ranked it last."""

    def filters(self, barrier: str) -> tuple[str, dict[str, Any]]:
        """The ``where`` clause and its parameters."""
        wanted: dict[str, tuple[str, Any]] = {}
        if self.ion is not None:
            wanted["ion"] = "ion = $ion", self.ion
        if self.max_em_ev is not None:
            wanted["most"] = f"{barrier} <= $most", self.max_em_ev
        clause = " and ".join(condition for condition, _ in wanted.values())
        values = {name: value for name, (_, value) in wanted.items()}
        return (f"where {clause}" if clause else ""), values

    def whose(self, key: str, time: str) -> tuple[str, dict[str, Any]]:
        """What keeps of each key the rows of one model, and its parameters."""
        if self.model_id is not None:
            return "where model_id = $model", {"model": self.model_id}
        last = f"partition by {key} order by {time} desc, model_id desc"
        return f"qualify row_number() over ({last}) = 1", {}


# The views ranked_materials and ranked_hops say the same, but number all rows, with all columns.
_BEST_MATERIALS = """
with known as (
    select material_id, ion, mechanism, model_id, limiting_hop_id,
        dimension, em_1d_ev, em_2d_ev, em_3d_ev
    from material_ranking {whose}
)
select material_id, ion, mechanism, model_id, limiting_hop_id
from known {where} order by {order} limit $n
"""
_BEST_HOPS = """
with known as (
    select hop_id, ion, material_id, model_id, em_ev
    from predictions join hops using (hop_id) {whose}
)
select hop_id, model_id, material_id from known {where} order by {order} limit $n
"""
_MOST_MARKS = 500
"""Longer lists are quicker as one parameter, although that is not looked up in an index."""


def top_materials(reader: Reader, query: TopQuery) -> list[Record]:
    """The materials of lowest barrier, best first; ``rank`` is among those that were asked for."""
    barrier = f"em_{query.dimension}d_ev"
    where, values = query.filters(barrier)
    query = _of_one_model(reader, query, "material_ranking")
    whose, model = query.whose("material_id, ion, mechanism", "ranked_at")
    sql = _BEST_MATERIALS.format(where=where, whose=whose, order=f"{barrier} nulls last, {_TIES}")
    best = reader.records(sql, {**values, **model, "n": query.n})
    found = _rows_of(
        reader,
        MATERIAL_RANKINGS,
        material_ranking=("material_id", best),
        materials=("material_id", best),
        predictions=("hop_id", [{"hop_id": row["limiting_hop_id"]} for row in best]),
    )
    ranked = _in_order(best, found, ("material_id", "ion", "mechanism", "model_id"))
    return [{name: row[name] for name in row if name != "ranked_at"} for row in ranked]


def top_hops(reader: Reader, query: TopQuery) -> list[Record]:
    """The hops of lowest barrier, best first; ``rank`` is among those that were asked for."""
    where, values = query.filters("em_ev")
    query = _of_one_model(reader, query, "predictions")
    whose, model = query.whose("hop_id", "predicted_at")
    sql = _BEST_HOPS.format(where=where, whose=whose, order="em_ev, hop_id")
    best = reader.records(sql, {**values, **model, "n": query.n})
    found = _rows_of(
        reader,
        HOP_RANKINGS,
        predictions=("hop_id", best),
        hops=("hop_id", best),
        materials=("material_id", best),
    )
    return _in_order(best, found, ("hop_id", "model_id"))


def _of_one_model(reader: Reader, query: TopQuery, table: str) -> TopQuery:
    """The same question of the only model that there is: to find each row's last takes long."""
    models = reader.records(f"select distinct model_id from {table} limit 2")
    if query.model_id is None and len(models) == 1:
        return replace(query, model_id=models[0]["model_id"])
    return query


def _rows_of(reader: Reader, view: str, **wanted: tuple[str, Sequence[Record]]) -> list[Record]:
    """What a view's query gives of some rows of its tables: a column, and rows with its values."""
    parts, parameters = [], []
    for table, (column, among) in wanted.items():
        values = list(dict.fromkeys(row[column] for row in among))
        marks = ", ".join("?" * len(values)) or "null"
        if len(values) > _MOST_MARKS:
            marks, values = "select unnest(?)", [values]
        rows = f"select * from {table} where {column} in ({marks})"
        parts.append(f"{table} as materialized ({rows})")
        parameters += values
    return reader.records(f"with {', '.join(parts)} {view}", parameters)


def _in_order(best: Sequence[Record], found: Sequence[Record], key: Sequence[str]) -> list[Record]:
    """The rows found for the best ones, best first, numbered."""
    rows = {tuple(row[name] for name in key): row for row in found}
    ordered = [rows[tuple(row[name] for name in key)] for row in best]
    return [{"rank": rank, **row} for rank, row in enumerate(ordered, start=1)]


def models_that_ranked(reader: Reader) -> list[Record]:
    """``model_id``, ``materials`` and ``ranked_at`` (its last) of each, the latest first."""
    return reader.records(
        """select model_id, count(distinct material_id) as materials, max(ranked_at) as ranked_at
        from material_ranking group by model_id order by ranked_at desc, model_id desc"""
    )


def ranked_model(reader: Reader, wanted: str) -> str:
    """The id of a model that ranked, given that or its name.

    Raises:
        UserError: there is none, or several are of one name.
    """
    known = [str(row["model_id"]) for row in models_that_ranked(reader)]
    if wanted in known:
        return wanted
    found = [model_id for model_id in known if model_id.rpartition("@")[0] == wanted]
    if len(found) != 1:
        what = f"{len(found)} models of that name" if found else "it has ranked nothing"
        raise UserError(
            f"--model {wanted}: {what} in {reader.path}, expected one of "
            f"{', '.join(found or known) or 'none: `screen run` ranks'}"
        )
    return found[0]


def campaigns(reader: Reader) -> list[Record]:
    """Every campaign, the latest first, with its counts, failures, rate and what is left."""
    found = reader.records(
        """with written as (
            select campaign_id, max(written_at) as last_written from campaign_materials group by all
        )
        select campaign_id, source, source_version, model_id, code_version, expected,
            settings->>'ion' as ion, (settings->'query'->'chemsys')::text[] as chemsys,
            started, finished, last_written
        from campaigns left join written using (campaign_id)
        order by started desc, campaign_id desc"""
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
