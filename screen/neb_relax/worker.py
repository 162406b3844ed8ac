"""One hop at a time in one process, with one calculator: what runs in Ray's workers, or here."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from screen.neb import run_neb
from screen.neb_relax.calculators import CalculatorChoice

FAILURE, LOCK = "neb_failure.json", ".neb_relax.lock"
_PATIENCE_S = 15.0
"""A worker outlives a command that was killed by less than this."""


class InUse(Exception):  # noqa: N818 - its name is its reason
    """Another process is at work on this hop."""


class HopWorker:
    """Holds a calculator and relaxes bands with it.

    Args:
        choice: which calculator.
        limits: of each hop.
        device: cpu or cuda.
        threads: of torch; several workers share the machine.
    """

    def __init__(
        self, choice: CalculatorChoice, limits: run_neb.Limits, device: str, threads: int
    ) -> None:
        self._choice, self._limits = choice, limits
        self._device, self._threads = device, threads
        self._calculator: Any = None

    def start(self) -> None:
        """Load the calculator.

        Raises:
            UserError: it cannot be made.
        """
        self._calculator = self._choice.load(self._device)
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(self._threads)

    def relax(self, folders: Sequence[Path]) -> None:
        """Relax the band of each folder and leave there what came of it, never raising for one."""
        for folder in folders:
            try:
                with _alone(folder), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of torch and ASE, on code that is not ours
                    write_result(folder, self._relaxed(folder))
            except Exception as error:
                from jobs.stages import one_line, reason_of  # torch comes with it

                write_failure(folder, reason_of(error), one_line(error))

    def _relaxed(self, folder: Path) -> dict[str, Any]:
        from screen.store import code_version

        said = self._choice.record()
        progress = run_neb.Progress(folder, self._limits.seconds, None, **said)
        result = run_neb.run(folder, self._calculator, self._limits, progress)
        return {**result, **said, "ionscreen": code_version()}


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No two processes write the trajectories of one hop.

    Raises:
        InUse: another one does, and goes on doing so.
    """
    import fcntl

    until = time.monotonic() + _PATIENCE_S
    with (folder / LOCK).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise InUse("another process is at this hop; wait for it, or end it") from None
                time.sleep(0.1)
            except OSError:  # a file system without locks
                break
        yield


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Leave what came of a hop; an earlier failure is over."""
    run_neb.write_whole(folder / run_neb.RESULT, json.dumps(result, indent=1) + "\n")
    (folder / FAILURE).unlink(missing_ok=True)


def write_failure(folder: Path, reason: str, detail: str) -> None:
    """Leave why nothing came of a hop this time."""
    document = {"reason": reason, "detail": detail}
    run_neb.write_whole(folder / FAILURE, json.dumps(document) + "\n")
