"""The compiled parts of pathways (its ``.c`` files), where they were built.

A library beside this file, found by name and called through pointers. It is optional: without a
compiler at installation, or where the library does not load, every function of the modules named
``compiled_*`` returns None and its caller does the same with numpy, more slowly.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np

_VERSION = 1
"""Of the library: one that was built from other sources is not used."""
POINTER = ctypes.c_void_p
INTEGER = ctypes.c_int64
REAL = ctypes.c_double


@cache
def library() -> ctypes.CDLL | None:
    """The library; None where none of this version was built or it does not load."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_paths{suffix}")
        if path.is_file():
            return load(path)
    return None


def load(path: Path) -> ctypes.CDLL | None:
    """The library in a file; None where it is of another version or does not load."""
    try:
        found = ctypes.CDLL(str(path))
        return found if found.ionscreen_paths_version() == _VERSION else None
    except (OSError, AttributeError):
        return None


class Arguments:
    """Arrays as the library takes them, kept until it has returned."""

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = []

    def __call__(self, array: np.ndarray, kind: type = np.float64) -> int:
        """Its address; one to be written to has to be contiguous and of the kind already."""
        array = np.ascontiguousarray(array, dtype=kind)
        self._kept.append(array)
        return int(array.__array_interface__["data"][0])
