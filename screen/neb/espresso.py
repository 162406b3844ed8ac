"""Quantum ESPRESSO: ``neb.in`` for ``neb.x`` and the two ends for ``pw.x``.

The words are those of INPUT_NEB and INPUT_PW; ``neb.x`` takes the images as they stand and counts
the two ends among them. It relaxes the ends on its own (``first_last_opt``), so that ``neb.in`` is
right with or without the runs of ``pw.x``, which tell at less cost whether the ends hold.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pathways.types import PathwayError
from screen.errors import UserError
from screen.neb.images import NebImages
from screen.neb.job import espresso_job, write_job
from screen.neb.settings import NebSettings

_LEAST_MOMENT_MUB = 1.0
"""Elements with less, by the Materials Project's table, start without a moment."""
_START = 0.5
"""Share of the valence electrons that are polarised at the start."""
_K_SPACING = 0.35
"""1/Å, at most, between k-points."""
_DEGAUSS_RY = 0.01

Block = Mapping[str, Any]


def write_espresso(images: NebImages, folder: Path) -> Mapping[str, Any]:
    """Write ``neb.in``, ``start.in``, ``end.in`` and ``job.sh``."""
    engine = _Engine(images)
    (folder / "neb.in").write_text(neb_input(engine))
    for name, index in (("start", 0), ("end", -1)):
        (folder / f"{name}.in").write_text(pw_input(engine, name, index))
    write_job(folder, espresso_job())
    return engine.meta


def check_espresso(settings: NebSettings) -> None:
    """Refuse what is not written for this code.

    Raises:
        UserError: a functional that means something else here than in VASP.
    """
    if settings.functional in ("PBE", "SCAN"):
        return
    why = ": a U goes with its projectors, and the values known here are VASP's"
    raise UserError(
        f"--functional {settings.functional} with --code qe, expected PBE or SCAN"
        + (why if settings.functional == "PBE+U" else "")
    )


def neb_input(engine: _Engine) -> str:
    """The text of ``neb.in``."""
    images = engine.images
    path = {
        "string_method": "neb",
        "restart_mode": "from_scratch",
        "nstep_path": 200,
        "num_of_images": len(images.frac),
        "opt_scheme": "broyden",
        "CI_scheme": "auto",
        "first_last_opt": True,
        "ds": 1.0,
        "k_max": 0.3,
        "k_min": 0.2,
        "path_thr": 0.05,
    }
    last = len(images.frac) - 1
    heads = {0: "FIRST_IMAGE", last: "LAST_IMAGE"}
    places = [
        f"{heads.get(index, 'INTERMEDIATE_IMAGE')}\n{engine.positions(index)}"
        for index in range(last + 1)
    ]
    control = {"prefix": "neb", "outdir": "./out", "pseudo_dir": engine.pseudo_dir}
    return "\n".join(
        [
            f"BEGIN\nBEGIN_PATH_INPUT\n{_namelist('PATH', path)}\nEND_PATH_INPUT",
            f"BEGIN_ENGINE_INPUT\n{engine.namelists(control)}\n{engine.cards}",
            "BEGIN_POSITIONS",
            *places,
            "END_POSITIONS\nEND_ENGINE_INPUT\nEND\n",
        ]
    )


def pw_input(engine: _Engine, name: str, index: int) -> str:
    """The text of an end's relaxation at a fixed cell."""
    control = {
        "calculation": "relax",
        "prefix": name,
        "outdir": f"./out_{name}",
        "pseudo_dir": engine.pseudo_dir,
        "etot_conv_thr": 1e-5,
        "forc_conv_thr": 8e-4,
        "nstep": 200,
    }
    ions = _namelist("IONS", {"ion_dynamics": "bfgs"})
    head = engine.namelists(control)
    return "\n".join([f"{head}\n{ions}\n{engine.cards}", engine.positions(index), ""])


