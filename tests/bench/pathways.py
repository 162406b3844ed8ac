"""Random crystals of a snapshot through every step before the model: does any hang or fail?"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from pathways.band import build_band
from pathways.curved import curved_features
from pathways.hops import HopSettings, enumerate_hops
from pathways.percolation import percolation_barriers
from pathways.supercell import BandSettings
from pathways.types import PathwayError
from tests.bench.figures import Figure, NotMeasured, quiet_garbage
from tests.bench.workload import resident_bytes
from tests.pathways.snapshot import FILE, Stored, random_crystals

MAX_ATOMS = 400
TARGET_ROWS = 99.5
TARGET_HOPS_MS = 5.0
TARGET_BAND_MS = 10.0
TARGET_GROWTH = 10.0
_SLOWEST = 3
"""How many of the slowest, or of what was raised, are told of."""


class Run:
    """What became of the crystals so far."""

    def __init__(self, bands_each: int) -> None:
        self.ms: dict[str, list[tuple[float, str]]] = defaultdict(list)
        """Process time of each step, with the material."""
        self.refused: Counter[str] = Counter()
        """Failure rows by reason."""
        self.raised: list[str] = []
        """What no failure row would have come of."""
        self._bands_each = bands_each

    def take(self, stored: Stored) -> None:
        """One crystal through all steps."""
        try:
            self._steps(stored)
        except PathwayError as error:
            self.refused[error.reason] += 1
        except Exception as error:  # what this benchmark is there to find
            self.raised.append(f"{stored.material_id}: {error!r}")

    def _steps(self, stored: Stored) -> None:
        name = f"{stored.material_id} {stored.formula}, {len(stored.crystal)} atoms"
        settings = HopSettings(max_sites=MAX_ATOMS)
        with _Clock(self.ms["hops"], name):
            network = enumerate_hops(stored.crystal, stored.ion, settings)
        with _Clock(self.ms["percolation"], name):
            lengths = [hop.length_a for hop in network.hops]
            percolation_barriers([hop.orbit for hop in network.hops], lengths)
        for hop in network.hops[: self._bands_each]:
            with _Clock(self.ms["band"], name):
                band = build_band(network.crystal, hop, BandSettings())
            with _Clock(self.ms["curved features"], name):
                curved_features(band.folded)


class _Clock:
    def __init__(self, times: list[tuple[float, str]], name: str) -> None:
        self._times, self._name = times, name

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self._times.append((1e3 * (time.process_time() - self._began), self._name))


def run(n_crystals: int = 2000, bands_each: int = 2, seed: int = 0) -> list[Figure]:
    """Rows or reasons, times of each step and growth of memory.

    Args:
        n_crystals: drawn from the snapshot.
        bands_each: shortest hops of each crystal that bands and curved paths are made of.
        seed: of the draw.
    """
    folder = Path(os.environ.get("IONSCREEN_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (folder / FILE).exists():
        raise NotMeasured(f"no {folder / FILE}; set IONSCREEN_DATA to the folder of {FILE}")
    crystals = random_crystals(folder, n_crystals, MAX_ATOMS, seed)
    state = Run(bands_each)
    early = 0
    quiet_garbage()
    for done, stored in enumerate(crystals):
        if done == len(crystals) // 10:
            early = resident_bytes()
        state.take(stored)
    growth = 100 * (resident_bytes() / early - 1)
    return [
        _rows(state, len(crystals)),
        _times(state, "hops", TARGET_HOPS_MS),
        _times(state, "band", TARGET_BAND_MS),
        _times(state, "percolation", None),
        _times(state, "curved features", None),
        Figure(
            name="pathways-memory",
            what=f"growth of memory from {len(crystals) // 10:,} to {len(crystals):,} crystals",
            unit="%",
            target=f"flat: <= {TARGET_GROWTH:g} %",
            value=growth,
            met=growth <= TARGET_GROWTH,
            note=f"from {early / 2**20:.0f} MiB, all crystals loaded before",
        ),
    ]


def _rows(state: Run, total: int) -> Figure:
    share = 100 * (1 - len(state.raised) / total)
    reasons = ", ".join(f"{count} {reason}" for reason, count in state.refused.most_common())
    raised = "".join(f"; raised {text}" for text in state.raised[:_SLOWEST])
    return Figure(
        name="pathways-rows",
        what=f"of {total:,} random crystals of up to {MAX_ATOMS} atoms, rows or a reason",
        unit="%",
        target=f">= {TARGET_ROWS:g} %",
        value=share,
        met=share >= TARGET_ROWS,
        note=f"{sum(state.refused.values())} with a reason ({reasons}){raised}",
    )


def _times(state: Run, step: str, target_ms: float | None) -> Figure:
    times = sorted(state.ms[step], reverse=True)
    values = [ms for ms, _ in times]
    median = float(np.median(values))
    slowest = "; ".join(f"{ms:.0f} ms {name}" for ms, name in times[:_SLOWEST])
    return Figure(
        name=f"pathways-{step.replace(' ', '-')}",
        what=f"{step}, median over random crystals",
        unit="ms CPU",
        target="" if target_ms is None else f"<= {target_ms:g} ms",
        value=median,
        met=None if target_ms is None else median <= target_ms,
        note=f"{len(values):,} times; p99 {np.percentile(values, 99):.1f} ms; slowest {slowest}",
    )
