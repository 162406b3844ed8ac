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
import itertools
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGES, RESULT, PROGRESS = "neb.extxyz", "neb_result.json", "neb_progress.json"
ENDS = ("start", "end")
BAND, CLIMB = "band.traj", "climb.traj"
LEAST_HOP_A = 0.5
"""Ends closer than this after relaxation have become one, Å."""
MINIMUM_EV = 0.02
"""An image that lies lower than the path on both sides of it by this is a minimum on the way."""


class NotRelaxed(ValueError):  # noqa: N818 - a limit was met
    """An end is not at its minimum within the limits; one line."""


class NoNumber(ValueError):  # noqa: N818 - its name is its reason
    """A calculator's energies or forces are none."""


@dataclass(frozen=True)
class Limits:
    """When to stop."""

    fmax_ev_a: float = 0.05
    """Largest force on an atom of the ends and of the climbing band, eV/Å."""
    steps: int = 500
    """Most steps of each relaxation."""
    seconds: float = math.inf
    """Most time of all of them."""


class Progress:
    """What a hop has cost and where it is, kept beside it after every step.

    Args:
        folder: of the hop; what is said there of earlier runs is added to.
        seconds: most time of this run.
        log: where ASE logs each step; None: nowhere, ``-``: to stdout.
        named: what else to keep, such as the calculator.
    """

    def __init__(
        self, folder: Path, seconds: float, log: str | None = None, **named: object
    ) -> None:
        self._path, self._seconds, self.log, self._named = folder / PROGRESS, seconds, log, named
        before = read_json(self._path)
        self.steps = {str(stage): int(n) for stage, n in (before.get("steps") or {}).items()}
        self._wall_before_s = float(before.get("wall_s") or 0)
        self._began = time.monotonic()
        self.stopped: str | None = None
        """``steps`` or ``seconds``: the limit that ended the last relaxation."""

    @property
    def wall_s(self) -> float:
        """Time of all runs so far."""
        return self._wall_before_s + time.monotonic() - self._began

    def out_of_time(self) -> bool:
        """Whether this run has had its time."""
        return time.monotonic() - self._began >= self._seconds

    def step(self, stage: str, more: int, force_ev_a: float) -> None:
        """A step is done; ``more`` is 0 for the state that a relaxation begins with."""
        self.steps[stage] = self.steps.get(stage, 0) + more
        now = {"stage": stage, "max_force_ev_a": force_ev_a, "steps": self.steps}
        write_whole(self._path, json.dumps({**self._named, **now, "wall_s": self.wall_s}) + "\n")


def main() -> int:
    """Run the band beside this file and return the exit code."""
    parser = argparse.ArgumentParser(description="Compute the barrier of a hop.")
    parser.add_argument("--calculator", required=True, help="MODULE:CLASS, or a function's name")
    parser.add_argument("--arguments", default="{}", help="JSON object of its arguments")
    parser.add_argument("--fmax", type=float, default=0.05, help="of the climbing band, eV/Å")
    parser.add_argument("--steps", type=int, default=500, help="most of each relaxation")
    parser.add_argument("--minutes", type=float, default=math.inf, help="most of this run")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    limits = Limits(options.fmax, options.steps, 60 * options.minutes)
    progress = Progress(options.folder, limits.seconds, "-", calculator=options.calculator)
    try:
        calculator = load(options.calculator, json.loads(options.arguments))
        result = run(options.folder, calculator, limits, progress)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    result["calculator"] = options.calculator
    write_whole(options.folder / RESULT, json.dumps(result, indent=1) + "\n")
    if result["collapsed"]:
        print(f"error: {result['collapsed_because']}", file=sys.stderr)
    else:
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
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"--calculator {name}: {error}; expected MODULE:CLASS") from None


