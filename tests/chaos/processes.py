"""A run of the program as a process of its own, and the processes that it starts, by their roles.

Everything that a run starts inherits a mark in its environment, so that what is left of it can be
found when the driver is gone, and nothing else is ever killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = "IONSCREEN_CHAOS_MARK"
POLL_S = 0.1
"""Between looks at all processes, which cost milliseconds each."""
_SELF_ENDING = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::IDLE")
"""Ray's own, which give up by themselves, but only after a minute."""
_ROLES = {
    "feeder": "ray::feature",
    "model": "ray::model",
    "raylet": "/raylet/raylet",
    "gcs": "/gcs/gcs_server",
}
"""What the command line of each role's processes holds, in small letters."""


def environment(workspace: Path, **more: str) -> dict[str, str]:
    """Of a process that runs this checkout: one thread, no key, no way out of the machine."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MP_API", "MAPI", "PMG_", "MPRESTER", "RAY_"))
    }
    path = [str(ROOT), str(ROOT / "tests" / "netguard"), os.environ.get("PYTHONPATH", "")]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PMG_CONFIG_FILE": os.devnull,
        "IONSCREEN_CACHE": str(workspace / "cache"),
        "RAY_TMPDIR": str(workspace),
        "OMP_NUM_THREADS": "1",
        "TERM": "dumb",
        MARK: uuid.uuid4().hex,
        **more,
    }


@dataclass
class Ended:
    """How a process ended."""

    code: int
    """Exit code; below zero, the signal that killed it."""
    out: str
    err: str
    seconds: float

    @property
    def last_line(self) -> str:
        """Of stderr."""
        return (self.err.strip().splitlines() or [""])[-1]

    def complaints(self, codes: Sequence[int]) -> list[str]:
        """What breaks the rules of an end: another exit code, a traceback, more than one error."""
        found = []
        if self.code not in codes:
            found.append(f"exit code {self.code}, expected {codes}: {self.last_line}")
        if "Traceback" in self.err:
            found.append(f"a traceback: {self.last_line}")
        if self.err.count("error: ") > 1:
            found.append(f"{self.err.count('error: ')} errors, expected one line")
        return found


@dataclass
class Running:
    """A process on its way, with all that it starts."""

    arguments: Sequence[str]
    """Of the interpreter."""
    workspace: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start it."""
        self.environment = environment(self.workspace, **self.variables)
        self.began = time.monotonic()
        # Files and no pipes: children that outlive the driver would hold a pipe open.
        self._out = self.workspace / f"{self.environment[MARK]}.out"
        self._err = self._out.with_suffix(".err")
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", *self.arguments],
                cwd=self.workspace,
                env=self.environment,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                preexec_fn=_forgive,
            )

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def is_up(self) -> bool:
        """Whether the driver runs."""
        return self.process.poll() is None

    def by_role(self) -> dict[str, list[int]]:
        """Ids of the processes that are up, the ``driver`` and those that it started, by role."""
        if not self.is_up:
            return {}
        lines = {pid: line.lower() for pid, line in tree(self.process.pid).items()}
        found = {
            role: [pid for pid, line in lines.items() if sign in line]
            for role, sign in _ROLES.items()
        }
        return {"driver": [self.process.pid], **found}

    def told(self) -> str:
        """What is on stdout so far."""
        return self._out.read_text()

    def end(self, timeout_s: float) -> Ended:
        """Wait for the driver's end; one that takes longer is killed and its code is 124."""
        late = False
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            late = True
            self.process.kill()
            self.process.wait()
        seconds = self.seconds
        out, err = self._out.read_text(), self._err.read_text()
        return Ended(124 if late else self.process.returncode, out, err, seconds)

    def left_over(self, patience_s: float) -> list[str]:
        """What it left running that does not end within this time; all of it is killed then."""
        mark = self.environment[MARK]
        until = time.monotonic() + patience_s
        while (left := _marked(mark)) and time.monotonic() < until:
            if all(line.startswith(_SELF_ENDING) for line in left.values()):
                break
            time.sleep(5 * POLL_S)
        lines = [line for line in left.values() if not line.startswith(_SELF_ENDING)]
        for pid in left:
            kill(pid)
        return lines


def _forgive() -> None:
    """Let the child be one of its own group, so that a Ctrl-C at the terminal is not its."""
    os.setpgid(0, 0)


def screen(*words: object) -> list[str]:
    """The interpreter's arguments for a command line of the program."""
    return ["-m", "screen.cli", *map(str, words)]


def done(words: Sequence[str], workspace: Path, timeout_s: float = 300, **variables: str) -> Ended:
    """Run the interpreter to its end."""
    running = Running(words, workspace, variables)
    ended = running.end(timeout_s)
    running.left_over(30)
    return ended


def kill(pid: int) -> None:
    """``kill -9``; a process that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for(true: Callable[[], bool], timeout_s: float) -> bool:
    """Look often until something is so; whether it came to be."""
    until = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True


def tree(root: int) -> dict[int, str]:
    """Command lines of all processes below one, by id."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found: dict[int, str] = {}
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), []):
            waiting.append(pid)
            found[pid] = _command_line(pid)
    return found


def _marked(mark: str) -> dict[int, str]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = _command_line(int(folder.name))
    return {pid: line for pid, line in found.items() if line}


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""
