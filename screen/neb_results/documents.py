"""NEB documents of atomate2 and emmet: JSON with ``energies``, and barriers where they are known.

Such a document names its hop itself (``hop_id``, ``metadata.hop_id`` as our flows have it, or a
tag ``hop_id=...``), or stands in the folder of a written band.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pathways.types import PathwayError
from screen.neb_results.profiles import path_of_structures
from screen.neb_results.results import (
    Barrier,
    Calculation,
    Refusal,
    barrier_of,
    functional_of,
    hubbard_text,
)

_OF_VASP = ("orig_inputs", "calculations", "directories")
"""That only the documents of VASP runs have."""
_NOT_THESE = {"flow.json", "meta.json", "hop.json", "neb_result.json"}


def documents_of(path: Path) -> list[dict[str, Any]]:
    """The NEB documents of a JSON file, none where it holds something else."""
    if path.name in _NOT_THESE:
        return []
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    entries = content if isinstance(content, list) else [content]
    return [entry for entry in entries if isinstance(entry, dict) and _is_neb(_result(entry))]


def read_documents(path: Path, calculation: Calculation | None) -> Iterator[Barrier | Refusal]:
    """Each document of a file as a barrier, or why it is none."""
    for number, document in enumerate(documents_of(path), start=1):
        place = str(path) if calculation is None else str(calculation.folder / path.name)
        try:
            yield _barrier(document, path, calculation)
        except PathwayError as error:
            yield Refusal(f"{place}, document {number}", error.reason, error.detail)


def _result(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document itself, or what a job's record wraps."""
    wrapped = entry.get("output")
    return wrapped if isinstance(wrapped, dict) else entry


def _is_neb(result: Mapping[str, Any]) -> bool:
    return isinstance(result.get("energies"), list) and any(
        key in result for key in ("images", "state", "forward_barrier", "barrier_analysis")
    )


def _barrier(entry: Mapping[str, Any], path: Path, near: Calculation | None) -> Barrier:
    result = _result(entry)
    calculation = _calculation(entry, result, path, near)
    try:
        energies_ev = [float(energy) for energy in result["energies"]]
    except (TypeError, ValueError):
        raise PathwayError("no_energies", "energies are no numbers; write it again") from None
    calculation.check_images(len(energies_ev), "energies")
    state = result.get("state")
    converged = None if state is None else str(state) == "successful"
    failed = [str(reason) for reason in result.get("failure_reasons") or ()]
    method = "vasp" if any(result.get(key) for key in _OF_VASP) else "emmet"
    found = barrier_of(
        calculation,
        method,
        energies_ev,
        converged,
        _saddle_ev(result, energies_ev),
        failed,
        _path_a(result),
    )
    return replace(found, source=path.name if near is None else near.source)


def _calculation(
    entry: Mapping[str, Any], result: Mapping[str, Any], path: Path, near: Calculation | None
) -> Calculation:
    metadata = entry.get("metadata") or result.get("metadata") or {}
    tags = [str(tag) for tag in result.get("tags") or ()]
    tagged = [tag.partition("=")[2] for tag in tags if tag.startswith("hop_id=")]
    hop_id = entry.get("hop_id") or result.get("hop_id") or metadata.get("hop_id")
    hop_id = hop_id or next(iter(tagged), None)
    if near is not None:
        if hop_id and hop_id != near.hop_id:
            raise PathwayError(
                "other_hop", f"of {hop_id}, meta.json of {near.hop_id}; put it where it belongs"
            )
        return near
    if not hop_id:
        raise PathwayError(
            "no_hop_id", "names no hop; add hop_id to it, or put it beside meta.json"
        )
    said = metadata.get("ionscreen")
    meta = said if isinstance(said, dict) else {}
    return Calculation(
        folder=path,
        hop_id=str(hop_id),
        code="atomate2",
        functional=functional_of(meta) or functional_of(result),
        hubbard_u=hubbard_text(meta.get("hubbard_u_ev")),
        n_images=None,
        n_atoms=None,
    )


def _path_a(result: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Length along the path, Å, from the images' structures, where the document has them."""
    images = result.get("images")
    if not isinstance(images, list) or not images:
        return None
    from pymatgen.core.structure import Structure

    try:
        return path_of_structures([Structure.from_dict(image) for image in images])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _saddle_ev(result: Mapping[str, Any], energies_ev: list[float]) -> float | None:
    """Energy of the saddle as the document has it, else the top of emmet's clamped spline."""
    given = result.get("forward_barrier")
    if isinstance(given, int | float) and math.isfinite(given) and given:
        return energies_ev[0] + float(given)
    if len(energies_ev) < 3:
        return None
    from scipy.interpolate import CubicSpline

    curve = CubicSpline(np.linspace(0, 1, len(energies_ev)), energies_ev, bc_type="clamped")
    return float(curve(np.linspace(0, 1, 2001)).max())
