"""The process in which ``growth`` measures; prints one line of JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from jobs.records import Candidate
from jobs.settings import RunSettings
from jobs.stages import prepare, score
from models.graph import GraphSettings, build_graph
from models.predict import Predictor
from pathways.band import build_band
from pathways.hops import HopSettings, enumerate_hops
from pathways.supercell import BandSettings
from pathways.types import Band, Crystal, HopNetwork
from screen.campaign import Campaign, run_campaign
from screen.sources.base import Query
from screen.sources.catalog import Catalog
from screen.store import Store
from tests.bench.figures import best_cpu_s, quiet_garbage
from tests.bench.workload import CatalogAgain

QUERY = Query((), "Mg")
MOVED_A = 0.15
MANY = 5_000
HOPS_IN_CELLS = 4
Points = list[tuple[float, float]]


def first_crystal() -> tuple[Crystal, str]:
    """The first catalogued crystal of 12 to 16 atoms, and its ion."""
    for entry in Catalog().entries:
        crystal = entry.crystal()
        if 12 <= len(crystal) <= 16:
            return crystal, entry.ions[0]
    raise LookupError("no crystal of 12 to 16 atoms in the catalog")


def without_symmetry(crystal: Crystal, cells: int) -> Crystal:
    """So many cells, nearly a cube of them, with every atom moved a little."""
    counts = [1, 1, 1]
    while int(np.prod(counts)) < cells:
        edges = np.linalg.norm(crystal.lattice, axis=1) * counts
        counts[int(edges.argmin())] *= 2
    grid = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, 3)
    frac = ((crystal.frac[:, None, :] + grid) / counts).reshape(-1, 3)
    lattice = crystal.lattice * np.array(counts)[:, None]
    moved = np.random.default_rng(0).uniform(-MOVED_A, MOVED_A, frac.shape)
    numbers = np.repeat(crystal.numbers, len(grid))
    return Crystal(lattice, numbers, frac + moved @ np.linalg.inv(lattice))


def of_sites(cells: Sequence[int], repeats: int) -> Points:
    """Time of the hops, by sites."""
    crystal, ion = first_crystal()
    settings = HopSettings(max_sites=MANY)
    points = []
    for count in cells:
        large = without_symmetry(crystal, count)
        (best,) = best_cpu_s([partial(enumerate_hops, large, ion, settings)], repeats)
        points.append((float(len(large)), 1e3 * best))
    return points


def of_atoms(widths_a: Sequence[float], repeats: int) -> dict[str, Points]:
    """Times of band, numbers and graphs of one hop, by atoms of the band."""
    network = enumerate_hops(*first_crystal())
    found: dict[str, Points] = {name: [] for name in ("band", "numbers", "graph", "whole-graph")}
    local = Predictor.load("model3").graph_settings
    for width_a in widths_a:
        settings = BandSettings(min_width_a=width_a, max_atoms=MANY)
        tasks: list[Callable[[], object]] = [
            partial(build_band, network.crystal, network.hops[0], settings),
            partial(_graph, network, settings, GraphSettings(parts="numbers")),
            partial(_graph, network, settings, local),
            partial(_graph, network, settings, GraphSettings()),
        ]
        made, *others = best_cpu_s(tasks, repeats)
        n_atoms = float(len(_band(network, settings)))
        times = [made, *(max(one - made, 1e-9) for one in others)]
        for name, seconds in zip(found, times, strict=True):
            found[name].append((n_atoms, 1e3 * seconds))
    return found


def _band(network: HopNetwork, settings: BandSettings) -> Band:
    return build_band(network.crystal, network.hops[0], settings)


def _graph(network: HopNetwork, settings: BandSettings, graph: GraphSettings) -> object:
    # A band keeps its curved path: each turn makes its own.
    return build_graph(_band(network, settings), graph)


def of_hops(limits: Sequence[int], repeats: int) -> Points:
    """Time of one crystal from its hops to their barriers, by hops."""
    crystal, ion = first_crystal()
    large = without_symmetry(crystal, HOPS_IN_CELLS)
    predictor = Predictor.load()
    points = []
    for limit in limits:
        settings = RunSettings(hops=HopSettings(cutoff_a=8.0, max_hops=limit, max_sites=MANY))
        task = partial(_scored, Candidate("bench", ion, large), settings, predictor)
        points.append((float(task()), 1e3 * best_cpu_s([task], repeats)[0]))
    return points


def _scored(candidate: Candidate, settings: RunSettings, predictor: Predictor) -> int:
    _, graphs = prepare(candidate, settings, predictor.graph_settings)
    return len(score(predictor, graphs))


def of_candidates(counts: Sequence[int]) -> Points:
    """Time of whole inline runs, by candidates."""
    predictor = Predictor.load()
    settings = RunSettings(engine="inline")
    points = []
    for count in (5, *counts):  # the first is not counted: imports, and what is made once
        campaign = Campaign(CatalogAgain(count), QUERY, settings, predictor.model_id)
        with (
            tempfile.TemporaryDirectory() as folder,
            Store.open(Path(folder) / "bench.duckdb") as store,
        ):
            began = time.process_time()
            run_campaign(campaign, store, predictor_factory=lambda: predictor)
            points.append((float(count), 1e3 * (time.process_time() - began)))
    return points[1:]


def main(cells: str, widths_a: str, hops: str, candidates: str, repeats: int) -> dict[str, Points]:
    """Sizes and CPU times in ms of everything that grows."""
    quiet_garbage()
    return {
        "hops": of_sites(_whole(cells), repeats),
        **of_atoms([float(width) for width in widths_a.split(",")], repeats),
        "prepared": of_hops(_whole(hops), repeats),
        "candidates": of_candidates(_whole(candidates)),
    }


def _whole(sizes: str) -> list[int]:
    return [int(size) for size in sizes.split(",")]


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:5], int(sys.argv[5]))))
