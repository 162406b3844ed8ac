"""``screen neb relax`` in this process: barriers, limits, restarts and what is recorded."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import read, write
from ase.mep import NEB
from ase.optimize import FIRE

from screen.neb.run_neb import collapse, last_frames, minima_of
from screen.neb_relax import worker
from screen.profile_figure import draw_profile
from tests.screen.neb.relax_shortlist import ase_folder, relax, relax_apart, result_of, write_hops


@pytest.fixture(scope="module")
def relaxed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_hops(tmp_path_factory.mktemp("hops"), 5)
    shutil.copytree(made, made.with_name("written"))
    assert relax(made) == 0
    return made


@pytest.fixture
def shortlist(relaxed_once: Path, tmp_path: Path) -> Path:
    """One hop, not begun."""
    return Path(shutil.copytree(relaxed_once.with_name("written"), tmp_path / "shortlist"))


@pytest.fixture
def relaxed(relaxed_once: Path, tmp_path: Path) -> Path:
    """The same hop, relaxed."""
    return Path(shutil.copytree(relaxed_once, tmp_path / "relaxed"))


def plain_barriers_ev(images: list[Atoms], fmax: float) -> tuple[float, float]:
    """By ASE's plain band with a calculator for each image: no restart, nothing left out."""
    for image in images:
        image.calc = EMT()
    for end in (images[0], images[-1]):
        FIRE(end, logfile=None).run(fmax=fmax)
    for climb, limit in ((False, 0.1), (True, fmax)):
        band = NEB(images, k=0.1, climb=climb, method="improvedtangent")
        assert FIRE(band, logfile=None).run(fmax=limit, steps=500)
    energies = [image.get_potential_energy() for image in images]
    return max(energies) - energies[0], max(energies) - energies[-1]


