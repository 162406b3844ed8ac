"""``screen refit``: from what came back, in whatever form, to a model that predicts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from models import checkpoint
from models.blend import Blend
from models.blend_training import BlendRecipe, rows_of, train_blend
from models.dataset import LabelledBands, load_bands
from models.hdf5 import write_bands
from pathways.elements import SYMBOLS
from screen.cli import main
from screen.refit_inputs import read_labels
from tests.models.labelled import all_bands, labelled_as, write_published
from tests.screen.conftest import environment, save_tiny_model

FAST = ("--folds", "2", "--repeats", "1")
HOPS = "select hop_id, length_a from hops where supercell is not null order by hop_id"


@pytest.fixture(scope="module")
def blend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model of the shipped kind, from labels of a known functional."""
    labelled = labelled_as(all_bands())
    rows, _ = rows_of(replace(labelled, xc=("GGA",) * len(labelled)))
    data = {"source": "known.json", "sha256": "7" * 64}
    folder = tmp_path_factory.mktemp("models") / "small"
    checkpoint.save(*train_blend(rows, "small", BlendRecipe(2, 1), data), folder)
    return folder


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign over three crystals of the catalog, one of its hops' barriers not converged."""
    folder = tmp_path_factory.mktemp("campaign")
    db = folder / "mg.duckdb"
    model = save_tiny_model(folder / "tiny")
    words = ["run", "--chemsys", "Mg-*", "--source", "catalog", "--limit", "3", "--cutoff", "8"]
    assert main([*words, "--engine", "inline", "--model", str(model), "--db", str(db)]) == 0
    with duckdb.connect(str(db)) as con:
        hops = con.execute(HOPS).fetchall()
        for number, (hop_id, length_a) in enumerate(hops):
            em_ev = length_a / 8 + 0.1
            barrier = [hop_id, em_ev - 0.05, em_ev, "PBE", number > 0]
            insert_barrier(con, *barrier)
    assert len(hops) >= 7
    return db


def insert_barrier(
    con: Any,
    hop_id: str,
    forward_ev: float | None,
    reverse_ev: float | None,
    functional: str | None = "PBE",
    converged: bool | None = True,
    **more: Any,
) -> None:
    row = {"method": "vasp", "source": "runs", "u": None, "at": "2026-11-01"} | more
    con.execute(
        "insert into barriers values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(hop_id, row["method"], row["source"], forward_ev, reverse_ev),
            *(functional, row["u"], converged, row["at"]),
        ],
    )


@pytest.fixture(scope="module")
def stored(campaign: Path) -> LabelledBands:
    return read_labels([], campaign).bands


def run(
    capsys: pytest.CaptureFixture[str], *words: str | Path, fast: Sequence[str] = FAST
) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["refit", *map(str, words), *fast])
    out, err = capsys.readouterr()
    return code, out, err


def as_csv(path: Path, data: LabelledBands, em_ev: Sequence[Any] | None = None) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["hop_id", "em_ev", "functional"])
        values = data.em_ev.tolist() if em_ev is None else em_ev
        writer.writerows(zip(data.names, values, data.xc, strict=True))
    return path


def as_table(path: Path, data: LabelledBands) -> Path:
    columns = zip(data.names, data.em_ev.tolist(), data.xc, strict=True)
    keys = ("hop_id", "em_ev", "functional")
    path.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in columns]))
    return path


def as_published(path: Path, data: LabelledBands) -> Path:
    entries = []
    for index, band in enumerate(data.bands):
        folded = band.folded
        atoms = {
            "lattice_mat": folded.lattice.tolist(),
            "coords": folded.frac.tolist(),
            "elements": [SYMBOLS[z] for z in folded.numbers],
            "cartesian": False,
        }
        one = {"sys_name": data.names[index], "target": data.em_ev[index], "atoms": atoms}
        entries.append(one | {"xc": data.xc[index]})
    path.write_text(json.dumps(entries))
    return path


def as_hdf5(path: Path, data: LabelledBands) -> Path:
    write_bands(path, data)
    return path


