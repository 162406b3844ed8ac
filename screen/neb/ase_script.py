"""ASE: the images as extended XYZ and a program that computes their band."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from screen.errors import UserError
from screen.neb import run_neb
from screen.neb.images import NebImages
from screen.neb.settings import NebSettings


def check_ase(settings: NebSettings) -> None:
    """Refuse what a calculator would not be told.

    Raises:
        UserError: a charge.
    """
    if settings.charge != "neutral":
        raise UserError("--charge background with --code ase: charge is up to the calculator")


def write_ase(images: NebImages, folder: Path) -> Mapping[str, Any]:
    """Write ``neb.extxyz``, all images start to end, and ``run_neb.py``."""
    (folder / run_neb.IMAGES).write_text("".join(frames(images)))
    script = folder / "run_neb.py"
    script.write_text(Path(run_neb.__file__).read_text())
    script.chmod(0o755)
    return {
        "functional": "of the calculator",
        "charge": "of the calculator",
        "method": "improvedtangent",
        "climbing": True,
    }


def frames(images: NebImages) -> Iterator[str]:
    """Each image as extended XYZ, Å; atoms stay where they are, be it outside the cell.

    What is no plain character of the hop's id is ``%`` and two hexadecimal digits.
    """
    cell = " ".join(f"{x:.12f}" for x in images.lattice.ravel())
    hop_id = quote(images.listed.hop_id, safe=":,+-._")
    for index, frac in enumerate(images.frac):
        keys = (
            f'Lattice="{cell}" Properties=species:S:1:pos:R:3 pbc="T T T" '
            f'hop_id="{hop_id}" moving_atom={images.mover} image={index}'
        )
        rows = [
            f"{symbol:2} " + " ".join(f"{x:18.12f}" for x in place_a)
            for symbol, place_a in zip(images.symbols, frac @ images.lattice, strict=True)
        ]
        yield "\n".join([str(len(rows)), keys, *rows, ""])
