"""Writes the table of atom features from jarvis-tools: ``python -m models.elements_build``.

Needs the extra ``reference``. The table is part of the repository; this is how it came to be.
"""

from __future__ import annotations

import json
from pathlib import Path

from models.elements import TABLE, pack
from pathways.elements import SYMBOLS

HEADER = """\
# The 92 CGCNN atom features (doi:10.1103/PhysRevLett.120.145301), as shipped in jarvis-tools'
# atom_init.json. Atomic number, symbol, 92 bits as 23 hexadecimal digits, first feature leading.
# Written by: python -m models.elements_build
"""


def jarvis_table() -> dict[int, list[int]]:
    """Atomic number to its 92 zeros and ones, for every element that jarvis-tools knows."""
    from jarvis.core.specie import cgcnn_feature_json

    entries = json.loads(Path(cgcnn_feature_json).read_text(encoding="utf-8"))
    return {int(number): entries[number] for number in sorted(entries, key=int)}


def main() -> None:
    """Write the table beside this module."""
    path = Path(__file__).parent / TABLE
    lines = [f"{z} {SYMBOLS[z]} {pack(bits)}\n" for z, bits in jarvis_table().items()]
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    print(f"{path}: {len(lines)} elements")


if __name__ == "__main__":
    main()
