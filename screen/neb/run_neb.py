"""Compute the barrier of a hop with ASE and any of its calculators.

    python run_neb.py --calculator chgnet.model.dynamics:CHGNetCalculator

The ends are relaxed, the images follow them, and the band is relaxed twice: first without, then
with a climbing image. What is done already is not done again: run it again to go on. The result is
neb_result.json. Needs ase and the package of the calculator alone: this file is copied beside its
images and runs there as it is.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

IMAGES, RESULT = "neb.extxyz", "neb_result.json"
BAND, CLIMB = "band.traj", "climb.traj"
LEAST_HOP_A = 0.5
"""Ends closer than this after relaxation have become one, Å."""


def main() -> int:
    """Run the band beside this file and return the exit code."""
    parser = argparse.ArgumentParser(description="Compute the barrier of a hop.")
    parser.add_argument("--calculator", required=True, help="MODULE:CLASS, or a function's name")
    parser.add_argument("--arguments", default="{}", help="JSON object of its arguments")
    parser.add_argument("--fmax", type=float, default=0.05, help="of the climbing band, eV/Å")
    parser.add_argument("--steps", type=int, default=500, help="most of each relaxation")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    try:
        calculator = load(options.calculator, json.loads(options.arguments))
        result = run(options.folder, calculator, options.fmax, options.steps)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    result["calculator"] = options.calculator
    write_whole(options.folder / RESULT, json.dumps(result, indent=1) + "\n")
    print(f"{result['em_forward_ev']:.3f} eV, back {result['em_reverse_ev']:.3f} eV")
    return 0 if result["converged"] else 1


def load(name: str, arguments: dict[str, Any]) -> Any:
    """A calculator by the place it is imported from.

    Raises:
        ValueError: there is none; one line.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)(**arguments)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--calculator {name}: {error}; expected MODULE:CLASS") from None


def run(folder: Path, calculator: Any, fmax: float, steps: int) -> dict[str, Any]:
    """Relax ends and band in ``folder`` and return what came of it, energies in eV.

    Raises:
        ValueError: the ends are not relaxed yet, or have become one.
    """
    images = read_frames(folder / IMAGES)
    ends = [
        relaxed(images[index], calculator, folder / f"{name}.traj", fmax, steps)
        for name, index in (("start", 0), ("end", -1))
    ]
    climbed = restarted(images, folder / CLIMB)
    if not climbed and not restarted(images, folder / BAND):
        follow(images, ends)
    check_apart(images)
    for image in images:
        image.calc = calculator
    if not climbed:  # climbing from the start would follow a path that is not yet one
        relax_band(images, folder / BAND, False, max(0.1, 2 * fmax), steps)
    converged = relax_band(images, folder / CLIMB, True, fmax, steps)
    energies = [float(image.get_potential_energy()) for image in images]
    top = max(energies)
    return {
        "hop_id": images[0].info.get("hop_id"),
        "em_forward_ev": top - energies[0],
        "em_reverse_ev": top - energies[-1],
        "energies_ev": [energy - energies[0] for energy in energies],
        "converged": converged,
        "fmax_ev_a": fmax,
    }


def read_frames(path: Path) -> list[Any]:
    """All frames of a file."""
    from ase.io import iread

    return list(iread(path, ":"))


def relax_band(images: list[Any], path: Path, climb: bool, fmax: float, steps: int) -> bool:
    """Relax a band, each step on record; whether the forces came down to ``fmax``."""
    from ase.mep import DyNEB
    from ase.optimize import FIRE

    neb: Any = DyNEB  # without types
    band = neb(
        images,
        k=0.1,
        climb=climb,
        method="improvedtangent",
        allow_shared_calculator=True,
        fmax=fmax,
        dynamic_relaxation=True,
    )
    with FIRE(band, trajectory=str(path), append_trajectory=path.exists()) as optimiser:
        return bool(optimiser.run(fmax=fmax, steps=steps))


def relaxed(atoms: Any, calculator: Any, path: Path, fmax: float, steps: int) -> Any:
    """An end at its minimum; from its trajectory where there is one.

    Raises:
        ValueError: more steps are needed.
    """
    from ase.optimize import FIRE

    end = atoms.copy()
    if path.exists() and path.stat().st_size:
        end.positions = read_frames(path)[-1].positions
    end.calc = calculator
    with FIRE(end, trajectory=str(path), append_trajectory=path.exists()) as optimiser:
        if not optimiser.run(fmax=fmax, steps=steps):
            raise ValueError(f"{path.name}: not relaxed in {steps} steps; run again to go on")
    return end


def follow(images: list[Any], ends: list[Any]) -> None:
    """Move the images by what their ends moved, in proportion; what bends the path stays."""
    start, end = (
        relaxed_end.positions - images[index].positions
        for relaxed_end, index in zip(ends, (0, -1), strict=True)
    )
    for index, image in enumerate(images):
        share = index / (len(images) - 1)
        image.positions += (1 - share) * start + share * end


def restarted(images: list[Any], path: Path) -> bool:
    """Take the last whole band of a trajectory, where there is one."""
    if not path.exists() or not path.stat().st_size:
        return False
    frames = read_frames(path)
    whole = len(frames) // len(images) * len(images)
    for image, frame in zip(images, frames[whole - len(images) : whole], strict=False):
        image.positions = frame.positions
    return bool(whole)


def check_apart(images: list[Any]) -> None:
    """Refuse a hop that leads nowhere."""
    moved = images[-1].positions - images[0].positions
    length_a = float((moved**2).sum(axis=1).max() ** 0.5)
    if length_a < LEAST_HOP_A:
        raise ValueError(
            f"the ends are {length_a:.2f} Å apart after relaxation: an end is no minimum"
        )


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
