"""What ASE leaves beside the images: ``neb_result.json`` of ours, or a trajectory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pathways.types import PathwayError
from screen.neb.run_neb import BAND, CLIMB, RESULT
from screen.neb_results.results import Barrier, Calculation, barrier_of
from screen.neb_results.trajectory import TRAJECTORY, read_trajectory


def read_ase(calculation: Calculation) -> Barrier:
    """The barrier of a band that ASE relaxed.

    Raises:
        PathwayError: ``not_run``, ``unfinished``, ``unreadable``, ``other_hop``, or what
            ``barrier_of`` refuses.
    """
    folder = calculation.folder
    if not (folder / RESULT).exists():
        if (folder / TRAJECTORY).exists():
            return read_trajectory(calculation)
        if any((folder / name).exists() for name in (BAND, CLIMB, "start.traj", "end.traj")):
            raise PathwayError("unfinished", f"no {RESULT} yet; give run_neb.py again to go on")
        raise PathwayError("not_run", f"no {RESULT}; run run_neb.py")
    result = _result(folder)
    named = unquote(str(result.get("hop_id") or calculation.hop_id))
    if named != calculation.hop_id:
        raise PathwayError(
            "other_hop", f"{RESULT} is of {named}, meta.json of {calculation.hop_id}; which is it?"
        )
    functional = result.get("functional")
    method = f"ase:{result.get('calculator') or 'unnamed'}"
    if functional:
        calculation = replace(calculation, functional=str(functional))
    if result.get("collapsed"):
        return _collapsed(calculation, method, result)
    energies_ev = result["energies_ev"]
    calculation.check_images(len(energies_ev), "images")
    return barrier_of(
        calculation,
        method,
        energies_ev,
        bool(result.get("converged")),
        path_a=result.get("path_a"),
    )


def _collapsed(calculation: Calculation, method: str, result: dict[str, Any]) -> Barrier:
    """A band whose ends did not stay where the hop has them: no barrier, but worth knowing."""
    said = result.get("collapsed_because") or "an end left its site when it was relaxed"
    remark = f"collapsed: {' '.join(str(said).split())}"
    return Barrier(
        hop_id=calculation.hop_id,
        method=method,
        source=calculation.source,
        em_forward_ev=None,
        em_reverse_ev=None,
        functional=calculation.functional,
        hubbard_u=calculation.hubbard_u,
        converged=False,
        notes=(f"{remark}; stored without a barrier",),
        remark=remark,
    )


def lone_calculation(folder: Path) -> Calculation:
    """The calculation of a result without ``meta.json``, which names its hop itself.

    Raises:
        PathwayError: ``unreadable``, ``no_meta`` where it names none.
    """
    named = _result(folder).get("hop_id")
    if not named:
        raise PathwayError("no_meta", f"neither meta.json nor a hop_id in {RESULT}; add meta.json")
    return Calculation(folder, unquote(str(named)), "ase", None, None, None, None)


def _result(folder: Path) -> dict[str, Any]:
    try:
        result = json.loads((folder / RESULT).read_text("utf-8"))
        energies_ev = result.get("energies_ev", [] if result.get("collapsed") else None)
        result["energies_ev"] = [float(energy) for energy in energies_ev]
    except (OSError, ValueError, AttributeError, TypeError):
        raise PathwayError(
            "unreadable", f"{RESULT} is not what run_neb.py writes; run it again"
        ) from None
    return dict(result)
