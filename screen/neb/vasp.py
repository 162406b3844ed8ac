"""VASP: two relaxations of the ends and a nudged elastic band, without POTCAR.

What pymatgen's input sets decide is taken from their objects; the files are written here, because
the sets' own writer stops half-way where there is no library of POTCARs.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pathways.types import PathwayError
from screen.neb import follow_ends
from screen.neb.images import NebImages
from screen.neb.job import vasp_job, write_job

if TYPE_CHECKING:
    from pymatgen.io.vasp.inputs import Kpoints

_ALIKE: dict[str, Any] = {
    "EDIFF": 1e-5,
    "ISIF": 2,
    "ISMEAR": 0,  # tetrahedra need more k-points than cells of this size have
    "SIGMA": 0.05,
    "ISYM": 0,
    "LCHARG": False,
    "LWAVE": False,
    "LORBIT": 11,
    "NELM": 200,
    "NSW": 200,
}
"""The same for the ends and the band, or their energies could not be compared."""
_ENDS = {"IBRION": 2, "EDIFFG": -0.02}
_BAND: dict[str, dict[str, Any]] = {
    "vasp": {"EDIFFG": -0.05, "IBRION": 1, "POTIM": 0.1},
    "vtst": {
        "EDIFFG": -0.05,
        "IBRION": 3,
        "ICHAIN": 0,
        "IOPT": 1,
        "LCLIMB": True,
        "POTIM": 0,
    },
}
_UNWANTED = ("KSPACING", "LAECHG", "LELF", "LVTOT", "EDIFF_PER_ATOM")
_VTST_ONLY = ("LCLIMB", "ICHAIN", "IOPT")
_KSPACING = 0.22
"""1/Å; the Materials Project's for gaps it does not know, with R2SCAN and SCAN."""
_HUBBARD = ("LDAU", "LDAUU", "LDAUJ", "LDAUL", "LDAUTYPE", "LDAUPRINT")


@dataclass(frozen=True)
class VaspInputs:
    """What VASP is told of a hop."""

    end_incar: Mapping[str, Any]
    """Of the two relaxations."""
    band_incar: Mapping[str, Any]
    kpoints: Kpoints
    """Of all three."""
    symbols: list[str]
    """Of POTCARs, in the atoms' order."""
    meta: Mapping[str, Any]
    """The same in words, for ``meta.json``."""


def write_vasp(images: NebImages, folder: Path) -> Mapping[str, Any]:
    """Write ``endpoints/{start,end}``, ``neb/00`` and so on, ``job.sh`` and ``follow_ends.py``."""
    inputs = vasp_inputs(images)
    for name, index in (("start", 0), ("end", -1)):
        place = folder / "endpoints" / name
        _write_common(place, inputs.end_incar, inputs)
        _write_poscar(images, index, place)
    _write_common(folder / "neb", inputs.band_incar, inputs)
    for index in range(len(images.frac)):
        place = folder / "neb" / f"{index:02d}"
        place.mkdir()
        _write_poscar(images, index, place)
        # VASP 6 with HDF5 looks for it beside each image.
        (place / "KPOINTS").write_text(f"{inputs.kpoints}\n")
    (folder / "follow_ends.py").write_text(Path(follow_ends.__file__).read_text())
    write_job(folder, vasp_job(len(images.frac), inputs.meta["potcar_functional"]))
    return inputs.meta


