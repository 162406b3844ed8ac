"""Extended XYZ: frames of atoms with a lattice, as ASE and many simulation codes write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import numpy as np

from pathways.types import Crystal, FloatArray, PathwayError
from screen.sources.structure_json import species_number

_MOST_ATOMS = 1_000_000
"""Of a frame that is read at all: no crystal to screen has as many."""
_KEY_VALUE = re.compile(r"""([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")


def split_frames(lines: BinaryIO) -> Iterator[bytes]:
    """Stream the frames of a file as they are written, from the number of atoms on.

    Raises:
        ValueError: The file is cut short or is no XYZ: frames after it cannot be found.
    """
    for count in lines:
        if count.isspace():
            continue
        text = count.strip().decode("utf-8", "replace")
        if not text.isdecimal():
            raise ValueError(f"found {text[:40]!r} where a frame's number of atoms was expected")
        n_atoms = int(text[:40])
        if n_atoms > _MOST_ATOMS:
            raise ValueError(f"a frame of {text[:40]} atoms; expected at most {_MOST_ATOMS:,}")
        comment = next(lines, b"")
        atoms = list(islice(lines, n_atoms))
        if len(atoms) < n_atoms:
            raise ValueError(f"the file ends after {len(atoms)} of a frame's {n_atoms} atoms")
        yield b"".join([count, comment, *atoms])


def frame_keys(frame: bytes) -> dict[str, str]:
    """The key=value pairs of a frame's comment line."""
    return _keys(_lines(frame)[1])


def crystal_from_frame(frame: bytes) -> Crystal:
    """The crystal of a frame.

    Raises:
        PathwayError: ``not_periodic``, ``singular_cell``, ``bad_shape``, ``non_finite``,
            ``unknown_element`` or ``unreadable``.
    """
    _, comment, *atoms = _lines(frame)
    keys = _keys(comment)
    lattice = _lattice(keys)
    species_column, position_column = _columns(
        keys.get("Properties", "species:S:1:pos:R:3").split(":")
    )
    try:
        rows = [line.split() for line in atoms]
        numbers = [species_number(row[species_column]) for row in rows]
        positions = np.array(
            [row[position_column : position_column + 3] for row in rows], dtype=np.float64
        )
        frac = positions @ np.linalg.inv(lattice)
    except np.linalg.LinAlgError:
        raise PathwayError("singular_cell", "the vectors of Lattice span no volume") from None
    except (IndexError, ValueError) as error:
        if isinstance(error, PathwayError):
            raise
        raise PathwayError(
            "bad_shape", f"a line of atoms is no species and 3 numbers: {error}"
        ) from None
    if not np.isfinite(frac).all():
        raise PathwayError("non_finite", "positions or Lattice hold values that are not finite")
    return Crystal(lattice, np.array(numbers, dtype=np.int64), frac)


def _lines(frame: bytes) -> list[str]:
    # Only where the file has line ends: text has more characters that end lines than bytes have.
    lines = frame.decode("utf-8", "replace").removesuffix("\n").split("\n")
    return lines if len(lines) > 1 else [*lines, ""]


def _keys(comment: str) -> dict[str, str]:
    return {m[1]: m[2] or m[3] or m[4] or "" for m in _KEY_VALUE.finditer(comment)}


def _lattice(keys: dict[str, str]) -> FloatArray:
    if "Lattice" not in keys or "F" in keys.get("pbc", "T T T").upper():
        raise PathwayError("not_periodic", "a crystal needs Lattice, and pbc in all directions")
    try:
        return np.array(keys["Lattice"].split(), dtype=np.float64).reshape(3, 3)
    except ValueError:
        raise PathwayError("bad_shape", "Lattice is not 9 numbers") from None


def _columns(properties: list[str]) -> tuple[int, int]:
    """Columns where the species and the positions begin, from ``name:type:width`` triples."""
    starts: dict[str, int] = {}
    column = 0
    for name, width in zip(properties[::3], properties[2::3], strict=False):
        starts[name] = column
        column += int(width) if width.isdigit() else 1
    try:
        return starts["species"], starts["pos"]
    except KeyError as error:
        raise PathwayError("unreadable", f"Properties names no {error.args[0]}") from None
