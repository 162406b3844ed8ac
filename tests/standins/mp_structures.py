"""Structures as the Materials Project's documents have them, made without pymatgen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pathways.elements import SYMBOLS, atomic_number
from pathways.types import Crystal


class Encoded(bytes):
    """A value that is JSON already."""


def structure_of(crystal: Crystal | str | Mapping[str, Any]) -> tuple[Any, Counter[str], int]:
    """The structure in pymatgen's form, how much of each element is in it, and its sites.

    A text becomes encoded JSON at once: many thousands of documents fit into memory that way.
    """
    if isinstance(crystal, Crystal):
        species = [SYMBOLS[number] for number in crystal.numbers]
        structure = json.loads(_encode(crystal.lattice, species, crystal.frac))
        return structure, Counter(species), len(species)
    content = json.loads(crystal) if isinstance(crystal, str) else crystal
    if "sites" in content:
        counts: Counter[str] = Counter()
        for site in content["sites"]:
            counts.update({one["element"]: one["occu"] for one in site["species"]})
        return dict(content), counts, len(content["sites"])
    species = content["species"]
    encoded = _encode(np.array(content["lattice"]), species, np.array(content["frac"]))
    structure = Encoded(encoded) if isinstance(crystal, str) else json.loads(encoded)
    return structure, Counter(species), len(species)


def _encode(lattice: Any, species: Sequence[str], frac: Any) -> bytes:
    lengths = np.linalg.norm(lattice, axis=1)
    cosines = [
        lattice[i] @ lattice[j] / lengths[i] / lengths[j] for i, j in ((1, 2), (2, 0), (0, 1))
    ]
    cell = {
        "matrix": lattice.tolist(),
        "pbc": [True, True, True],
        **dict(zip("abc", lengths.tolist(), strict=True)),
        **dict(
            zip(("alpha", "beta", "gamma"), np.degrees(np.arccos(cosines)).tolist(), strict=True)
        ),
        "volume": float(abs(np.linalg.det(lattice))),
    }
    sites = ",".join(
        f'{{"species":[{{"element":"{symbol}","occu":1}}],"abc":{abc},'
        f'"properties":{{"magmom":0.0}},"label":"{symbol}","xyz":{xyz}}}'
        for symbol, abc, xyz in zip(
            species, frac.tolist(), (frac @ lattice).round(8).tolist(), strict=True
        )
    )
    return (
        '{"@module":"pymatgen.core.structure","@class":"Structure","charge":0,'
        f'"lattice":{json.dumps(cell)},"properties":{{}},"sites":[{sites}]}}'
    ).encode()


def symmetry_of(structure: Mapping[str, Any]) -> dict[str, Any] | None:
    """As spglib finds it; None where a site is shared, which it does not know."""
    import spglib

    sites = structure["sites"]
    if any(len(site["species"]) > 1 or site["species"][0]["occu"] != 1 for site in sites):
        return None
    numbers = [atomic_number(site["species"][0]["element"]) for site in sites]
    cell = (structure["lattice"]["matrix"], [site["abc"] for site in sites], numbers)
    found = spglib.get_symmetry_dataset(cell, symprec=0.1)
    if found is None:
        return None
    systems = {2: "Triclinic", 15: "Monoclinic", 74: "Orthorhombic", 142: "Tetragonal"}
    systems |= {167: "Trigonal", 194: "Hexagonal", 230: "Cubic"}
    return {
        "crystal_system": next(name for last, name in systems.items() if found.number <= last),
        "symbol": found.international,
        "number": int(found.number),
        "point_group": found.pointgroup,
        "symprec": 0.1,
        "version": spglib.__version__,
    }
