"""``predict``: every hop of one crystal and its barrier, as ``screen run`` would have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import lru_cache, partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from jobs import pipeline
from jobs.inline import inline_device
from jobs.records import Candidate, Failure, MaterialResult, ScoredHop
from jobs.settings import RunSettings
from models import DEFAULT_MODEL
from models.predict import Prediction, Predictor
from pathways.band import build_band
from pathways.convert import crystal_from_structure
from pathways.types import Band, Crystal, PathwayError
from pathways.types import Hop as Move
from screen.api.material import Hop, Material, Percolation, ordered
from screen.api.refused import RefusedError
from screen.errors import UserError
from screen.options import RunOptions
from screen.ranking import rank_material
from screen.sources.base import Query

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core.structure import Structure

    Given: TypeAlias = Structure | Atoms | Crystal | str | PathLike[str]

_NAN = float("nan")
_UNKNOWN = Prediction(_NAN, _NAN, _NAN, _NAN, _NAN, _NAN)
_INFO = {"source": "python", "source_version": ""}


def predict(
    structure: Given,
    ion: str,
    *,
    model: str | Path = DEFAULT_MODEL,
    mechanism: Literal["vacancy", "dilute"] = "vacancy",
    sites: Literal["ranked"] | None = None,
    cutoff: float | None = None,
    max_hops: int = 40,
    max_sites: int = 200,
    num_gpus: float | None = None,
) -> Material:
    """Every hop of an ion in one crystal, its barrier, and the easiest way through.

    The numbers are those of ``screen run`` on the same crystal. A model is loaded once.

    Args:
        structure: a pymatgen ``Structure``, ASE ``Atoms``, or the path of a file that holds one
            structure (CIF, POSCAR, extxyz, JSON).
        ion: element symbol of what moves.
        model: name or folder.
        mechanism: by which a hop is predicted: all other sites of the ion filled, or all empty.
        sites: ``ranked`` finds sites by bond valence in a crystal that holds none of the ion,
            whose hops are then ``dilute``; None refuses it.
        cutoff: longest hop, Å; None takes the least that percolates in two dimensions.
        max_hops: most hops, shortest first.
        max_sites: most sites in the cell.
        num_gpus: 0 keeps off GPUs; None takes one where there is one.

    Raises:
        RefusedError: no barrier can be predicted for this crystal; stage, reason and detail say
            why.
        UserError: an argument can never work, such as an unknown element or model.
    """
    from screen.model_names import folder_of, model_id_of
    from screen.settings import run_settings

    options = RunOptions(
        engine="inline",
        model=str(model),
        mechanism=mechanism,
        cutoff=cutoff,
        max_hops=max_hops,
        max_sites=max_sites,
        num_gpus=num_gpus,
    )
    settings = run_settings(options)
    query = Query((), ion, max_sites, None, radioactive=True, keep_duplicates=True, sites=sites)
    candidate = _candidate(structure, query)
    folder = folder_of(str(model))
    model_id = model_id_of(str(model))
    found: list[MaterialResult] = []
    pipeline.run(
        [candidate],
        found.extend,
        settings,
        predictor_factory=partial(_predictor, folder, model_id, inline_device(settings)),
    )
    return _material(found[0], settings, model_id)


@lru_cache(maxsize=2)
def _predictor(folder: Path, model_id: str, device: str) -> Predictor:
    """A loaded model; by its id too, so that one that was trained anew is loaded anew."""
    return Predictor.load(folder, device)


def _candidate(structure: Given, query: Query) -> Candidate:
    """What a source would make of the crystal."""
    from screen.sources.selection import examine

    if isinstance(structure, str | PathLike):
        return _only(_of_file(fspath(structure), query), fspath(structure))
    crystal = _crystal(structure)
    name = _formula(crystal)
    examined = examine(name, crystal, _INFO, query)
    return _only(iter([examined.item] if examined else []), name)


def _of_file(path: str, query: Query) -> Iterator[Candidate | Failure]:
    from screen.sources.files import Files

    return Files([path]).candidates(query)


def _only(items: Iterator[Candidate | Failure], name: str) -> Candidate:
    """The one candidate among the items, or what keeps it out."""
    first, second = next(items, None), next(items, None)
    if second is not None:
        raise UserError(f"{name}: several structures found, expected one; use Campaign for many")
    if first is None:
        raise UserError(f"{name}: no structure found")
    if isinstance(first, Failure):
        raise _refused(first)
    return first


def _refused(failure: Failure) -> RefusedError:
    return RefusedError(failure.material_id, failure.stage, failure.reason, failure.detail)


def _crystal(structure: Any) -> Crystal:
    """The arrays of a structure of whichever library."""
    if isinstance(structure, Crystal):
        return structure
    try:
        if hasattr(structure, "get_scaled_positions"):
            return _crystal_of_atoms(structure)
        if hasattr(structure, "frac_coords") and hasattr(structure, "lattice"):
            return crystal_from_structure(structure)
    except PathwayError as error:
        raise RefusedError("structure", "source", error.reason, error.detail) from None
    raise UserError(
        f"{type(structure).__name__} found, expected a pymatgen Structure, ASE Atoms or a path"
    )


def _crystal_of_atoms(atoms: Any) -> Crystal:
    """The arrays of ASE's ``Atoms``.

    Raises:
        PathwayError: ``not_periodic``, or ``partial_occupancy`` as ASE's reader of CIF notes it.
    """
    if not all(atoms.pbc) or abs(atoms.cell.volume) < 1e-6:
        raise PathwayError("not_periodic", f"pbc is {atoms.pbc}, expected a crystal: all three")
    shared = [one for one in atoms.info.get("occupancy", {}).values() if list(one.values()) != [1]]
    if shared:
        raise PathwayError(
            "partial_occupancy",
            f"{len(shared)} sites are shared or partly empty; order the structure first",
        )
    return Crystal(
        lattice=np.array(atoms.cell.array, dtype=np.float64),
        numbers=np.array(atoms.numbers, dtype=np.int64),
        frac=np.array(atoms.get_scaled_positions(wrap=False), dtype=np.float64),
    )


def _formula(crystal: Crystal) -> str:
    from pathways.elements import SYMBOLS
    from screen.sources.selection import reduced_formula

    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    return reduced_formula({SYMBOLS[z]: int(n) for z, n in zip(numbers, counts, strict=True)})


def _material(result: MaterialResult, settings: RunSettings, model_id: str) -> Material:
    """The result as a notebook has it.

    Raises:
        RefusedError: there is no barrier in it.
    """
    network, candidate = result.network, result.candidate
    if network is None or candidate is None or not result.hops:
        raise _refused(result.failures[0])
    scored = {one.hop_id: one for one in result.hops}
    hops = []
    for move in network.hops:
        hop_id = move.id_in(result.material_id)
        make_band = partial(build_band, network.crystal, move, settings.band)
        hops.append(_hop(hop_id, move, scored.get(hop_id), make_band))
    return Material(
        material_id=result.material_id,
        formula=candidate.info.get("formula"),
        space_group=network.space_group,
        ion=result.ion,
        mechanism=network.hops[0].mechanism,
        model_id=model_id,
        percolation=Percolation.of_ranking(rank_material(result)),
        hops=ordered(hops),
        make_crystal=partial(getattr, network, "crystal"),
        failures=result.failures,
    )


def _hop(hop_id: str, move: Move, scored: ScoredHop | None, make_band: Callable[[], Band]) -> Hop:
    answer = scored.prediction if scored else _UNKNOWN
    evidence = scored.bond_valence if scored else None
    return Hop(
        hop_id=hop_id,
        ion=move.ion,
        mechanism=move.mechanism,
        length_a=move.length_a,
        multiplicity=move.multiplicity,
        start_frac=tuple(move.start_frac.tolist()),
        end_frac=tuple(move.end_frac.tolist()),
        flags=(*move.flags, *(evidence.flags if evidence else ())),
        bond_valence_ev=evidence.barrier_ev if evidence else _NAN,
        make_band=make_band,
        **asdict(answer),
    )
