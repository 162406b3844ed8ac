"""What the benchmarks of a whole run feed it: crystals without end, a model that costs nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from jobs.records import Candidate
from models.graph import BandGraph, GraphSettings
from models.predict import Prediction
from pathways.types import Crystal
from screen.sources.base import Query, Source
from screen.sources.catalog import Catalog
from tests.bench.figures import NotMeasured


class CheapPredictor:
    """Answers at once, by the number of edges: for figures in which the model has no part."""

    graph_settings = GraphSettings(k=2)

    def predict(self, graphs: Sequence[BandGraph]) -> list[Prediction]:
        """One prediction per graph."""
        barriers = [len(graph.source) / 100 for graph in graphs]
        return [Prediction(em_ev, 0.1, em_ev - 0.2, em_ev + 0.2, 0.5, 1.0) for em_ev in barriers]


@dataclass(frozen=True)
class SmallCrystals(Source):
    """A source of crystals of two atoms, no two alike; of low symmetry, for spglib to be quick."""

    n: int
    name: str = "bench"

    def version(self, query: Query) -> str:
        """It never changes."""
        return "1"

    def candidates(self, query: Query) -> Iterator[Candidate]:
        """Every one, whatever is asked for."""
        lattice = np.array([[3.0, 0.0, 0.0], [0.4, 3.2, 0.0], [0.5, 0.7, 3.4]])
        frac = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
        for index in range(self.n):
            crystal = Crystal((1.0 + 1e-5 * index) * lattice, np.array([3, 9]), frac)
            info = {"source": self.name, "formula": "LiF", "source_version": "1"}
            yield Candidate(f"bench-{index}", query.ion, crystal, info)

    def count(self, query: Query) -> int:
        """How many there are."""
        return self.n


@dataclass(frozen=True)
class CatalogAgain(Source):
    """The shipped catalog, over and over, each round under ids of its own."""

    n: int
    name: str = "bench"

    def version(self, query: Query) -> str:
        """It never changes."""
        return "1"

    def candidates(self, query: Query) -> Iterator[Candidate]:
        """Every material with the first ion that its entry names, whatever is asked for."""
        return islice(self._rounds(), self.n)

    def count(self, query: Query) -> int:
        """How many there are."""
        return self.n

    def _rounds(self) -> Iterator[Candidate]:
        entries = Catalog().entries
        for turn in count():
            for entry in entries:
                info = {"source": self.name, "formula": entry.formula}
                yield Candidate(f"{entry.mp_id}-{turn}", entry.ions[0], entry.crystal(), info)


def resident_bytes() -> int:
    """Memory of this process that is in RAM.

    Raises:
        NotMeasured: the system does not say.
    """
    statm = Path("/proc/self/statm")
    if not statm.exists():
        raise NotMeasured("resident memory is read from /proc, which this system lacks")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
