"""Small campaigns, what they leave in the database, and what must hold of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from screen.errors import UserError
from screen.reader import Reader, open_reader
from screen.snapshots import snapshot_age_s
from screen.sources.structure_json import structure_json
from tests.chaos.processes import Ended, done, screen
from tests.small_crystals import crystal_of

TIMES = {"fetched_at", "predicted_at", "ranked_at", "failed_at", "written_at", "started"}
KEYS = {
    "materials": ("material_id",),
    "hops": ("hop_id",),
    "predictions": ("hop_id", "model_id"),
    "material_ranking": ("material_id", "ion", "model_id", "mechanism"),
    "failures": ("material_id", "hop_id", "stage"),
    "campaign_materials": ("material_id", "ion"),
}
"""What names a row of each table that a run writes."""
_SAME_TO = 1e-6
"""Relative: which bands are in a batch together decides the last digits."""

Content = dict[str, dict[tuple[Any, ...], dict[str, Any]]]
"""Rows of each table by their keys, without times."""


@dataclass(frozen=True)
class Campaign:
    """A command line without its database and engine."""

    name: str
    words: tuple[str, ...]

    def command(self, db: Path, engine: str, *more: str) -> list[str]:
        """The interpreter's arguments for the run."""
        machine = ["--engine", engine]
        if engine == "ray":
            machine += ["--num-cpus", "1", "--num-gpus", "0"]
        return screen("run", *self.words, "--db", db, *machine, *more)

    def run(self, db: Path, engine: str, timeout_s: float = 300, **variables: str) -> Ended:
        """Run it to its end, or go on with it."""
        return done(self.command(db, engine), db.parent, timeout_s, **variables)


def catalogued(limit: int = 20) -> Campaign:
    """Known Mg hosts."""
    return Campaign("catalog", ("--chemsys", "Mg-*", "--source", "catalog", "--limit", str(limit)))


def from_files(folder: Path, copies: int = 6) -> Campaign:
    """Crystals from files, and among them entries that are bad in every way."""
    path = folder / "crystals.jsonl"
    path.write_text("".join(f"{line}\n" for line in _entries(copies)))
    words = ("--chemsys", "Mg-*", "--source", str(path), "--keep-duplicates")
    return Campaign("files", words)


def _entries(copies: int) -> Iterator[str]:
    good = [(name, crystal_of(name)) for name in ("MgO", "MgAl2O4", "MgMn2O4")]
    bad = iter(_bad())
    for copy in range(copies):
        for name, crystal in good:
            document = json.loads(structure_json(crystal))
            document["lattice"] = (crystal.lattice * (1 + 0.002 * copy)).tolist()
            yield json.dumps({"material_id": f"{name}-{copy}", "structure": document})
        yield from (next(bad, ""),)
    yield from bad


def _bad() -> list[str]:
    """Lines that are no JSON, no structures, or structures of nothing that can be."""
    box = [[4.2, 0, 0], [0, 4.2, 0], [0, 0, 4.2]]
    apart, together = [[0.0] * 3, [0.5] * 3], [[0.0] * 3, [0.01] * 3]
    structures: dict[str, Any] = {
        "number": 7,
        "empty": {},
        "overlap": {"lattice": box, "species": ["Mg", "O"], "frac": together},
        "flat": {"lattice": [box[0], box[0], box[2]], "species": ["Mg", "O"], "frac": apart},
        "nan": {"lattice": box, "species": ["Mg", "O"], "frac": [[math.nan] * 3, [0.5] * 3]},
        "far": {"lattice": box, "species": ["Mg", "O"], "frac": [[1e30] * 3, [0.5] * 3]},
        "nobody": {"lattice": box, "species": ["Mg", "Xx"], "frac": apart},
        "ragged": {"lattice": box, "species": ["Mg", "O"], "frac": [[0.0] * 3]},
    }
    rows = [{"material_id": f"bad-{name}", "structure": one} for name, one in structures.items()]
    return ["{no json", *(json.dumps(row) for row in rows)]


def content(db: Path) -> Content:
    """All that a run leaves, but for times."""
    with open_reader(db) as reader:
        return {table: dict(_keyed(reader, table)) for table in KEYS}


def _keyed(reader: Reader, table: str) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    rows = reader.records(f"select * from {table}")
    names = [name for name in KEYS[table] if not rows or name in rows[0]]
    for row in rows:
        kept = {name: value for name, value in row.items() if name not in TIMES}
        yield tuple(row[name] for name in names), kept


def duplicates(db: Path) -> list[str]:
    """Tables that hold a row twice, by its key."""
    found = []
    with open_reader(db) as reader:
        for table, names in KEYS.items():
            here = set(reader.table(f"select * from {table} limit 0").column_names)
            keys = ", ".join(name for name in names if name in here)
            twice = reader.records(f"select {keys} from {table} group by all having count(*) > 1")
            found += [f"{table} holds {row} twice" for row in twice[:3]]
    return found


def differences(found: Content, expected: Content) -> list[str]:
    """What two databases do not agree on."""
    said = []
    for table, wanted in expected.items():
        rows = found[table]
        said += [f"{table} lacks {key}" for key in sorted(wanted.keys() - rows.keys(), key=repr)]
        said += [
            f"{table} has {key} besides" for key in sorted(rows.keys() - wanted.keys(), key=repr)
        ]
        for key in wanted.keys() & rows.keys():
            said += [
                f"{table} {key}: {name} is {rows[key].get(name)}, expected {value}"
                for name, value in wanted[key].items()
                if not _same(rows[key].get(name), value)
            ]
    return said


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or abs(one - other) <= _SAME_TO * max(1.0, abs(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


class Acknowledged:
    """Rows that somebody has seen in the database, or in a snapshot of it."""

    def __init__(self, db: Path) -> None:
        self._db = db
        self._looked_s = 0.0
        self.rows: dict[str, set[tuple[Any, ...]]] = {table: set() for table in KEYS}

    def look_at_snapshot(self) -> None:
        """Note what the snapshot holds, where there is one."""
        if snapshot_age_s(self._db) is not None:
            self.look()

    def look(self) -> bool:
        """Note what a reader sees; whether it could read."""
        try:
            found = content(self._db)
        except UserError:  # none yet, or the run has just begun or ended
            return False
        for table, rows in found.items():
            self.rows[table] |= rows.keys()
        return True

    @property
    def n_materials(self) -> int:
        """Materials that are done."""
        return len(self.rows["campaign_materials"])

    def missing_in(self, found: Content) -> list[str]:
        """Rows that were seen and are gone."""
        return [
            f"{table} {key} was there and is gone"
            for table, keys in self.rows.items()
            for key in sorted(keys - found[table].keys(), key=repr)
        ]


def first(said: Sequence[str], most: int = 3) -> str:
    """The first few of what was found."""
    rest = f"; and {len(said) - most} more" if len(said) > most else ""
    return "; ".join(said[:most]) + rest
