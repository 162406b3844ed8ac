"""The process in which ``peers`` measures; prints one line of JSON."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from models.predict import Predictor
from pathways.band import build_band
from pathways.convert import structure_from_crystal
from pathways.hops import enumerate_hops
from pathways.types import N_IMAGES, Band, Crystal, HopNetwork
from screen.chgnet import Chgnet
from screen.sources.catalog import Catalog
from tests.bench.figures import best_cpu_s, quiet_garbage
from tests.bench.peers import installed

Task = Callable[[], object]
MOST_ATOMS = 120
SYMPREC_A = 0.1
LIMIT_S = 2.0
"""CPU time after which a call of MigrationGraph is ended, and counted as that much."""


class TooLong(Exception):  # noqa: N818 - an outcome, no error
    """A peer's call has had its time."""


def limited(task: Task, ended: set[int], number: int) -> Task:
    """The task, ended after ``LIMIT_S``; its number is noted then."""

    def end(*_: object) -> None:
        raise TooLong

    def call() -> None:
        signal.signal(signal.SIGPROF, end)
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            task()
        except TooLong:
            ended.add(number)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)

    return call


def networks(count: int) -> list[HopNetwork]:
    """Hops of so many crystals, evenly from the catalog."""
    entries = Catalog().entries
    step = max(1, len(entries) // count)
    return [enumerate_hops(one.crystal(), one.ions[0]) for one in entries[::step][:count]]


def images(band: Band) -> list[Crystal]:
    """The host with the ion at each of its five places."""
    numbers = np.concatenate([[band.ion_number], band.host_numbers])
    return [
        Crystal(band.lattice, numbers, np.concatenate([band.ion_frac[[image]], band.host_frac]))
        for image in range(N_IMAGES)
    ]


def _barrier(network: HopNetwork, predictor: Predictor) -> object:
    return predictor([build_band(network.crystal, network.hops[0])])


def chgnet(count: int) -> tuple[list[list[Task]], list[int]]:
    """Tasks of ours and, where it is installed, of CHGNet; atoms of each band."""
    predictor, potential = Predictor.load(), Chgnet()
    tasks: list[list[Task]] = []
    sizes: list[int] = []
    for network in networks(4 * count):
        band = build_band(network.crystal, network.hops[0])
        if len(band) > MOST_ATOMS or len(tasks) == count:
            continue
        both: list[Task] = [partial(_barrier, network, predictor)]
        if installed("chgnet"):
            both.append(partial(potential.energies_ev, images(band)))
        tasks.append(both)
        sizes.append(len(band))
    return tasks, sizes


def migration(count: int, ended: set[int]) -> tuple[list[list[Task]], list[int]]:
    """Tasks of ours and, where it is installed, of MigrationGraph; atoms of each crystal."""
    tasks: list[list[Task]] = []
    found = networks(count)
    for network in found:
        crystal, ion = network.crystal, network.ion
        both: list[Task] = [partial(enumerate_hops, crystal, ion)]
        if installed("pymatgen.analysis.diffusion"):
            from pymatgen.analysis.diffusion.neb.full_path_mapper import MigrationGraph

            task = partial(
                MigrationGraph.with_distance,
                structure_from_crystal(crystal),
                ion,
                network.cutoff_a,
                symprec=SYMPREC_A,
            )
            both.append(limited(task, ended, len(tasks)))
        tasks.append(both)
    return tasks, [len(network.crystal) for network in found]


def main(name: str, count: int, repeats: int) -> dict[str, Any]:
    """Medians in ms of ours and of the peer's, None where it is not installed."""
    ended: set[int] = set()
    tasks, sizes = chgnet(count) if name == "chgnet" else migration(count, ended)
    quiet_garbage()
    times = np.array([best_cpu_s(both, repeats) for both in tasks])
    medians = (1e3 * np.median(times, axis=0)).tolist()
    return {
        "count": len(tasks),
        "least": min(sizes),
        "most": max(sizes),
        "ended": len(ended),
        "ms": medians[0],
        "peer_ms": medians[1] if len(medians) > 1 else None,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
