"""Bands of a campaign's hops, built again from what the database holds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from pathways.band import build_band
from pathways.supercell import BandSettings
from pathways.symmetry import symmetrise
from pathways.types import Band, Crystal, Hop, PathwayError
from screen.reader import Reader
from screen.sources.structure_json import crystal_from_json

_KEY = re.compile(r"\w+:(\d+)-(\d+):(-?\d+),(-?\d+),(-?\d+)(?::dilute)?")
_MECHANISMS = ("vacancy", "dilute")
"""That need no site which the stored structure has not."""
_HOPS = """
select h.*, m.structure from hops h left join materials m using (material_id)
where h.hop_id in (select unnest(?))
"""


def read_bands(reader: Reader, hop_ids: Iterable[str]) -> dict[str, Band | PathwayError]:
    """The band of each hop, in the supercell that it was predicted in, or why there is none.

    The sites of a hop are those of the symmetrised crystal; the same stored structure gives the
    same ones again, and a hop that they do not fit is refused.
    """
    wanted = list(dict.fromkeys(hop_ids))
    stored = {row["hop_id"]: row for row in reader.records(_HOPS, [wanted])}
    crystals: dict[str, Crystal | PathwayError] = {}
    found: dict[str, Band | PathwayError] = {}
    for hop_id in wanted:
        try:
            if hop_id not in stored:
                raise PathwayError("unknown_hop", "no such hop in the database; check the hop_id")
            row = stored[hop_id]
            if row["material_id"] not in crystals:
                crystals[row["material_id"]] = _crystal(row)
            found[hop_id] = _band(crystals[row["material_id"]], row)
        except PathwayError as error:
            found[hop_id] = error
    return found


def _crystal(row: dict[str, Any]) -> Crystal | PathwayError:
    """The symmetrised crystal of a row's material."""
    if row["structure"] is None:
        return PathwayError("no_structure", f"{row['material_id']} has no stored structure")
    try:
        return symmetrise(crystal_from_json(row["structure"])).crystal
    except PathwayError as error:
        return error


def _band(crystal: Crystal | PathwayError, row: dict[str, Any]) -> Band:
    if isinstance(crystal, PathwayError):
        raise crystal
    key = _KEY.fullmatch(row["hop_id"].removeprefix(f"{row['material_id']}:"))
    if key is None or row["mechanism"] not in _MECHANISMS:
        raise PathwayError(
            "other_mechanism",
            f"a hop by the mechanism {row['mechanism']!r}, expected {' or '.join(_MECHANISMS)}",
        )
    start, end, *image = (int(number) for number in key.groups())
    hop = Hop(
        ion=row["ion"],
        start=start,
        end=end,
        image=(image[0], image[1], image[2]),
        length_a=row["length_a"],
        multiplicity=row["multiplicity"],
        clearance_a=float("nan"),
        start_frac=np.array(row["start_frac"]),
        end_frac=np.array(row["end_frac"]),
        orbit=np.zeros((0, 5), dtype=np.int64),  # its other members play no part in a band
        mechanism=row["mechanism"],
    )
    if row["supercell"] is None:
        return build_band(crystal, hop)
    supercell = tuple(int(entry) for entry in row["supercell"])
    return build_band(crystal, hop, BandSettings(max_atoms=10_000, supercell=supercell))
