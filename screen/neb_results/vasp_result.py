"""What VASP leaves: an OUTCAR for each image, or a vasprun.xml, read by pymatgen."""

from __future__ import annotations

import gzip
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathways.types import PathwayError
from screen.neb_results.profiles import path_of_structures
from screen.neb_results.results import Barrier, Calculation, barrier_of, check_functional

_OUTPUTS = ("OUTCAR", "OUTCAR.gz", "vasprun.xml", "vasprun.xml.gz")
_ENDS = (("start", "initial"), ("end", "final"))
_GGA = {"PE": "PBE", "PS": "PBEsol", "RP": "RPBE", "RE": "revPBE", "91": "PW91", "CA": "LDA"}
_LEXCH = {"8": "PBE", "9": "PBE", "14": "PBEsol", "2": "LDA", "7": "PW91"}
"""VASP's own numbers, where GGA is left to the POTCAR."""
_META_GGA = {"R2SCA": "R2SCAN", "RTPSS": "revTPSS"}
_LACKING = {"", "--", "F", "NONE"}


@dataclass(frozen=True)
class _Image:
    energy_ev: float
    """Without entropy, at σ -> 0."""
    converged: bool
    functional: str | None
    n_atoms: int | None


def image_folders(folder: Path) -> list[Path]:
    """The numbered folders of a band, in ``neb`` or in the folder itself."""
    place = folder / "neb" if (folder / "neb").is_dir() else folder
    found = [path for path in place.iterdir() if path.name.isdecimal() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name))


def has_output(folder: Path) -> bool:
    """Whether VASP has written in a folder."""
    return _output(folder) is not None


def read_vasp(calculation: Calculation) -> Barrier:
    """The barrier of a band that VASP relaxed.

    Without a climbing image the saddle is the top of a cubic spline through the images, as
    pymatgen's ``NEBAnalysis`` has it; with one it is the highest image.

    Raises:
        PathwayError: ``not_run``, ``missing_output``, ``unfinished``, ``unreadable``,
            ``other_images``, ``other_atoms``, ``mixed_functional``, or what ``barrier_of`` refuses.
    """
    places = image_folders(calculation.folder)
    if not any(has_output(place) for place in places):
        raise PathwayError("not_run", "no OUTCAR in any image; submit job.sh")
    calculation.check_images(len(places), "image folders")
    outputs = [_find(calculation.folder, places, index) for index in range(len(places))]
    images = [_read(path, calculation.folder) for path in outputs]
    counts = {image.n_atoms for image in images if image.n_atoms is not None}
    expected = {calculation.n_atoms} if calculation.n_atoms else counts
    if len(counts | expected) > 1:
        raise PathwayError(
            "other_atoms",
            f"images of {', '.join(map(str, sorted(counts)))} atoms, expected "
            f"{', '.join(map(str, expected))} in each; these are outputs of another band",
        )
    found = {image.functional for image in images if image.functional is not None}
    check_functional(calculation, found, "OUTCARs")
    energies_ev = [image.energy_ev for image in images]
    converged = all(image.converged for image in images)
    path_a = _path_a(places)
    saddle_ev = None if _climbs(places[0].parent) else _spline_top(path_a, energies_ev)
    return barrier_of(calculation, "vasp", energies_ev, converged, saddle_ev, path_a=path_a)


def _find(folder: Path, places: Sequence[Path], index: int) -> Path:
    """The output of an image; of an end, also where its relaxation ran."""
    tried = [places[index]]
    if index in (0, len(places) - 1):
        names = _ENDS[index > 0]
        tried += [folder / "endpoints" / name for name in names]
        tried += [places[0].parent / name for name in names]
    for place in tried:
        path = _output(place)
        if path is not None:
            return path
    shown = " or ".join(str(place.relative_to(folder)) for place in tried[:2])
    raise PathwayError("missing_output", f"no OUTCAR in {shown}; bring it back, or submit job.sh")


def _output(place: Path) -> Path | None:
    found = (place / name for name in _OUTPUTS)
    return next((path for path in found if path.is_file() and path.stat().st_size), None)


