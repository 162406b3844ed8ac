"""Shortlist folders of real hops, for what writes and reads nudged elastic bands."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pathways.band import build_band
from pathways.elements import SYMBOLS
from pathways.hops import enumerate_hops
from pathways.types import Crystal, Hop
from screen.neb.images import NebImages, build_images
from screen.neb.inputs import read_hop
from screen.neb.settings import NebSettings
from screen.shortlist_files import frames
from tests.small_crystals import crystal_of

HOSTS = ("LiCoO2", "LiTiS2", "MgMn2O4", "LiFePO4")
"""A layered oxide and sulfide, a spinel, an olivine."""


@functools.cache
def shortest_hop(name: str) -> tuple[Crystal, Hop]:
    """Of one of ``HOSTS``, for the element that its name begins with."""
    network = enumerate_hops(crystal_of(name), name[:2])
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
    """Adds the shortest hop of one of ``HOSTS`` to a shortlist and returns its folder."""

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