def as_extxyz(path: Path, data: LabelledBands) -> Path:
    """Whole cells, the moving ion somewhere among the other atoms."""
    lines = []
    for index, band in enumerate(data.bands):
        at = len(band.host_numbers) // 2
        numbers = np.insert(band.host_numbers, at, band.ion_number)
        lattice = " ".join(f"{x:.10f}" for x in band.lattice.ravel())
        for ion_frac in band.ion_frac:
            frac = np.insert(band.host_frac, at, ion_frac - np.floor(ion_frac), axis=0)
            lines += [
                str(len(numbers)),
                f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="T T T" '
                f"hop_id={data.names[index]} ion={SYMBOLS[band.ion_number]} "
                f"em_ev={data.em_ev[index]:.12g} xc={data.xc[index]}",
            ]
            for z, place in zip(numbers, frac @ band.lattice, strict=True):
                lines.append(f"{SYMBOLS[z]} " + " ".join(f"{x:.10f}" for x in place))
    path.write_text("\n".join(lines) + "\n")
    return path


FORMATS: dict[str, Callable[[Path, LabelledBands], Path]] = {
    "bands.json": as_published,
    "bands.h5": as_hdf5,
    "bands.extxyz": as_extxyz,
    "barriers.csv": as_csv,
    "barriers.json": as_table,
}


def test_the_store_gives_the_higher_of_both_ways(campaign: Path, stored: LabelledBands) -> None:
    with duckdb.connect(str(campaign), read_only=True) as con:
        lengths = dict(con.execute(HOPS).fetchall())
    assert sorted(stored.names) == sorted(lengths)[1:]
    for name, em_ev, band in zip(stored.names, stored.em_ev, stored.bands, strict=True):
        assert em_ev == pytest.approx(lengths[name] / 8 + 0.1)
        assert band.length_a == pytest.approx(lengths[name], abs=1e-4)
    assert stored.refused == ((sorted(lengths)[0], "vasp has not converged"),)
    assert set(stored.xc) == {"PBE"}


@pytest.mark.parametrize("name", FORMATS)
def test_all_forms_give_the_same_rows(
    name: str, campaign: Path, stored: LabelledBands, tmp_path: Path
) -> None:
    path = FORMATS[name](tmp_path / name, stored)
    found = read_labels([path], campaign if name.startswith("barriers") else None)
    assert found.files[0]["name"] == name
    assert found.bands.names == stored.names
    assert (found.bands.xc, found.bands.groups) == (stored.xc, stored.groups)
    (rows, _), (expected, _) = rows_of(found.bands), rows_of(stored)
    assert np.allclose(rows.em_ev, expected.em_ev)
    assert np.allclose(rows.numbers, expected.numbers, rtol=1e-6, atol=1e-6)