def vasp_inputs(images: NebImages) -> VaspInputs:
    """The inputs of a hop, the same for its ends and its band but for how they are relaxed.

    Raises:
        PathwayError: ``unknown_potcar`` where a charged cell's electrons cannot be counted.
    """
    settings = images.settings
    ends, band = _sets(images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        end_incar, band_incar = dict(ends.incar), dict(band.incar)
        kpoints, symbols = ends.kpoints or _kpoints(images), list(ends.potcar_symbols)
    if settings.profile == "vasp":
        band_incar = {key: band_incar[key] for key in band_incar if key not in _VTST_ONLY}
    n_electrons = _electrons(images, symbols, ends.potcar_functional)
    hubbard = _hubbard(images, end_incar)
    for incar in (end_incar, band_incar):
        for key in _UNWANTED if hubbard else (*_UNWANTED, *_HUBBARD):
            incar.pop(key, None)
        if settings.charge == "background" and n_electrons is not None:
            incar["NELECT"] = n_electrons - images.charge
    meta = {
        "profile": settings.profile,
        # The Materials Project has no U outside oxides and fluorides.
        "functional": settings.functional if hubbard else settings.functional.removesuffix("+U"),
        "hubbard_u_ev": hubbard,
        "charge": settings.charge,
        "cell_charge_e": images.charge,
        "n_electrons_neutral": n_electrons,
        "spin": "polarised, ferromagnetic start",
        "magmom_mub": dict(zip(images.symbols, end_incar["MAGMOM"], strict=True)),
        "encut_ev": end_incar["ENCUT"],
        "kpoints": [int(count) for count in kpoints.kpts[0]],
        "potcar_functional": ends.potcar_functional,
        "potcar_symbols": symbols,
    }
    return VaspInputs(end_incar, band_incar, kpoints, symbols, meta)


def _sets(images: NebImages) -> tuple[Any, Any]:
    """pymatgen's input sets of the ends and of the band."""
    from pymatgen.io.vasp import sets

    settings = images.settings
    meta_gga = "SCAN" in settings.functional
    parent = "MPScanRelaxSet" if meta_gga else "MPRelaxSet"
    parent_set = getattr(sets, parent)
    changes: dict[str, Any] = {
        **_ALIKE,
        "ALGO": "All" if meta_gga else "Normal",
        "LDAU": settings.functional == "PBE+U",
        "MAGMOM": {**parent_set.CONFIG["INCAR"]["MAGMOM"], **settings.magmom},
        **({"METAGGA": settings.functional} if meta_gga else {"GGA": "PE"}),
    }
    # The sets change the structures that they are given.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their own defaults, all set here
        ends = parent_set(
            images.structures[0].copy(),
            sort_structure=False,
            force_gamma=True,
            user_incar_settings={**changes, **_ENDS},
        )
        band = sets.CINEBSet(
            [structure.copy() for structure in images.structures],
            parent_set=parent,
            force_gamma=True,
            user_incar_settings={**changes, **_BAND[settings.profile]},
        )
    return ends, band


def _hubbard(images: NebImages, incar: Mapping[str, Any]) -> dict[str, float]:
    """U in eV of each element that has one."""
    values = zip(images.elements, incar.get("LDAUU", ()), strict=False)
    return {element: float(u) for element, u in values if u}


def _kpoints(images: NebImages) -> Kpoints:
    """What ``KSPACING`` stands for, as a file: Γ-centred, the divisions rounded up."""
    from pymatgen.io.vasp.inputs import Kpoints

    reciprocal = 2 * math.pi * np.linalg.norm(np.linalg.inv(images.lattice), axis=0)
    counts = np.maximum(1, np.ceil(reciprocal / _KSPACING - 1e-9)).astype(int)
    return Kpoints.gamma_automatic(tuple(counts.tolist()))


def _electrons(images: NebImages, symbols: list[str], functional: str) -> float | None:
    """Valence electrons of the neutral cell, None where a POTCAR is not known."""
    valences = _valences(functional)
    counts = [images.symbols.count(element) for element in images.elements]
    unknown = [symbol for symbol in symbols if symbol not in valences]
    if not unknown:
        pairs = zip(symbols, counts, strict=True)
        return float(sum(valences[symbol] * count for symbol, count in pairs))
    if images.settings.charge == "background":
        raise PathwayError(
            "unknown_potcar",
            f"no valence is known of {', '.join(unknown)} ({functional}); use --charge neutral",
        )
    return None


@lru_cache(maxsize=4)
def _valences(functional: str) -> dict[str, float]:
    """Valence electrons of each POTCAR, from the summaries of them that pymatgen ships."""
    import bz2

    import pymatgen.io.vasp

    path = Path(pymatgen.io.vasp.__file__).with_name("potcar-summary-stats.json.bz2")
    with bz2.open(path) as file:
        known = json.load(file).get(functional, {})
    return {entry["symbol"]: entry["ZVAL"] for entries in known.values() for entry in entries}


def _write_common(place: Path, incar: Mapping[str, Any], inputs: VaspInputs) -> None:
    from pymatgen.io.vasp.inputs import Incar

    place.mkdir(parents=True)
    (place / "INCAR").write_text(f"{Incar(incar)}\n")
    (place / "KPOINTS").write_text(f"{inputs.kpoints}\n")
    (place / "POTCAR.spec").write_text("\n".join(inputs.symbols) + "\n")


def _write_poscar(images: NebImages, index: int, place: Path) -> None:
    from pymatgen.io.vasp.inputs import Poscar

    poscar = Poscar(images.structures[index], comment=images.title)
    (place / "POSCAR").write_text(poscar.get_str(significant_figures=14))
