"""``screen shortlist``: what is chosen from a campaign, and the folder it comes in."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow.parquet
import pytest
from pymatgen.core import Structure

from models.dataset import DatasetError
from pathways.band import build_band
from pathways.convert import structure_from_crystal
from pathways.supercell import BandSettings
from pathways.types import Band, Hop
from screen.acquisition import node_hours
from screen.cli import main
from screen.extxyz_bands import band_of_frames, read_extxyz
from screen.reader import open_reader
from screen.refit_inputs import read_labels
from screen.shortlist import framework_of
from screen.sources.extxyz import crystal_from_frame, frame_keys, split_frames
from screen.sources.structure_json import crystal_from_json, structure_json
from screen.store import Store
from screen.stored_bands import read_bands
from tests.screen.conftest import crystal_of, environment, make_result, save_tiny_model

FILES = {"band.extxyz", "crystal.cif", "hop.json"}


class Shortlisted(NamedTuple):
    code: int
    err: str
    folder: Path

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of the manifest."""
        found: list[dict[str, Any]] = pyarrow.parquet.read_table(
            self.folder / "manifest.parquet"
        ).to_pylist()
        return found


Screen = Callable[..., Shortlisted]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crystals of the catalog, by both mechanisms, with barriers of an untrained model."""
    folder = tmp_path_factory.mktemp("campaign")
    model, db = save_tiny_model(folder / "tiny"), folder / "mg.duckdb"
    words = ["run", "--source", "catalog"]
    for system in ("Mg-Mn-O", "Mg-Ti-S", "Mg-In-?", "Mg-Mo-S", "Mg-P-S", "Mg-S", "Mg-Ti-O"):
        words += ["--chemsys", system]
    words += ["--engine", "inline", "--mechanism", "both", "--model", str(model), "--db", str(db)]
    assert main(words) == 0
    return db


@pytest.fixture
def screen(tmp_path: Path, campaign: Path, capsys: pytest.CaptureFixture[str]) -> Screen:
    """Runs the command, by default on the campaign and into a folder of its own."""
    names: Iterator[str] = (f"shortlist-{number}" for number in range(100))

    def call(*arguments: object, db: Path = campaign, folder: Path | None = None) -> Shortlisted:
        folder = folder or tmp_path / next(names)
        capsys.readouterr()
        words = ["shortlist", *map(str, arguments), "--db", str(db), "-o", str(folder)]
        code = main(words)
        return Shortlisted(code, capsys.readouterr().err, folder)

    return call


def ranked(db: Path, columns: str = "*") -> list[dict[str, Any]]:
    with open_reader(db) as reader:
        return reader.records(
            f"select {columns} from ranked_materials where em_1d_ev is not null "
            "order by em_1d_ev, material_id, ion, mechanism"
        )


def key(row: dict[str, Any]) -> tuple[str, str]:
    return row["material_id"], row["mechanism"]


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def frames_of(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(split_frames(file))


def same_band(one: Band, other: Band) -> bool:
    assert one.ion_number == other.ion_number
    assert np.array_equal(one.host_numbers, other.host_numbers)
    parts = ("lattice", "host_frac", "ion_frac")
    return all(np.allclose(getattr(one, p), getattr(other, p), rtol=0, atol=1e-8) for p in parts)


def test_the_lowest_barriers_come_first(screen: Screen, campaign: Path) -> None:
    done = screen("-n", "5", "--explore", "0", "--per-framework", "9")
    assert done.code == 0
    expected = ranked(campaign)[:5]
    assert [key(row) for row in done.rows] == [key(row) for row in expected]
    assert [row["hop_id"] for row in done.rows] == [row["limiting_hop_id"] for row in expected]
    assert [row["em_predicted_ev"] for row in done.rows] == [row["em_1d_ev"] for row in expected]
    assert [row["rank"] for row in done.rows] == [1, 2, 3, 4, 5]
    assert {row["why"] for row in done.rows} == {"top"}
    assert all(row["limiting"] and row["cost_node_hours"] is None for row in done.rows)
    names = {row["folder"] for row in done.rows}
    assert len(names) == 5
    assert {path.name for path in done.folder.iterdir()} == names | {
        "manifest.parquet",
        "manifest.csv",
        "README.md",
    }
    assert all({path.name for path in (done.folder / name).iterdir()} == FILES for name in names)


def test_two_shortlists_are_the_same_to_the_byte(screen: Screen) -> None:
    how = ("-n", "8", "--hops", "path", "--strategy", "expected-improvement")
    one, other = screen(*how), screen(*how)
    assert content(one.folder) == content(other.folder)
    assert len(content(one.folder)) > 20


def test_bands_read_back_as_they_were_predicted(screen: Screen, campaign: Path) -> None:
    done = screen("-n", "8", "--hops", "path")
    assert len({row["mechanism"] for row in done.rows}) == 2
    with open_reader(campaign) as reader:
        bands = read_bands(reader, [row["hop_id"] for row in done.rows])
    for row in done.rows:
        band = bands[row["hop_id"]]
        assert isinstance(band, Band)
        frames = frames_of(done.folder / row["folder"] / "band.extxyz")
        crystals = [crystal_from_frame(frame) for frame in frames]
        assert same_band(band_of_frames(crystals), band)
        assert all(np.array_equal(one.numbers, crystals[0].numbers) for one in crystals)
        assert crystals[0].numbers[0] == band.ion_number
        said = frame_keys(frames[0])
        for name in ("hop_id", "material_id", "ion", "mechanism", "model_id"):
            assert said[name] == row[name]
        assert float(said["em_predicted_ev"]) == pytest.approx(row["em_predicted_ev"], abs=1e-6)
        assert "em_ev" not in said


def test_a_band_lacks_nothing_but_its_label(screen: Screen, tmp_path: Path) -> None:
    done = screen("-n", "1")
    (row,) = done.rows
    path = done.folder / row["folder"] / "band.extxyz"
    labelled = read_extxyz(path)
    assert [(name, why.partition(":")[0]) for name, why in labelled.refused] == [
        (row["hop_id"], "no_label")
    ]
    came_back = tmp_path / "band.extxyz"
    came_back.write_text(path.read_text().replace(" image=", " em_ev=0.5 xc=PBE image="))
    found = read_extxyz(came_back)
    assert (found.names, found.em_ev.tolist(), found.xc) == ((row["hop_id"],), [0.5], ("PBE",))


def test_other_programs_read_crystal_and_band(screen: Screen, campaign: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    done = screen("-n", "3")
    with open_reader(campaign) as reader:
        stored = {
            row["material_id"]: crystal_from_json(row["structure"])
            for row in reader.records("select material_id, structure from materials")
        }
    for row in done.rows:
        folder = done.folder / row["folder"]
        expected = structure_from_crystal(stored[row["material_id"]])
        found = Structure.from_file(folder / "crystal.cif")
        assert [site.specie for site in found] == [site.specie for site in expected]
        gap = found.frac_coords - expected.frac_coords
        assert np.abs(gap - np.rint(gap)).max() < 1e-6
        assert found.lattice.parameters == pytest.approx(expected.lattice.parameters, abs=1e-5)
        images = ase_io.read(folder / "band.extxyz", ":")
        assert len(images) == 5
        ours = [crystal_from_frame(frame) for frame in frames_of(folder / "band.extxyz")]
        for image, crystal in zip(images, ours, strict=True):
            assert np.array_equal(image.numbers, crystal.numbers)
            assert np.allclose(image.positions, crystal.frac @ crystal.lattice, atol=1e-8)
            assert image.info["hop_id"] == row["hop_id"]


def test_hop_json_is_enough_to_build_the_band_in_any_supercell(screen: Screen) -> None:
    done = screen("-n", "6")
    for row in done.rows:
        folder = done.folder / row["folder"]
        said = json.loads((folder / "hop.json").read_text())
        crystal = crystal_from_json(said["crystal"])
        hop = Hop(
            ion=said["ion"],
            start=said["start"],
            end=said["end"],
            image=tuple(said["image"]),
            length_a=said["length_a"],
            multiplicity=said["multiplicity"],
            clearance_a=said["clearance_a"],
            start_frac=np.array(said["start_frac"]),
            end_frac=np.array(said["end_frac"]),
            orbit=np.zeros((0, 5), dtype=np.int64),
            mechanism=said["mechanism"],
        )
        assert hop.id_in(said["material_id"]) == said["hop_id"] == row["hop_id"]
        written = band_of_frames(
            [crystal_from_frame(frame) for frame in frames_of(folder / "band.extxyz")]
        )
        assert same_band(written, build_band(crystal, hop, in_cell(said["supercell"])))
        large = build_band(crystal, hop, in_cell(said["neb"]["supercell"]))
        assert len(large.host_numbers) + 1 == said["neb"]["atoms"] == row["neb_atoms"]


def in_cell(supercell: list[int]) -> BandSettings:
    return BandSettings(max_atoms=10_000, supercell=tuple(supercell))


def test_all_hops_on_the_way_with_the_limiting_one_first(screen: Screen, campaign: Path) -> None:
    how = ("-n", "100", "--per-framework", "100", "--hops", "path", "--explore", "0")
    longest = 0
    for d in (1, 2, 3):
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in screen(*how, "--dimension", d).rows:
            found.setdefault(key(row), []).append(row)
        expected = {key(row): row for row in ranked(campaign) if row[f"em_{d}d_ev"] is not None}
        assert found.keys() == expected.keys()
        for name, rows in found.items():
            assert {row["hop_id"] for row in rows} == set(expected[name][f"path_{d}d_hop_ids"])
            assert [row["limiting"] for row in rows] == [True] + [False] * (len(rows) - 1)
            assert rows[0]["way_em_ev"] == max(row["em_predicted_ev"] for row in rows)
        barriers = [rows[0]["way_em_ev"] for rows in found.values()]
        assert barriers == sorted(barriers)
        longest = max(longest, *map(len, found.values()))
    assert longest > 1


@pytest.mark.parametrize(
    ("option", "column"), [("--per-framework", "framework"), ("--per-chemsys", "chemsys")]
)
def test_caps(screen: Screen, option: str, column: str) -> None:
    free = screen("-n", "100", "--per-framework", "100").rows
    for cap in (1, 2):
        done = screen("-n", "100", "--per-framework", "100", option, cap)
        counts = Counter(row[column] for row in done.rows)
        assert counts == {name: min(n, cap) for name, n in Counter(r[column] for r in free).items()}
        first = next(key(row) for row in free if row["why"] == "top")
        assert key(done.rows[0]) == first
        assert ("because of the caps" in done.err) == (len(done.rows) < len(free))


def test_framework_is_the_host_without_names() -> None:
    def framework(name: str, space_group: str | None) -> str:
        species = json.dumps(json.loads(structure_json(crystal_of(name)))["species"])
        row = {"material_id": name, "ion": name[:2], "species": species}
        return framework_of({**row, "space_group": space_group})

    assert framework("MgAl2O4", "Fd-3m") == "AB2 Fd-3m"
    assert framework("LiFePO4", "Pnma") == "ABC4 Pnma"
    assert framework("LiCoO2", "R-3m") == "AB2 R-3m"
    assert framework("MgO", None) == "MgO"  # alike to nothing


def test_a_share_explores_what_is_open_near_the_threshold(screen: Screen, campaign: Path) -> None:
    highest = ranked(campaign)[5]["em_1d_ev"] + 1e-9
    how = ("-n", "10", "--per-framework", "100", "--max-em", highest)
    done = screen(*how, "--explore", "0.3")
    chosen = [row for row in done.rows if row["why"] == "top"]
    explored = [row for row in done.rows if row["why"] == "explore"]
    assert (len(chosen), len(explored)) == (6, 3)
    assert [row["rank"] for row in explored] == [7, 8, 9]
    assert all(row["em_predicted_ev"] <= highest for row in chosen)
    assert all(row["em_predicted_ev"] > highest for row in explored)
    scores = [row["uncertainty"] for row in explored]
    assert scores == sorted(scores, reverse=True)
    for row in explored:
        low, u, high = (np.log(row[f"way_em_{end}ev"] + 0.1) for end in ("low_", "", "high_"))
        sigma = (high - low) / 2 / 1.6448536269514722
        gap = (u - np.log(highest + 0.1)) / sigma
        assert row["uncertainty"] == pytest.approx(sigma * np.exp(-(gap**2) / 2))
    assert len(screen(*how, "--explore", "0").rows) == 6


@pytest.mark.parametrize(
    ("strategy", "column"),
    [("uncertainty", "uncertainty"), ("expected-improvement", "expected_improvement_ev")],
)
def test_strategies_take_the_highest_score(screen: Screen, strategy: str, column: str) -> None:
    how = ("--strategy", strategy, "--per-framework", "100", "--explore", "0")
    everything = screen("-n", "100", *how).rows
    scores = [row[column] for row in everything]
    assert scores == sorted(scores, reverse=True)
    assert [key(row) for row in screen("-n", "4", *how).rows] == [key(r) for r in everything[:4]]
    assert {row["why"] for row in everything} == {strategy}


def test_a_budget_is_kept_and_buys_the_most_score(screen: Screen) -> None:
    price = ("--node-hours-per-image", "3", "--images", "7", "--per-framework", "100")
    how = (*price, "--strategy", "expected-improvement", "--explore", "0")
    everything = screen("-n", "100", *how).rows
    for row in everything:
        assert row["cost_node_hours"] == pytest.approx(node_hours(row["neb_atoms"], 7, 3.0))
    budget = sum(row["cost_node_hours"] for row in everything) / 3
    done = screen("-n", "100", *how, "--budget", budget)
    assert 0 < sum(row["cost_node_hours"] for row in done.rows) <= budget
    worth = [row["expected_improvement_ev"] / row["cost_node_hours"] for row in done.rows]
    assert worth == sorted(worth, reverse=True)
    left = budget - sum(row["cost_node_hours"] for row in done.rows)
    taken = {row["hop_id"] for row in done.rows}
    assert all(row["cost_node_hours"] > left for row in everything if row["hop_id"] not in taken)
    assert "because of --budget" in done.err


def test_front_is_a_column_and_a_filter(screen: Screen) -> None:
    everything = screen("-n", "100", "--per-framework", "100").rows
    front = screen("-n", "100", "--per-framework", "100", "--pareto").rows
    assert {key(row) for row in front} == {key(row) for row in everything if row["pareto"]}
    assert 0 < len(front) < len(everything)


def test_what_has_come_back_is_not_computed_again(
    screen: Screen, campaign: Path, tmp_path: Path
) -> None:
    db = tmp_path / "again.duckdb"
    db.write_bytes(campaign.read_bytes())
    first, second = ranked(db)[:2]
    barriers = ((first, True), (second, False))
    with duckdb.connect(str(db)) as con:
        for row, converged in barriers:
            con.execute(
                "insert into barriers values (?, 'vasp', 'x', 0.5, 0.5, 'PBE', null, ?, now())",
                [row["limiting_hop_id"], converged],
            )
    done = screen("-n", "3", "--explore", "0", db=db)
    assert done.rows[0]["hop_id"] == second["limiting_hop_id"]
    assert "1 materials passed over because their barriers have come back" in done.err
    known = screen("-n", "3", "--explore", "0", "--include-known", db=db)
    assert known.rows[0]["hop_id"] == first["limiting_hop_id"]


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--ion", "Na"], "drop --ion"),
        (["--max-em", "0.0001"], "raise --max-em"),
        (["--min-applicability", "1"], "lower --min-applicability"),
        (["--min-p-good", "1"], "lower --min-p-good"),
        (["--budget", "1e-9", "--node-hours-per-image", "1"], "raise --budget"),
    ],
)
def test_nothing_to_show_says_what_to_change(
    screen: Screen, arguments: list[str], advice: str
) -> None:
    done = screen(*arguments)
    assert done.code == 3
    assert advice in done.err.splitlines()[-1]
    assert not done.folder.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "10"], "pass --node-hours-per-image"),
        (["--budget", "-1", "--node-hours-per-image", "1"], "expected above 0"),
        (["--ion", "mg"], "did you mean Mg?"),
        (["--dimension", "4"], "--dimension"),
        (["--explore", "1.5"], "--explore"),
    ],
)
def test_wrong_use(screen: Screen, arguments: list[str], said: str) -> None:
    done = screen(*arguments)
    assert done.code == 2
    assert said in done.err
    assert not done.folder.exists()


def test_only_a_shortlist_is_overwritten(screen: Screen, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    assert screen("-n", "2", folder=folder).code == 0  # empty
    again = screen("-n", "3", folder=folder)
    assert (again.code, len(again.rows)) == (2, 2)
    assert "pass --overwrite" in again.err
    assert screen("-n", "3", "--overwrite", folder=folder).code == 0
    assert len(again.rows) == 3
    result = folder / again.rows[0]["folder"] / "OUTCAR"
    result.write_text("days of work")
    lost = screen("-n", "4", "--overwrite", folder=folder)
    assert lost.code == 2
    assert "OUTCAR" in lost.err
    assert result.read_text() == "days of work"
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").touch()
    assert "no shortlist" in screen("--overwrite", folder=other).err
    assert "a file is there" in screen("--overwrite", folder=other / "notes.txt").err
    assert "no folder" in screen(folder=tmp_path / "none" / "here").err
    assert not list(tmp_path.glob(".*"))


def hostile(path: Path, material_id: str, formula: str) -> Path:
    """A campaign over one crystal whose names are no names."""
    result = make_result("MgO", [0.4], material_id=material_id)
    assert result.candidate is not None
    info = {
        **result.candidate.info,
        "formula": formula,
        "license": "<b>free</b>",
        "attribution": "someone\n# and | more `code`",
        "chemsys": "=1+1",
    }
    candidate = type(result.candidate)(material_id, "Mg", result.candidate.crystal, info)
    with Store.open(path) as store:
        store.begin_campaign("c1", {"ion": "Mg"}, "test", "1", "m@1", expected=1)
        store.write("c1", "m@1", [type(result)(**{**vars(result), "candidate": candidate})])
        store.finish_campaign("c1")
    return path


@pytest.mark.parametrize(
    ("material_id", "formula"),
    [
        ("../../etc/passwd", ".."),
        ("a/b\\c", "<script>alert(1)</script>"),
        ("=cmd|' /C calc'!A0", "=HYPERLINK(1)"),
        ('one\ntwo\r"three"\t%41', "| a | b |\n\n# title"),
        ("x" * 500, "y" * 500),
        ("mp:1:Mg:0-0:9,9,9", "é✓\u2028`x`"),
    ],
)
def test_hostile_names_stay_inside(
    screen: Screen, tmp_path: Path, material_id: str, formula: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    db = hostile(place / "h.duckdb", material_id, formula)
    done = screen("-n", "5", db=db, folder=place / "out")
    assert done.code == 0, done.err
    assert {path.name for path in place.iterdir()} == {"h.duckdb", "out"}
    (row,) = done.rows
    assert row["material_id"] == material_id  # as it is, where that does no harm
    (folder,) = (path for path in done.folder.iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == FILES
    assert len(folder.name) < 200
    assert json.loads((folder / "hop.json").read_text())["hop_id"] == row["hop_id"]

    text = (done.folder / "manifest.csv").read_text()
    assert len(text.split("\n")) == 3
    (cells,) = csv.DictReader(io.StringIO(text))
    assert set(cells) == set(row)
    assert not any(cell.startswith(("=", "@", "+")) for cell in cells.values())

    readme = (done.folder / "README.md").read_text()
    assert "<script>" not in readme
    assert "<b>" not in readme
    titles = [line for line in readme.splitlines() if line.startswith("#")]
    assert len(titles) == 7
    (entry,) = (line for line in readme.splitlines() if line.startswith("| 1 |"))
    assert entry.replace("\\|", "").count("|") == 7

    frames = frames_of(folder / "band.extxyz")
    band_of_frames([crystal_from_frame(frame) for frame in frames])
    assert all(float(frame_keys(frame)["em_predicted_ev"]) == 0.4 for frame in frames)
    assert screen("--overwrite", db=db, folder=done.folder).code == 0


def test_a_hop_without_a_band_costs_itself_only(
    screen: Screen, campaign: Path, tmp_path: Path
) -> None:
    db = tmp_path / "broken.duckdb"
    db.write_bytes(campaign.read_bytes())
    first, *others = ranked(db)
    second = next(row for row in others if row["material_id"] != first["material_id"])
    with duckdb.connect(str(db)) as con:
        con.execute(
            "update materials set structure = ? where material_id = ?",
            [structure_json(crystal_of("LiFePO4")), first["material_id"]],
        )
    done = screen("-n", "3", "--explore", "0", db=db)
    assert done.code == 0
    assert done.rows[0]["hop_id"] == second["limiting_hop_id"]
    assert f"left out {first['limiting_hop_id']}: " in done.err


KILLED = """
import os, sys
seen = 0
def watch(event, arguments):
    global seen
    if event == "open" and str(arguments[0]).endswith("band.extxyz"):
        seen += 1
        if seen == 2:
            os.kill(os.getpid(), int(sys.argv[1]))
