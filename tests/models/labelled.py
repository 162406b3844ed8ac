"""Labelled bands of real crystals, in memory and as a file in the published format."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.dataset import LabelledBands, host_group
from pathways.band import build_band
from pathways.elements import SYMBOLS
from pathways.hops import HopSettings, enumerate_hops
from pathways.types import Band
from tests.pathways.crystals import KNOWN


@functools.cache
def known_bands() -> dict[str, list[Band]]:
    """Bands of every known crystal, by its name."""
    found = {}
    for name, known in KNOWN.items():
        network = enumerate_hops(known.crystal(), known.ion, HopSettings(max_hops=6))
        found[name] = [build_band(network.crystal, hop) for hop in network.hops]
    return found


def all_bands() -> list[Band]:
    """All of them, crystal by crystal."""
    return list(itertools.chain.from_iterable(known_bands().values()))


def labelled_as(bands: Sequence[Band]) -> LabelledBands:
    """Bands with a made-up but learnable label: the hop's length over 8 Å, in eV."""
    return LabelledBands(
        names=tuple(str(i) for i in range(len(bands))),
        xc=("",) * len(bands),
        bands=tuple(bands),
        em_ev=np.array([band.length_a / 8 for band in bands]),
        groups=tuple(host_group(band) for band in bands),
        refused=(),
        source="tests",
        digest="0" * 64,
    )


def write_published(file: Path) -> Path:
    """All known bands in the published format, labelled as above; one more that is corrupt."""
    entries = []
    for crystal, bands in known_bands().items():
        for number, band in enumerate(bands, start=1):
            folded = band.folded
            entries.append(
                {
                    "jid": len(entries),
                    "sys_name": f"{crystal.split()[0]}_{number}",
                    "class": crystal.split()[-1].upper(),
                    "target": band.length_a / 8,
                    "atoms": {
                        "lattice_mat": folded.lattice.tolist(),
                        "coords": folded.frac.tolist(),
                        "elements": [SYMBOLS[z] for z in folded.numbers],
                        "cartesian": False,
                    },
                }
            )
    entries.append({**entries[0], "jid": 999, "target": None})
    file.write_text(json.dumps(entries))
    return file