class _Engine:
    """What ``pw.x`` is told of all images alike."""

    def __init__(self, images: NebImages) -> None:
        self.images = images
        settings = images.settings
        folder = settings.pseudo_dir
        self.pseudo_dir = "PSEUDO_DIR" if folder is None else str(folder.absolute())
        files = {element: _pseudo(element, folder) for element in images.elements}
        moments = _moments(images)
        system: dict[str, Any] = {
            "ibrav": 0,
            "nat": len(images.numbers),
            "ntyp": len(images.elements),
            "tot_charge": float(images.charge),
            "ecutwfc": settings.ecutwfc_ry,
            "ecutrho": settings.ecutrho_ry,
            "occupations": "smearing",
            "smearing": "gaussian",
            "degauss": _DEGAUSS_RY,
            "nosym": True,
        }
        if settings.functional == "SCAN":
            system["input_dft"] = "SCAN"
        if moments:
            system["nspin"] = 2
            for kind, element in enumerate(images.elements, start=1):
                if element in moments:
                    start = _START if moments[element] > 0 else -_START
                    system[f"starting_magnetization({kind})"] = start
        self._system = system
        divisions = _divisions(images)
        self.cards = _cards(images, files, divisions)
        self.meta: dict[str, Any] = {
            "functional": settings.functional,
            "hubbard_u_ev": {},
            "charge": settings.charge,
            "cell_charge_e": images.charge,
            "spin": "polarised, ferromagnetic start" if moments else "not polarised",
            "starting_magnetization": {
                element: _START if moment > 0 else -_START for element, moment in moments.items()
            },
            "ecutwfc_ry": settings.ecutwfc_ry,
            "ecutrho_ry": settings.ecutrho_ry,
            "kpoints": divisions,
            "pseudo_dir": self.pseudo_dir,
            "pseudopotentials": files,
            "climbing": True,
        }

    def namelists(self, control: Block) -> str:
        electrons = {"conv_thr": 1e-8, "mixing_beta": 0.3, "electron_maxstep": 200}
        blocks = {"CONTROL": control, "SYSTEM": self._system, "ELECTRONS": electrons}
        return "\n".join(_namelist(name, entries) for name, entries in blocks.items())

    def positions(self, index: int) -> str:
        """The card of one image, Å, unwrapped: ``neb.x`` takes a jump for a long way."""
        places_a = self.images.frac[index] @ self.images.lattice
        rows = [
            f"{symbol:2} " + " ".join(f"{x:18.12f}" for x in place_a)
            for symbol, place_a in zip(self.images.symbols, places_a, strict=True)
        ]
        return "\n".join(["ATOMIC_POSITIONS angstrom", *rows])


def _namelist(name: str, entries: Block) -> str:
    lines = [f"  {key} = {_fortran(value)}" for key, value in entries.items()]
    return "\n".join([f"&{name}", *lines, "/"])


def _fortran(value: Any) -> str:
    match value:
        case bool():
            return ".true." if value else ".false."
        case float():
            return f"{value:.10g}".replace("e", "d")
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return str(value)


def _cards(images: NebImages, files: Mapping[str, str], divisions: list[int]) -> str:
    from pymatgen.core.periodic_table import Element

    species = [
        f"{element:2} {float(Element(element).atomic_mass):9.4f} {files[element]}"
        for element in images.elements
    ]
    cell = [" ".join(f"{x:18.12f}" for x in vector) for vector in images.lattice]
    return "\n".join(
        [
            "ATOMIC_SPECIES",
            *species,
            "K_POINTS automatic",
            f"{' '.join(map(str, divisions))} 0 0 0",
            "CELL_PARAMETERS angstrom",
            *cell,
        ]
    )


def _pseudo(element: str, folder: Path | None) -> str:
    """The one pseudopotential of an element in a folder, or a name to be replaced.

    Raises:
        PathwayError: ``no_pseudopotential`` where there is none, or more than one.
    """
    if folder is None:
        return f"{element}.UPF"
    found = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() == ".upf"
        and path.stem.replace("_", ".").replace("-", ".").split(".")[0].lower() == element.lower()
    )
    if len(found) != 1:
        said = ", ".join(found) if found else "none"
        raise PathwayError(
            "no_pseudopotential",
            f"{said} of {element} in {folder}, expected one, named {element}.….UPF",
        )
    return found[0]


def _moments(images: NebImages) -> dict[str, float]:
    """Moments, μB, of the elements that start with one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymatgen.io.vasp.sets import MPRelaxSet

    known = {**MPRelaxSet.CONFIG["INCAR"]["MAGMOM"], **images.settings.magmom}
    moments = {element: float(known.get(element, 0.0)) for element in images.elements}
    return {element: m for element, m in moments.items() if abs(m) >= _LEAST_MOMENT_MUB}


def _divisions(images: NebImages) -> list[int]:
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(images.lattice), axis=0)
    counts = np.maximum(1, np.ceil(reciprocal / _K_SPACING - 1e-9)).astype(int)
    return [int(count) for count in counts]
