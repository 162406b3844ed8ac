"""Shortlist folders of real hops, for what writes and reads nudged elastic bands."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from pathways.band import build_band
from pathways.convert import crystal_from_structure
from pathways.elements import SYMBOLS
from pathways.hops import enumerate_hops
from pathways.types import Crystal, Hop
from screen.neb.images import NebImages, build_images
from screen.neb.inputs import read_hop
from screen.neb.settings import NebSettings
from screen.shortlist_files import frames

FACTS: dict[str, tuple[str, Lattice, list[str], list[list[float]]]] = {
    "LiCoO2": (
        "R-3m",
        Lattice.hexagonal(2.816, 14.054),
        ["Li", "Co", "O"],
        [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.2605]],
    ),
    "LiTiS2": (
        "P-3m1",
        Lattice.hexagonal(3.455, 6.195),
        ["Li", "Ti", "S"],
        [[0, 0, 0.5], [0, 0, 0], [1 / 3, 2 / 3, 0.2355]],
    ),
    "MgMn2O4": (
        "Fd-3m",
        Lattice.cubic(8.45),
        ["Mg", "Mn", "O"],
        [[0, 0, 0], [0.625] * 3, [0.3875] * 3],
    ),
    "LiFePO4": (
        "Pnma",
        Lattice.orthorhombic(10.332, 6.010, 4.692),
        ["Li", "Fe", "P", "O", "O", "O"],
        [
            [0, 0, 0],
            [0.2822, 0.25, 0.9747],
            [0.0949, 0.25, 0.4182],
            [0.0968, 0.25, 0.7428],
            [0.4571, 0.25, 0.2060],
            [0.1656, 0.0465, 0.2848],
        ],
    ),
}
"""A layered oxide and sulfide, a spinel, an olivine."""


@functools.cache
def shortest_hop(name: str) -> tuple[Crystal, Hop]:
    """Of one of ``FACTS``, for the element that its name begins with."""
    crystal = crystal_from_structure(Structure.from_spacegroup(*FACTS[name]))
    network = enumerate_hops(crystal, name[:2])
    return network.crystal, network.hops[0]


def write_band(folder: Path, hop_id: str, crystal: Crystal, hop: Hop) -> None:
    """One hop as a shortlist has it."""
    folder.mkdir(parents=True)
    band = build_band(crystal, hop)
    info = {"hop_id": hop_id, "ion": hop.ion, "mechanism": hop.mechanism}
    (folder / "band.extxyz").write_text("".join(frames(band, info)))
    document = {
        "hop_id": hop_id,
        "material_id": hop_id.split(":")[0],
        "ion": hop.ion,
        "mechanism": hop.mechanism,
        "start": hop.start,
        "end": hop.end,
        "image": list(hop.image),
        "start_frac": hop.start_frac.tolist(),
        "end_frac": hop.end_frac.tolist(),
        "length_a": hop.length_a,
        "supercell": band.supercell.ravel().tolist(),
        "predicted": {"model_id": "m@1"},
        "crystal": {
            "lattice": crystal.lattice.tolist(),
            "species": [SYMBOLS[number] for number in crystal.numbers],
            "frac": crystal.frac.tolist(),
        },
    }
    (folder / "hop.json").write_text(json.dumps(document))


AddHop = Callable[..., Path]


@pytest.fixture
def add_hop(tmp_path: Path) -> AddHop:
    """Adds the shortest hop of one of ``FACTS`` to a shortlist and returns its folder."""

    def add(name: str, mechanism: str = "vacancy") -> Path:
        crystal, hop = shortest_hop(name)
        hop = replace(hop, mechanism=mechanism)
        shortlist = tmp_path / "shortlist"
        number = len(list(shortlist.iterdir())) + 1 if shortlist.exists() else 1
        folder = shortlist / f"{number:03d}_{name}_{mechanism}"
        write_band(folder, hop.id_in(name), crystal, hop)
        return folder

    return add


@pytest.fixture
def shortlist(add_hop: AddHop) -> Path:
    """A vacancy hop in the layered oxide and a dilute one in the spinel."""
    add_hop("LiCoO2")
    return add_hop("MgMn2O4", "dilute").parent


def images_of(folder: Path, **settings: object) -> NebImages:
    return build_images(read_hop(folder), NebSettings(**settings))  # type: ignore[arg-type]
