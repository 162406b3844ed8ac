"""From results to rows of the table ``barriers``: only what the database knows the hop of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from screen.neb_results.finding import Found
from screen.neb_results.results import Barrier, Refusal
from screen.reader import open_reader
from screen.store import Store

_KNOWN = "select hop_id from hops where hop_id in (select unnest(?))"


@dataclass(frozen=True)
class Imported:
    """What became of results."""

    barriers: tuple[Barrier, ...]
    """That are in the database now."""
    states: tuple[str, ...]
    """Of each: ``new``, ``changed`` or ``unchanged``."""
    refusals: tuple[Refusal, ...]


def import_results(found: Iterable[Found], db: Path) -> Imported:
    """Bring results into a database, all in one transaction; a second time changes nothing.

    Args:
        found: barriers and what is none.
        db: of the campaign that the hops are of.

    Raises:
        UserError: there is no such database, or another process holds it.
    """
    barriers: list[Barrier] = []
    refusals: list[Refusal] = []
    for one in found:
        if isinstance(one, Barrier):
            barriers.append(one)
        else:
            refusals.append(one)
    known = _known_hops(db, {one.hop_id for one in barriers})
    kept: dict[tuple[str, str, str], Barrier] = {}
    for one in barriers:
        key = (one.hop_id, one.method, one.source)
        if one.hop_id not in known:
            refusals.append(
                Refusal(one.source, "unknown_hop", f"{one.hop_id} is not in {db}; pass its --db")
            )
        elif key in kept:
            if kept[key] != one:
                refusals.append(_twice(one))
        else:
            kept[key] = one
    states: list[str] = []
    if kept:
        with Store.open(db) as store:
            states = store.write_barriers([_row(one) for one in kept.values()])
    return Imported(tuple(kept.values()), tuple(states), tuple(refusals))


def _known_hops(db: Path, hop_ids: set[str]) -> set[str]:
    with open_reader(db) as reader:
        return {row["hop_id"] for row in reader.records(_KNOWN, [sorted(hop_ids)])}


def _twice(one: Barrier) -> Refusal:
    return Refusal(
        one.source,
        "twice",
        f"another barrier of {one.hop_id} by {one.method} under the same name, the first one "
        "counts; rename a folder or file, or take one away",
    )


def _row(one: Barrier) -> dict[str, object]:
    """As ``Store.write_barriers`` takes it."""
    row = {key: value for key, value in vars(one).items() if key not in ("notes", "remark")}
    profile = None
    if one.profile is not None:
        profile = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(one.profile).items()
        }
        profile["highest_segment_ev"] = one.profile.highest_segment_ev
    return {**row, "profile": profile, "note": one.remark}
