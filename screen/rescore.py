"""The hops of a database under another model: no source is asked, nothing is enumerated anew.

A material's ranking needs the orbits of its hops, which are not stored; they come back from its
stored structure and the settings of the campaign that found them. A material whose stored hops do
not come back that way is a failure. What a run has written of hops and materials stays as it is.

Scores are a campaign of their own for each ion, which holds failures and counts. A material is done
when each of its hops has a barrier or a failure by the model. One transaction writes a batch of
materials, so whatever kills the process, the same command goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.records import MaterialResult, Progress
from screen.campaign import Ticker
from screen.database import connect, migrate, transaction, translated, utc_now
from screen.errors import UserError
from screen.interrupts import Interrupts
from screen.model_names import model_id_of
from screen.reader import Reader
from screen.rescore_workers import RescoreAll, rescorer
from screen.rescored_material import StoredMaterial
from screen.rows import Stamp, tables
from screen.store import LOCK_PATIENCE_S, Store

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

SOURCE = "rescore"
"""What campaigns of this kind have for a source."""

_BATCH = 32
"""Materials that one transaction writes, for each process that predicts."""

_LEFT = """
with written as (
    select material_id, max(written_at) as written_at
    from campaign_materials join campaigns using (campaign_id)
    where ion = $ion and source <> $source group by all
), refused as (   -- since the hops are as they are
    select h.hop_id from hops h join failures f using (material_id)
    join campaigns c using (campaign_id) left join written w using (material_id)
    where h.ion = $ion and (w.written_at is null or f.failed_at >= w.written_at)
    and ((f.hop_id = h.hop_id and c.model_id = $model_id)
        or (f.hop_id = '' and f.campaign_id = $campaign_id))
)
select distinct h.material_id from hops h
left join predictions p on p.hop_id = h.hop_id and p.model_id = $model_id
left join material_ranking r on r.material_id = h.material_id and r.ion = h.ion
    and r.mechanism = h.mechanism and r.model_id = $model_id
where h.ion = $ion and (p.hop_id is null or r.material_id is null)
and h.hop_id not in (select hop_id from refused)
order by all
"""
_HOPS = """
select h.hop_id, h.material_id, h.mechanism, h.length_a, h.supercell, p.* exclude (hop_id)
from hops h left join predictions p on p.hop_id = h.hop_id and p.model_id = $model_id
where h.ion = $ion and h.material_id in (select unnest($material_ids))
order by h.mechanism desc, h.hop_id
"""
_SETTINGS = """
select material_id, settings->>'science' as science
from campaign_materials join campaigns using (campaign_id)
where ion = $ion and n_hops > 0 and (settings->'science') is not null
and material_id in (select unnest($material_ids))
order by written_at desc
"""
_RANKED = "select distinct model_id from material_ranking order by all"
_STRUCTURES = """
select material_id, structure from materials where material_id in (select unnest($material_ids))
"""
_INTO = {
    "predictions": "ignore",  # those that were there before stay as they are
    "material_ranking": "replace",
    "failures": "replace",
}
_COUNTS = """
insert or replace into campaign_materials
select $campaign_id, h.material_id, h.ion, count(*), count(p.hop_id),
    (select count(*) from failures f
        where f.campaign_id = $campaign_id and f.material_id = h.material_id), $now
