"""``screen neb write`` on shortlists that are not whole: each hop named, the others written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from screen.cli import main
from screen.neb.folders import replacing_folder, write_shortlist
from screen.neb.settings import NebSettings
from tests.screen.neb.conftest import AddHop, images_of


def outcomes(shortlist: Path, **settings: object) -> list[tuple[str, str]]:
    found = write_shortlist(shortlist, "vasp", NebSettings(**settings))  # type: ignore[arg-type]
    return [(outcome.state, outcome.reason) for outcome in found]


def lines_of(folder: Path) -> list[str]:
    return (folder / "band.extxyz").read_text().splitlines()


def save(folder: Path, lines: list[str]) -> None:
    (folder / "band.extxyz").write_text("\n".join(lines) + "\n")


def move_an_atom_in_one_image(folder: Path) -> None:
    lines = lines_of(folder)
    symbol, x, y, z = lines[-1].split()
    save(folder, [*lines[:-1], f"{symbol} {float(x) + 0.4} {y} {z}"])


def move_an_atom_in_every_image(folder: Path) -> None:
    lines = lines_of(folder)
    frame = len(lines) // 5
    for last in range(frame - 1, len(lines), frame):
        symbol, x, y, z = lines[last].split()
        lines[last] = f"{symbol} {float(x) + 0.4} {y} {z}"
    save(folder, lines)


def drop_an_atom(folder: Path) -> None:
    lines = lines_of(folder)
    frame = len(lines) // 5
    kept = [line for index, line in enumerate(lines) if index % frame != frame - 1]
    save(folder, [str(frame - 3) if line == str(frame - 2) else line for line in kept])


def drop_an_atom_of_one_image(folder: Path) -> None:
    lines = lines_of(folder)
    lines[0] = str(int(lines[0]) - 1)
    save(folder, lines[:2] + lines[3:])


def drop_an_image(folder: Path) -> None:
    lines = lines_of(folder)
    save(folder, lines[: len(lines) * 4 // 5])


def name_another_hop(folder: Path) -> None:
    save(folder, [line.replace("LiFePO4:Li", "LiMnPO4:Li") for line in lines_of(folder)])


def change(**entries: object) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        document = json.loads((folder / "hop.json").read_text())
        (folder / "hop.json").write_text(json.dumps(document | entries))

    return make


DEFECTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "moved": (move_an_atom_in_one_image, "bad_band", "2 atoms move"),
    "moved everywhere": (move_an_atom_in_every_image, "bad_band", "elsewhere than hop.json"),
    "dropped": (drop_an_atom, "bad_band", "expected"),
    "dropped once": (drop_an_atom_of_one_image, "bad_band", "other atoms"),
    "image dropped": (drop_an_image, "bad_band", "4 frames"),
    "other hop": (name_another_hop, "bad_band", "LiMnPO4"),
    "no hop.json": (lambda folder: (folder / "hop.json").unlink(), "no_hop_json", "shortlist"),
    "no band": (lambda folder: (folder / "band.extxyz").unlink(), "no_band", "shortlist"),
    "no JSON": (lambda folder: (folder / "hop.json").write_text("{"), "bad_hop_json", "JSON"),
    "no id": (change(hop_id=None), "bad_hop_json", "hop_id is missing"),
    "bad cell": (change(supercell=[0] * 9), "bad_hop_json", "positive determinant"),
    "half a cell": (change(supercell=[1.5] * 9), "bad_hop_json", "9 integers"),
    "no vector": (change(end_frac=[0, "x", 1]), "bad_hop_json", "3 numbers"),
    "other ends": (change(end=9), "hop_mismatch", "this crystal"),
    "mechanism": (change(mechanism="interstitial"), "other_mechanism", "vacancy or dilute"),
    "species": (
        change(crystal={"species": ["Li", "Q"], "lattice": [], "frac": []}),
        "bad_hop_json",
        "'Q'",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_costs_its_own_hop_alone(
    add_hop: AddHop, capsys: pytest.CaptureFixture[str], defect: str
) -> None:
    broken, sound = add_hop("LiFePO4"), add_hop("LiCoO2")
    spoil, reason, said = DEFECTS[defect]
    spoil(broken)
    assert main(["neb", "write", str(broken.parent), "--code", "ase", "--linear", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["state"], first["reason"]) == ("failed", reason)
    assert said in first["detail"]
    assert second["state"] == "written"
    assert not (broken / "ase").exists()
    assert (sound / "ase" / "neb.extxyz").exists()


def test_failures_are_named_on_stderr_and_all_failing_is_an_error(
    add_hop: AddHop, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = add_hop("LiFePO4")
    drop_an_image(folder)
    assert main(["neb", "write", str(folder.parent), "--code", "ase"]) == 1
    said = capsys.readouterr().err
    assert f"note: {folder.name}: bad_band" in said
    assert "none of 1 hops could be written" in said


def test_what_is_written_stays_without_overwrite(
    add_hop: AddHop, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = add_hop("LiFePO4")
    arguments = ["neb", "write", str(folder.parent), "--code", "ase"]
    assert main(arguments) == 0
    (folder / "ase" / "neb_result.json").write_text("{}")
    before = (folder / "ase" / "neb.extxyz").read_bytes()
    assert main([*arguments, "--images", "2"]) == 0
    assert "kept" in capsys.readouterr().err
    assert (folder / "ase" / "neb.extxyz").read_bytes() == before
    assert main([*arguments, "--images", "2", "--overwrite"]) == 0
    assert (folder / "ase" / "neb.extxyz").read_bytes() != before
    assert sorted(path.name for path in (folder / "ase").iterdir()) == [
        "meta.json",
        "neb.extxyz",
        "run_neb.py",
    ]


def test_the_same_input_gives_the_same_files(add_hop: AddHop) -> None:
    folder = add_hop("LiCoO2")
    found = []
    for _ in range(2):
        assert main(["neb", "write", str(folder.parent), "--code", "vasp", "--overwrite"]) == 0
        files = sorted(path for path in (folder / "vasp").rglob("*") if path.is_file())
        found.append([(path.name, path.read_bytes()) for path in files])
    assert found[0] == found[1]


def test_a_hop_too_large_or_too_close_is_refused(add_hop: AddHop) -> None:
    folder = add_hop("LiCoO2")
    assert outcomes(folder.parent, max_atoms=100) == [("failed", "too_many_atoms")]
    assert outcomes(folder.parent, min_width_a=14.0, max_atoms=1000) == [("written", "")]


def test_a_path_through_an_atom_is_refused_when_straight(tmp_path: Path) -> None:
    """The ion's straight way over 2 x the nearest distance leads through the site between."""
    from dataclasses import replace

    from tests.screen.neb.conftest import shortest_hop, write_band

    crystal, hop = shortest_hop("LiCoO2")
    image = tuple(2 * step for step in hop.image)
    end_frac = crystal.frac[hop.end] + image
    longer = replace(hop, image=image, end_frac=end_frac, length_a=2 * hop.length_a)
    folder = tmp_path / "shortlist" / "001"
    write_band(folder, longer.id_in("LiCoO2"), crystal, longer)
    assert outcomes(folder.parent, linear=True) == [("failed", "overlapping_atoms")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere", "--code", "vasp"],
        [".", "--code", "castep"],
        [".", "--code", "vasp", "--functional", "B3LYP"],
        [".", "--code", "vasp", "--images", "0"],
        [".", "--code", "vasp", "--min-width", "0"],
        [".", "--code", "qe", "--pseudo-dir", "nowhere"],
    ],
)
def test_wrong_use(arguments: list[str], shortlist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shortlist)
    assert main(["neb", "write", *arguments]) == 2
    assert not list(shortlist.rglob("meta.json"))


def test_an_empty_folder_is_no_shortlist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["neb", "write", str(tmp_path), "--code", "vasp"]) == 1
    assert "screen shortlist" in capsys.readouterr().err


def test_half_a_folder_never_takes_the_place_of_a_whole_one(tmp_path: Path) -> None:
    target = tmp_path / "vasp"
    target.mkdir()
    (target / "OUTCAR").write_text("done")

    def fail() -> None:
        with replacing_folder(target) as temporary:
            (temporary / "INCAR").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["vasp"]
    assert [path.name for path in target.iterdir()] == ["OUTCAR"]


def test_every_image_is_recorded(add_hop: AddHop) -> None:
    folder = add_hop("LiFePO4")
    assert main(["neb", "write", str(folder.parent), "--code", "vasp", "--images", "3"]) == 0
    meta = json.loads((folder / "vasp" / "meta.json").read_text())
    images = images_of(folder, images=3)
    assert meta["hop_id"] == images.listed.hop_id
    assert (meta["n_atoms"], meta["moving_atom"]) == (len(images.numbers), images.mover)
    assert (meta["intermediate_images"], meta["interpolation"]) == (3, "idpp")
    assert meta["model_id"] == "m@1"
    assert min(meta["widths_a"]) >= 10 - 1e-6
