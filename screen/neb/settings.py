"""What a written calculation is: cell, images, functional, charge and spin, each said outright."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pathways.types import PathwayError
from screen.errors import UserError

Code = Literal["vasp", "qe", "ase", "atomate2"]
Profile = Literal["vasp", "vtst"]
"""``vasp``: what every build of VASP can do, no climbing image. ``vtst``: the climbing image and
the optimisers of a build with the VTST tools."""
Functional = Literal["PBE", "PBE+U", "R2SCAN", "SCAN"]
Charge = Literal["neutral", "background"]
"""``neutral``: an atom is missing, or is added to the empty host. ``background``: its ion is, and a
uniform charge makes up for it."""
MIN_DISTANCE_A = 0.7
"""Two atoms closer than this in any image are a mistake, Å."""

_ION_CHARGES = {
    "Li": 1, "Na": 1, "K": 1, "Rb": 1, "Mg": 2, "Ca": 2, "Sr": 2, "Zn": 2, "Al": 3,
}  # fmt: skip


@dataclass(frozen=True)
class NebSettings:
    """How the calculations of a shortlist are set up.

    Raises:
        UserError: a value that can never work.
    """

    images: int = 5
    """Intermediate images, the two ends not counted."""
    linear: bool = False
    """The ion on a straight line and nothing else moved, in place of IDPP."""
    min_width_a: float = 10.0
    """Least distance between opposite faces of the cell, Å."""
    max_atoms: int = 400
    """Most sites of the cell."""
    functional: Functional = "PBE"
    """PBE without U is what most barriers in the literature are computed with. A U localises
    electrons, which may then hop on their own from image to image."""
    charge: Charge = "neutral"
    profile: Profile = "vasp"
    magmom: Mapping[str, float] = field(default_factory=dict)
    """Moments by element, μB, that replace the Materials Project's."""
    pseudo_dir: Path | None = None
    """Quantum ESPRESSO: where the pseudopotentials are; None writes names to be replaced."""
    ecutwfc_ry: float = 60.0
    """Quantum ESPRESSO: cutoff of the wave functions, Ry."""
    ecutrho_ry: float = 480.0
    """Quantum ESPRESSO: cutoff of the density, Ry."""

    def __post_init__(self) -> None:
        if not 1 <= self.images <= 31:
            raise UserError(f"--images {self.images}, expected 1 to 31")
        if not 0 < self.min_width_a <= 50:
            raise UserError(f"--min-width {self.min_width_a:g}, expected above 0 and up to 50 Å")
        if not 1 <= self.max_atoms <= 10_000:
            raise UserError(f"--max-atoms {self.max_atoms}, expected 1 to 10,000")
        if self.pseudo_dir is not None and not self.pseudo_dir.is_dir():
            raise UserError(f"--pseudo-dir {self.pseudo_dir}: no such folder")


def cell_charge(ion: str, mechanism: str, charge: Charge) -> int:
    """Charge of the cell in units of e.

    A host that misses an ion of charge q has the charge -q, and one that holds nothing but it +q.

    Raises:
        PathwayError: ``unknown_charge`` of an ion that has no one charge.
    """
    if charge == "neutral":
        return 0
    if ion not in _ION_CHARGES:
        raise PathwayError(
            "unknown_charge",
            f"{ion} has no one charge, expected {', '.join(_ION_CHARGES)}; use --charge neutral",
        )
    return _ION_CHARGES[ion] * (1 if mechanism == "dilute" else -1)
