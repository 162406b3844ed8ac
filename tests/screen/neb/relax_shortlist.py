"""Shortlists of hops in Cu3Au, which ASE's own EMT potential computes in no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pymatgen.core import Lattice, Structure

from pathways.convert import crystal_from_structure
from pathways.hops import enumerate_hops
from screen.cli import main
from tests.screen.conftest import environment
from tests.screen.neb.conftest import write_band

EMT = "ase.calculators.emt:EMT"
CALCULATORS = '''
"""EMT with the accidents of long runs."""

import os
import signal
from pathlib import Path

from ase.calculators.emt import EMT


class Unlucky(EMT):
    """Meets with an accident in cells of more than ``most`` atoms, or at the call AT_CALL."""

    def __init__(self, accident="", most=10**9):
        super().__init__()
        self.accident, self.most, self.calls = accident, most, 0

    def calculate(self, atoms=None, *arguments, **named):
        super().calculate(atoms, *arguments, **named)
        self.calls += 1
        if "SEEN_IN" in os.environ:
            threads = os.environ.get("OMP_NUM_THREADS", "")
            (Path(os.environ["SEEN_IN"]) / str(os.getpid())).write_text(threads)
        if len(atoms) > self.most or self.calls == int(os.environ.get("AT_CALL", 0)):
            self.meet(os.environ.get("ACCIDENT", self.accident))

    def meet(self, accident):
        if accident == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if accident == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if accident == "memory":
            raise MemoryError("no room for this cell")
        if accident == "nan":
            self.results["forces"][:] = float("nan")
'''


def write_hops(folder: Path, *min_widths_a: float, a: float = 3.74) -> Path:
    """A shortlist of the same hop of copper in Cu3Au, in cells of these widths, for ASE."""
    structure = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(a), ["Au", "Cu"], [[0, 0, 0], [0.5, 0.5, 0]]
    )
    network = enumerate_hops(crystal_from_structure(structure), "Cu")
    shortlist = folder / "shortlist"
    for number, width_a in enumerate(min_widths_a, start=1):
        one = folder / f"one{number}"
        name = f"Cu3Au-{number}"
        hop = network.hops[0]
        write_band(one / f"{number:03d}_{name}", hop.id_in(name), network.crystal, hop)
        words = ["--code", "ase", "--images", "3", "--min-width", f"{width_a:g}"]
        assert main(["neb", "write", str(one), *words]) == 0
        shortlist.mkdir(exist_ok=True)
        (one / f"{number:03d}_{name}").rename(shortlist / f"{number:03d}_{name}")
    return shortlist


def ase_folder(shortlist: Path, number: int = 1) -> Path:
    return sorted(shortlist.iterdir())[number - 1] / "ase"


def result_of(shortlist: Path, number: int = 1) -> dict[str, Any]:
    found = json.loads((ase_folder(shortlist, number) / "neb_result.json").read_text())
    assert isinstance(found, dict)
    return found


def relax(shortlist: Path, *words: str, calculator: str = EMT) -> int:
    command = ["neb", "relax", str(shortlist), "--calculator", calculator, "--num-gpus", "0"]
    return main([*command, "--engine", "inline", *words])


def relax_apart(
    shortlist: Path, *words: str, calculator: str = "accidents:Unlucky", **variables: str
) -> subprocess.CompletedProcess[str]:
    """In a process of its own, in the folder that holds the shortlist and the calculators."""
    (shortlist.parent / "accidents.py").write_text(CALCULATORS)
    command = [sys.executable, "-m", "screen.cli", "neb", "relax", shortlist.name]
    return subprocess.run(
        [*command, "--calculator", calculator, "--num-gpus", "0", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=shortlist.parent,
        env=environment() | variables,
    )
