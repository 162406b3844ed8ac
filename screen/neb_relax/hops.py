"""The hops of a shortlist that ASE is to relax, and how each of them stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from screen.errors import FAILED, UserError
from screen.neb.inputs import hop_folders
from screen.neb.run_neb import BAND, CLIMB, ENDS, IMAGES, PROGRESS, RESULT, Limits, read_json
from screen.neb_relax.calculators import CalculatorChoice
from screen.neb_relax.worker import FAILURE

_LEFT_BEHIND = (RESULT, PROGRESS, FAILURE, BAND, CLIMB, *(f"{name}.traj" for name in ENDS))
PROFILE = "profile.png"


@dataclass(frozen=True)
class BandFolder:
    """What ``screen neb write --code ase`` made of one hop; read anew at every question."""

    folder: Path
    """``<hop>/ase``."""

    @property
    def hop_id(self) -> str:
        """As ``hop.json`` has it; the folder's name where that cannot be read."""
        named = read_json(self.folder.parent / "hop.json").get("hop_id")
        return str(named or self.folder.parent.name)

    @property
    def predicted(self) -> dict[str, float | None]:
        """``em_ev``, ``em_low_ev`` and ``em_high_ev`` of the shortlist."""
        said = read_json(self.folder.parent / "hop.json").get("predicted")
        said = said if isinstance(said, dict) else {}
        return {name: said.get(name) for name in ("em_ev", "em_low_ev", "em_high_ev")}

    @property
    def result(self) -> dict[str, Any]:
        """What came of it; empty where there is nothing yet."""
        return read_json(self.folder / RESULT)

    @property
    def failure(self) -> dict[str, Any]:
        """``reason`` and ``detail`` of the last try; empty where it did not fail."""
        return read_json(self.folder / FAILURE)

    @property
    def progress(self) -> dict[str, Any]:
        """Stage, steps, force and time so far; empty where it was not begun."""
        return read_json(self.folder / PROGRESS)

    @property
    def is_drawn(self) -> bool:
        """Whether the figure is of the result."""
        try:
            drawn = (self.folder / PROFILE).stat().st_mtime_ns
            return drawn > (self.folder / RESULT).stat().st_mtime_ns
        except OSError:
            return False

    def is_done(self, limits: Limits) -> bool:
        """Whether there is nothing left to do within these limits."""
        result = self.result
        if not result or result.get("collapsed"):
            return bool(result)
        if result.get("fmax_ev_a", math.inf) > limits.fmax_ev_a:
            return False
        if result.get("converged"):
            return True
        if result.get("stopped") == "seconds":
            return limits.seconds <= float(result.get("max_seconds") or math.inf)
        return limits.steps <= int(result.get("max_steps") or 0)

    def other_calculator(self, choice: CalculatorChoice) -> str:
        """The calculator that this was begun with, where it is another one; else empty."""
        began = self.progress or self.result
        if not began:
            return ""
        wanted = choice.record()
        same = began.get("calculator") == wanted["calculator"]
        if same and (began.get("arguments") or {}) == wanted["arguments"]:
            return ""
        return f"{began.get('calculator')} {began.get('arguments') or ''}".strip()

    def clear(self) -> None:
        """Remove all that earlier runs left."""
        for name in (*_LEFT_BEHIND, PROFILE):
            (self.folder / name).unlink(missing_ok=True)


def band_folders(shortlist: Path) -> tuple[list[BandFolder], int]:
    """The hops of a shortlist that were written for ASE, by name, and how many were not.

    Raises:
        UserError: no such folder, no hop in it, or none written for ASE.
    """
    folders = hop_folders(shortlist)
    found = [BandFolder(one / "ase") for one in folders if (one / "ase" / IMAGES).exists()]
    if not found:
        raise UserError(
            f"{shortlist}: none of {len(folders)} hops was written for ASE; "
            f"`screen neb write {shortlist} --code ase` first",
            FAILED,
        )
    return found, len(folders) - len(found)