def test_from_database_to_a_model_that_predicts(
    capsys: pytest.CaptureFixture[str], campaign: Path, blend: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "refitted"
    code, out, err = run(capsys, "--db", campaign, "--from", blend, "-o", folder)
    assert code == 0
    assert "has not converged" in err
    assert "new labels PBE (" in err
    for word in ("old", "new", "difference", "MAE, eV", "coverage", "held-out new bands", "next:"):
        assert word in out
    card = checkpoint.read_card(folder)
    n = card["refit"]["new_bands"]
    assert card["data"]["functionals"] == {"GGA": len(all_bands()), "PBE": n}
    assert card["refit"]["from"] == checkpoint.model_id(blend)
    assert [file["name"] for file in card["data"]["files"]] == ["known.json", "mg.duckdb"]
    assert card["refit"]["comparison"]["bands"] == n
    assert card["group_folds"]["n"] == len(all_bands()) + n
    model = checkpoint.load(folder)
    assert isinstance(model, Blend)
    published = write_published(tmp_path / "bands.json")
    assert main(["evaluate", "--model", str(folder), "--data", str(published)]) == 0
    words = ["run", "--chemsys", "Mg-*", "--source", "catalog", "--limit", "1", "--engine"]
    db = str(tmp_path / "again.duckdb")
    assert main([*words, "inline", "--model", str(folder), "--db", db]) == 0
    # The same barriers once more bring nothing.
    code, _, err = run(capsys, "--db", campaign, "--from", folder, "-o", tmp_path / "twice")
    assert code == 1
    assert "0 new bands, expected at least 5" in err
    assert err.count("the model has learnt from this path") == n
    how = ("--db", campaign, "--from", folder, "-o", tmp_path / "twice", "--replace", "--json")
    code, out, _ = run(capsys, *how)
    assert code == 0
    assert len(json.loads(out)["refit"]["replaced"]) == n


def test_other_functionals_are_refused(
    capsys: pytest.CaptureFixture[str], stored: LabelledBands, blend: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    scan = as_hdf5(tmp_path / "scan.h5", replace(stored, xc=("SCAN",) * len(stored)))
    two = as_hdf5(tmp_path / "two.h5", replace(stored, xc=("PBE", *["SCAN"] * (len(stored) - 1))))
    for path, said in ((scan, "the model's of GGA"), (two, "PBE (1)")):
        code, _, err = run(capsys, "--data", path, "--from", blend, "-o", folder)
        assert code == 2
        assert said in err
        assert "--mix-functionals" in err
        assert not folder.exists()
    mixed = ("--data", two, "--from", blend, "-o", folder, "--mix-functionals")
    assert run(capsys, *mixed)[0] == 0
    assert checkpoint.read_card(folder)["data"]["functionals"]["SCAN"] == len(stored) - 1


def test_functionals_that_files_do_not_say(
    capsys: pytest.CaptureFixture[str], stored: LabelledBands, blend: Path, tmp_path: Path
) -> None:
    path = as_hdf5(tmp_path / "mute.h5", replace(stored, xc=("",) * len(stored)))
    how = ("--data", path, "--from", blend, "-o", tmp_path / "new")
    code, _, err = run(capsys, *how)
    assert code == 0
    assert f"{len(stored)} new labels state no functional" in err
    assert checkpoint.read_card(tmp_path / "new")["data"]["functionals"]["not stated"]
    code, _, err = run(capsys, *how, "--xc", "SCAN")
    assert code == 2
    assert f"SCAN ({len(stored)})" in err


def test_what_is_refused_is_named(
    capsys: pytest.CaptureFixture[str],
    campaign: Path,
    stored: LabelledBands,
    blend: Path,
    tmp_path: Path,
) -> None:
    names = (*stored.names[:4], "mp-0:Mg:0-0:1,0,0")
    wrong = replace(stored.take(range(5)), names=names)
    path = as_csv(tmp_path / "barriers.csv", wrong, [0.5, "nan", -0.2, "", 0.4])
    code, _, err = run(
        capsys, "--data", path, "--db", campaign, "--from", blend, "-o", tmp_path / "new"
    )
    assert code == 1
    assert "1 new bands, expected at least 5" in err
    for name in names[1:]:
        assert f"left out {name}: " in err
    assert "unknown_hop" in err
    assert not (tmp_path / "new").exists()


def test_extxyz_that_is_no_band(stored: LabelledBands, tmp_path: Path) -> None:
    whole = as_extxyz(tmp_path / "bands.extxyz", stored.take(range(4))).read_text()
    lines = whole.splitlines()
    size = 2 + int(lines[0])
    starts = range(0, len(lines), size)
    frames = [lines[i : i + size] for i in starts if len(lines[i : i + size]) == size]
    first = frames[:5]
    cases = {
        "4 frames, expected 5": first[:4],
        "ion is Li": [[f[0], f[1].replace("ion=Mg", "ion=Li"), *f[2:]] for f in first],
        "em_ev is not given": [[f[0], f[1].replace("em_ev=", "other="), *f[2:]] for f in first],
        "0 atoms move": [first[0]] * 5,
        "2 atoms move": [
            [*f[:2], " ".join([*f[2].split()[:3], f"{i}.3"]), *f[3:]] for i, f in enumerate(first)
        ],
    }
    for said, changed in cases.items():
        path = tmp_path / "wrong.extxyz"
        path.write_text("\n".join("\n".join(frame) for frame in changed) + "\n")
        found = read_labels([path], None).bands
        assert len(found) == 0
        assert [name for name, _ in found.refused] == [stored.names[0]]
        assert said in found.refused[0][1]


def test_several_barriers_of_one_hop(campaign: Path, stored: LabelledBands, tmp_path: Path) -> None:
    db = tmp_path / "copy.duckdb"
    db.write_bytes(campaign.read_bytes())
    hop_id = stored.names[0]
    with duckdb.connect(str(db)) as con:
        insert_barrier(con, hop_id, None, 0.9, u="Fe 4.0", source="later", at="2026-11-05")
        insert_barrier(con, stored.names[1], 0.7, 0.6, method="chgnet")
        insert_barrier(con, stored.names[2], 0.8, 0.8, converged=None, source="unsaid")
    with pytest.raises(Exception, match="barriers by chgnet, vasp"):
        read_labels([], db)
    found = read_labels([], db, methods=["vasp"]).bands
    at = found.names.index(hop_id)
    assert (found.em_ev[at], found.xc[at]) == (0.9, "PBE+U")
    assert "an older barrier" in dict(found.refused)[hop_id]
    assert "does not say" in dict(found.refused)[stored.names[2]]
    assert read_labels([], db, methods=["chgnet"]).bands.em_ev.tolist() == [0.7]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no labels; pass --data"),
        (["--data", "barriers.csv"], "pass the --db"),
        (["--data", "none.json"], "no file none.json"),
        (["--data", "bands.h5", "--from", "nobody"], "no model 'nobody'"),
        (["--data", "bands.h5", "-o", "."], "holds something else"),
    ],
)
def test_wrong_use(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stored: LabelledBands,
    tmp_path: Path,
    words: list[str],
    said: str,
) -> None:
    as_csv(tmp_path / "barriers.csv", stored)
    as_hdf5(tmp_path / "bands.h5", stored)
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *(["-o", "new"] if "-o" not in words else []), *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_killed_it_leaves_no_half_model(campaign: Path, blend: Path, tmp_path: Path) -> None:
    words = ["refit", "--db", str(campaign), "--from", str(blend), "-o", str(tmp_path / "new")]
    command = [sys.executable, "-m", "screen.cli", *words, "--repeats", "50", "--folds", "2"]
    with subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        # The last that is said before the fits begin.
        assert any("functionals: new labels" in line for line in process.stderr)
        process.kill()
    assert list(tmp_path.iterdir()) == []


