"""Barriers that came back, from any number of files and a database, as one set of labelled bands.

A file holds bands with labels (published JSON, HDF5, extended XYZ), or a table of barriers that
names hops of a database (CSV or JSON with ``hop_id``, ``em_ev`` and, optionally, ``functional`` and
``converged``). Without such a table the barriers are those of the database itself.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screen.errors import UserError
from screen.scores import require_file

if TYPE_CHECKING:
    from models.dataset import LabelledBands
    from screen.reader import Reader

_NO = {"false", "f", "no", "n", "0"}
_NO_U = {"", "none", "no", "0", "{}", "[]", "null"}
_EXPECTED = "bands as .json, .h5, .extxyz, or barriers as .csv or .json"
_BARRIERS = """
select hop_id, method, functional, hubbard_u, converged,
    greatest(em_forward_ev, em_reverse_ev) as em_ev
from barriers where len($methods) = 0 or list_contains($methods, method)
order by hop_id, coalesce(converged, false) desc, imported_at desc, method, source
"""
"""As the view ``parity`` has it, the saddle above the lower end; the label to take comes first."""


@dataclass(frozen=True)
class NewLabels:
    """What came back."""

    bands: LabelledBands
    files: tuple[dict[str, Any], ...]
    """``name`` and ``sha256`` of each file, that of a database being of the barriers taken."""


@dataclass(frozen=True)
class _Barrier:
    hop_id: str
    em_ev: float
    xc: str


def read_labels(
    data: Sequence[Path], db: Path | None, xc: str = "", methods: Sequence[str] = ()
) -> NewLabels:
    """All labels of the files and the database.

    Args:
        data: files, or names of public ones.
        db: a campaign's database, whose hops tables of barriers name.
        xc: functional of labels that do not say.
        methods: of the database's own barriers; all where empty.

    Raises:
        UserError: neither is given, a file is not there, or a table of barriers has no database.
        models.dataset.DatasetError: a file cannot be read.
    """
    from models.dataset import merge_bands
    from screen.datasets import find_data
    from screen.reader import open_reader

    if not data and db is None:
        raise UserError("no labels; pass --data FILE, or --db with barriers that came back")
    parts, named = [], []
    for path in map(find_data, data):
        require_file(path, _EXPECTED)
        rows = _barrier_rows(path)
        if rows is None:
            parts.append(load_labelled(path))
        elif db is None:
            raise UserError(f"{path}: names hops; pass the --db that they are in, too")
        else:
            named.append((path, rows))
    if db is not None:
        with open_reader(db) as reader:
            for path, rows in named:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                parts.append(_join(reader, *_from_table(rows), path.name, digest))
            if not named:
                parts.append(_join(reader, *_from_store(reader, methods), db.name))
    bands = merge_bands(parts)
    files = tuple({"name": part.source, "sha256": part.digest} for part in parts)
    return NewLabels(replace(bands, xc=tuple(one or xc for one in bands.xc)), files)


def load_labelled(path: Path) -> LabelledBands:
    """Bands with labels of a file: extended XYZ, HDF5 or published JSON, by its suffix."""
    from models.dataset import load_bands
    from screen.extxyz_bands import read_extxyz

    return read_extxyz(path) if path.suffix.lower() in (".extxyz", ".xyz") else load_bands(path)


def _barrier_rows(path: Path) -> list[dict[str, Any]] | None:
    """The rows of a table of barriers; None where the file is of another kind."""
    from models.dataset import DatasetError

    suffix = path.suffix.lower()
    if suffix not in (".csv", ".json"):
        return None
    try:
        text = path.read_text("utf-8-sig")
        rows: Any = (
            list(csv.DictReader(io.StringIO(text))) if suffix == ".csv" else json.loads(text)
        )
    except (ValueError, csv.Error):
        if suffix == ".json":
            return None  # the reader of bands says what is wrong
        raise DatasetError(f"{path}: not readable as CSV in UTF-8; write it again") from None
    keys = set(rows[0]) if isinstance(rows, list) and rows and isinstance(rows[0], dict) else set()
    if suffix == ".json" and ("hop_id" not in keys or "atoms" in keys):
        return None
    if not keys >= {"hop_id", "em_ev"}:
        raise DatasetError(
            f"{path}: no rows with hop_id and em_ev; expected hop_id, em_ev (eV), functional"
        )
    return [row if isinstance(row, dict) else {} for row in rows]


def _from_table(
    rows: Iterable[dict[str, Any]],
) -> tuple[list[_Barrier], list[tuple[str, str]]]:
    """Barriers of a file's rows, and name and reason of the rows that hold none."""
    barriers, refused = [], []
    for number, row in enumerate(rows, start=1):
        hop_id = str(row.get("hop_id") or "").strip()
        em_ev = _barrier_ev(row.get("em_ev"))
        if not hop_id:
            refused.append((f"row {number}", "no hop_id"))
        elif str(row.get("converged", "")).strip().lower() in _NO:
            refused.append((hop_id, "not converged"))
        elif em_ev is None:
            refused.append((hop_id, f"em_ev is {row.get('em_ev')!r}, expected a barrier in eV"))
        else:
            functional = row.get("functional") or row.get("xc") or ""
            barriers.append(_Barrier(hop_id, em_ev, str(functional).strip()))
    return barriers, refused


