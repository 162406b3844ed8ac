"""Energies along a band, and ``screen neb profiles``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from screen.cli import main
from screen.neb_results.profiles import path_of_positions, profile_of
from tests.screen.neb_results.conftest import hop_of

TWO_SADDLES = [0.0, 0.3, 0.5, 0.2, 0.1, 0.4, 0.7, 0.35, 0.05]


def test_one_hump_is_one_climb() -> None:
    found = profile_of([-5.0, -4.8, -4.4, -4.6, -4.9], [0.0, 1.0, 2.0, 3.0, 4.0])
    assert found.energies_ev == pytest.approx((0.0, 0.2, 0.6, 0.4, 0.1))
    assert found.intermediate_minima == 0
    assert found.segments_forward_ev == pytest.approx((0.6,))
    assert found.segments_reverse_ev == pytest.approx((0.5,))
    assert found.path_a == (0.0, 1.0, 2.0, 3.0, 4.0)


def test_a_minimum_on_the_way_makes_two_climbs() -> None:
    found = profile_of(TWO_SADDLES)
    assert found.intermediate_minima == 1
    assert found.segments_forward_ev == pytest.approx((0.5, 0.6))
    assert found.segments_reverse_ev == pytest.approx((0.4, 0.65))
    assert found.highest_segment_ev == pytest.approx(0.65)
    assert profile_of(TWO_SADDLES, saddle_ev=0.8).segments_forward_ev == pytest.approx((0.5, 0.7))


def test_the_way_back_is_the_way_turned_round() -> None:
    there, back = profile_of(TWO_SADDLES), profile_of(TWO_SADDLES[::-1])
    assert there.segments_forward_ev == pytest.approx(back.segments_reverse_ev[::-1])
    assert there.intermediate_minima == back.intermediate_minima
    assert there.highest_segment_ev == pytest.approx(back.highest_segment_ev)


@pytest.mark.parametrize(
    ("energies_ev", "minima"),
    [
        ([0.0, 0.5, 0.49, 0.5, 0.0], 0),  # shallower than images scatter
        ([0.0, 0.5, 0.47, 0.5, 0.0], 1),
        ([0.0, -0.3, 0.5, 0.0], 1),  # the start was no minimum
        ([0.0, 0.5, 0.2, 0.2, 0.5, 0.0], 1),  # a flat one
        ([0.0, 0.5, 0.1, 0.6, 0.2, 0.7, 0.0], 2),
        ([0.0, 0.5, 0.2, 0.3], 1),
        ([0.0, 0.5, 0.3, 0.2], 0),  # the end is the minimum
    ],
)
def test_minima(energies_ev: list[float], minima: int) -> None:
    assert profile_of(energies_ev).intermediate_minima == minima


@pytest.mark.parametrize(
    "path_a", [None, "path", [0.0, 1.0], [0.0, 2.0, 1.0], [0.0, 1.0, float("nan")], [0, 0, 0]]
)
def test_a_path_that_is_none_is_left_out(path_a: Any) -> None:
    assert profile_of([0.0, 0.5, 0.1], path_a).path_a is None


def test_the_length_of_a_path_does_not_depend_on_where_it_lies() -> None:
    rng = np.random.default_rng(0)
    places = rng.normal(size=(5, 3, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    length = path_of_positions(places)
    assert path_of_positions(places @ turn + [1.0, 2.0, 3.0]) == pytest.approx(length)
    assert length[0] == 0.0
    assert length[1] == pytest.approx(np.sqrt(((places[1] - places[0]) ** 2).sum()))


@pytest.fixture
def filled(db: Path, tmp_path: Path) -> Path:
    """Two hops with profiles, of which one has no path, and a barrier alone."""
    for number, (name, path_a) in enumerate((("LiCoO2", range(9)), ("LiFePO4", None))):
        document = {
            "hop_id": hop_of(name),
            "energies_ev": TWO_SADDLES,
            "path_a": None if path_a is None else list(path_a),
            "converged": True,
            "calculator": "m:C",
        }
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        (folder / "neb_result.json").write_text(json.dumps(document))
    (tmp_path / "known.csv").write_text(f'hop_id,em_ev,converged\n"{hop_of("LiCoO2")}",0.5,yes\n')
    assert main(["neb", "read", str(tmp_path), "--db", str(db)]) == 0
    return db


def test_profiles_are_shown_and_drawn(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    folder = tmp_path / "figures" / "profiles"
    assert main(["neb", "profiles", "--db", str(filled), "-o", str(folder)]) == 0
    said = capsys.readouterr()
    _, *lines = said.out.splitlines()
    assert [line.split()[0] for line in lines] == [hop_of("LiCoO2"), hop_of("LiFePO4")]
    assert all({"ase:m:C", "0.700", "0.650"} <= set(line.split()) for line in lines)
    [picture] = folder.iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "LiCoO2" in picture.name
    assert f"for want of a path: {hop_of('LiFePO4')}" in said.err
    assert main(["neb", "profiles", "--db", str(filled), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["energies_ev"] == TWO_SADDLES
    assert (first["path_a"], second["path_a"]) == (list(range(9)), None)
    assert first["em_low_ev"] < first["em_ev"] < first["em_high_ev"]


def test_one_profile_as_a_file(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["neb", "profiles", "--db", str(filled), "-o", str(tmp_path / "one.png")]
    assert main([*words, "--hop", hop_of("LiCoO2")]) == 0
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((tmp_path / "run0" / "neb_result.json").read_text())
    (tmp_path / "run0" / "neb_result.json").write_text(json.dumps(document | {"calculator": "m:D"}))
    assert main(["neb", "read", str(tmp_path / "run0"), "--db", str(filled)]) == 0
    capsys.readouterr()
    assert main([*words, "--hop", hop_of("LiCoO2")]) == 2
    assert "2 profiles for one file" in capsys.readouterr().err
    assert main([*words, "--hop", "nowhere:0-1:0,0,0"]) == 3


def test_no_profile_yet(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["neb", "profiles", "--db", str(db)]) == 3
    assert "screen neb read" in capsys.readouterr().err
