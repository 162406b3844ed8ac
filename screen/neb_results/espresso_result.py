"""What ``neb.x`` leaves: ``neb.dat`` with the profile, ``neb.path`` and its output.

``neb.dat`` has a line for each image: reaction coordinate, energy above the first image in eV,
error in eV/Å. ``neb.path`` begins with the number of the iteration, the most that there may be, and
the image at which a run was cut short, 0 for none (INPUT_NEB and the source of 6.7).
"""

from __future__ import annotations

import re
from pathlib import Path

from pathways.types import PathwayError
from screen.neb_results.results import Barrier, Calculation, barrier_of, check_functional

PROFILE = "neb.dat"
_DONE = "neb: convergence achieved"
_PATH_THR_EV_A = 0.05
"""neb.x's own, where neb.in does not say."""
_NAMES = {"PBE": "PBE", "SLA PW PBX PBC": "PBE", "SLA PZ NOGX NOGC": "LDA", "PZ": "LDA"}


def read_espresso(calculation: Calculation) -> Barrier:
    """The barrier of a band that ``neb.x`` relaxed.

    Raises:
        PathwayError: ``not_run``, ``unfinished``, ``unreadable``, ``other_images``,
            ``mixed_functional``, or what ``barrier_of`` refuses.
    """
    folder = calculation.folder
    if not (folder / PROFILE).exists():
        if (folder / "neb.out").exists() or (folder / "out").exists():
            raise PathwayError("unfinished", f"no {PROFILE} yet; submit job.sh again")
        raise PathwayError("not_run", f"no {PROFILE}; submit job.sh")
    rows = _rows(folder / PROFILE)
    calculation.check_images(len(rows), f"images in {PROFILE}")
    _check_whole(folder / "neb.path", len(rows))
    check_functional(calculation, _functionals(folder), "outputs of pw.x")
    energies_ev = [row[1] for row in rows]
    return barrier_of(calculation, "qe", energies_ev, _converged(folder, rows))


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


def _check_whole(path: Path, n_images: int) -> None:
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
        raise PathwayError(
            "other_images",
            f"{n_images} images in {PROFILE}, {n_there} in neb.path; bring both back from one run",
        )
    if cut_at and int(words[1]) == 0:
        raise PathwayError("unfinished", f"cut short at image {cut_at}; submit job.sh again")


def _converged(folder: Path, rows: list[list[float]]) -> bool:
    """By what neb.x said last; where its output is not there, by errors against the threshold."""
    output = folder / "neb.out"
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
