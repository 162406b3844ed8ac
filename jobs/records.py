"""What crosses between stages and processes: candidates in, material results or failures out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pathways.types import Crystal, Hop, HopNetwork

if TYPE_CHECKING:  # so that feature workers, which predict nothing, need not import the network
    from models.predict import Prediction


@dataclass(frozen=True, eq=False)
class Candidate:
    """One crystal to screen for one ion."""

    material_id: str
    ion: str
    crystal: Crystal
    info: Mapping[str, Any] = field(default_factory=dict)
    """Columns of ``materials`` that only the source knows; carried along, never read by jobs."""


@dataclass(frozen=True)
class Failure:
    """A candidate or hop that could not go on: a row, never an exception."""

    material_id: str
    stage: str
    """``source``, ``filter``, ``check``, ``hops``, ``band``, ``graph`` or ``model``."""
    reason: str
    """Short code, such as ``overlapping_atoms``."""
    detail: str
    """One line: what was found, what was expected."""
    hop_id: str = ""
    """Empty where the whole material failed."""


@dataclass(frozen=True, eq=False)
class ScoredHop:
    """A hop with the supercell its band was built in and its prediction."""

    hop_id: str
    hop: Hop
    supercell: tuple[int, ...]
    """9 integers, row by row."""
    prediction: Prediction


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
