"""Hosts that hold none of the ion: where its sites come from.

From a table of sites, from crystals of the same framework that hold it (``pathways.framework``),
from the voids of least energy by CHGNet, or, in the workers, from the voids ranked by bond valence
(``pathways.voids``).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pathways.convert import crystal_from_structure, structure_from_crystal
from pathways.elements import atomic_number
from pathways.framework import fill_like
from pathways.supercell import find_supercell
from pathways.types import Crystal, FloatArray, IntArray, PathwayError
from pathways.voids import find_sites
from screen.errors import FAILED, UserError
from screen.sources.base import BY_ELECTRODE, BY_ENERGY, RANKED, Query

if TYPE_CHECKING:
    from screen.chgnet import Chgnet

_LOOKED_AT = 8
"""Kinds of voids, best ones by bond valence, whose energies are compared."""
_WIDTH_A = 6.0
_MOST_ATOMS = 150
_COLUMNS = ("material_id", "x", "y", "z")


@dataclass(frozen=True, eq=False)
class _Sites:
    """What a file says of sites: a place in each host, or crystals to take them from."""

    places: Mapping[str, FloatArray]
    """(m, 3) fractional places by material."""
    filled: tuple[tuple[str, Crystal], ...] = ()
    """Name and crystal."""


def open_sites(sites: str, ion: str) -> str:
    """Check what is asked for, before a run begins.

    Returns:
        What changes with the file's content; empty for sites that are ranked.

    Raises:
        UserError: it is neither ``ranked`` nor a file that says where the ion sits.
    """
    if sites in (RANKED, BY_ELECTRODE):
        return ""
    if sites == BY_ENERGY:
        return _check_chgnet()
    try:
        digest = hashlib.sha256(Path(sites).read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise UserError(
            f"--sites {sites}: {error.strerror or error}; expected 'ranked', 'chgnet', "
            f"'electrodes', a CSV of {','.join(_COLUMNS)}, or a file of crystals that hold the ion"
        ) from None
    _read(sites, ion, digest)
    return digest


def _check_chgnet() -> str:
    from screen.chgnet import VERSION, NotInstalled, load

    try:
        load("cpu")
    except NotInstalled as error:
        raise UserError(f"--sites {BY_ENERGY}: {error}", FAILED) from None
    return VERSION


def fill(
    material_id: str, host: Crystal, query: Query, discharged: Sequence[tuple[str, Crystal]] = ()
) -> tuple[Crystal, str]:
    """A host with the ion on the sites that are asked for, and where these come from.

    Args:
        material_id: The host's.
        host: Without the ion.
        query: Says which sites.
        discharged: Name and crystal of what the source knows to be the host with the ion in it.

    Raises:
        PathwayError: ``no_sites`` where the file or the source says nothing of the host, what
            ``fill_like`` last said of its crystals, or what ``find_sites`` says.
    """
    if query.sites == BY_ELECTRODE:
        nothing = f"the source has no discharged crystal of {material_id} that can be read"
        return _like_one_of(discharged, host, query.ion, nothing)
    if query.sites == BY_ENERGY:
        return _by_energy(host, query), f"voids by CHGNet {query.sites_digest}"
    known = _read(str(query.sites), query.ion, query.sites_digest)
    name = Path(str(query.sites)).name
    if material_id in known.places:
        places = known.places[material_id]
        number = atomic_number(query.ion)
        both = Crystal(
            lattice=host.lattice,
            numbers=np.concatenate([host.numbers, np.full(len(places), number)]),
            frac=np.concatenate([host.frac, places]),
        )
        return both, name
    filled, other = _like_one_of(
        known.filled, host, query.ion, f"{name} names no sites of {material_id}"
    )
    return filled, f"{name}:{other}"


def _like_one_of(
    crystals: Sequence[tuple[str, Crystal]], host: Crystal, ion: str, nothing: str
) -> tuple[Crystal, str]:
    """The host filled like the first crystal that fits it, and that crystal's name."""
    reason = PathwayError("no_sites", nothing)
    for name, crystal in crystals:
        try:
            return fill_like(host, crystal, ion), name
        except PathwayError as error:
            reason = error
    raise reason


def _by_energy(host: Crystal, query: Query) -> Crystal:
    """The host with the ion on the voids where one ion alone has the least energy.

    Each of the first voids by bond valence holds the ion in a supercell of the host, nothing
    relaxed.
    """
    voids = find_sites(host, query.ion, _LOOKED_AT)
    cells = max(1, _MOST_ATOMS // len(voids.host))
    try:
        matrix = find_supercell(voids.host.lattice, _WIDTH_A, cells)
    except PathwayError:  # the widest that is affordable has to do
        matrix = np.eye(3, dtype=np.int64)
    single = [_with_one(voids.host, matrix, site.frac, query.ion) for site in voids.sites]
    energies_ev = np.nan_to_num(_potential().energies_ev(single), nan=np.inf)
    best = tuple(voids.sites[i] for i in np.argsort(energies_ev, kind="stable"))
    return replace(voids, sites=best).filled(query.top_sites)


def _with_one(host: Crystal, matrix: IntArray, frac: FloatArray, ion: str) -> Crystal:
    """A supercell of the host with one ion in it."""
    structure = structure_from_crystal(host).make_supercell(matrix.tolist(), in_place=False)
    structure.append(ion, frac @ np.linalg.inv(matrix))
    return crystal_from_structure(structure)


@lru_cache(maxsize=1)
def _potential() -> Chgnet:
    from screen.chgnet import Chgnet

    return Chgnet()


@lru_cache(maxsize=4)
def _read(path: str, ion: str, digest: str) -> _Sites:
    """Kept as long as the digest is the same."""
    if Path(path).suffix.lower() == ".csv":
        return _Sites(_read_table(Path(path)))
    from jobs.records import Candidate
    from screen.sources.files import Files

    query = Query(patterns=(), ion=ion, max_ehull_ev=None, keep_duplicates=True)
    found = tuple(
        (one.material_id, one.crystal)
        for one in Files([path]).candidates(query)
        if isinstance(one, Candidate)
    )
    if not found:
        raise UserError(f"--sites {path}: no crystal with {ion} in it; expected at least one")
    return _Sites({}, found)


def _read_table(path: Path) -> dict[str, FloatArray]:
    places: dict[str, list[list[float]]] = {}
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise UserError(f"--sites {path}: no column {missing[0]}; expected {_COLUMNS}")
        for number, row in enumerate(rows, start=2):
            try:
                place = [float(row[axis]) for axis in "xyz"]
            except (TypeError, ValueError):
                place = []
            if not (place and np.isfinite(place).all()):
                raise UserError(f"--sites {path}: line {number} holds no three numbers x, y, z")
            places.setdefault(row["material_id"], []).append(place)
    return {material_id: np.array(rows) for material_id, rows in places.items()}