def test_networks_learn_on(
    capsys: pytest.CaptureFixture[str], stored: LabelledBands, tmp_path: Path
) -> None:
    tiny = save_tiny_model(tmp_path / "tiny")
    replayed = write_published(tmp_path / "bands.json")
    card = checkpoint.read_card(tiny)
    digest = load_bands(replayed).digest
    (tiny / "card.json").write_text(
        json.dumps(card | {"data": {"source": "bands.json", "sha256": digest}})
    )
    small = np.argsort([len(band) for band in stored.bands])[:6].tolist()
    new = as_hdf5(tmp_path / "new.h5", stored.take(small))
    how = ("--data", new, "--from", tiny, "-o", tmp_path / "tuned", "--epochs", "1")
    fast = ("--folds", "2")
    code, _, err = run(capsys, *how, fast=fast)
    assert code == 2
    assert "--replay" in err
    code, _, err = run(capsys, *how, "--replay", new, fast=fast)
    assert code == 2
    assert "not what tiny@" in err
    code, _, err = run(capsys, *how, "--no-replay", fast=fast)
    assert code == 1
    assert "fewer than 20" in err
    code, out, _ = run(capsys, *how, "--replay", replayed, fast=fast)
    assert code == 0
    assert "held-out new bands" in out
    card = checkpoint.read_card(tmp_path / "tuned")
    assert card["data"]["bands"] == len(all_bands()) + len(small)
    assert card["recipe"]["fit"]["start"]["folder"] == "tiny"
    assert (tmp_path / "tuned" / "curve.csv").is_file()
    code, _, err = run(
        capsys, "--data", new, "--from", tmp_path / "tuned", "-o", tmp_path / "more", fast=fast
    )
    assert code == 2
    assert "is a refit of tiny@" in err
