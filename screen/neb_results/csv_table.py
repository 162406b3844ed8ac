"""A table of barriers as CSV: ``hop_id``, ``em_ev`` or ``em_forward_ev``, and what else is known.

The other columns are ``em_reverse_ev``, ``functional``, ``hubbard_u``, ``method``, ``converged``.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from screen.neb_results.results import Barrier, Refusal

_YES, _NO = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}
_FORWARD = ("em_forward_ev", "em_ev")


def is_table(path: Path) -> bool:
    """Whether a CSV file names hops and barriers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, ValueError, csv.Error):
        return False
    return "hop_id" in names and any(name in names for name in _FORWARD)


def read_csv(path: Path) -> Iterator[Barrier | Refusal]:
    """Each row as a barrier, or why it is none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=1):
                said = {
                    (key or "").strip(): value.strip()
                    for key, value in row.items()
                    if isinstance(value, str)
                }
                yield _barrier(said, path, number)
    except (ValueError, csv.Error):
        yield Refusal(path.name, "unreadable", "no CSV in UTF-8; write it again")


def _barrier(row: dict[str, str], path: Path, number: int) -> Barrier | Refusal:
    hop_id, place = row.get("hop_id", ""), f"{path.name}, row {number}"
    if not hop_id:
        return Refusal(place, "no_hop_id", "no hop_id; add it, or take the row out")
    given = next((row[name] for name in _FORWARD if row.get(name)), "")
    forward_ev, backward = _energy_ev(given), row.get("em_reverse_ev", "")
    reverse_ev = _energy_ev(backward) if backward else None
    if forward_ev is None or (backward and reverse_ev is None):
        wrong = given if forward_ev is None else backward
        return Refusal(place, "no_barrier", f"{wrong!r} for {hop_id}, expected a barrier in eV")
    said = row.get("converged", "").lower()
    if said and said not in _YES | _NO:
        return Refusal(place, "not_said", f"converged is {said!r} for {hop_id}, expected yes or no")
    notes = [] if said else ["does not say whether it converged; add a column converged"]
    if said in _NO:
        notes.append("not converged: stored as such")
    functional = row.get("functional") or row.get("xc")
    if not functional:
        notes.append("no functional; add a column functional")
    return Barrier(
        hop_id=hop_id,
        method=row.get("method") or "csv",
        source=path.name,
        em_forward_ev=forward_ev,
        em_reverse_ev=reverse_ev,
        functional=functional or None,
        hubbard_u=row.get("hubbard_u") or None,
        converged=said in _YES if said else None,
        notes=tuple(notes),
    )


def _energy_ev(text: str) -> float | None:
    try:
        energy_ev = float(text)
    except ValueError:
        return None
    return energy_ev if math.isfinite(energy_ev) and energy_ev >= 0 else None
