"""A hop as crystals for other programs: pymatgen structures or ASE atoms, start to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pathways.convert import structure_from_crystal
from pathways.types import Crystal, FloatArray, IntArray
from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core.structure import Structure

    from pathways.idpp import IdppPath
    from pathways.types import Band


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a hop: one cell and one order of atoms, the moving ion first."""

    hop_id: str
    lattice: FloatArray
    """(3, 3), Å, of the supercell."""
    numbers: IntArray
    """(m,), atomic numbers."""
    frac: FloatArray
    """(n, m, 3), fractional, unwrapped: no atom jumps between images."""

    @classmethod
    def of_band(cls, hop_id: str, band: Band) -> Images:
        """The five images that a model sees: the ion on its chord, the host as it is."""
        host = np.broadcast_to(band.host_frac, (len(band.ion_frac), *band.host_frac.shape))
        return cls(
            hop_id,
            band.lattice,
            np.concatenate([[band.ion_number], band.host_numbers]),
            np.concatenate([band.ion_frac[:, None], host], axis=1),
        )

    @classmethod
    def of_path(cls, hop_id: str, path: IdppPath) -> Images:
        """The images of a curved path, whose host makes way."""
        return cls(hop_id, path.lattice, path.numbers, path.frac)

    def __len__(self) -> int:
        return len(self.frac)

    def __repr__(self) -> str:
        return f"Images({self.hop_id!r}, {len(self)} images of {len(self.numbers)} atoms)"

    @property
    def path_a(self) -> FloatArray:
        """(n,), Å, how far the ion has come at each image, along its path."""
        steps = np.diff(self.frac[:, 0], axis=0) @ self.lattice
        return np.concatenate([[0.0], np.linalg.norm(steps, axis=1).cumsum()])

    def to_pymatgen(self) -> list[Structure]:
        """One structure per image."""
        return [
            structure_from_crystal(Crystal(self.lattice, self.numbers, frac)) for frac in self.frac
        ]

    def to_ase(self) -> list[Atoms]:
        """One ``Atoms`` per image, ready for ``ase.mep.NEB``; ``info`` has the hop and the image.

        Raises:
            UserError: ASE is not installed.
        """
        try:
            from ase import Atoms
        except ImportError:
            raise UserError("ASE is not installed; `pip install ase`", FAILED) from None
        return [
            Atoms(
                numbers=self.numbers,
                scaled_positions=frac,
                cell=self.lattice,
                pbc=True,
                info={"hop_id": self.hop_id, "image": number},
            )
            for number, frac in enumerate(self.frac)
        ]