def _from_store(
    reader: Reader, methods: Sequence[str]
) -> tuple[list[_Barrier], list[tuple[str, str]]]:
    """The same of the database's own barriers: of several of a hop, the last that converged."""
    rows = reader.records(_BARRIERS, {"methods": list(methods)})
    found = sorted({str(row["method"]) for row in rows if row["converged"]})
    if len(found) > 1 and not methods:
        raise UserError(
            f"{reader.path}: barriers by {', '.join(found)}, expected one method; "
            "pass --method for each that may stand side by side"
        )
    barriers: dict[str, _Barrier] = {}
    refused = []
    for row in rows:
        hop_id, em_ev = row["hop_id"], _barrier_ev(row["em_ev"])
        if not row["converged"]:
            said = "does not say whether it has" if row["converged"] is None else "has not"
            refused.append((hop_id, f"{row['method']} {said} converged"))
        elif em_ev is None:
            refused.append((hop_id, f"the barrier is {row['em_ev']}, expected a barrier in eV"))
        elif hop_id in barriers:
            refused.append((hop_id, f"an older barrier of {em_ev:g} eV; the last one counts"))
        else:
            barriers[hop_id] = _Barrier(hop_id, em_ev, _functional(row))
    return list(barriers.values()), refused


def _functional(row: dict[str, Any]) -> str:
    functional = (row["functional"] or "").strip()
    has_u = (row["hubbard_u"] or "").strip().lower() not in _NO_U
    return f"{functional}+U" if functional and has_u and "+U" not in functional else functional


def _barrier_ev(value: Any) -> float | None:
    try:
        em_ev = float(value)
    except (TypeError, ValueError):
        return None
    return em_ev if math.isfinite(em_ev) and em_ev >= 0 else None


def _join(
    reader: Reader,
    barriers: Sequence[_Barrier],
    refused: Sequence[tuple[str, str]],
    source: str,
    digest: str | None = None,
) -> LabelledBands:
    """Barriers with the bands of their hops."""
    import numpy as np

    from models.dataset import LabelledBands, host_group
    from pathways.types import PathwayError
    from screen.stored_bands import read_bands

    left_out = list(refused)
    found = read_bands(reader, [one.hop_id for one in barriers])
    kept, bands = [], []
    for one in barriers:
        band = found[one.hop_id]
        if isinstance(band, PathwayError):
            left_out.append((one.hop_id, str(band)))
        else:
            kept.append(one)
            bands.append(band)
    taken = json.dumps([[one.hop_id, one.em_ev, one.xc] for one in kept])
    return LabelledBands(
        names=tuple(one.hop_id for one in kept),
        bands=tuple(bands),
        em_ev=np.array([one.em_ev for one in kept], dtype=float),
        groups=tuple(host_group(band) for band in bands),
        xc=tuple(one.xc for one in kept),
        refused=tuple(left_out),
        source=source,
        digest=digest or hashlib.sha256(taken.encode()).hexdigest(),
    )
