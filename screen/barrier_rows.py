"""Rows of ``barriers`` and ``profiles``, and what follows from them: ``mlip_corrections``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from screen.database import rows, utc_now
from screen.mlip_correction import PAIRS_SQL, corrections

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEY = ("hop_id", "method", "source")
_BARRIER = ("em_forward_ev", "em_reverse_ev", "functional", "hubbard_u", "converged")
_PROFILE = (
    *("energies_ev", "path_a", "intermediate_minima"),
    *("segments_forward_ev", "segments_reverse_ev", "highest_segment_ev"),
)
_THERE = f"""
select {", ".join(_BARRIER)}, {", ".join(_PROFILE)}, note
from barriers left join profiles using ({", ".join(_KEY)})
where hop_id = ? and method = ? and source = ?
"""


def put_barriers(con: DuckDBPyConnection, barriers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Store barriers, within a transaction; those that are there stay untouched.

    Args:
        con: of the database.
        barriers: one for each key, with the columns of ``barriers`` but its time; and, where they
            are known, under ``profile`` those of ``profiles``, and ``note``.

    Returns:
        ``new``, ``changed`` or ``unchanged`` for each.
    """
    states = [_put(con, barrier) for barrier in barriers]
    con.execute("delete from mlip_corrections")
    for (method, functional), found in corrections(rows(con, PAIRS_SQL)).items():
        row = [method, functional, *vars(found).values()]
        con.execute(
            f"insert into mlip_corrections (method, functional, {', '.join(vars(found))}) "
            f"values ({', '.join('?' * len(row))})",
            row,
        )
    return states


def _put(con: DuckDBPyConnection, barrier: Mapping[str, Any]) -> str:
    key, profile = [barrier[name] for name in _KEY], barrier.get("profile") or {}
    first = [barrier[name] for name in _BARRIER]
    second = [*(profile.get(name) for name in _PROFILE), barrier.get("note")]
    there = rows(con, _THERE, key)
    if there == [(*first, *second)]:
        return "unchanged"
    con.execute(
        f"insert or replace into barriers ({', '.join((*_KEY, *_BARRIER))}, imported_at) "
        f"values ({', '.join('?' * (len(key) + len(first)))}, ?)",
        [*key, *first, utc_now()],
    )
    con.execute("delete from profiles where hop_id = ? and method = ? and source = ?", key)
    if any(value is not None for value in second):
        con.execute(
            f"insert into profiles ({', '.join((*_KEY, *_PROFILE))}, note) "
            f"values ({', '.join('?' * (len(key) + len(second)))})",
            [*key, *second],
        )
    return "changed" if there else "new"
