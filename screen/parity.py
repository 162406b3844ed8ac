"""Predictions against barriers that came back: scores, in all and by ion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from screen.errors import NothingToShow
from screen.mlip_correction import LEAST_POINTS

if TYPE_CHECKING:
    from screen.reader import Reader

Record = dict[str, Any]

_PAIRS = """
with labels as (
    select hop_id, ion, formula, method, converged, label, reference_ev, imported_at, source
    from labelled_barriers
    where ($all or converged) and reference_ev is not null
    qualify row_number() over (
        partition by hop_id, method, label
        order by coalesce(converged, false) desc, imported_at desc, source) = 1
)
select l.* rename (label as functional),
    p.model_id, p.em_ev, p.em_low_ev, p.em_high_ev, p.predicted_at,
    coalesce(p.nearest = l.hop_id, false) as learnt
from labels l join predictions p using (hop_id)
order by l.method, l.label, p.model_id, l.hop_id
"""
"""Of several barriers of a hop by one method, the last counts. A refitted model that has learnt a
hop's barrier finds the hop itself nearest."""
_CORRECTED = """
select method, functional, hop_id, ion, formula, converged, em_raw_ev, em_corrected_ev,
    sigma_ev, reference_ev
from corrected_barriers where $all or converged
"""
_FITTED = "select * from mlip_corrections order by all"
_WAITING = """
select m.method, d.label as functional, count(distinct m.hop_id) as n
from labelled_barriers m join labelled_barriers d using (hop_id)
where m.method like 'ase:%' and d.method not like 'ase:%' and m.converged and d.converged
    and m.reference_ev is not null and d.reference_ev is not null and d.label is not null
group by all having n < $least order by all
"""


@dataclass(frozen=True)
class Group:
    """Hops whose prediction and reference were made in one way each."""

    predicted_by: str
    """Model, or the calculator of a band without DFT."""
    method: str
    functional: str | None
    rows: tuple[Record, ...]
    """``hop_id``, ``ion``, ``reference_ev``, ``em_ev``, ``em_low_ev``, ``em_high_ev``."""

    @property
    def title(self) -> str:
        """Where the references are from."""
        learnt = ", which the model has learnt" if self.learnt else ""
        return f"{self.method}, {self.functional or 'functional not known'}{learnt}"

    @property
    def learnt(self) -> bool:
        """Whether the model was fitted with these barriers: scores then say little."""
        return any(row.get("learnt") for row in self.rows)

    def scores(self) -> Record:
        """Of all hops, and under ``by_ion`` of each ion's where there are several."""
        ions = sorted({str(row["ion"]) for row in self.rows})
        return {
            "predicted_by": self.predicted_by,
            "method": self.method,
            "functional": self.functional,
            "learnt": self.learnt,
            **_scores(self.rows),
            "by_ion": {
                ion: _scores([row for row in self.rows if str(row["ion"]) == ion]) for ion in ions
            },
        }


def read_groups(reader: Reader, model: str | None = None, unconverged: bool = False) -> list[Group]:
    """Predictions with their references, by method and functional.

    Barriers of one calculator without DFT (``ase:…``) stand against DFT's of the same hops, too, as
    predictions do.

    Args:
        reader: of a campaign's database.
        model: id or name of one model; None takes that which predicted last. Barriers that a model
            was fitted with are left out, unless it knows no others.
        unconverged: whether barriers count that have not converged, or do not say.

    Raises:
        NothingToShow: no barrier has a prediction.
    """
    rows = reader.records(_PAIRS, {"all": unconverged})
    rows = [row for row in rows if model is None or model in _names(row["model_id"])]
    if not rows:
        raise NothingToShow(_why_none(reader, model, unconverged))
    rows = [row for row in rows if not row["learnt"]] or rows
    newest = max(rows, key=lambda row: (row["predicted_at"], row["model_id"]))["model_id"]
    rows = [row for row in rows if row["model_id"] == newest]
    return _grouped([*rows, *_between_methods(rows)])


def read_corrections(reader: Reader, unconverged: bool = False) -> list[Record]:
    """Barriers of calculators without DFT, raw and corrected side by side.

    Args:
        reader: of a campaign's database.
        unconverged: whether such barriers are corrected, too; none is ever fitted to.

    Returns:
        What ``screen.mlip_correction`` fitted, for each calculator and functional, with ``helps``
        and, under ``barriers``, the rows of the view ``corrected_barriers``.
    """
    rows = reader.records(_CORRECTED, {"all": unconverged})
    return [
        {
            **fitted,
            "helps": fitted["mae_corrected_ev"] < fitted["mae_raw_ev"],
            "barriers": [
                row
                for row in rows
                if all(row[name] == fitted[name] for name in ("method", "functional"))
            ],
        }
        for fitted in reader.records(_FITTED)
    ]


def read_waiting(reader: Reader) -> list[Record]:
    """``method``, ``functional`` and ``n``: pairs too few for a correction yet."""
    return reader.records(_WAITING, {"least": LEAST_POINTS})


def _names(model_id: str) -> tuple[str, str]:
    return model_id, model_id.partition("@")[0]


def _between_methods(rows: Sequence[Record]) -> list[Record]:
    """What a calculator's bands say of hops of which DFT says something, too."""
    cheap = [row for row in rows if row["method"].startswith("ase:")]
    return [
        {
            **row,
            "em_ev": one["reference_ev"],
            "em_low_ev": None,
            "em_high_ev": None,
            "model_id": one["method"],
            "learnt": False,
        }
        for one in cheap
        for row in rows
        if row["hop_id"] == one["hop_id"] and not row["method"].startswith("ase:")
    ]


def _grouped(rows: Iterable[Record]) -> list[Group]:
    groups: dict[tuple[str, str, str | None], list[Record]] = {}
    for row in rows:
        key = (row["model_id"], row["method"], row["functional"])
        groups.setdefault(key, []).append(row)
    return [Group(*key, tuple(members)) for key, members in groups.items()]


def _scores(rows: Sequence[Record]) -> Record:
    from models.metrics import scores

    def column(name: str) -> Any:
        return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=float)

    low_ev, high_ev = column("em_low_ev"), column("em_high_ev")
    known = bool(np.isfinite(low_ev).all() and np.isfinite(high_ev).all())
    ends = (low_ev, high_ev) if known else (None, None)
    return dict(scores(column("reference_ev"), column("em_ev"), *ends))


def _why_none(reader: Reader, model: str | None, unconverged: bool) -> str:
    """What is missing for a comparison, and what to do."""
    [counts] = reader.records(
        """select count(*) as n, count(*) filter (where converged) as converged,
            count(distinct p.hop_id) as predicted
        from barriers left join (select distinct hop_id from predictions) p using (hop_id)"""
    )
    if not counts["n"]:
        return f"{reader.path}: no barrier came back yet; `screen neb read` brings them in"
    if not counts["predicted"]:
        return (
            f"{reader.path}: {counts['n']} barriers without a prediction; `screen run` makes them"
        )
    if not unconverged and not counts["converged"]:
        return f"{reader.path}: none of {counts['n']} barriers is converged; --all takes them"
    return f"{reader.path}: no prediction by {model!r} to compare; drop --model, or pass --all"