def run(folder: Path, calculator: Any, limits: Limits, progress: Progress) -> dict[str, Any]:
    """Relax ends and band in ``folder`` and return what came of it: eV, eV/Å, Å, seconds.

    Raises:
        NotRelaxed: an end is not relaxed within the limits.
    """
    images = list(read_frames(folder / IMAGES))
    written = [image.positions.copy() for image in images]
    for image in images:
        image.calc = remembering(calculator)
    for name, index in zip(ENDS, (0, -1), strict=True):
        relax_end(images[index], folder / f"{name}.traj", name, limits, progress)
    head = {
        "hop_id": images[0].info.get("hop_id"),
        "fmax_ev_a": limits.fmax_ev_a,
        "max_steps": limits.steps,
        "max_seconds": limits.seconds if math.isfinite(limits.seconds) else None,
    }
    because = collapse(images, written)
    if because:
        found = {"converged": False, "collapsed": True, "collapsed_because": because}
        return {**head, "energies_ev": [], **found, **cost(progress)}
    climbed = restore(images, folder / CLIMB)
    if not climbed and not restore(images, folder / BAND):
        follow(images, written)
    if not climbed:  # climbing from the start would follow a path that is not yet one
        relax_band(images, folder / BAND, False, limits, progress)
    if progress.out_of_time():
        converged, forces, progress.stopped = False, None, "seconds"
    else:
        converged, forces = relax_band(images, folder / CLIMB, True, limits, progress)
    found = {"converged": converged, "image_forces_ev_a": forces}
    return {**head, **described(images), **found, **cost(progress)}


def relax_end(end: Any, path: Path, name: str, limits: Limits, progress: Progress) -> None:
    """Bring an end to its minimum, from its trajectory where there is one.

    Raises:
        NotRelaxed: a limit came first.
    """
    if frames := last_frames(path, 1):
        end.positions = frames[0].positions
    if not descend(end, path, name, limits.fmax_ev_a, limits.steps, progress):
        raise NotRelaxed(
            f"{path.name}: not relaxed in {progress.steps[name]} steps and "
            f"{progress.wall_s:.0f} s; run again to go on"
        )


def relax_band(
    images: list[Any], path: Path, climb: bool, limits: Limits, progress: Progress
) -> tuple[bool, list[float]]:
    """Relax a band, each step on record.

    Returns:
        Whether the forces came down far enough, and the largest on an atom of each inner image,
        with the springs, eV/Å.
    """
    import ase.mep.neb

    library: Any = ase.mep.neb  # without types
    fmax = limits.fmax_ev_a if climb else max(0.1, 2 * limits.fmax_ev_a)
    band = library.DyNEB(
        images,
        k=0.1,
        climb=climb,
        method="improvedtangent",
        fmax=fmax,
        dynamic_relaxation=True,
        scale_fmax=1.0,
    )
    converged = descend(band, path, path.stem, fmax, limits.steps, progress)
    # Those of DyNEB itself are zero where they are small enough.
    forces = library.BaseNEB.get_forces(band).reshape(len(images) - 2, -1, 3)
    return converged, ((forces**2).sum(axis=2).max(axis=1) ** 0.5).tolist()


def descend(what: Any, path: Path, stage: str, fmax: float, steps: int, progress: Progress) -> bool:
    """Relax an end or a band; whether the forces came down to ``fmax``."""
    from ase.optimize import FIRE

    progress.stopped = None
    append = path.exists()
    with FIRE(
        what, trajectory=str(path), append_trajectory=append, logfile=progress.log
    ) as descent:
        before = 0
        for converged in descent.irun(fmax=fmax, steps=steps):
            force = float((what.get_forces() ** 2).sum(axis=1).max() ** 0.5)
            progress.step(stage, descent.nsteps - before, force)
            before = descent.nsteps
            if converged:
                return True
            if progress.out_of_time():
                progress.stopped = "seconds"
                return False
    progress.stopped = "steps"
    return False


def remembering(calculator: Any) -> Any:
    """A calculator for one image that asks the shared one only when its image has moved.

    ASE's band asks for the forces of all images several times a step, and one calculator of them
    all would compute every one of them anew.
    """
    from ase.calculators.calculator import Calculator, all_changes

    base: Any = Calculator  # without types

    class Remembering(base):  # type: ignore[misc]
        """Energy and forces of the image as it was last."""

        implemented_properties: Any = ("energy", "forces")

        def calculate(
            self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
        ) -> None:
            """Ask the shared one."""
            super().calculate(atoms, properties, system_changes)
            forces = calculator.get_forces(atoms).copy()
            energy = float(calculator.get_potential_energy(atoms))
            if not (math.isfinite(energy) and math.isfinite(float(abs(forces).sum()))):
                raise NoNumber("the calculator gives energies or forces that are no numbers")
            self.results = {"energy": energy, "forces": forces}

    return Remembering()


