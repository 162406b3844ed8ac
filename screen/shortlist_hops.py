"""The hops of a shortlist: each with its band, and with what computing it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pathways.symmetry import symmetrise
from pathways.types import Band, Crystal, PathwayError
from screen.acquisition import NebCell, neb_cell, node_hours
from screen.queries import Record
from screen.reader import Reader
from screen.sources.structure_json import crystal_from_json
from screen.stored_bands import read_bands

_HOPS = """
select h.*, p.model_id, p.em_ev, p.em_low_ev, p.em_high_ev, p.p_good, p.applicability, p.nearest
from hops h join predictions p using (hop_id) where h.hop_id in (select unnest(?))
"""
_STRUCTURES = """
select material_id, structure from materials where material_id in (select unnest(?))
"""


@dataclass(frozen=True, eq=False)
class HopPlan:
    """A hop to compute."""

    hop: Record
    """Of ``hops``, with the prediction that ranks its material."""
    band: Band
    """As it was predicted."""
    stored: Crystal
    """As the source gave it."""
    crystal: Crystal
    """Symmetrised, primitive: what the hop's sites and supercells are of."""
    cell: NebCell
    node_hours: float | None
    """None without a price."""


class Planner:
    """Plans the hops of ranked materials, each once.

    Args:
        reader: the database.
        images: between the ends of a hop.
        per_image: node-hours of one image of 100 atoms; None: not known.
    """

    def __init__(self, reader: Reader, images: int, per_image: float | None) -> None:
        self._reader = reader
        self._images = images
        self._per_image = per_image
        self._plans: dict[tuple[str, str], HopPlan] = {}
        self.refused: dict[str, str] = {}
        """Reason for every hop of which no band can be built."""

    def plan(self, rows: Sequence[Record]) -> list[tuple[HopPlan, ...]]:
        """What the ``wanted`` hops of each material come to, without those that are refused."""
        keys = [[(hop_id, row["model_id"]) for hop_id in row["wanted"]] for row in rows]
        asked = {key: None for own in keys for key in own}
        new = [key for key in asked if key not in self._plans and key[0] not in self.refused]
        if new:
            self._add(new)
        return [tuple(self._plans[key] for key in own if key in self._plans) for own in keys]

    def _add(self, keys: Sequence[tuple[str, str]]) -> None:
        hop_ids = [hop_id for hop_id, _ in keys]
        found = self._reader.records(_HOPS, [hop_ids])
        hops = {(row["hop_id"], row["model_id"]): row for row in found}
        material_ids = list({row["material_id"]: None for row in found})
        structures = {
            row["material_id"]: row["structure"]
            for row in self._reader.records(_STRUCTURES, [material_ids])
        }
        bands = read_bands(self._reader, hop_ids)
        crystals: dict[str, tuple[Crystal, Crystal]] = {}
        for key in keys:
            hop, band = hops.get(key), bands[key[0]]
            try:
                if isinstance(band, PathwayError):
                    raise band
                if hop is None:
                    raise PathwayError("no_prediction", f"the hop has no prediction of {key[1]}")
                name = hop["material_id"]
                if name not in crystals:
                    stored = crystal_from_json(structures[name])
                    crystals[name] = stored, symmetrise(stored).crystal
                self._plans[key] = self._plan(hop, band, *crystals[name])
            except PathwayError as error:
                self.refused[key[0]] = str(error)

    def _plan(self, hop: Record, band: Band, stored: Crystal, crystal: Crystal) -> HopPlan:
        cell = neb_cell(crystal, hop["ion"], hop["mechanism"], hop["length_a"])
        price = self._per_image
        cost = None if price is None else node_hours(cell.atoms, self._images, price)
        return HopPlan(hop, band, stored, crystal, cell, cost)
