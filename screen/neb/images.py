"""The images of a hop as every code gets them: one cell, one order of atoms, no jump between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pathways.band import build_band
from pathways.convert import structure_from_crystal
from pathways.elements import SYMBOLS
from pathways.idpp import idpp_path
from pathways.neighbours import closest_pair_a, perpendicular_widths
from pathways.supercell import BandSettings
from pathways.types import Band, Crystal, FloatArray, IntArray, PathwayError
from screen.neb.inputs import ListedHop
from screen.neb.settings import MIN_DISTANCE_A, NebSettings, cell_charge

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


@dataclass(frozen=True, eq=False)
class NebImages:
    """A hop's images, start to end, in a cell for electronic structure codes."""

    listed: ListedHop
    lattice: FloatArray
    """(3, 3), Å."""
    numbers: IntArray
    """(m,), grouped by element, in the order of their electronegativity as pymatgen sorts."""
    frac: FloatArray
    """(n, m, 3), fractional; the first image in the cell, no atom jumps from one to the next."""
    mover: int
    """Which atom hops."""
    supercell: tuple[int, ...]
    """9 integers, row by row, in vectors of the primitive cell."""
    converged: bool
    """Whether the interpolation did."""
    settings: NebSettings

    @property
    def symbols(self) -> list[str]:
        """Of the atoms."""
        return [SYMBOLS[number] for number in self.numbers]

    @property
    def elements(self) -> list[str]:
        """Each once, in the atoms' order."""
        return list(dict.fromkeys(self.symbols))

    @property
    def charge(self) -> int:
        """Of the cell, units of e."""
        return cell_charge(self.listed.hop.ion, self.listed.hop.mechanism, self.settings.charge)

    @cached_property
    def structures(self) -> list[Structure]:
        """One per image, for pymatgen, whose input sets change what they are given: pass copies."""
        return [
            structure_from_crystal(Crystal(self.lattice, self.numbers, frac)) for frac in self.frac
        ]

    @property
    def title(self) -> str:
        """One line that names the hop, for files that have room for one."""
        return " ".join(self.listed.hop_id.split())[:200]

    def meta(self, code: str) -> dict[str, Any]:
        """What was set up, for ``meta.json``; a code adds what is its own."""
        from screen.store import code_version

        hop, settings = self.listed.hop, self.settings
        return {
            "hop_id": self.listed.hop_id,
            "material_id": self.listed.material_id,
            "model_id": self.listed.model_id,
            "ion": hop.ion,
            "mechanism": hop.mechanism,
            "length_a": hop.length_a,
            "code": code,
            "ionscreen": code_version(),
            "supercell": list(self.supercell),
            "widths_a": perpendicular_widths(self.lattice).tolist(),
            "n_atoms": len(self.numbers),
            "elements": self.elements,
            "moving_atom": self.mover,
            "intermediate_images": len(self.frac) - 2,
            "interpolation": "linear" if settings.linear else "idpp",
            "interpolation_converged": self.converged,
        }


def build_images(listed: ListedHop, settings: NebSettings) -> NebImages:
    """The images of a hop in a cell that is wide enough, by the mechanism of the hop.

    Raises:
        PathwayError: what ``build_band`` refuses; ``wrong_count`` where the cell does not hold the
            atoms it should; ``overlapping_atoms`` where two atoms of an image nearly meet.
    """
    band_settings = BandSettings(min_width_a=settings.min_width_a, max_atoms=settings.max_atoms)
    band = build_band(listed.crystal, listed.hop, band_settings)
    numbers = np.concatenate([[band.ion_number], band.host_numbers])
    if settings.linear:
        frac, converged = _linear(band, settings.images + 2), True
    else:
        path = idpp_path(band, n_images=settings.images + 2)
        frac, converged = path.frac, path.converged
    order = _order(numbers)
    images = NebImages(
        listed=listed,
        lattice=band.lattice,
        numbers=numbers[order],
        frac=(frac - np.floor(frac[0] + 1e-6))[:, order],
        mover=int(np.flatnonzero(order == 0)[0]),
        supercell=tuple(band.supercell.ravel().tolist()),
        converged=converged,
        settings=settings,
    )
    _check_count(images, band)
    _check_distances(images)
    return images


def _linear(band: Band, n_images: int) -> FloatArray:
    frac = np.tile(np.concatenate([band.ion_frac[:1], band.host_frac]), (n_images, 1, 1))
    step = band.ion_frac[-1] - band.ion_frac[0]
    frac[:, 0] = band.ion_frac[0] + np.linspace(0.0, 1.0, n_images)[:, None] * step
    return frac


def _order(numbers: IntArray) -> IntArray:
    """Atoms by element, those of the least electronegative one first, otherwise as they were."""
    import warnings

    from pymatgen.core.periodic_table import Element

    rank = {}
    with warnings.catch_warnings():  # noble gases have none
        warnings.simplefilter("ignore")
        for number in np.unique(numbers).tolist():
            value = float(Element.from_Z(number).X)
            rank[number] = (value if np.isfinite(value) else 9.0, number)
    return np.array(sorted(range(len(numbers)), key=lambda atom: rank[int(numbers[atom])]))


def _check_count(images: NebImages, band: Band) -> None:
    """All sites of the cell but one are filled, or in a dilute host one of the ion's."""
    crystal, hop = images.listed.crystal, images.listed.hop
    cells = round(abs(np.linalg.det(band.supercell)))
    if hop.mechanism == "dilute":
        expected = cells * int((crystal.numbers != band.ion_number).sum()) + 1
    else:
        expected = cells * len(crystal) - 1
    if len(images.numbers) != expected:
        raise PathwayError(
            "wrong_count", f"{len(images.numbers)} atoms in an image, expected {expected}"
        )


def _check_distances(images: NebImages) -> None:
    for index, frac in enumerate(images.frac):
        closest_a = closest_pair_a(images.lattice, frac, MIN_DISTANCE_A)
        if closest_a < MIN_DISTANCE_A:
            raise PathwayError(
                "overlapping_atoms",
                f"two atoms of image {index:02d} are {closest_a:.2f} Å apart, expected at least "
                f"{MIN_DISTANCE_A:g} Å; "
                + ("leave out --linear" if images.settings.linear else "the hop is too narrow"),
            )
