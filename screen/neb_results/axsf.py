"""The images of ``neb.x`` as it leaves them for viewers: ``neb.axsf``, Å, with forces.

After ``ANIMSTEPS n`` and ``PRIMVEC`` with the cell comes ``PRIMCOORD i`` for each image: a line
with the number of atoms, then for each its symbol, place and force. Atoms are those of ``neb.in``,
in its order, and are not folded back into the cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pathways.types import PathwayError
from screen.neb_results.profiles import path_of_positions
from screen.neb_results.results import Calculation

IMAGES = "neb.axsf"
_MOST_OFF_A = 1.0
"""How far the ends of a hop may move in relaxation, and it is still that hop."""
_MOST_BEYOND_A = 0.5
"""How much farther than the ion another atom may go."""


@dataclass(frozen=True, eq=False)
class Images:
    """The atoms of a band."""

    symbols: tuple[str, ...]
    """(m,), alike in all images."""
    positions_a: NDArray[np.float64]
    """(n, m, 3), Å."""
    file: str = IMAGES
    """Name of the file that they stand in."""

    @property
    def path_a(self) -> tuple[float, ...]:
        """(n,), length along the path, Å."""
        return path_of_positions(self.positions_a)


def read_axsf(path: Path) -> Images:
    """The images of a file.

    Raises:
        PathwayError: ``unreadable``, ``other_atoms`` where they differ from image to image.
    """
    try:
        parts = [part.split() for part in path.read_text().split("PRIMCOORD")]
        n_said = int(parts[0][parts[0].index("ANIMSTEPS") + 1])
        images = [_image(words) for words in parts[1:]]
    except (OSError, ValueError, IndexError):
        n_said, images = 0, []
    if not images or len(images) != n_said:
        raise PathwayError(
            "unreadable", f"{path.name} is not what neb.x writes; bring it back whole"
        )
    symbols = images[0][0]
    if any(one[0] != symbols for one in images):
        raise PathwayError(
            "other_atoms", f"images of different atoms in {path.name}; bring it back again"
        )
    return Images(symbols, np.array([one[1] for one in images]))


def check_hop(images: Images, calculation: Calculation) -> None:
    """Refuse a band that is not of the hop that ``meta.json`` describes, as far as it says.

    Raises:
        PathwayError: ``other_atoms`` where they are not those that were written; ``other_hop``
            where another atom moves, or the ion by another length.
    """
    symbols, said = images.symbols, calculation
    elements = [symbols[0], *(b for a, b in pairwise(symbols) if a != b)]
    if said.n_atoms is not None and len(symbols) != said.n_atoms:
        found, expected = f"{len(symbols)} atoms", f"{said.n_atoms}"
    elif said.elements and elements != list(said.elements):
        found, expected = f"atoms in the order {'-'.join(elements)}", "-".join(said.elements)
    else:
        _check_moves(images, said)
        return
    raise PathwayError(
        "other_atoms",
        f"{found} in {images.file}, meta.json says {expected}; these are outputs of another band",
    )


def _check_moves(images: Images, said: Calculation) -> None:
    if said.mover is None or said.length_a is None or not 0 <= said.mover < len(images.symbols):
        return
    moved_a = np.linalg.norm(images.positions_a[-1] - images.positions_a[0], axis=1)
    ion_a, farthest = float(moved_a[said.mover]), int(moved_a.argmax())
    if moved_a[farthest] > ion_a + _MOST_BEYOND_A:
        raise PathwayError(
            "other_hop",
            f"atom {farthest + 1} ({images.symbols[farthest]}) goes {moved_a[farthest]:.2f} Å in "
            f"{images.file}, the ion (atom {said.mover + 1}) {ion_a:.2f} Å; look at the ends",
        )
    if abs(ion_a - said.length_a) > _MOST_OFF_A:
        raise PathwayError(
            "other_hop",
            f"the ion goes {ion_a:.2f} Å in {images.file}, meta.json says {said.length_a:.2f} Å; "
            "an end left its site, or these are outputs of another band",
        )


def _image(words: list[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Symbols and places of one image, from what stands behind ``PRIMCOORD``."""
    n_atoms, table = int(words[1]), words[3:]
    width = len(table) // max(1, n_atoms)
    if n_atoms < 1 or width * n_atoms != len(table) or width not in (4, 7):
        raise ValueError("no table of atoms")
    rows = [table[at : at + width] for at in range(0, len(table), width)]
    places = np.array([row[1:4] for row in rows], dtype=float)
    if not np.isfinite(places).all():
        raise ValueError("places that are no numbers")
    return tuple(row[0] for row in rows), places
