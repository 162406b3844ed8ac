"""Random crystals of the snapshot of the Materials Project, the same ones for the same seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pathways.types import Crystal
from screen.sources.structure_json import crystal_from_json

FILE = "mp_snapshot.parquet"


@dataclass(frozen=True, eq=False)
class Stored:
    material_id: str
    formula: str
    ion: str
    """The first of the ions that it is in the snapshot for."""
    crystal: Crystal


def random_crystals(folder: Path, count: int, max_atoms: int, seed: int = 0) -> list[Stored]:
    """Up to ``count`` crystals with at most so many atoms in the cell."""
    import pyarrow.parquet as pq

    columns = ["material_id", "formula", "natoms", "mobile_ions", "structure"]
    table = pq.read_table(folder / FILE, columns=columns)
    small = np.flatnonzero(table["natoms"].to_numpy() <= max_atoms)
    chosen = np.random.default_rng(seed).choice(small, min(count, len(small)), replace=False)
    return [
        Stored(
            row["material_id"],
            row["formula"],
            row["mobile_ions"].split()[0],
            crystal_from_json(row["structure"]),
        )
        for row in table.take(chosen).to_pylist()
    ]
