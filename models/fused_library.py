"""The compiled library (``fused.c``, ``fused_products.c``), where it was built.

A library beside this file, found by name and called through pointers. It is optional: without a
compiler at installation, or on a system whose compiler is not GCC or Clang, PyTorch does the same.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_VERSION = 1
"""Of the library: one that was built from other sources is not used."""


@cache
def library() -> ctypes.CDLL | None:
    """The library; None where none of this version was built or it does not load."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_fused{suffix}")
        if path.is_file():
            return load(path)
    return None


def load(path: Path) -> ctypes.CDLL | None:
    """The library in a file; None where it is of another version or does not load."""
    try:
        found = ctypes.CDLL(str(path))
        return found if found.ionscreen_version() == _VERSION else None
    except (OSError, AttributeError):
        return None
