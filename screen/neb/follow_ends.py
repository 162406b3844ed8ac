"""Let the images of a band follow its ends once those are relaxed: runs where VASP does.

Each image moves by what its two ends moved, in proportion; what bends the path stays. Python
3.10 and nothing else: this file is copied beside the inputs and runs there as it is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

Vectors = list[list[float]]


class PlacesError(ValueError):
    """Relaxed ends that are not ends of this band; one line."""


def read_places(path: Path) -> tuple[list[str], Vectors]:
    """The lines of a POSCAR above its positions, and those, fractional.

    Raises:
        PlacesError: the file is missing, cut short, or has its positions in Å.
    """
    try:
        lines = path.read_text().splitlines()
        counts = [int(word) for word in lines[6].split()]
        first = 8 + lines[7].strip().lower().startswith("s")
        if not lines[first - 1].strip().lower().startswith("d"):
            raise PlacesError(f"{path}: expected fractional (Direct) positions")
        rows = [line.split()[:3] for line in lines[first : first + sum(counts)]]
        places = [[float(word) for word in row] for row in rows]
    except OSError as error:
        raise PlacesError(f"{path}: {error.strerror}; relax the ends first") from None
    except (IndexError, ValueError) as error:
        if isinstance(error, PlacesError):
            raise
        raise PlacesError(f"{path}: no whole POSCAR; did the run finish?") from None
    if len(places) != sum(counts) or any(len(place) != 3 for place in places):
        raise PlacesError(f"{path}: {len(places)} positions, expected {sum(counts)}")
    return lines[:first], places


def follow_ends(folder: Path) -> None:
    """Write ``neb/NN/POSCAR`` from ``endpoints/{start,end}/CONTCAR``.

    The first images are kept as ``POSCAR.written``, so that a second run changes nothing.

    Raises:
        PlacesError: ends that are missing, unfinished, of other atoms, or have become one.
    """
    places = sorted(path for path in (folder / "neb").iterdir() if path.name.isdecimal())
    written = [_written(place) for place in places]
    images = [image for _, image in written]
    moved = []
    for name, unrelaxed in (("start", images[0]), ("end", images[-1])):
        path = folder / "endpoints" / name / "CONTCAR"
        head, relaxed = read_places(path)
        if _atoms(head) != _atoms(written[0][0]):
            raise PlacesError(f"{path}: other atoms, or in another order, than the band's")
        moved.append([_short(a, b) for a, b in zip(relaxed, unrelaxed, strict=True)])
    _check_ends(written[0][0], images, moved)
    for index, (place, (head, image)) in enumerate(zip(places, written, strict=True)):
        share = index / (len(places) - 1)
        rows = [
            [x + (1 - share) * s + share * e for x, s, e in zip(atom, start, end, strict=True)]
            for atom, start, end in zip(image, moved[0], moved[1], strict=True)
        ]
        text = "\n".join([*head, *(" ".join(f"{x:.14f}" for x in row) for row in rows)])
        (place / "POSCAR").write_text(text + "\n")


def _written(place: Path) -> tuple[list[str], Vectors]:
    kept = place / "POSCAR.written"
    if not kept.exists():
        kept.write_text((place / "POSCAR").read_text())
    return read_places(kept)


def _atoms(head: list[str]) -> list[tuple[str, int]]:
    """Elements and how many; VASP may add to a symbol the POTCAR's name and hash."""
    symbols = [re.split("[_/]", word)[0] for word in head[5].split()]
    return list(zip(symbols, map(int, head[6].split()), strict=True))


def _short(to: list[float], origin: list[float]) -> list[float]:
    """The way from one place to the nearest image of another."""
    return [a - b - round(a - b) for a, b in zip(to, origin, strict=True)]


def _check_ends(head: list[str], images: list[Vectors], moved: list[Vectors]) -> None:
    """The atom that hops must still go somewhere else."""
    scale = float(head[1])
    lattice = [[scale * float(word) for word in line.split()] for line in head[2:5]]

    def length_a(vector: list[float]) -> float:
        rows = zip(vector, lattice, strict=True)
        parts = [[share * x for x in row] for share, row in rows]
        return float(sum(sum(column) ** 2 for column in zip(*parts, strict=True)) ** 0.5)

    hops = [
        [b - a for a, b in zip(*pair, strict=True)]
        for pair in zip(images[0], images[-1], strict=True)
    ]
    lengths_a = [length_a(hop) for hop in hops]
    mover = max(range(len(hops)), key=lengths_a.__getitem__)
    change = zip(hops[mover], moved[0][mover], moved[1][mover], strict=True)
    relaxed_a = length_a([hop - start + end for hop, start, end in change])
    if relaxed_a < 0.5 * lengths_a[mover]:
        raise PlacesError(
            f"atom {mover + 1} hops {relaxed_a:.2f} Å between the relaxed ends, and "
            f"{lengths_a[mover]:.2f} Å before: an end is no minimum"
        )


if __name__ == "__main__":
    try:
        follow_ends(Path(__file__).resolve().parent)
    except PlacesError as error:
        sys.exit(f"error: {error}")
