"""What the network knows of an element: the 92 binary atom features of CGCNN.

Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018), doi:10.1103/PhysRevLett.120.145301, and
its supplement: group, period, electronegativity, covalent radius, valence electrons, first
ionisation energy, electron affinity, block and atomic volume, one-hot in bins. The table in
``data/cgcnn92.txt`` holds the values that the published ALIGNN models were trained with;
``models.elements_build`` writes it from jarvis-tools and a test compares the two.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from pathways.types import IntArray, PathwayError

N_FEATURES = 92
TABLE = "data/cgcnn92.txt"


def cgcnn_features(numbers: IntArray) -> npt.NDArray[np.float32]:
    """Features of atoms.

    Args:
        numbers: (n,), atomic numbers.

    Returns:
        (n, 92), zeros and ones.

    Raises:
        PathwayError: ``unknown_element`` where the table has no entry (it ends at Fm, Z = 100).
    """
    table = _table()
    numbers = np.asarray(numbers)
    unknown = numbers[(numbers < 1) | (numbers >= len(table))]
    if len(unknown):
        raise PathwayError(
            "unknown_element",
            f"no atom features for atomic number {unknown[0]}, only for 1 to {len(table) - 1};"
            " leave such crystals out",
        )
    return table[numbers]


@cache
def _table() -> npt.NDArray[np.float32]:
    """(101, 92); row Z, row 0 unused."""
    lines = files("models").joinpath(TABLE).read_text(encoding="utf-8").splitlines()
    rows = [unpack(line.split()[2]) for line in lines if not line.startswith("#")]
    table = np.vstack([np.zeros(N_FEATURES), *rows]).astype(np.float32)
    table.flags.writeable = False
    return table


def pack(features: npt.ArrayLike) -> str:
    """92 zeros and ones as 23 hexadecimal digits, the first feature leading."""
    return f"{int(''.join(str(int(bit)) for bit in np.asarray(features)), 2):023x}"


def unpack(digits: str) -> npt.NDArray[np.float32]:
    """The inverse of ``pack``: (92,)."""
    return np.array([int(bit) for bit in f"{int(digits, 16):0{N_FEATURES}b}"], dtype=np.float32)
