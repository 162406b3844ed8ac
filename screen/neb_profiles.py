"""Stored energy profiles of bands, as rows and as figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from screen.reader import Reader

Record = dict[str, Any]

_PROFILES = """
select b.hop_id, b.formula, b.ion, b.method, b.source, b.label as functional, b.converged,
    b.em_forward_ev, b.em_reverse_ev, p.intermediate_minima, p.highest_segment_ev,
    p.segments_forward_ev, p.segments_reverse_ev, p.energies_ev, p.path_a, p.note,
    r.model_id, r.em_ev, r.em_low_ev, r.em_high_ev
from profiles p
join labelled_barriers b using (hop_id, method, source)
left join ranked_hops r using (hop_id)
where $hop_id is null or p.hop_id = $hop_id
order by all
"""


def read_profiles(reader: Reader, hop_id: str | None = None) -> list[Record]:
    """Profiles with their barriers and the last prediction, in the order of their hops.

    Args:
        reader: of a campaign's database.
        hop_id: of one hop; None takes all.
    """
    return reader.records(_PROFILES, {"hop_id": hop_id})


def draw_profiles(found: Sequence[Record], output: Path) -> list[tuple[Record, Path | None]]:
    """Draw profiles, each with the predicted barrier and its 90 % interval.

    Args:
        found: rows of ``read_profiles``.
        output: a PNG file, for one profile, or a folder, made where it is not there.

    Returns:
        Each row with its file, None where it has no path to draw over.

    Raises:
        UserError: several profiles for one file, or the folder cannot be made.
    """
    from screen.profile_figure import draw_profile

    drawable = [row for row in found if row["energies_ev"] and row["path_a"]]
    is_file = output.suffix.lower() == ".png"
    if is_file and len(drawable) > 1:
        raise UserError(
            f"{output}: {len(drawable)} profiles for one file, expected a folder; "
            "or pass the --hop of one"
        )
    if not is_file and drawable:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{output}: no folder can be made ({error.strerror})", FAILED
            ) from error
    drawn: list[tuple[Record, Path | None]] = []
    taken: set[str] = set()
    for row in found:
        if not (row["energies_ev"] and row["path_a"]):
            drawn.append((row, None))
            continue
        path = output if is_file else output / _file_name(row, taken)
        draw_profile(
            row["path_a"],
            row["energies_ev"],
            predicted_ev=row["em_ev"],
            low_ev=row["em_low_ev"],
            high_ev=row["em_high_ev"],
            title=_title(row),
            file=path,
        )
        drawn.append((row, path))
    return drawn


def _title(row: Record) -> str:
    functional = f", {row['functional']}" if row["functional"] else ""
    unsure = "" if row["converged"] else ", not converged"
    return f"{row['formula'] or ''} {row['hop_id']}\n{row['method']}{functional}{unsure}".strip()


def _file_name(row: Record, taken: set[str]) -> str:
    """Of hop and method, with a number where several are alike."""
    words = [re.sub(r"[^\w.+=-]+", "_", str(row[name])) for name in ("hop_id", "method")]
    stem = name = "_".join(words)[:150]
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return f"{name}.png"