sys.addaudithook(watch)
from screen.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_half_way_leaves_no_half_folder(
    screen: Screen, campaign: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Killed while it writes the second band, first with nothing there, then with a shortlist."""
    folder = tmp_path / "out"
    words = ["shortlist", "-n", "6", "--db", str(campaign), "-o", str(folder), "--overwrite"]
    command = [sys.executable, "-c", KILLED, str(int(number)), *words]

    def killed() -> None:
        done = subprocess.run(command, env=environment(), capture_output=True, check=False)
        assert done.returncode == (130 if number == signal.SIGTERM else -number), done.stderr

    killed()
    assert not folder.exists()
    assert screen("-n", "2", folder=folder).code == 0
    before = content(folder)
    killed()
    assert content(folder) == before
    left = [path.name for path in tmp_path.iterdir() if path != folder]
    assert left == [] if number == signal.SIGTERM else all(n.startswith(".out.") for n in left)
    assert screen("-n", "6", "--overwrite", folder=folder).code == 0


def test_json_is_one_document(screen: Screen, capsys: pytest.CaptureFixture[str], campaign: Path,
                              tmp_path: Path) -> None:  # fmt: skip
    words = ["shortlist", "-n", "2", "--json", "--db", str(campaign), "-o", str(tmp_path / "out")]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["per_framework"] == 2
    assert [row["rank"] for row in document["hops"]] == [1, 2]
    assert document["left_out"] == []


def test_manifest_is_no_table_of_computed_barriers(screen: Screen, campaign: Path) -> None:
    """Else ``screen refit --data manifest.csv`` would learn the model's own predictions."""
    done = screen("-n", "2")
    with pytest.raises(DatasetError, match="no rows with hop_id and em_ev"):
        read_labels([done.folder / "manifest.csv"], campaign)
