"""How cost grows with atoms, hops and candidates: the power, from a line through the logarithms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.bench.child import in_child
from tests.bench.figures import Figure

CELLS = (1, 2, 4, 8, 16, 32, 64)
WIDTHS_A = (8.0, 10.0, 12.0, 15.0, 18.0, 21.0)
HOPS = (4, 8, 16, 32, 64)
CANDIDATES = (60, 125, 250, 500, 1_000)
WORDS = {
    "hops": ("hops of a crystal without symmetry", "sites"),
    "band": ("one band", "atoms of the band"),
    "numbers": ("numbers of one band, curved path included", "atoms of the band"),
    "graph": ("graph of one band for `model3`", "atoms of the band"),
    "whole-graph": ("graph of one band, whole cell", "atoms of the band"),
    "prepared": ("hops of one crystal to their numbers and barriers", "hops"),
    "candidates": ("a whole inline run over the catalog, again and again", "candidates"),
}
TARGETS = {"candidates": 1.05}
"""A run must take the same for each candidate, however many came before."""


def run(
    cells: Sequence[int] = CELLS,
    widths_a: Sequence[float] = WIDTHS_A,
    hops: Sequence[int] = HOPS,
    candidates: Sequence[int] = CANDIDATES,
    repeats: int = 3,
) -> list[Figure]:
    """One figure for each thing that grows.

    Atoms are those of supercells whose sites are moved a little at random, so that symmetry saves
    nothing, and of bands of one hop in wider and wider cells, the search for a cell left out, since
    what it found is kept; hops are those of a supercell of four cells.
    """
    asked = {
        "cells": tuple(cells),
        "widths_a": tuple(widths_a),
        "hops": tuple(hops),
        "candidates": tuple(candidates),
    }
    sizes = [",".join(f"{size:g}" for size in each) for each in asked.values()]
    found = in_child("growth_child", *sizes, repeats)
    return [_figure(name, found[name]) for name in WORDS]


def power(points: Sequence[tuple[float, float]]) -> float:
    """Slope of the least-squares line through the logarithms of sizes and times."""
    size, took = np.log(np.array(points, dtype=float)).T
    return float(np.polyfit(size, took, 1)[0])


def _figure(name: str, pairs: list[list[float]]) -> Figure:
    points = tuple((float(size), float(ms)) for size, ms in pairs)
    what, of = WORDS[name]
    slope, target = power(points), TARGETS.get(name)
    return Figure(
        name=f"growth-{name}",
        what=f"{what}: CPU time grows as {of} to the power",
        unit="",
        target="stated" if target is None else f"<= {target:g}",
        value=slope,
        met=None if target is None else slope <= target,
        note=f"{power(points[-2:]):.2f} at the end; {of}: ms: "
        + ", ".join(f"{size:g}: {ms:.3g}" for size, ms in points),
        points=points,
    )