from hops h left join predictions p on p.hop_id = h.hop_id and p.model_id = $model_id
where h.ion = $ion and h.material_id in (select unnest($material_ids))
group by all
"""


@dataclass(frozen=True)
class Rescored:
    """What came of it, of this call alone."""

    model_id: str
    campaign_ids: tuple[str, ...]
    """One per ion of which something was left to do."""
    materials: int
    predictions: int
    failures: int
    left: int
    """Materials still to be done: of a call that was interrupted."""
    seconds: float
    interrupted: bool
    ranked: bool
    """Whether there is a ranking by the model."""
    other_models: tuple[str, ...]
    """Other models with one."""

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Job:
    """The hops of one ion under one model."""

    model_id: str
    ion: str

    @property
    def campaign_id(self) -> str:
        """Twelve hex digits of the sha256 of all that decides the scores, beside the database."""
        text = json.dumps(["rescore", self.model_id, self.ion])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def settings(self) -> dict[str, Any]:
        """As a campaign has them; its hops are those of other campaigns, so there are no limits."""
        return {
            "ion": self.ion,
            "model_id": self.model_id,
            "query": {"chemsys": []},
            "source": {"name": SOURCE},
        }


def rescore(
    db: Path,
    model: str,
    ion: str | None = None,
    *,
    ticker: Ticker | None = None,
    num_cpus: int | None = None,
    num_gpus: float | None = None,
) -> Rescored:
    """Predict what a model has not predicted yet of a database's hops, and rank by it.

    Args:
        db: the database.
        model: name of a model, or the path of its folder.
        ion: element symbol; None takes all ions there are.
        ticker: is told how it goes.
        num_cpus: processes that predict; None or 1: this one alone.
        num_gpus: 0 for a CPU also where there is a GPU.

    Raises:
        UserError: there is no such database or model, another process holds the database, or it
            has no hops of the ion.
        jobs.errors.EngineError: there are not so many CPUs.
        models.checkpoint.ModelError: the model is corrupt.
    """
    began = time.monotonic()
    model_id = model_id_of(model)
    with _opened(db) as (con, store), Interrupts() as interrupts:
        writer = _Rescorer(con, store, interrupts, ticker or Ticker())
        jobs = [_Job(model_id, one) for one in _ions(writer.reader, ion)]
        left = {job: ids for job in jobs if (ids := writer.left(job))}
        interrupted = False
        try:
            if left:
                with rescorer(model, num_cpus, num_gpus) as rescore_all:
                    for job, material_ids in left.items():
                        writer.run(job, material_ids, rescore_all, _BATCH * (num_cpus or 1))
        except KeyboardInterrupt:
            interrupted = True
        ranked = [row["model_id"] for row in writer.reader.records(_RANKED)]
    done = writer.progress.values()
    n_written = sum(one.written for one in done)
    return Rescored(
        model_id,
        tuple(job.campaign_id for job in left),
        n_written,
        sum(one.predictions for one in done),
        sum(one.failures for one in done),
        sum(map(len, left.values())) - n_written,
        time.monotonic() - began,
        interrupted,
        model_id in ranked,
        tuple(one for one in ranked if one != model_id),
    )


@contextlib.contextmanager
def _opened(db: Path) -> Iterator[tuple[DuckDBPyConnection, Store]]:
    """A database that is there already, to write."""
    if not db.is_file():
        raise UserError(f"{db}: no such database; `screen run` makes one, or pass another --db")
    con = connect(db, read_only=False, patience_s=LOCK_PATIENCE_S)
    with Store(con, db) as store:
        with translated(db):
            migrate(con, db)
        store.snapshots.remove()  # of a writer that was killed
        yield con, store


def _ions(reader: Reader, ion: str | None) -> list[str]:
    """The ions to do.

    Raises:
        UserError: the database has no hops of them.
    """
    found = [row["ion"] for row in reader.records("select distinct ion from hops order by all")]
    wanted = [one for one in found if ion is None or one == ion]
    if not wanted:
        of = f" of {ion}, only of {', '.join(found)}" if ion and found else ""
        raise UserError(f"{reader.path}: no hops{of}; `screen run` finds them")
    return wanted


class _Rescorer:
    """Scores one batch of materials after another and writes each."""

    def __init__(
        self, con: DuckDBPyConnection, store: Store, interrupts: Interrupts, ticker: Ticker
    ) -> None:
        self.reader = Reader(con, store.path)
        self.progress: dict[str, Progress] = {}
        """Of this call, by ion."""
        self._con = con
        self._store = store
        self._interrupts = interrupts
        self._ticker = ticker

    def left(self, job: _Job) -> list[str]:
        """Materials of which the model has not said of every hop what it can."""
        keys = {
            "ion": job.ion,
            "source": SOURCE,
            "model_id": job.model_id,
            "campaign_id": job.campaign_id,
        }
        return [row["material_id"] for row in self.reader.records(_LEFT, keys)]

    def run(
        self, job: _Job, material_ids: Sequence[str], rescore_all: RescoreAll, batch: int
    ) -> None:
        """Do some materials, in batches."""
        done_before = self._store.done(job.campaign_id) - {(one, job.ion) for one in material_ids}
        expected = len(done_before) + len(material_ids)
        self._store.begin_campaign(
            job.campaign_id, job.settings(), SOURCE, "1", job.model_id, expected
        )
        self._ticker.begin(job.campaign_id, len(done_before), expected)
        self._snapshot(now=True)
        began = time.monotonic()
        seen = self.progress[job.ion] = Progress()
        for start in range(0, len(material_ids), batch):
            results: list[list[MaterialResult]] = []
            materials = self._read(job, material_ids[start : start + batch])
            with contextlib.closing(rescore_all(materials)) as rescored:
                for material, found in zip(materials, rescored, strict=True):
                    results.append(found.results)
                    n_failures = sum(len(result.failures) for result in found.results)
                    seen = replace(
                        seen,
                        candidates=seen.candidates + 1,
                        hops=seen.hops + len(material.hops),
                        predictions=seen.predictions + found.n_new,
                        failures=seen.failures + n_failures,
                        seconds=time.monotonic() - began,
                    )
                    self._ticker.update(seen)
            with self._interrupts.held():
                self._write(job, results)
                seen = self.progress[job.ion] = replace(seen, written=seen.candidates)
                self._snapshot(now=start == 0)
            self._ticker.update(seen)
        self._store.finish_campaign(job.campaign_id)

    def _read(self, job: _Job, material_ids: Sequence[str]) -> list[StoredMaterial]:
        keys = {"ion": job.ion, "material_ids": list(material_ids)}
        structures = {
            row["material_id"]: row["structure"]
            for row in self.reader.records(_STRUCTURES, {"material_ids": list(material_ids)})
        }
        sciences: dict[str, dict[str, None]] = {one: {} for one in material_ids}
        for row in self.reader.records(_SETTINGS, keys):
            sciences[row["material_id"]][row["science"]] = None
        hops: dict[str, dict[str, dict[str, Any]]] = {one: {} for one in material_ids}
        for row in self.reader.records(_HOPS, {**keys, "model_id": job.model_id}):
            hops[row["material_id"]][row["hop_id"]] = row
        return [
            StoredMaterial(one, job.ion, structures.get(one), tuple(sciences[one]), hops[one])
            for one in material_ids
        ]

    def _write(self, job: _Job, results: Sequence[Sequence[MaterialResult]]) -> None:
        """Store a batch of materials, all of them or none."""
        stamp = Stamp(job.campaign_id, job.model_id, utc_now())
        material_ids = [parts[0].material_id for parts in results]
        with translated(self._store.path), transaction(self._con):
            self._con.execute(
                "delete from failures where campaign_id = $campaign_id "
                "and material_id in (select unnest($material_ids))",
                {"campaign_id": job.campaign_id, "material_ids": material_ids},
            )
            # A material's mechanisms one after another: each is a row of the ranking.
            for layer in itertools.zip_longest(*results):
                new = tables([part for part in layer if part is not None], stamp)
                for name, how in _INTO.items():
                    self._insert(name, how, new[name])
            self._con.execute(
                _COUNTS,
                {
                    "campaign_id": job.campaign_id,
                    "model_id": job.model_id,
                    "ion": job.ion,
                    "material_ids": material_ids,
                    "now": stamp.now,
                },
            )

    def _snapshot(self, now: bool) -> None:
        """Let others read what there is, now or if it is due; nothing ends for want of that."""
        import duckdb

        with contextlib.suppress(OSError, duckdb.Error):
            if now:
                self._store.snapshots.take()
            else:
                self._store.snapshots.tick()

    def _insert(self, name: str, how: str, table: pa.Table) -> None:
        if not table.num_rows:
            return
        self._con.register("new_rows", table)
        try:
            self._con.execute(f"insert or {how} into {name} by name from new_rows")
        finally:
            self._con.unregister("new_rows")
