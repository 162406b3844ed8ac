"""``screen neb write --code ase``: images that ASE reads, and a program that runs on them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from pymatgen.io.ase import AseAtomsAdaptor

from screen.cli import main
from tests.screen.neb.conftest import AddHop, images_of

LENNARD_JONES = ["--calculator", "ase.calculators.lj:LennardJones"]
ARGUMENTS = ["--arguments", json.dumps({"sigma": 1.8, "epsilon": 0.05, "rc": 4.0})]


def write(shortlist: Path, *options: str) -> int:
    return main(["neb", "write", str(shortlist), "--code", "ase", *options])


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "run_neb.py"), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_ase_and_pymatgen_read_the_images(shortlist: Path) -> None:
    assert write(shortlist) == 0
    for folder in sorted(shortlist.iterdir()):
        images = images_of(folder)
        frames = read(folder / "ase" / "neb.extxyz", ":")
        assert len(frames) == len(images.frac)
        for index, (atoms, expected) in enumerate(zip(frames, images.structures, strict=True)):
            assert atoms.pbc.all()
            assert atoms.get_chemical_symbols() == images.symbols
            assert np.allclose(atoms.cell.array, images.lattice, rtol=0, atol=1e-6)
            assert np.allclose(atoms.positions, expected.cart_coords, rtol=0, atol=1e-6)
            structure = AseAtomsAdaptor.get_structure(atoms)
            assert structure.species == expected.species
            assert np.allclose(structure.cart_coords, expected.cart_coords, rtol=0, atol=1e-6)
            assert atoms.info["hop_id"] == images.listed.hop_id
            assert (atoms.info["moving_atom"], atoms.info["image"]) == (images.mover, index)


@pytest.fixture
def folder(add_hop: AddHop) -> Path:
    """A hop in a cell as small as it may be, with one image."""
    made = add_hop("LiCoO2")
    assert write(made.parent, "--images", "1", "--min-width", "5") == 0
    return made / "ase"


def test_the_program_runs_and_goes_on_where_it_stopped(folder: Path) -> None:
    few = run(folder, *LENNARD_JONES, *ARGUMENTS, "--steps", "3")
    assert few.returncode == 1
    assert "start.traj: not relaxed in 3 steps" in few.stderr
    assert run(folder, *LENNARD_JONES, *ARGUMENTS, "--steps", "15").returncode == 1
    result = json.loads((folder / "neb_result.json").read_text())
    assert result["hop_id"] == json.loads((folder.parent / "hop.json").read_text())["hop_id"]
    assert not result["converged"]
    energies = result["energies_ev"]
    assert result["em_forward_ev"] == pytest.approx(max(energies), abs=1e-9)
    assert result["em_reverse_ev"] == pytest.approx(max(energies) - energies[-1], abs=1e-9)
    before = {name: read(folder / f"{name}.traj", ":") for name in ("band", "climb")}
    assert run(folder, *LENNARD_JONES, *ARGUMENTS, "--steps", "300").returncode == 0
    result = json.loads((folder / "neb_result.json").read_text())
    assert result["converged"]
    # The phase that was over was not done again, the other began where it had been left.
    assert len(read(folder / "band.traj", ":")) == len(before["band"])
    later = read(folder / "climb.traj", ":")[len(before["climb"]) :]
    places_a = [atoms.positions for atoms in (*later[:3], *before["climb"][-3:])]
    written_a = [atoms.positions for atoms in read(folder / "neb.extxyz", ":")]
    assert np.abs(np.subtract(places_a[:3], places_a[3:])).max() < 0.01  # one step
    assert np.abs(np.subtract(places_a[:3], written_a)).max() > 0.05
    # The two ends are alike by symmetry.
    assert result["em_forward_ev"] == pytest.approx(result["em_reverse_ev"], abs=1e-3)


def test_a_calculator_that_is_not_there_is_named(folder: Path) -> None:
    for name in ("no_such_package:Calculator", "ase.calculators.lj:NoSuchClass"):
        found = run(folder, "--calculator", name)
        assert found.returncode == 1
        assert name in found.stderr
        assert found.stderr.count("\n") == 1
    assert not (folder / "neb_result.json").exists()


def test_a_charge_is_refused(add_hop: AddHop, capsys: pytest.CaptureFixture[str]) -> None:
    assert write(add_hop("LiCoO2").parent, "--charge", "background") == 2
    assert "up to the calculator" in capsys.readouterr().err
