"""The graph of a band: unique directed edges with integer multiplicities, ordered by destination.

Two worked examples. A lone Na in a cubic cell has 6 nearest images of itself; with k = 6 its graph
is one atom with 6 unique edges, each found twice (from either end), so every multiplicity is 2. In
a band the five images of the moving ion lie about 0.9 Å apart and are each other's nearest
neighbours: the edges among atoms 0-4 are the hop itself.

The published graphs hold every edge once per end that counts the other among its k nearest, so an
edge and its reverse appear once or twice. Here each is kept once with that number as its weight:
sums over edges weigh by it, sums over triplets by the weight of the edge that sends. That is the
same function to rounding (tests compare with DGL's ALIGNN in float64) at a third of the triplets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from models.descriptors import image_distances_a, path_descriptor
from models.neighbours import NeighbourPairs, Shell, measuring_cell, nearest_pairs
from models.numbers import path_numbers
from pathways.types import N_IMAGES, Band, Crystal, FloatArray, IntArray, PathwayError

Parts = Literal["whole", "ends", "local", "numbers"]
"""What a band becomes. ``whole``: one graph, all images in one cell. ``ends``: two graphs, the host
with the ion at its first and at its last image. ``local``: the whole and, as its partner, the
images with the atoms that they are joined to. ``numbers``: no edges, but the path's numbers with
the curved path among them, for models that are no networks."""

LOCAL_K = 6
"""Nearest neighbours in the local graph. The published search starts at 3.0 Å but widens until
every atom has so many, so that the radius decides no edge."""

_LEAST_COST = 200
"""What a kernel and trees take for a band, in the edges and triplets of the same time."""


@dataclass(frozen=True)
class GraphSettings:
    """How a graph is cut from a crystal; part of a model's config."""

    k: int = 12
    """Nearest neighbours of each atom, ties of the last included."""
    shell: Shell = "tolerant"
    environment_a: float | None = None
    """Keep only atoms within this distance of an ion image, Å; None keeps the whole cell."""
    parts: Parts = "whole"
    """Must be the ``parts`` of the network's config."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}, must be at least 1")
        if self.shell not in ("published", "tolerant"):
            raise ValueError(f"shell is {self.shell!r}, must be 'published' or 'tolerant'")
        if self.environment_a is not None and not self.environment_a > 0:
            raise ValueError(f"environment_a is {self.environment_a}, must be positive or None")
        if self.parts not in get_args(Parts):
            raise ValueError(
                f"parts is {self.parts!r}, must be one of {', '.join(get_args(Parts))}"
            )


@dataclass(frozen=True, eq=False)
class BandGraph:
    """Atoms, edges and, implied by them, the triplets of one band."""

    numbers: IntArray
    """(n,), atomic numbers; the first five atoms are the ion's images, in a graph of an end the
    first one is the ion."""
    source: IntArray
    """(e,), atom each edge leaves."""
    destination: IntArray
    """(e,), atom each edge enters; ascending."""
    vector: FloatArray
    """(e, 3), Å, from source to destination."""
    multiplicity: IntArray
    """(e,), how often the published multigraph holds the edge (1 or 2)."""
    reverse: IntArray
    """(e,), index of the edge that runs the other way."""
    length_a: float = float("nan")
    """Start to end of the hop, Å; NaN for a crystal that is no band."""
    clearance_a: float = float("nan")
    """Least distance from an image of the ion to a host atom, Å; NaN for a crystal."""
    descriptor: FloatArray | None = None
    """(``descriptors.SIZE``,) of the path, with parts ``numbers`` (``numbers.SIZE``,); None for a
    crystal."""
    parts: Parts = "whole"
    partner: BandGraph | None = None
    """The second graph where there are two: the final structure, or the local graph."""

    @cached_property
    def degree(self) -> IntArray:
        """(n,), edges that enter each atom; as many leave it."""
        return np.bincount(self.destination, minlength=len(self.numbers))

    @property
    def n_triplets(self) -> int:
        """Pairs of an edge into an atom and an edge out of it."""
        return int((self.degree**2).sum())

    @property
    def cost(self) -> int:
        """Edges plus triplets, the partner's too: what memory and time of a pass grow with."""
        own = max(len(self.source) + self.n_triplets, _LEAST_COST)
        return own if self.partner is None else own + self.partner.cost