def _read(path: Path, folder: Path) -> _Image:
    shown = path.relative_to(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _of_vasprun(path) if path.name.startswith("vasprun") else _of_outcar(path)
    except PathwayError as error:
        raise PathwayError(error.reason, f"{shown}: {error.detail}") from None
    except Exception as error:  # pymatgen raises whatever a cut line makes of its parsers
        raise PathwayError(
            "unreadable",
            f"{shown} cannot be read ({type(error).__name__}: {error}); bring it back whole",
        ) from None


def _of_outcar(path: Path) -> _Image:
    from pymatgen.io.vasp.outputs import Outcar

    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(errors="replace") as file:
        text = file.read()
    if "General timing and accounting" not in text[-20_000:]:
        raise PathwayError("unfinished", "VASP did not come to its end; submit job.sh again")
    outcar = Outcar(path)
    outcar.read_neb()
    n_atoms = re.search(r"NIONS\s*=\s*(\d+)", text)
    loops = re.findall(r"aborting loop.*", text)
    steps = re.search(r"NSW\s*=\s*(\d+)", text)
    still = steps is not None and int(steps[1]) == 0  # a single point is as relaxed as it gets
    relaxed = still or "reached required accuracy" in text
    return _Image(
        energy_ev=float(outcar.data["energy"]),
        converged=relaxed and not (loops and "not reached" in loops[-1]),
        functional=_functional(text),
        n_atoms=int(n_atoms[1]) if n_atoms else None,
    )


def _of_vasprun(path: Path) -> _Image:
    from pymatgen.io.vasp.outputs import Vasprun

    run = Vasprun(
        path, parse_dos=False, parse_eigen=False, parse_potcar_file=False, exception_on_bad_xml=True
    )
    said: dict[str, Any] = {**run.parameters, **run.incar}
    parts = [f"{key} = {said[key]}" for key in ("GGA", "METAGGA", "LEXCH") if key in said]
    has_u = "LDA+U is selected" if said.get("LDAU") else ""
    hybrid = "LHFCALC = T" if said.get("LHFCALC") else ""
    return _Image(
        energy_ev=float(run.ionic_steps[-1]["e_0_energy"]),
        converged=bool(run.converged),
        functional=_functional("\n".join([*parts, has_u, hybrid])),
        n_atoms=len(run.atomic_symbols),
    )


def _functional(text: str) -> str | None:
    """The functional that the settings at the head of an output name; None: they do not."""

    def value(name: str) -> str:
        found = re.search(rf"(?<![A-Z]){name}\s*=[ \t]*(\S*)", text)
        return found[1].upper() if found else ""

    meta, gga = value("METAGGA"), value("GGA")
    if meta not in _LACKING:
        name: str | None = _META_GGA.get(meta, meta)
    elif gga not in _LACKING:
        name = _GGA.get(gga, gga)
    else:
        name = _LEXCH.get(value("LEXCH"))
    if name is None:
        return None
    hybrid = "hybrid of " if value("LHFCALC").startswith("T") else ""
    return f"{hybrid}{name}" + ("+U" if "LDA+U is selected" in text else "")


def _climbs(place: Path) -> bool:
    path = place / "INCAR"
    text = path.read_text(errors="replace") if path.exists() else ""
    return re.search(r"^\s*LCLIMB\s*=\s*\.?T", text, re.MULTILINE | re.IGNORECASE) is not None


def _path_a(places: Sequence[Path]) -> tuple[float, ...] | None:
    """Length along the path, Å; None where the images' atoms are not there to be read."""
    from pymatgen.core.structure import Structure

    try:
        return path_of_structures(
            [Structure.from_file(_places(place), sort=False) for place in places]
        )
    except (OSError, ValueError, IndexError):
        return None


def _spline_top(path_a: Sequence[float] | None, energies_ev: Sequence[float]) -> float | None:
    """Highest energy on the spline, eV; None without a path."""
    if path_a is None:
        return None
    from pymatgen.analysis.transition_state import NEBAnalysis

    along_a = np.array(path_a)
    try:
        analysis = NEBAnalysis(along_a, energies_ev, np.zeros(len(along_a)), [])
    except ValueError:  # two images at one place
        return None
    curve = analysis.spline(np.linspace(0.0, along_a[-1], 2001))
    return float(energies_ev[0] + curve.max())


def _places(place: Path) -> Path:
    path = place / "CONTCAR"
    return path if path.is_file() and path.stat().st_size else place / "POSCAR"
