"""What ``neb.x`` leaves: ``neb.dat`` with the profile, ``neb.axsf``, ``neb.path`` and its output.

``neb.dat`` has a line for each image: share of the path's length, energy above the first image in
eV, error in eV/Å. ``neb.axsf`` has the images themselves; where it and the output are all that came
back, the output's last table gives energies and errors. ``neb.path`` begins with the number of the
iteration, the most that there may be, and the image at which a run was cut short, 0 for none
(INPUT_NEB and the source of 6.7).
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from pathways.types import PathwayError
from screen.neb_results.axsf import IMAGES, Images, check_hop, read_axsf
from screen.neb_results.results import Barrier, Calculation, barrier_of, check_functional

PROFILE, OUTPUT = "neb.dat", "neb.out"
_DONE = "neb: convergence achieved"
_PATH_THR_EV_A = 0.05
"""neb.x's own, where neb.in does not say."""
_BOHR_A = 0.529177210903
_LINE = re.compile(r"^\s+\d+\s+(-?\d+\.\d+)\s+(\d+\.\d+)\s+[TF]\s*$", re.MULTILINE)
"""Of the table of an iteration: image, energy (eV), error (eV/Å), whether it is held."""
_LENGTH = re.compile(r"^\s+path length\s+=\s+([\d.]+) bohr", re.MULTILINE)
_NAMES = {"PBE": "PBE", "SLA PW PBX PBC": "PBE", "SLA PZ NOGX NOGC": "LDA", "PZ": "LDA"}


def read_espresso(calculation: Calculation) -> Barrier:
    """The barrier of a band that ``neb.x`` relaxed.

    Raises:
        PathwayError: ``not_run``, ``unfinished``, ``unreadable``, ``other_images``,
            ``other_atoms``, ``other_hop``, ``mixed_functional``, or what ``barrier_of`` refuses.
    """
    folder = calculation.folder
    images = _images(calculation)
    name, rows = _profile(folder, has_images=images is not None)
    calculation.check_images(len(rows), f"images in {name}")
    if images is not None and len(images.positions_a) != len(rows):
        raise _other_images(name, len(rows), IMAGES, len(images.positions_a))
    _check_whole(folder / "neb.path", name, len(rows))
    check_functional(calculation, _functionals(folder), "outputs of pw.x")
    return barrier_of(
        calculation,
        "qe",
        [row[1] for row in rows],
        _converged(folder, rows),
        path_a=_path_a(folder, [row[0] for row in rows]) if images is None else images.path_a,
    )


def _images(calculation: Calculation) -> Images | None:
    path = calculation.folder / IMAGES
    if not path.exists():
        return None
    images = read_axsf(path)
    check_hop(images, calculation)
    return images


def _profile(folder: Path, has_images: bool) -> tuple[str, list[list[float]]]:
    """Name of a file and its share of the path, energy, eV, and error, eV/Å, of each image."""
    if (folder / PROFILE).exists():
        return PROFILE, _rows(folder / PROFILE)
    if (folder / OUTPUT).exists() and has_images:
        return OUTPUT, _table(folder / OUTPUT)
    if (folder / OUTPUT).exists() or (folder / "out").exists():
        raise PathwayError("unfinished", f"no {PROFILE} yet; submit job.sh again")
    raise PathwayError("not_run", f"no {PROFILE}; submit job.sh")


def _table(path: Path) -> list[list[float]]:
    """The last energies and errors that an output prints, with shares of the path unknown."""
    text = path.read_text(errors="replace").rpartition("activation energy (->)")[2]
    rows = [[math.nan, float(energy), float(error)] for energy, error in _LINE.findall(text)]
    if not rows:
        raise PathwayError("unfinished", f"no energies in {path.name} yet; submit job.sh again")
    return rows


def _path_a(folder: Path, shares: list[float]) -> list[float] | None:
    """Length along the path, Å, by the length that the output prints; None without one."""
    output = folder / OUTPUT
    text = output.read_text(errors="replace") if output.exists() else ""
    said = _LENGTH.findall(text)
    return [share * float(said[-1]) * _BOHR_A for share in shares] if said else None


def _other_images(name: str, n_found: int, other: str, n_there: int) -> PathwayError:
    return PathwayError(
        "other_images",
        f"{n_found} images in {name}, {n_there} in {other}; bring both back from one run",
    )


def _rows(path: Path) -> list[list[float]]:
    try:
        rows = [[float(word) for word in line.split()] for line in path.read_text().splitlines()]
    except (OSError, ValueError):
        rows = []
    rows = [row for row in rows if row]
    if not rows or any(len(row) != 3 for row in rows):
        raise PathwayError(
            "unreadable",
            f"{PROFILE} has no three numbers a line, as neb.x writes them; bring it back again",
        )
    return rows


def _check_whole(path: Path, name: str, n_images: int) -> None:
    """Refuse a first iteration that was cut short, and a path of another band."""
    if not path.exists():
        return
    words = path.read_text(errors="replace").split("\n", 6)
    try:
        cut_at, n_there = int(words[3]), int(words[5])
    except (IndexError, ValueError):
        raise PathwayError(
            "unreadable", "neb.path is not what neb.x writes; bring it back again"
        ) from None
    if n_there != n_images:
        raise _other_images(name, n_images, "neb.path", n_there)
    if cut_at and int(words[1]) == 0:
        raise PathwayError("unfinished", f"cut short at image {cut_at}; submit job.sh again")


def _converged(folder: Path, rows: list[list[float]]) -> bool:
    """By what neb.x said last; where its output is not there, by errors against the threshold."""
    output = folder / OUTPUT
    if output.exists():
        last = output.read_text(errors="replace").rpartition("Program NEB")[2]
        return _DONE in last
    given = _setting(folder / "neb.in", "path_thr")
    threshold = float(given.replace("d", "e")) if given else _PATH_THR_EV_A
    moving = rows if _setting(folder / "neb.in", "first_last_opt") == ".true." else rows[1:-1]
    return bool(max(row[2] for row in moving) < threshold)


def _setting(path: Path, name: str) -> str | None:
    text = path.read_text(errors="replace").lower() if path.exists() else ""
    found = re.search(rf"\b{name}\s*=\s*([^\s,]+)", text)
    return found[1] if found else None


def _functionals(folder: Path) -> set[str]:
    """What pw.x says it used for each image, as far as its outputs are there."""
    found = set()
    for path in sorted(folder.glob("out/neb_*/PW.out")):
        text = path.read_text(errors="replace")
        said = re.search(r"Exchange-correlation\s*=\s*([A-Z0-9+\-* ]+)", text)
        if said is not None:
            name = " ".join(said[1].split())
            has_u = re.search(r"(Simplified |Full )?LDA\+U calculation|DFT\+U", text) is not None
            found.add(_NAMES.get(name, name) + ("+U" if has_u else ""))
    return found