def build_graph(band: Band, settings: GraphSettings) -> BandGraph:
    """The graph of a band, with its partner where the settings ask for two.

    Raises:
        PathwayError: ``bad_graph`` where an atom lacks neighbours.
    """
    crystal = band.folded
    distances_a = image_distances_a(crystal)
    nearest_a = distances_a.reshape(-1, len(crystal)).min(axis=0)
    partner = None
    if settings.parts == "numbers":
        graph = _no_graph(crystal)
    elif settings.parts == "ends":
        graph = _end_graph(crystal, 0, settings, nearest_a)
        partner = _end_graph(crystal, N_IMAGES - 1, settings, nearest_a)
    else:
        graph = graph_of_crystal(crystal, settings, nearest_a)
        if settings.parts == "local":
            partner = _local_graph(crystal, settings.shell)
    if settings.parts == "numbers":
        descriptor = path_numbers(band, distances_a)
    else:
        descriptor = path_descriptor(crystal, distances_a)
    return replace(
        graph,
        length_a=band.length_a,
        clearance_a=float(nearest_a[N_IMAGES:].min(initial=np.inf)),
        descriptor=descriptor,
        parts=settings.parts,
        partner=partner,
    )


def graph_of_crystal(
    crystal: Crystal, settings: GraphSettings, nearest_a: FloatArray | None = None
) -> BandGraph:
    """The graph of any crystal.

    Args:
        crystal: folded band or plain crystal.
        settings: neighbours and shell; ``environment_a`` needs ``nearest_a``.
        nearest_a: (n,) distance of each atom to the path, Å.

    Raises:
        PathwayError: ``bad_graph`` where an atom lacks neighbours.
    """
    pairs = nearest_pairs(crystal, settings.k, settings.shell)
    if settings.environment_a is None or nearest_a is None:
        return _assemble(crystal, settings.shell, pairs)
    return _assemble(crystal, settings.shell, pairs, nearest_a <= settings.environment_a)


def _no_graph(crystal: Crystal) -> BandGraph:
    none = np.zeros(0, dtype=np.int64)
    return BandGraph(crystal.numbers, none, none, np.zeros((0, 3)), none, none)


def _end_graph(
    crystal: Crystal, image: int, settings: GraphSettings, nearest_a: FloatArray
) -> BandGraph:
    """The host with the ion at one image. Both ends keep the same host: what is near the path."""
    kept = np.concatenate([[image], np.arange(N_IMAGES, len(crystal))])
    end = Crystal(crystal.lattice, crystal.numbers[kept], crystal.frac[kept])
    return graph_of_crystal(end, settings, nearest_a[kept])


def _local_graph(crystal: Crystal, shell: Shell) -> BandGraph:
    """The edges among nearest neighbours that touch an image, and the atoms that they join."""
    pairs = nearest_pairs(crystal, LOCAL_K, shell)
    touches = (pairs.i < N_IMAGES) | (pairs.j < N_IMAGES)
    kept = np.zeros(len(crystal), dtype=np.bool_)
    kept[pairs.i[touches]] = kept[pairs.j[touches]] = True
    return _assemble(crystal, shell, pairs, kept, touches)


def _assemble(
    crystal: Crystal,
    shell: Shell,
    pairs: NeighbourPairs,
    kept: npt.NDArray[np.bool_] | None = None,
    chosen: npt.NDArray[np.bool_] | None = None,
) -> BandGraph:
    """A graph from the pairs that are ``chosen`` (m,), on the atoms that are ``kept`` (n,)."""
    i, j, image, numbers = pairs.i, pairs.j, pairs.image, crystal.numbers
    found = pairs.of_i.astype(np.int64) + pairs.of_j
    step = np.dot(crystal.frac[j] + image - crystal.frac[i], measuring_cell(crystal.lattice, shell))
    if kept is not None:
        inside = np.flatnonzero(kept[i] & kept[j] & (True if chosen is None else chosen))
        new_index = np.cumsum(kept) - 1
        i, j = new_index[i[inside]], new_index[j[inside]]
        image, found, step = image[inside], found[inside], step[inside]
        numbers = numbers[kept]
    n_pairs = len(i)
    if n_pairs == 0:
        raise PathwayError("bad_graph", "no edges: no atom has a neighbour in the kept environment")
    source, destination = np.concatenate([i, j]), np.concatenate([j, i])
    order = np.argsort(
        _edge_keys(len(numbers), source, destination, np.concatenate([image, -image]))
    )
    place = np.empty_like(order)
    place[order] = np.arange(2 * n_pairs)
    return BandGraph(
        numbers,
        source[order],
        destination[order],
        np.concatenate([step, -step])[order],
        np.concatenate([found, found])[order],
        # The pair's other edge stands half the list on.
        np.roll(place, n_pairs)[order],
    )


def _edge_keys(n: int, source: IntArray, destination: IntArray, image: IntArray) -> IntArray:
    """One integer per directed edge, ascending by destination, then source, then image."""
    reach = 1 + int(np.abs(image).max(initial=0))
    span = 2 * reach + 1
    x, y, z = (image + reach).T
    keys: IntArray = (((destination * n + source) * span + x) * span + y) * span + z
    return keys
