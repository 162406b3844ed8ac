"""Small real crystals, each strained a little, with labels that follow from what they are."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from models.bulk import KNOWN as PROPERTIES
from models.bulk import BulkTable, Property
from pathways.elements import SYMBOLS
from pathways.types import Crystal
from tests.pathways.crystals import KNOWN

NAMES = ("LiCoO2 layered", "LiTiS2 layered", "LiRuO2 rutile-type", "CaTiO3 perovskite")
SHEAR, PHONON, FORMATION, GAP = PROPERTIES[:4]


@functools.cache
def crystals(count: int) -> tuple[Crystal, ...]:
    """Real crystals in turn, their cells stretched by up to 6 % either way."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        crystal = KNOWN[NAMES[index % len(NAMES)]].crystal()
        lattice = crystal.lattice * (1 + rng.uniform(-0.06, 0.06))
        found.append(Crystal(lattice, crystal.numbers, crystal.frac))
    return tuple(found)


def volume_per_atom(crystal: Crystal) -> float:
    return abs(float(np.linalg.det(crystal.lattice))) / len(crystal)


def table(
    count: int = 60, properties: Sequence[Property] = (SHEAR, FORMATION), source: str = "tests"
) -> BulkTable:
    """A label for two rows in three of each property: a power of the volume per atom."""
    chosen = crystals(count)
    volume = np.array([volume_per_atom(crystal) for crystal in chosen])
    labels = np.stack([volume ** (1 + column) for column in range(len(properties))], axis=1)
    for column in range(len(properties)):
        labels[column::3, column] = np.nan
    return BulkTable(
        names=tuple(f"row-{index}" for index in range(count)),
        crystals=chosen,
        properties=tuple(properties),
        labels=labels,
        published_test=np.zeros(labels.shape, dtype=np.bool_),
        refused=(),
        source=source,
        digest="0" * 64,
    )


def write_parquet(path: Path, content: BulkTable, **columns: Any) -> Path:
    """The table as Parquet in the format of the published sets."""
    structures = [
        json.dumps(
            {
                "lattice": crystal.lattice.tolist(),
                "species": [SYMBOLS[number] for number in crystal.numbers],
                "frac": crystal.frac.tolist(),
            }
        )
        for crystal in content.crystals
    ]
    labels = {
        one.column: pa.array(content.labels[:, column], from_pandas=True)
        for column, one in enumerate(content.properties)
    }
    tests = [
        ",".join(one.words[0] for one, there in zip(content.properties, row, strict=True) if there)
        for row in content.published_test
    ]
    rows = {"id": list(content.names), "structure": structures, **labels}
    parquet.write_table(pa.table({**rows, "paper_test_props": tests, **columns}), path)
    return path
