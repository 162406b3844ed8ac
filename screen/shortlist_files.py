"""The files of one hop of a shortlist: crystal, band, and all that names them."""

from __future__ import annotations

import json
import urllib.parse
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pathways.elements import SYMBOLS
from pathways.types import N_IMAGES, Band, Crystal
from screen.output import plain
from screen.shortlist_hops import HopPlan

CIF, BAND, HOP = "crystal.cif", "band.extxyz", "hop.json"
ATOM_ORDER = "the moving ion first, then the host, in the same order in every frame"
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in "\"'\\%")


def write_hop(folder: Path, row: Mapping[str, Any], plan: HopPlan, images: int) -> None:
    """Write the files of a hop into a folder that is there.

    Args:
        folder: where to.
        row: of the manifest.
        plan: of the same hop.
        images: between the ends, for the barrier to compute.
    """
    (folder / CIF).write_text(cif(plan.stored), encoding="utf-8")
    info = {name: row[name] for name in ("hop_id", "material_id", "ion", "mechanism", "model_id")}
    info["em_predicted_ev"] = row["em_predicted_ev"]
    (folder / BAND).write_text("".join(frames(plan.band, info)), encoding="utf-8")
    document = plain(description(row, plan, images))
    lines = [
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in document.items()
    ]
    (folder / HOP).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def cif(crystal: Crystal) -> str:
    """A crystal as CIF, in P1 and its own order of atoms."""
    from pymatgen.io.cif import CifWriter

    from pathways.convert import structure_from_crystal

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of elements without electronegativity
        return str(CifWriter(structure_from_crystal(crystal)))


def frames(band: Band, info: Mapping[str, Any]) -> Iterator[str]:
    """The five images of a band as extended XYZ: whole cells, the ion first, then the host.

    Args:
        band: the ion may lie outside the cell, so that consecutive images are near each other.
        info: of the comment lines. What a reader might trip over in text, such as quotes and line
            ends, is written as ``%`` and two hexadecimal digits.
    """
    symbols = [SYMBOLS[number] for number in (band.ion_number, *band.host_numbers)]
    host = band.host_frac @ band.lattice
    said = " ".join(f"{key}={_said(value)}" for key, value in info.items())
    cell = " ".join(f"{value:.10f}" for value in band.lattice.ravel())
    for image in range(N_IMAGES):
        places = [band.ion_frac[image] @ band.lattice, *host]
        lines = [
            f"{symbol:2} {x:16.10f} {y:16.10f} {z:16.10f}"
            for symbol, (x, y, z) in zip(symbols, places, strict=True)
        ]
        comment = (
            f'Lattice="{cell}" Properties=species:S:1:pos:R:3 pbc="T T T" {said} image={image}'
        )
        yield "\n".join([str(len(symbols)), comment, *lines, ""])


def description(row: Mapping[str, Any], plan: HopPlan, images: int) -> dict[str, Any]:
    """A hop in full: enough to build its band again in any supercell, and to match its barrier."""
    hop = plan.hop
    sites = hop["hop_id"].removeprefix(f"{hop['material_id']}:").split(":")[1]
    start, end = (int(site) for site in sites.split("-"))
    kept = ("why", "rank", "limiting", "way_dimension", "campaign_id", "formula", "framework")
    source = ("source", "source_version", "license", "attribution", "url")
    predicted = ("em_ev", "em_low_ev", "em_high_ev", "p_good", "applicability", "nearest")
    return {
        **{name: hop[name] for name in ("hop_id", "material_id", "ion", "mechanism")},
        "start": start,
        "end": end,
        **{name: hop[name] for name in ("image", "start_frac", "end_frac", "length_a")},
        **{name: hop[name] for name in ("multiplicity", "clearance_a", "flags", "supercell")},
        "neb": {
            "supercell": list(plan.cell.supercell),
            "atoms": plan.cell.atoms,
            "images": images,
            "cost_node_hours": plan.node_hours,
        },
        "predicted": {"model_id": hop["model_id"], **{name: hop[name] for name in predicted}},
        "crystal": {
            "lattice": plan.crystal.lattice.tolist(),
            "species": [SYMBOLS[number] for number in plan.crystal.numbers],
            "frac": plan.crystal.frac.tolist(),
        },
        **{name: row[name] for name in (*kept, *source)},
        "notes": {
            "start, end, image, supercell": "sites and cells of `crystal`, symmetrised, primitive",
            BAND: f"in `supercell`, as predicted; {ATOM_ORDER}",
            "neb": "the smallest supercell at least 10 Å wide, and twice the hop's length",
        },
    }


def _said(value: Any) -> str:
    if isinstance(value, str):
        return f'"{urllib.parse.quote(value, safe=_PLAIN)}"'
    return f"{value:.6f}"
