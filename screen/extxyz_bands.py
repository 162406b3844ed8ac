"""Labelled bands from extended XYZ: five frames a band, as ``screen shortlist`` writes them.

Each frame is the whole cell with the moving ion at one of five equally spaced places, start to end;
the mover is the one atom that moves. The comment lines carry ``em_ev`` (eV) and, optionally,
``hop_id``, which names the band, ``ion``, which is checked, and ``xc``, the functional.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from models.dataset import DatasetError, LabelledBands, band_of_atoms, host_group
from pathways.elements import SYMBOLS
from pathways.types import N_IMAGES, Band, Crystal, PathwayError
from screen.sources.extxyz import crystal_from_frame, frame_keys, split_frames

_MOVED_A = 1e-3
"""An atom that stays within this of its first place does not move."""
_SAME_CELL_A = 1e-4


def read_extxyz(path: Path) -> LabelledBands:
    """The labelled bands of a file; what is no band, or has no label, is refused by name.

    Raises:
        DatasetError: the file is cut short or is no extended XYZ.
    """
    try:
        with path.open("rb") as file:
            frames = list(split_frames(file))
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except ValueError as error:
        raise DatasetError(f"{path}: {error}; write the file again") from None
    names, bands, labels, xc, refused = [], [], [], [], []
    for name, group in _groups(path.stem, frames):
        try:
            band, em_ev, functional = _labelled(group)
        except PathwayError as error:
            refused.append((name, str(error)))
            continue
        names.append(name)
        bands.append(band)
        labels.append(em_ev)
        xc.append(functional)
    return LabelledBands(
        names=tuple(names),
        bands=tuple(bands),
        em_ev=np.array(labels, dtype=float),
        groups=tuple(host_group(band) for band in bands),
        xc=tuple(xc),
        refused=tuple(refused),
        source=path.name,
        digest=digest,
    )


def _groups(stem: str, frames: Iterable[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Name and frames of each band: five that follow one another and have the same ``hop_id``."""
    number = 0
    for hop_id, alike in itertools.groupby(frames, lambda frame: frame_keys(frame).get("hop_id")):
        while group := list(itertools.islice(alike, N_IMAGES)):
            number += 1
            yield hop_id or f"{stem}:{number}", group


def _labelled(frames: Sequence[bytes]) -> tuple[Band, float, str]:
    """Band, barrier in eV and functional of a band's frames."""
    if len(frames) != N_IMAGES:
        raise PathwayError("bad_band", f"{len(frames)} frames, expected {N_IMAGES} for each band")
    band = band_of_frames([crystal_from_frame(frame) for frame in frames])
    ion = _said(frames, "ion")
    if ion and ion != SYMBOLS[band.ion_number]:
        raise PathwayError(
            "bad_band", f"ion is {ion}, but the atom that moves is {SYMBOLS[band.ion_number]}"
        )
    label = _said(frames, "em_ev")
    try:
        em_ev = float(label)
    except ValueError:
        raise PathwayError(
            "no_label", f"em_ev is {label or 'not given'}, expected a barrier in eV"
        ) from None
    if not (math.isfinite(em_ev) and em_ev >= 0):
        raise PathwayError("no_label", f"em_ev is {em_ev:g}, expected a barrier in eV")
    return band, em_ev, _said(frames, "xc")


def _said(frames: Sequence[bytes], key: str) -> str:
    """What the frames say under a key, empty where none does."""
    values = {frame_keys(frame).get(key, "") for frame in frames} - {""}
    if len(values) > 1:
        raise PathwayError("bad_band", f"{key} is {' and '.join(sorted(values))} in one band")
    return values.pop() if values else ""


def band_of_frames(frames: Sequence[Crystal]) -> Band:
    """The band of five whole cells that differ in the place of one atom.

    Raises:
        PathwayError: ``bad_band`` where the frames are not of one cell, or not one atom moves along
            a straight line in equal steps; ``overlapping_atoms``.
    """
    first = frames[0]
    for frame in frames[1:]:
        if not np.array_equal(frame.numbers, first.numbers):
            raise PathwayError("bad_band", "the frames hold other atoms, or in another order")
        if not np.allclose(frame.lattice, first.lattice, rtol=0, atol=_SAME_CELL_A):
            raise PathwayError("bad_band", "the frames have other cells")
    frac = np.stack([frame.frac for frame in frames])
    step = frac - frac[0]
    moved_a = np.linalg.norm((step - np.rint(step)) @ first.lattice, axis=-1).max(axis=0)
    movers = np.flatnonzero(moved_a > _MOVED_A)
    if len(movers) != 1:
        raise PathwayError(
            "bad_band", f"{len(movers)} atoms move, expected one: the path before relaxation"
        )
    mover = int(movers[0])
    host = np.arange(len(first)) != mover
    numbers = np.concatenate([np.repeat(first.numbers[mover], N_IMAGES), first.numbers[host]])
    folded = np.concatenate([frac[:, mover], first.frac[host]])
    return band_of_atoms(first.lattice, numbers, folded)
