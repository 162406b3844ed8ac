"""What a campaign found, also while it runs: tables, questions, single materials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathways.types import Band, Crystal
from screen.api.frames import frame_of
from screen.api.material import Hop, Material, Percolation, ordered
from screen.api.refused import RefusedError
from screen.errors import UserError
from screen.reader import Reader, open_reader

if TYPE_CHECKING:
    from screen.api.frames import Frame
    from screen.campaign import Outcome

_RANKING = """
select r.*, m.formula, m.space_group, m.structure
from material_ranking r left join materials m using (material_id)
where r.material_id = $material_id
    and ($ion is null or r.ion = $ion)
    and ($mechanism is null or r.mechanism = $mechanism)
    and ($model is null or $model in (r.model_id, split_part(r.model_id, '@', 1)))
order by r.ranked_at desc, r.em_1d_ev nulls last, r.ion, r.mechanism desc limit 1
"""
_HOPS = """
select h.*, p.em_ev, p.em_std_ev, p.em_low_ev, p.em_high_ev, p.p_good, p.applicability, p.nearest
from hops h left join predictions p on p.hop_id = h.hop_id and p.model_id = $model_id
where h.material_id = $material_id and h.ion = $ion and h.mechanism = $mechanism
"""
_FAILURES = """
select * from failures order by failed_at, material_id, hop_id, stage
"""
_REFUSED = """
select stage, reason, detail from failures
where material_id = ? and hop_id = '' order by failed_at desc limit 1
"""
_NUMBERS = (
    *("em_ev", "em_std_ev", "em_low_ev", "em_high_ev", "p_good", "applicability"),
    "bond_valence_ev",
)


def open_results(db: str | PathLike[str], *, as_arrow: bool = False) -> Results:
    """What is in a database of campaigns, to read.

    Args:
        db: its file. While a campaign writes it, its last snapshot is read instead.
        as_arrow: tables as Arrow's also where pandas is installed.

    Raises:
        UserError: there is no such database, or it cannot be read.
    """
    results = Results(Path(db), as_arrow)
    with results.reader():
        return results


@dataclass(frozen=True)
class Results:
    """A database of campaigns. It is open only while a question is answered, so that a campaign
    can go on writing it; what changed in between is seen by the next question.
    """

    db: Path
    as_arrow: bool = False
    """Tables as Arrow's also where pandas is installed."""
    outcome: Outcome | None = None
    """Of the campaign that has just run; None where the database was opened."""

    def materials(self) -> Frame:
        """The ranking (view ``ranked_materials``): a row for each material, ion and mechanism, by
        the barrier of the easiest way through in one dimension, eV."""
        return self._frame("select * from ranked_materials order by rank")

    def hops(self) -> Frame:
        """Every predicted hop (view ``ranked_hops``), lowest barrier first, eV."""
        return self._frame("select * from ranked_hops order by rank")

    def failures(self) -> Frame:
        """Materials and hops that could not go on: stage, reason, detail."""
        return self._frame(_FAILURES)

    def funnel(self) -> Frame:
        """How many came through each stage of each campaign, and the failures by reason."""
        return self._frame(
            "select * from funnel order by campaign_id, position, n desc, failed_stage, reason"
        )

    def sql(self, query: str) -> Frame:
        """The answer to one query that only reads.

        Raises:
            UserError: it is none, or DuckDB refuses it.
        """
        with self.reader() as reader:
            return frame_of(reader.ask(query), self.as_arrow)

    def material(
        self,
        material_id: str,
        *,
        ion: str | None = None,
        mechanism: str | None = None,
        model: str | None = None,
    ) -> Material:
        """One material with all its hops.

        Args:
            material_id: as in ``materials()``.
            ion: which, where several were screened.
            mechanism: ``vacancy`` or ``dilute``.
            model: name or id. Of all that is left, the last ranked counts, and of these the one
                of lowest barrier.

        Raises:
            RefusedError: the campaign refused it.
            UserError: there is no such material, ion, mechanism or model.
        """
        wanted = {"material_id": material_id, "ion": ion, "mechanism": mechanism, "model": model}
        with self.reader() as reader:
            found = reader.records(_RANKING, wanted)
            if not found:
                raise _not_there(reader, wanted)
            (row,) = found
            keys = ("material_id", "ion", "mechanism", "model_id")
            hops = reader.records(_HOPS, {key: row[key] for key in keys})
        return Material(
            material_id=row["material_id"],
            formula=row["formula"],
            space_group=row["space_group"],
            ion=row["ion"],
            mechanism=row["mechanism"],
            model_id=row["model_id"],
            percolation=Percolation.of_row(row),
            hops=ordered([_hop(self, hop) for hop in hops]),
            make_crystal=partial(_crystal, row["material_id"], row["structure"]),
        )

    def age_s(self) -> float | None:
        """Seconds since the snapshot that is read now; None where no campaign is running."""
        with self.reader() as reader:
            return reader.snapshot_age_s

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """The database, or its snapshot, for as long as the block lasts."""
        with open_reader(self.db) as reader:
            yield reader

    def band(self, hop_id: str) -> Band:
        """The band of a stored hop, as it was predicted.

        Raises:
            PathwayError: the stored structure does not give this hop, or there is none.
        """
        from screen.stored_bands import read_bands

        with self.reader() as reader:
            found = read_bands(reader, [hop_id])[hop_id]
        if isinstance(found, Exception):
            raise found
        return found

    def _frame(self, query: str) -> Frame:
        with self.reader() as reader:
            return frame_of(reader.table(query), self.as_arrow)


def _not_there(reader: Reader, wanted: Mapping[str, Any]) -> UserError:
    """Why a material is not there: it was refused, or what there is in its place."""
    material_id = wanted["material_id"]
    there = reader.records(
        "select distinct ion, mechanism, model_id from material_ranking where material_id = ? "
        "order by all",
        [material_id],
    )
    if there:
        words = "; ".join(" ".join(row.values()) for row in there)
        asked = " ".join(filter(None, [wanted["ion"], wanted["mechanism"], wanted["model"]]))
        return UserError(f"{material_id}: no {asked}; there is {words}")
    refused = reader.records(_REFUSED, [material_id])
    if refused:
        return RefusedError(material_id, **refused[0])
    return UserError(f"{material_id}: no such material in {reader.path}; materials() has them all")


def _hop(results: Results, row: Mapping[str, Any]) -> Hop:
    numbers = {name: float("nan") if row[name] is None else row[name] for name in _NUMBERS}
    return Hop(
        hop_id=row["hop_id"],
        ion=row["ion"],
        mechanism=row["mechanism"],
        length_a=row["length_a"],
        multiplicity=row["multiplicity"],
        start_frac=tuple(row["start_frac"]),
        end_frac=tuple(row["end_frac"]),
        flags=tuple(row["flags"]),
        nearest=row["nearest"],
        make_band=partial(results.band, row["hop_id"]),
        **numbers,
    )


def _crystal(material_id: str, structure: str | None) -> Crystal:
    from pathways.symmetry import symmetrise
    from screen.sources.structure_json import crystal_from_json

    if structure is None:
        raise UserError(f"{material_id} has no stored structure")
    return symmetrise(crystal_from_json(structure)).crystal
