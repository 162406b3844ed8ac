"""The hops of a shortlist folder, read back from ``hop.json`` and checked against ``band.extxyz``.

``hop.json`` holds the crystal and the hop, from which a band can be built in any supercell. The
band that was shown to people, and may have been changed since, has to be the one of that hop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from pathways.band import build_band
from pathways.elements import SYMBOLS, atomic_number
from pathways.supercell import BandSettings
from pathways.types import N_IMAGES, Band, Crystal, FloatArray, Hop, PathwayError
from screen.errors import FAILED, UserError
from screen.extxyz_bands import band_of_frames
from screen.sources.extxyz import crystal_from_frame, frame_keys, split_frames

_FILES = ("hop.json", "band.extxyz", "crystal.cif")
_MECHANISMS = ("vacancy", "dilute")
"""Whose other sites the crystal itself tells."""
_SAME_PLACE_A = 0.01
_MOST_SITES = 10_000


@dataclass(frozen=True, eq=False)
class ListedHop:
    """A hop of a shortlist."""

    folder: Path
    hop_id: str
    material_id: str
    model_id: str
    """Empty where the shortlist does not say."""
    crystal: Crystal
    """Symmetrised, primitive, all sites of the ion filled; what ``hop`` is of."""
    hop: Hop


def hop_folders(shortlist: Path) -> list[Path]:
    """The folders of a shortlist's hops, by name, whole or not.

    Raises:
        UserError: there is no such folder, or no hop in it.
    """
    if not shortlist.is_dir():
        raise UserError(f"{shortlist}: no such folder; `screen shortlist` writes one")
    found = [
        folder
        for folder in sorted(shortlist.iterdir())
        if folder.is_dir() and any((folder / name).exists() for name in _FILES)
    ]
    if not found:
        raise UserError(
            f"{shortlist}: no folder with hop.json and band.extxyz in it; "
            "pass a folder that `screen shortlist` wrote",
            FAILED,
        )
    return found


def read_hop(folder: Path) -> ListedHop:
    """The hop of one folder.

    Raises:
        PathwayError: ``no_hop_json``, ``bad_hop_json``, ``no_band``, ``bad_band``,
            ``other_mechanism``, ``hop_mismatch``, or what a frame of ``band.extxyz`` is refused
            for.
    """
    said = _Said(folder / "hop.json")
    crystal, hop = said.crystal(), said.hop()
    supercell = said.integers("supercell", 9)
    try:
        settings = BandSettings(max_atoms=_MOST_SITES, supercell=supercell)
    except ValueError as error:
        raise PathwayError("bad_hop_json", f"{folder / 'hop.json'}: {error}") from None
    hop_id = said.text("hop_id")
    found = _band(folder / "band.extxyz", hop_id)
    _check_same(found, build_band(crystal, hop, settings))
    predicted = said.document.get("predicted")
    return ListedHop(
        folder=folder,
        hop_id=hop_id,
        material_id=said.text("material_id"),
        model_id=str(predicted.get("model_id") or "") if isinstance(predicted, dict) else "",
        crystal=crystal,
        hop=hop,
    )


class _Said:
    """What a ``hop.json`` says; what is missing or of another kind is refused by name."""

    def __init__(self, path: Path) -> None:
        try:
            document = json.loads(path.read_bytes())
        except OSError as error:
            raise PathwayError(
                "no_hop_json", f"{path}: {error.strerror or error}; write the shortlist again"
            ) from None
        except ValueError as error:
            raise PathwayError("bad_hop_json", f"{path}: not JSON ({error})") from None
        if not isinstance(document, dict):
            raise PathwayError("bad_hop_json", f"{path}: expected a JSON object")
        self.document: Mapping[str, Any] = document
        self._path = path

    def crystal(self) -> Crystal:
        inner = self.document.get("crystal")
        if not isinstance(inner, dict) or not isinstance(inner.get("species"), list):
            raise self._bad("crystal", inner, "lattice, species and frac")
        species = inner["species"]
        try:
            numbers = np.array([atomic_number(symbol) for symbol in species], dtype=np.int64)
        except (TypeError, ValueError) as error:
            raise PathwayError("bad_hop_json", f"{self._path}: crystal: {error}") from None
        lattice = self._numbers("crystal.lattice", inner.get("lattice"), 9).reshape(3, 3)
        frac = self._numbers("crystal.frac", inner.get("frac"), 3 * len(species)).reshape(-1, 3)
        if abs(np.linalg.det(lattice)) < 1e-3:
            raise self._bad("crystal.lattice", lattice.tolist(), "vectors that span a volume")
        return Crystal(lattice, numbers, frac)

    def hop(self) -> Hop:
        """Of the crystal that stands beside it, which its ends are checked against later."""
        mechanism = self.text("mechanism")
        if mechanism not in _MECHANISMS:
            raise PathwayError(
                "other_mechanism", f"mechanism {mechanism!r}, expected {' or '.join(_MECHANISMS)}"
            )
        a, b, c = self.integers("image", 3)
        return Hop(
            ion=self.text("ion"),
            start=self.integers("start", 1)[0],
            end=self.integers("end", 1)[0],
            image=(a, b, c),
            length_a=float(self.numbers("length_a", 1)[0]),
            multiplicity=1,
            clearance_a=float("nan"),
            start_frac=self.numbers("start_frac", 3),
            end_frac=self.numbers("end_frac", 3),
            orbit=np.zeros((0, 5), dtype=np.int64),  # its other members play no part in a band
            mechanism=mechanism,
        )

    def text(self, key: str) -> str:
        value = self.document.get(key)
        if not isinstance(value, str) or not value:
            raise self._bad(key, value, "text")
        return value

    def numbers(self, key: str, count: int) -> FloatArray:
        return self._numbers(key, self.document.get(key), count)

    def integers(self, key: str, count: int) -> tuple[int, ...]:
        values = self.numbers(key, count)
        if not np.array_equal(values, np.rint(values)):
            raise self._bad(key, values.tolist(), f"{count} integers")
        return tuple(int(value) for value in values)

    def _numbers(self, key: str, value: Any, count: int) -> FloatArray:
        try:
            values = np.array(value, dtype=np.float64).ravel()
        except (TypeError, ValueError):
            values = np.empty(0)
        if values.shape != (count,) or not np.isfinite(values).all():
            raise self._bad(key, value, f"{count} numbers")
        return values

    def _bad(self, key: str, value: Any, expected: str) -> PathwayError:
        found = "missing" if value is None else str(value)[:60]
        return PathwayError("bad_hop_json", f"{self._path}: {key} is {found}, expected {expected}")


def _edited(detail: str) -> PathwayError:
    return PathwayError("bad_band", f"band.extxyz: {detail}; write the shortlist again")


def _band(path: Path, hop_id: str) -> Band:
    """The band of the file."""
    try:
        with path.open("rb") as file:
            frames = list(split_frames(file))
    except OSError as error:
        raise PathwayError(
            "no_band", f"{path}: {error.strerror or error}; write the shortlist again"
        ) from None
    except ValueError as error:
        raise _edited(str(error)) from None
    named = {unquote(frame_keys(frame).get("hop_id", "")) for frame in frames}
    if named != {hop_id}:
        raise _edited(f"of {' and '.join(sorted(named)) or 'no hop'}, expected {hop_id}")
    if len(frames) != N_IMAGES:
        raise _edited(f"{len(frames)} frames, expected {N_IMAGES}")
    try:
        return band_of_frames([crystal_from_frame(frame) for frame in frames])
    except PathwayError as error:
        if error.reason != "bad_band":
            raise
        raise _edited(error.detail) from None


def _check_same(found: Band, expected: Band) -> None:
    """One band in the same cell, its host's atoms in any order."""
    if found.ion_number != expected.ion_number:
        raise _edited(f"{SYMBOLS[found.ion_number]} moves, not {SYMBOLS[expected.ion_number]}")
    if sorted(found.host_numbers) != sorted(expected.host_numbers):
        raise _edited(
            f"{len(found.host_numbers)} atoms beside the ion, expected "
            f"{len(expected.host_numbers)}, of the elements in hop.json"
        )
    if not np.allclose(found.lattice, expected.lattice, rtol=0, atol=_SAME_PLACE_A):
        raise _edited("another cell than the supercell in hop.json")
    off_a = np.abs((found.ion_frac - expected.ion_frac) @ expected.lattice).max()
    gaps = found.host_frac[:, None, :] - expected.host_frac
    gap_a = np.linalg.norm((gaps - np.rint(gaps)) @ expected.lattice, axis=-1)
    gap_a[found.host_numbers[:, None] != expected.host_numbers] = np.inf
    moved = int((gap_a.min(axis=1) > _SAME_PLACE_A).sum())
    if moved or off_a > _SAME_PLACE_A:
        who = f"{moved} atoms beside the ion are" if moved else "the ion is"
        raise _edited(f"{who} elsewhere than hop.json has it")
