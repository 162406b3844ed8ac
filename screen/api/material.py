"""One crystal with its barriers, whether read from a database or predicted on the spot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pathways.convert import structure_from_crystal
from pathways.idpp import idpp_path
from pathways.types import Band, Crystal
from screen.api.frames import frame_of_rows
from screen.api.images import Images
from screen.ranking import Passage, Ranking

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

    from jobs.records import Failure
    from screen.api.frames import Frame

_NAN = float("nan")


@dataclass(frozen=True)
class Percolation:
    """The easiest ways through a crystal."""

    em_1d: Passage
    """Barrier in one dimension, with its 90 % interval, hops and directions; its ``em_ev`` is nan
    where the hops never connect the crystal to its image."""
    em_2d: Passage
    em_3d: Passage
    p_good_1d: float
    """Probability that the barrier in one dimension is <= 0.65 eV; nan without a way through."""
    applicability: float
    """Least of the hops that the 1D way may use, 0 to 1; nan without a way through."""

    @classmethod
    def of_ranking(cls, ranking: Ranking) -> Percolation:
        """From a ranking that was worked out just now."""
        return cls(*ranking.passages, ranking.p_good_1d, ranking.applicability)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Percolation:
        """From a row of ``material_ranking``."""
        first, second, third = (
            Passage(
                em_ev=_number(row[f"em_{d}d_ev"]),
                em_low_ev=_number(row[f"em_{d}d_low_ev"]),
                em_high_ev=_number(row[f"em_{d}d_high_ev"]),
                limiting_hop_id=row["limiting_hop_id" if d == 1 else f"limiting_hop_{d}d_id"],
                hop_ids=_tuple(row[f"path_{d}d_hop_ids"]),
                directions=row[f"directions_{d}d"],
                plane=row["plane_2d"] if d == 2 else None,
            )
            for d in (1, 2, 3)
        )
        likely, alike = _number(row["p_good_1d"]), _number(row["applicability"])
        return cls(first, second, third, likely, alike)

    def __repr__(self) -> str:
        passages = (self.em_1d, self.em_2d, self.em_3d)
        said = [
            f"{d}D {one.em_ev:.3f} eV ({one.em_low_ev:.3f} to {one.em_high_ev:.3f})"
            for d, one in enumerate(passages, start=1)
            if math.isfinite(one.em_ev)
        ]
        return f"Percolation({', '.join(said) or 'none'})"

    @property
    def dimension(self) -> int:
        """Highest dimension, 0 to 3, in which the hops connect the crystal to its images."""
        passages = (self.em_1d, self.em_2d, self.em_3d)
        return sum(math.isfinite(passage.em_ev) for passage in passages)


@dataclass(frozen=True, eq=False)
class Hop:
    """A hop of one ion, with its predicted barrier; all nan where it could not be predicted."""

    hop_id: str
    ion: str
    mechanism: str
    """``vacancy`` or ``dilute``: with all other sites of the ion filled, or empty."""
    length_a: float
    """Å."""
    multiplicity: int
    """How many such hops the primitive cell has by symmetry."""
    start_frac: tuple[float, ...]
    """(3,), fractional in the symmetrised primitive cell."""
    end_frac: tuple[float, ...]
    """(3,), may lie outside the cell."""
    flags: tuple[str, ...]
    """Doubts, such as ``low_clearance``."""
    em_ev: float
    em_std_ev: float
    em_low_ev: float
    """Lower end of the 90 % interval."""
    em_high_ev: float
    p_good: float
    """Probability that Em <= 0.65 eV."""
    applicability: float
    """0 (unlike all training data) to 1."""
    nearest: str | None
    """Training entry most alike."""
    bond_valence_ev: float
    """What bond valence says of the curved path: a ranking, not a barrier; nan: not known."""
    make_band: Callable[[], Band] = field(repr=False)
    """Builds the band that was predicted; raises ``PathwayError``."""

    @cached_property
    def _band(self) -> Band:
        return self.make_band()

    @property
    def band(self) -> Images:
        """The five images that the model saw: straight, the host unrelaxed."""
        return Images.of_band(self.hop_id, self._band)

    def curved(self, n_images: int = 7) -> Images:
        """A start for NEB: images around the host's atoms (``pathways.idpp``).

        Args:
            n_images: both ends included, 3 to 33.

        Raises:
            ValueError: another number of images.
        """
        return Images.of_path(self.hop_id, idpp_path(self._band, n_images))

    def record(self) -> dict[str, Any]:
        """All but the band, by name; None for nan."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        del values["make_band"]
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in values.items()
        }


@dataclass(frozen=True, eq=False)
class Material:
    """A crystal, the easiest ways of one ion through it by one mechanism, and all its hops."""

    material_id: str
    formula: str | None
    space_group: str | None
    ion: str
    mechanism: str
    model_id: str
    percolation: Percolation
    hops: tuple[Hop, ...] = field(repr=False)
    """Lowest barrier first, those without one last."""
    make_crystal: Callable[[], Crystal] = field(repr=False)
    failures: tuple[Failure, ...] = field(default=(), repr=False)
    """Hops without a barrier, and why; of a stored material ``Results.failures`` has them."""

    def __repr__(self) -> str:
        return (
            f"Material({self.material_id}: {len(self.hops)} hops of {self.ion} ({self.mechanism}) "
            f"in {self.formula} {self.space_group}, {self.percolation!r})"
        )

    def to_pymatgen(self) -> Structure:
        """The symmetrised primitive crystal that the hops' coordinates are of."""
        return structure_from_crystal(self.make_crystal())

    def table(self, as_arrow: bool = False) -> Frame:
        """Its hops as a table."""
        return frame_of_rows([hop.record() for hop in self.hops], as_arrow)


def ordered(hops: list[Hop]) -> tuple[Hop, ...]:
    """Lowest barrier first, those without one last."""
    return tuple(sorted(hops, key=lambda hop: (math.isnan(hop.em_ev), hop.em_ev, hop.hop_id)))


def _number(value: float | None) -> float:
    return _NAN if value is None else float(value)


def _tuple(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)
