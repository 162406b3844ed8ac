"""All hops of a crystal, against pymatgen's DistinctPathFinder at the same cutoff."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from pathways.convert import structure_from_crystal
from pathways.hops import enumerate_hops
from screen.sources.catalog import Catalog
from tests.bench.figures import Figure, best_cpu_s, quiet_garbage

TARGET_MS = 5.0
SYMPREC_A = 0.1


def run(n_crystals: int = 100, repeats: int = 3) -> list[Figure]:
    """Median over crystals of the shipped catalog, primitive cells for both."""
    entries = Catalog().entries
    step = max(1, len(entries) // n_crystals)
    quiet_garbage()
    ours, theirs = [], []
    for entry in entries[::step][:n_crystals]:
        crystal, ion = entry.crystal(), entry.ions[0]
        network = enumerate_hops(crystal, ion)
        tasks: list[Callable[[], object]] = [partial(enumerate_hops, crystal, ion)]
        peer = _peer(structure_from_crystal(crystal), ion, network.cutoff_a)
        if peer:
            tasks.append(peer)
        best = best_cpu_s(tasks, repeats)
        ours.append(1e3 * best[0])
        theirs += [1e3 * best[1]] if peer else []
    value = float(np.median(ours))
    return [
        Figure(
            name="hops",
            what="hops of one crystal, median",
            unit="ms CPU",
            target=f"<= {TARGET_MS:g} ms",
            value=value,
            met=value <= TARGET_MS,
            peer="DistinctPathFinder",
            peer_value=float(np.median(theirs)) if theirs else None,
            note=f"{len(ours)} crystals, p95 {np.percentile(ours, 95):.1f} ms"
            + (f" (peer {np.percentile(theirs, 95):.0f} ms)" if theirs else "; peer not installed"),
        )
    ]


def _peer(structure: Any, ion: str, cutoff_a: float) -> Callable[[], object] | None:
    try:
        from pymatgen.analysis.diffusion.neb.pathfinder import DistinctPathFinder
    except ImportError:
        return None
    return lambda: DistinctPathFinder(
        structure, ion, max_path_length=cutoff_a, symprec=SYMPREC_A
    ).get_paths()
