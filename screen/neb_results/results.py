"""What every format comes to: the barrier of one hop, or why there is none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathways.types import PathwayError
from screen.neb_results.profiles import Profile, profile_of

_BELOW_ENDS_EV = 0.05
"""An image lower than both ends by more is worth a word."""


@dataclass(frozen=True)
class Barrier:
    """A row of the table ``barriers``, but for its time, and one of ``profiles``."""

    hop_id: str
    method: str
    """``vasp``, ``qe``, ``ase:<calculator>``, ``csv`` or what a file says."""
    source: str
    """Folder or file, without what it lies in, so that a moved shortlist is the same one."""
    em_forward_ev: float | None
    """None where there is none although a band was relaxed: ``remark`` says why."""
    em_reverse_ev: float | None
    """None where only one way is known."""
    functional: str | None
    hubbard_u: str | None
    """JSON object of eV by element; None: no U."""
    converged: bool | None
    """None: not said."""
    notes: tuple[str, ...] = ()
    """What to know of it, one line each; not stored."""
    profile: Profile | None = None
    """None: no energies along the path."""
    remark: str | None = None
    """What is stored of a band that is not as it should be, one line."""


@dataclass(frozen=True)
class Refusal:
    """A result that did not become a barrier."""

    place: str
    """Folder, file or row."""
    reason: str
    """Short code."""
    detail: str
    """One line: what was found, what to do."""


@dataclass(frozen=True)
class Calculation:
    """A folder of a written band, as its ``meta.json`` describes it."""

    folder: Path
    hop_id: str
    code: str
    functional: str | None
    """None: up to a calculator."""
    hubbard_u: str | None
    n_images: int | None
    """The two ends counted."""
    n_atoms: int | None
    elements: tuple[str, ...] = ()
    """Each once, in the atoms' order; empty: not said."""
    mover: int | None = None
    """Which atom hops."""
    length_a: float | None = None
    """Of the hop, Å."""

    @property
    def source(self) -> str:
        """The folder as the database has it: with the hop's own folder and nothing above."""
        return short_source(self.folder)

    def check_images(self, n_found: int, what: str) -> None:
        """Refuse a band of another number of images than was written.

        Raises:
            PathwayError: ``other_images``.
        """
        if self.n_images is not None and n_found != self.n_images:
            raise PathwayError(
                "other_images",
                f"{n_found} {what}, meta.json says {self.n_images} with the two ends; "
                "bring back the missing ones, or correct intermediate_images there",
            )


def calculation_of(folder: Path) -> Calculation:
    """The calculation that a folder's ``meta.json`` describes.

    Raises:
        PathwayError: ``bad_meta``.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PathwayError(
            "bad_meta", f"meta.json cannot be read ({error}); copy it from the shortlist again"
        ) from None
    hop_id = meta.get("hop_id") if isinstance(meta, dict) else None
    if not isinstance(hop_id, str) or not hop_id:
        raise PathwayError("bad_meta", "meta.json has no hop_id; copy it from the shortlist again")
    images, atoms = meta.get("intermediate_images"), meta.get("n_atoms")
    mover, length_a = meta.get("moving_atom"), meta.get("length_a")
    elements = meta.get("elements")
    return Calculation(
        folder=folder,
        hop_id=hop_id,
        code=str(meta.get("code", "")),
        functional=functional_of(meta),
        hubbard_u=hubbard_text(meta.get("hubbard_u_ev")),
        n_images=images + 2 if isinstance(images, int) else None,
        n_atoms=atoms if isinstance(atoms, int) else None,
        elements=tuple(map(str, elements)) if isinstance(elements, list) else (),
        mover=mover if isinstance(mover, int) else None,
        length_a=float(length_a) if isinstance(length_a, int | float) else None,
    )


def functional_of(meta: Mapping[str, Any]) -> str | None:
    """The functional that a ``meta.json`` names."""
    named = meta.get("functional")
    return named if isinstance(named, str) and named and not named.startswith("of the ") else None


def hubbard_text(values: Any) -> str | None:
    """Hubbard U by element as the database has it."""
    return json.dumps(values, sort_keys=True) if isinstance(values, dict) and values else None


def short_source(path: Path) -> str:
    """The last two names of a path."""
    return "/".join(path.resolve().parts[-2:])


def barrier_of(
    calculation: Calculation,
    method: str,
    energies_ev: Sequence[float],
    converged: bool | None,
    saddle_ev: float | None = None,
    notes: Sequence[str] = (),
    path_a: Sequence[float] | None = None,
) -> Barrier:
    """The barriers of a band, there and back.

    Args:
        calculation: that it is of.
        method: that computed it.
        energies_ev: of all images, start to end.
        converged: whether ends and band are.
        saddle_ev: energy of the saddle, where a curve tells better than the highest image.
        notes: what else there is to say.
        path_a: length along the path to each image, Å.

    Raises:
        PathwayError: ``no_energies``; ``no_saddle`` where an end is the highest image.
    """
    if len(energies_ev) < 3 or not all(math.isfinite(energy) for energy in energies_ev):
        raise PathwayError(
            "no_energies", f"{len(energies_ev)} energies, expected 3 or more finite ones; run again"
        )
    first, last, inner = energies_ev[0], energies_ev[-1], energies_ev[1:-1]
    if max(inner) <= max(first, last):
        raise PathwayError(
            "no_saddle",
            "no image lies above both ends: an end is no minimum, or images are too few; "
            "relax the ends and run again with more images",
        )
    top = max(inner) if saddle_ev is None else max(saddle_ev, max(inner))
    profile = profile_of(energies_ev, path_a, top)
    said = list(notes)
    if profile.intermediate_minima:
        below = min(inner) < min(first, last) - _BELOW_ENDS_EV
        said.append(
            f"minima on its way: {profile.intermediate_minima}{', below both ends' * below}; "
            f"the highest climb from one to the next is {profile.highest_segment_ev:.3f} eV"
        )
    if converged is False:
        said.append("not converged: stored as such; run it on and read it again")
    return Barrier(
        hop_id=calculation.hop_id,
        method=method,
        source=calculation.source,
        em_forward_ev=float(top - first),
        em_reverse_ev=float(top - last),
        functional=calculation.functional,
        hubbard_u=calculation.hubbard_u,
        converged=converged,
        notes=tuple(said),
        profile=profile,
    )


def check_functional(calculation: Calculation, found: set[str], where: str) -> None:
    """Refuse a band that was not computed as its ``meta.json`` says.

    Args:
        calculation: with the functional that was written.
        found: functionals that the code reports, of all images.
        where: the code reports them.

    Raises:
        PathwayError: ``mixed_functional``.
    """
    if len(found) > 1:
        raise PathwayError(
            "mixed_functional",
            f"{where} of this band say {' and '.join(sorted(found))}: their energies cannot be "
            "compared; compute all images and ends alike",
        )
    said = calculation.functional
    if said is not None and found and found != {said}:
        raise PathwayError(
            "mixed_functional",
            f"{where} say {found.pop()}, meta.json says {said}; compute it as written, or correct "
            "functional and hubbard_u_ev in meta.json",
        )