def collapse(images: list[Any], written: list[Any]) -> str:
    """Why the relaxed ends are no longer those of the hop; empty where they are."""
    hop_a = written[-1] - written[0]
    mover = images[0].info.get("moving_atom")
    if mover is None:
        mover = int((hop_a**2).sum(axis=1).argmax())
    length_a = norm(hop_a[mover])
    apart_a = norm(images[-1].positions[mover] - images[0].positions[mover])
    if apart_a < LEAST_HOP_A:
        return f"the ends are {apart_a:.2f} Å apart after relaxation: an end is no minimum"
    for name, index in zip(ENDS, (0, -1), strict=True):
        moved_a = images[index].positions - written[index]
        left_a = norm(moved_a[mover] - moved_a.mean(axis=0))
        if left_a > length_a / 2:
            return f"the ion went {left_a:.2f} Å from the {name} of a hop of {length_a:.2f} Å"
    return ""


def follow(images: list[Any], written: list[Any]) -> None:
    """Move the images by what their ends moved, in proportion; what bends the path stays."""
    start, end = (images[index].positions - written[index] for index in (0, -1))
    for index, image in enumerate(images[1:-1], start=1):
        share = index / (len(images) - 1)
        image.positions += (1 - share) * start + share * end


def restore(images: list[Any], path: Path) -> bool:
    """Take the inner images of the last whole band of a trajectory, where there is one."""
    frames = last_frames(path, len(images))
    for image, frame in zip(images[1:-1], frames[1:-1], strict=False):
        image.positions = frame.positions
    return bool(frames)


def described(images: list[Any]) -> dict[str, Any]:
    """Energies along the path, barriers there and back, and what the path has on its way."""
    energies = [float(image.get_potential_energy()) for image in images]
    path_a = [0.0]
    for image, other in itertools.pairwise(images):
        path_a.append(path_a[-1] + norm(other.positions - image.positions))
    minima = minima_of(energies)
    cuts = [0, *minima, len(energies) - 1]
    segments = [max(energies[a : b + 1]) - energies[a] for a, b in itertools.pairwise(cuts)]
    top = max(energies)
    return {
        "em_forward_ev": top - energies[0],
        "em_reverse_ev": top - energies[-1],
        "energies_ev": [energy - energies[0] for energy in energies],
        "path_a": path_a,
        "collapsed": False,
        "intermediate_minima": len(minima),
        "minima_images": minima,
        "segments_ev": segments,
        "highest_segment_ev": max(segments),
    }


def minima_of(energies_ev: list[float]) -> list[int]:
    """Inner images that the path has to climb by ``MINIMUM_EV`` to leave, on either side."""
    found = []
    for index, energy in enumerate(energies_ev[1:-1], start=1):
        before, after = energies_ev[:index][::-1], energies_ev[index + 1 :]
        # Of equal images the first is the minimum.
        left = list(itertools.takewhile(energy.__lt__, before))
        right = list(itertools.takewhile(energy.__le__, after))
        rises = [max(side, default=energy) - energy for side in (left, right)]
        if min(rises) >= MINIMUM_EV:
            found.append(index)
    return found


def cost(progress: Progress) -> dict[str, Any]:
    """Steps of each relaxation and time, of all runs."""
    return {"steps": progress.steps, "stopped": progress.stopped, "wall_s": progress.wall_s}


def norm(vectors: Any) -> float:
    """Root of the sum of all squares."""
    return float((vectors**2).sum() ** 0.5)


def read_frames(path: Path) -> list[Any]:
    """All frames of a file."""
    from ase.io import iread

    return list(iread(path, ":"))


def last_frames(path: Path, count: int) -> list[Any]:
    """The last whole group of ``count`` frames of a trajectory; none where it has none.

    What a process that was killed left after it is cut off, so that groups that are added later
    begin where groups begin.
    """
    import ase.io.trajectory

    open_trajectory: Any = ase.io.trajectory.Trajectory  # without types
    if not path.exists():
        return []
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open_trajectory(str(path)) as trajectory:
            whole = len(trajectory) // count * count
            if 0 < whole < len(trajectory):
                with open_trajectory(str(temporary), "w") as copy:
                    for index in range(whole):
                        copy.write(trajectory[index])
                temporary.replace(path)
            frames = [trajectory[index] for index in range(max(0, whole - count), whole)]
    except Exception:  # torn in its first frame: ASE has no one error for it
        frames = []
    if not frames:
        path.unlink()
    return frames


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
