"""What crosses between stages and processes: candidates in, material results or failures out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pathways.types import Crystal, Hop, HopNetwork

if TYPE_CHECKING:  # so that feature workers, which predict nothing, need not import the network
    from models.predict import Prediction

BOTH = ("vacancy", "dilute")
"""The mechanisms that bound what an insertion electrode goes through, discharged and charged."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One crystal to screen for one ion."""

    material_id: str
    ion: str
    crystal: Crystal
    info: Mapping[str, Any] = field(default_factory=dict)
    """Columns of ``materials`` that only the source knows; carried along, never read by jobs."""
    mechanisms: tuple[str, ...] = ("vacancy",)
    """By which its hops are predicted where the run leaves it to the candidate."""
    was_empty: bool = False
    """It held none of the ion before sites were found: what is asked is how one ion moves."""
    void_orbits: int = 0
    """Of a crystal without the ion: how many kinds of voids to put it in, best ones first."""


@dataclass(frozen=True)
class Failure:
    """A candidate or hop that could not go on: a row, never an exception."""

    material_id: str
    stage: str
    """``source``, ``filter``, ``sites``, ``check``, ``hops``, ``band``, ``graph`` or ``model``."""
    reason: str
    """Short code, such as ``overlapping_atoms``."""
    detail: str
    """One line: what was found, what was expected."""
    hop_id: str = ""
    """Empty where the whole material failed."""


@dataclass(frozen=True)
class BondValence:
    """What bond valence says of a hop's curved path, beside the model."""

    barrier_ev: float
    """Two to three times too high as a barrier: a ranking; nan where a pair has no parameters."""
    charges: str
    """Where the charges come from: ``bond_valence``, ``composition`` or ``none``."""
    flags: tuple[str, ...]
    """``high_bond_valence`` or ``unparametrised``, where so."""


@dataclass(frozen=True, eq=False)
class ScoredHop:
    """A hop with the supercell its band was built in and its prediction."""

    hop_id: str
    hop: Hop
    supercell: tuple[int, ...]
    """9 integers, row by row."""
    prediction: Prediction
    bond_valence: BondValence | None = None


@dataclass(frozen=True, eq=False)
class MaterialResult:
    """Everything one candidate came to: written in one transaction, or not at all."""

    material_id: str
    ion: str
    candidate: Candidate | None
    """None where the source could not even read the crystal."""
    network: HopNetwork | None
    hops: tuple[ScoredHop, ...] = ()
    failures: tuple[Failure, ...] = ()

    def by_mechanism(self) -> dict[str, MaterialResult]:
        """The result as seen by each mechanism of its network: that one's hops and failures alone.

        Hops of two mechanisms never make one way through, since each has a host of its own. What
        failed before there was a network is in none of them.
        """
        if self.network is None:
            return {}
        parts = {}
        for mechanism in dict.fromkeys(hop.mechanism for hop in self.network.hops):
            hops = tuple(hop for hop in self.network.hops if hop.mechanism == mechanism)
            ids = {hop.id_in(self.material_id) for hop in hops}
            parts[mechanism] = replace(
                self,
                network=replace(self.network, hops=hops),
                hops=tuple(scored for scored in self.hops if scored.hop_id in ids),
                failures=tuple(failure for failure in self.failures if failure.hop_id in ids),
            )
        return parts


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    candidates: int = 0
    """Taken from the source, failures of the source included."""
    hops: int = 0
    """Enumerated."""
    predictions: int = 0
    failures: int = 0
    """Rows, of materials and of hops."""
    written: int = 0
    """Materials handed to ``write`` and accepted by it."""
    seconds: float = 0.0
    """Since the start of the run."""