def test_the_barrier_is_that_of_a_plain_band(
    relaxed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ase_folder(relaxed)
    expected = plain_barriers_ev(read(folder / "neb.extxyz", ":"), 0.02)
    before = result_of(relaxed)["steps"]
    assert relax(relaxed, "--fmax", "0.02", "--json") == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["em_forward_ev"], row["em_reverse_ev"]) == pytest.approx(expected, abs=2e-3)
    assert expected[0] > 0.3
    assert (row["converged"], row["notes"], row["failure"]) == (True, [], None)
    result = result_of(relaxed)
    assert result["hop_id"] == json.loads((folder.parent / "hop.json").read_text())["hop_id"]
    assert result["calculator"] == "ase.calculators.emt:EMT"
    assert result["calculator_package"].startswith("ase 3.")
    assert result["fmax_ev_a"] == 0.02
    assert max(result["energies_ev"]) == row["em_forward_ev"]
    assert result["path_a"][0] == 0
    assert (np.diff(result["path_a"]) > 0).all()
    assert result["path_a"][-1] > 2
    assert max(result["image_forces_ev_a"]) < 0.1
    # What there was is built on: the first phase is not done again.
    assert result["steps"]["band"] == before["band"]
    assert result["steps"]["climb"] > before["climb"]
    assert (folder / "profile.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_is_not_done_again(relaxed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ase_folder(relaxed)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert relax(relaxed) == 0
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert "1 of 1 hops are done" in capsys.readouterr().err


def test_a_process_killed_again_and_again_comes_to_the_same_barrier(
    shortlist: Path, relaxed: Path
) -> None:
    folder = ase_folder(shortlist)
    stages, wall_s = [], 0.0
    for at_call in ("6", "28", "70"):
        killed = relax_apart(shortlist, "--engine", "inline", AT_CALL=at_call, ACCIDENT="kill")
        assert killed.returncode == -signal.SIGKILL
        assert not (folder / "neb_result.json").exists()
        done = json.loads((folder / "neb_progress.json").read_text())
        stages.append(done["stage"])
        assert done["wall_s"] > wall_s
        wall_s = done["wall_s"]
    assert stages == ["start", "band", "climb"]
    again = relax_apart(shortlist, "--engine", "inline")
    assert again.returncode == 0, again.stderr
    resumed, whole = result_of(shortlist), result_of(relaxed)
    assert resumed["converged"]
    assert resumed["em_forward_ev"] == pytest.approx(whole["em_forward_ev"], abs=5e-3)
    assert resumed["wall_s"] > wall_s
    for stage, steps in done["steps"].items():
        assert resumed["steps"][stage] >= steps


def test_ctrl_c_leaves_what_the_same_command_goes_on_with(shortlist: Path) -> None:
    stopped = relax_apart(shortlist, "--engine", "inline", AT_CALL="20", ACCIDENT="interrupt")
    assert stopped.returncode == 130
    assert "1 hops are left; the same command goes on" in stopped.stderr
    assert "not finished" in stopped.stdout
    assert last_frames(ase_folder(shortlist) / "start.traj", 1)


def test_a_torn_trajectory_is_cut_at_its_last_whole_band(tmp_path: Path) -> None:
    path = tmp_path / "band.traj"
    frames = [Atoms("Cu", positions=[[float(number), 0, 0]]) for number in range(7)]
    write(path, frames)
    assert [frame.positions[0, 0] for frame in last_frames(path, 3)] == [3, 4, 5]
    assert len(read(path, ":")) == 6
    path.write_bytes(path.read_bytes()[:40])
    assert last_frames(path, 3) == []
    assert not path.exists()


def test_a_limit_on_steps_ends_a_hop_that_is_tried_again(
    shortlist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert relax(shortlist, "--max-steps", "2") == 1
    captured = capsys.readouterr()
    assert "not_relaxed: start.traj: not relaxed in 2 steps" in captured.out
    assert "none of 1 hops was relaxed" in captured.err
    assert relax(shortlist, "--max-steps", "8") == 0
    assert "stopped by --max-steps" in capsys.readouterr().out
    assert not (ase_folder(shortlist) / "neb_failure.json").exists()
    assert not result_of(shortlist)["converged"]


def test_a_limit_on_time_ends_a_hop_and_a_higher_one_goes_on(
    relaxed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ase_folder(relaxed)
    for name in ("neb_result.json", "climb.traj"):
        (folder / name).unlink()
    result = None
    for _ in range(2):  # the second time there is nothing to do within the same limit
        assert relax(relaxed, "--max-minutes", "1e-9") == 0
        assert "stopped by --max-minutes" in capsys.readouterr().out
        assert result in (None, result_of(relaxed))
        result = result_of(relaxed)
        assert (result["stopped"], result["converged"]) == ("seconds", False)
    assert not (folder / "climb.traj").exists()
    assert relax(relaxed, "--max-minutes", "10") == 0
    assert result_of(relaxed)["converged"]


def move_end(folder: Path, share: float) -> None:
    """Put the ion's end at this share of the way."""
    images = read(folder / "neb.extxyz", ":")
    mover = images[0].info["moving_atom"]
    start_a, end_a = (images[index].positions[mover].copy() for index in (0, -1))
    for index, image in enumerate(images):
        far = share * index / (len(images) - 1)
        image.positions[mover] = start_a + far * (end_a - start_a)
    write(folder / "neb.extxyz", images)


def test_ends_that_become_one_are_recorded(
    shortlist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    move_end(ase_folder(shortlist), 0.3)
    assert relax(shortlist) == 0
    result = result_of(shortlist)
    assert (result["collapsed"], result["converged"], result["energies_ev"]) == (True, False, [])
    assert "apart after relaxation" in result["collapsed_because"]
    assert result["collapsed_because"] in capsys.readouterr().out
    assert not (ase_folder(shortlist) / "band.traj").exists()


def test_an_ion_that_leaves_its_end_is_recorded(relaxed: Path) -> None:
    images = read(ase_folder(relaxed) / "neb.extxyz", ":")
    written_a = [image.positions.copy() for image in images]
    assert collapse(images, written_a) == ""
    mover = images[0].info["moving_atom"]
    images[-1].positions[mover] += 0.6 * (written_a[-1] - written_a[0])[mover]
    assert "from the end of a hop of" in collapse(images, written_a)
    images[-1].positions = written_a[-1]
    images[0].positions += 5.0  # all atoms alike: nothing has happened
    images[-1].positions += 5.0
    assert collapse(images, written_a) == ""


def test_another_calculator_needs_a_fresh_start(
    relaxed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ("--arguments", '{"asap_cutoff": true}')
    assert relax(relaxed, *other) == 1
    assert "begun with ase.calculators.emt:EMT; --fresh" in capsys.readouterr().out
    assert result_of(relaxed)["arguments"] == {}
    assert relax(relaxed, *other, "--fresh", "--max-steps", "1") == 1
    assert not (ase_folder(relaxed) / "neb_result.json").exists()
    said = json.loads((ase_folder(relaxed) / "neb_progress.json").read_text())
    assert said["arguments"] == {"asap_cutoff": True}


def test_two_commands_never_write_the_same_hop(
    shortlist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "_PATIENCE_S", 0.0)
    with (ase_folder(shortlist) / worker.LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert relax(shortlist) == 1
    assert "in_use: another process is at this hop" in capsys.readouterr().out
    assert not (ase_folder(shortlist) / "start.traj").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_package:Calculator", "No module named 'no_such_package'"),
        ("ase.calculators.emt:NoSuchClass", "NoSuchClass"),
        ("nonsense", "expected chgnet, mace, matgl or package.module:Class"),
    ],
)
def test_a_calculator_that_is_not_there_is_named(
    shortlist: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert relax(shortlist, calculator=name) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "package", "install"),
    [("chgnet", "chgnet", "ionscreen[mlip]"), ("mace", "mace", "mace-torch")],
)
def test_a_potential_that_is_not_installed_says_what_to_install(
    shortlist: Path, name: str, package: str, install: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    assert relax(shortlist, calculator=name) == 1
    assert "not installed; pip install" in (error := capsys.readouterr().err)
    assert install in error
    assert not (ase_folder(shortlist) / "neb_progress.json").exists()


def test_chgnet_relaxes_a_hop(shortlist: Path) -> None:
    pytest.importorskip("chgnet", reason="chgnet is not installed (extra mlip)")
    assert relax(shortlist, "--fmax", "0.3", "--num-cpus", "1", calculator="chgnet") == 0
    result = result_of(shortlist)
    assert (result["calculator"], result["collapsed"]) == ("chgnet-0.3.0", False)
    assert 0.1 < result["em_forward_ev"] < 3


def test_a_shortlist_that_was_written_for_another_code(
    tmp_path: Path, shortlist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ase_folder(shortlist).rename(tmp_path / "elsewhere")
    assert relax(shortlist) == 1
    assert "--code ase` first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("energies_ev", "minima"),
    [
        ([0, 0.2, 0.5, 0.2, 0], []),
        ([0, 0.5, 0.2, 0.6, 0.1], [2]),
        ([0, 0.5, 0.2, 0.2, 0.5, 0], [2]),  # one flat minimum, not two
        ([0, 0.5, 0.495, 0.51, 0], []),  # noise
        ([0, 0.4, -0.1, 0.3, 0.1, 0.4, 0], [2, 4]),
        ([0, -0.1, -0.2, -0.1, 0], [2]),
    ],
)
def test_minima_on_the_way(energies_ev: list[float], minima: list[int]) -> None:
    assert minima_of(energies_ev) == minima
    mirrored = minima_of(energies_ev[::-1])
    assert len(mirrored) == len(minima)


def test_a_profile_is_drawn_without_a_prediction_and_with_a_path_that_stands_still(
    tmp_path: Path,
) -> None:
    file = tmp_path / "profile.png"
    nothing = {"predicted_ev": None, "low_ev": None, "high_ev": None}
    draw_profile([0, 1, 1, 2], [0, 0.3, 0.3, 0.1], **nothing, title="a hop", file=file)
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="3 lengths and 2 energies"):
        draw_profile([0, 1, 2], [0, 1], **nothing, title="a hop", file=file)
