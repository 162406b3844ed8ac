"""``screen rescore`` and ``screen compare``: what a run with the other model would have given."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from models import DEFAULT_MODEL, checkpoint
from models.blend_training import BlendRecipe, rows_of, train_blend
from screen.cli import main
from screen.reader import open_reader
from screen.snapshots import live_folder
from screen.store import Store
from tests.models.labelled import all_bands, labelled_as
from tests.screen.conftest import (
    TIMES,
    begin,
    content,
    environment,
    make_result,
    write_structures,
)

DEADLINE_S = 300
COPIES = 40
RUN = ("run", "--chemsys", "Mg-*", "--keep-duplicates", "--engine", "inline")
WRITTEN = ("predictions", "material_ranking", "failures")


@pytest.fixture(scope="module")
def blend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model of the shipped kind."""
    rows, _ = rows_of(labelled_as(all_bands()))
    data = {"source": "known.json", "sha256": "7" * 64}
    folder = tmp_path_factory.mktemp("models") / "small"
    checkpoint.save(*train_blend(rows, "small", BlendRecipe(2, 1), data), folder)
    return folder


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign over crystals of the catalog with the default model, by both mechanisms."""
    db = tmp_path_factory.mktemp("catalog") / "mg.duckdb"
    words = ["--source", "catalog", "--limit", "4", "--mechanism", "both", "--db", str(db)]
    assert main([*RUN, *words]) == 0
    return db


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, blend: Path) -> Path:
    """A campaign of more than a few transactions."""
    folder = tmp_path_factory.mktemp("many")
    source = write_structures(folder / "s.jsonl", ["MgO", "MgAl2O4"], COPIES)
    words = ["--source", source, "--model", blend, "--db", folder / "mg.duckdb"]
    assert main([*RUN, *map(str, words)]) == 0
    return folder / "mg.duckdb"


def copy_of(db: Path, folder: Path) -> Path:
    return Path(shutil.copy(db, folder / "x.duckdb"))


def rescore(db: Path, *words: str | Path) -> int:
    return main(["rescore", "--db", str(db), *map(str, words)])


def rows(db: Path, query: str) -> list[dict[str, Any]]:
    with open_reader(db) as reader:
        return reader.records(query)


def scores(db: Path, model_id: str) -> dict[str, list[dict[str, Any]]]:
    """What a database says by one model, but not in which campaign, nor when."""
    own = {
        "predictions": f"model_id = '{model_id}'",
        "material_ranking": f"model_id = '{model_id}'",
        "failures": f"campaign_id in (select campaign_id from campaigns "
        f"where model_id = '{model_id}')",
    }
    left_out = TIMES | {"campaign_id"}
    return {
        table: [
            {key: value for key, value in row.items() if key not in left_out}
            for row in rows(db, f"select * from {table} where {where} order by all")
        ]
        for table, where in own.items()
    }


def same_rows(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    for row, expected in zip(found, wanted, strict=True):
        assert row == {
            key: pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
            for key, value in expected.items()
        }


def test_the_same_model_changes_nothing(
    catalog: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = copy_of(catalog, tmp_path)
    before = content(db)
    assert before["predictions"]
    assert rescore(db) == 0
    assert "everything is done already" in capsys.readouterr().out
    assert content(db) == before


@pytest.mark.parametrize("kind", ["blend", "networks"])
def test_as_a_fresh_run_with_that_model(
    kind: str,
    catalog: Path,
    blend: Path,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = blend if kind == "blend" else tiny_model
    model_id = checkpoint.model_id(model)
    db = copy_of(catalog, tmp_path)
    before = content(db)
    assert rescore(db, "--model", model) == 0
    after = content(db)
    for table in ("materials", "hops", "barriers", "left_out"):
        assert after[table] == before[table]
    for table in WRITTEN:
        assert [row for row in after[table] if row in before[table]] == before[table]

    source = tmp_path / "stored.jsonl"
    with source.open("w") as file:
        for row in rows(db, "select material_id, structure from materials"):
            structure = json.loads(row["structure"])
            file.write(json.dumps({**row, "structure": structure}) + "\n")
    fresh = tmp_path / "fresh.duckdb"
    words = ["--source", source, "--mechanism", "both", "--model", model, "--db", fresh]
    assert main([*RUN, *map(str, words)]) == 0
    capsys.readouterr()
    found, wanted = scores(db, model_id), scores(fresh, model_id)
    assert {row["mechanism"] for row in wanted["material_ranking"]} == {"vacancy", "dilute"}
    for table in WRITTEN:
        same_rows(found[table], wanted[table])

    assert main(["status", "--db", str(db), "--json"]) == 0
    campaigns = json.loads(capsys.readouterr().out)["campaigns"]
    (own,) = [one for one in campaigns if one["source"] == "rescore"]
    assert (own["state"], own["model_id"], own["ion"]) == ("finished", model_id, "Mg")
    assert own["predicted"] == len(wanted["predictions"])
    assert own["candidates"] == own["expected"] == len(before["materials"])


def test_several_processes_give_the_same(
    catalog: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_id, found = checkpoint.model_id(tiny_model), []
    monkeypatch.chdir(tiny_model.parent)  # a folder that only this process is in
    for name, words in (("one", []), ("two", ["--num-cpus", "2"])):
        (tmp_path / name).mkdir()
        db = copy_of(catalog, tmp_path / name)
        assert rescore(db, "--model", f"./{tiny_model.name}", *words) == 0
        found.append(scores(db, model_id))
    alone, together = found
    assert len(alone["predictions"]) > 4
    for table in WRITTEN:
        same_rows(together[table], alone[table])


def test_only_what_is_missing_is_done(
    catalog: Path, blend: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = copy_of(catalog, tmp_path)
    model_id = checkpoint.model_id(blend)
    assert rescore(db, "--model", blend) == 0
    before, scored = content(db), scores(db, model_id)
    query = f"select hop_id, predicted_at from predictions where model_id = '{model_id}'"
    (first, *others) = rows(db, f"{query} order by hop_id")
    with duckdb.connect(str(db)) as con:
        con.execute(
            "delete from predictions where hop_id = ? and model_id = ?", [first["hop_id"], model_id]
        )
    capsys.readouterr()
    assert rescore(db, "--model", blend, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["materials"], said["predictions"], said["left"]) == (1, 1, 0)
    assert rows(db, f"{query} and hop_id <> '{first['hop_id']}' order by hop_id") == others
    for table in WRITTEN:  # in batches of other sizes
        same_rows(scores(db, model_id)[table], scored[table])
    assert content(db)["campaign_materials"] == before["campaign_materials"]


def test_killed_in_the_middle_and_continued(
    many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "whole").mkdir()
    whole, db = copy_of(many, tmp_path / "whole"), copy_of(many, tmp_path)
    assert rescore(whole) == 0
    words = ["rescore", "--db", str(db)]
    process = subprocess.Popen(
        [sys.executable, "-m", "screen.cli", *words], env=environment(), stderr=subprocess.DEVNULL
    )
    snapshot = live_folder(db) / "left_out.parquet"  # the last: at the start, after one batch
    seen: set[int] = set()
    deadline = time.monotonic() + DEADLINE_S
    while len(seen) < 2 and process.poll() is None and time.monotonic() < deadline:
        if snapshot.exists():
            seen.add(snapshot.stat().st_mtime_ns)
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(DEADLINE_S) == -signal.SIGKILL
    shutil.rmtree(live_folder(db))
    model_id = checkpoint.model_id(checkpoint.find_model(DEFAULT_MODEL))
    done = len(scores(db, model_id)["material_ranking"])
    assert 0 < done < 2 * COPIES

    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["materials"] == 2 * COPIES - done
    assert content(db) == content(whole)


def test_hops_that_do_not_come_back_are_named_once(
    store: Store, path: Path, blend: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [make_result(name) for name in ("MgO", "LiCoO2", "LiFePO4")]
    store.write("c1", "m@1", results)
    store.close()
    with duckdb.connect(str(path)) as con:
        con.execute("update materials set structure = null where material_id = 'LiFePO4'")
        con.execute(
            "update hops set hop_id = replace(hop_id, ':0-', ':7-') where material_id = 'LiCoO2'"
        )
    model_id = checkpoint.model_id(blend)
    for _ in range(2):
        assert rescore(path, "--model", blend) == 0
        found = scores(path, model_id)
        assert [row["material_id"] for row in found["material_ranking"]] == ["MgO"]
        assert [(row["material_id"], row["reason"]) for row in found["failures"]] == [
            ("LiCoO2", "other_hops"),
            ("LiFePO4", "no_structure"),
        ]
    assert "everything is done already" in capsys.readouterr().out
    # A run that writes the material anew gives it another chance.
    with Store.open(path) as again:
        again.write("c1", "m@1", [results[2]])
    assert rescore(path, "--model", blend, "--ion", "Li") == 0
    assert {row["material_id"] for row in scores(path, model_id)["material_ranking"]} == {
        "MgO",
        "LiFePO4",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "none"], "no model 'none'"),
        (["--ion", "Li"], "no hops of Li, only of Mg"),
        (["--ion", "mg"], "did you mean Mg?"),
        (["--engine", "ray"], "ray"),
        (["--db", "none.duckdb"], "none.duckdb: no such database"),
    ],
)
def test_wrong_use(
    words: list[str], said: str, catalog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(catalog)
    assert rescore(catalog, *words) == 2
    assert said in capsys.readouterr().err
    assert content(catalog) == before


EM_A = {"MgO": 0.3, "MgAl2O4": 0.4, "LiCoO2": 0.5, "LiFePO4": 0.7}
EM_B = {"MgO": 0.9, "MgAl2O4": 0.5, "LiCoO2": 0.4, "LiFePO4": 0.6}


def with_barriers(store: Store, model_id: str, barriers_ev: dict[str, float]) -> None:
    """All hops of a material alike, so that its barrier is theirs."""
    results = []
    for name, em_ev in barriers_ev.items():
        plain = make_result(name)
        results.append(make_result(name, [em_ev] * len(plain.hops)))
    store.write("c1", model_id, results)


def test_comparison(store: Store, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_barriers(store, "old@1", EM_A)
    store.write("c1", "old@1", [make_result("MgO", material_id="alone")])
    with_barriers(store, "new@2", EM_B)
    store.close()
    assert main(["compare", "old", "--db", str(path), "-n", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model_a"], found["model_b"]) == ("old@1", "new@2")
    assert (found["compared"], found["only_a"], found["only_b"], found["n"]) == (4, 1, 0, 2)
    assert found["spearman"] == pytest.approx(-0.4)  # ranks 1 2 3 4 against 4 2 1 3
    assert found["mean_shift_ev"] == pytest.approx(2.4 / 4 - 1.9 / 4)
    assert found["regret_ev"] == pytest.approx((0.9 + 0.5) / 2 - (0.4 + 0.5) / 2)
    assert [row["material_id"] for row in found["entered"]] == ["LiCoO2"]
    assert [row["material_id"] for row in found["left"]] == ["MgO"]
    changes = {row["material_id"]: row["change"] for row in found["materials"]}
    assert changes == {"LiCoO2": 2, "MgAl2O4": 0, "MgO": -3}
    # By its own measure, the model that is right regrets nothing.
    assert main(["compare", "new@2", "old@1", "--db", str(path), "-n", "9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["regret_ev"] == pytest.approx(0.0)

    assert main(["compare", "old", "--db", str(path), "-n", "2"]) == 0
    out, err = capsys.readouterr()
    assert out.count("enters") == out.count("leaves") == 1
    assert "1 materials ranked by old@1 alone" in err


def test_what_has_no_way_through_is_not_averaged(
    store: Store, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_barriers(store, "old@1", EM_A)
    with_barriers(store, "new@2", EM_B)
    store.write("c1", "new@2", [make_result("MgO", failed=len(make_result("MgO").hops))])
    store.close()
    assert main(["compare", "old", "new", "--db", str(path), "-n", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["without_way"] == 1
    assert found["regret_ev"] == pytest.approx(0.5 - (0.4 + 0.5) / 2)
    assert found["mean_shift_ev"] == pytest.approx(1.5 / 3 - 1.6 / 3)


def test_models_that_cannot_be_compared(
    store: Store, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_barriers(store, "m@1", EM_A)
    store.close()
    for words, said in (
        (["m"], "m@1 is both models"),
        (["other"], "`screen rescore --model other"),
        (["m", "other"], "no predictions of other"),
    ):
        assert main(["compare", *words, "--db", str(path)]) == 3
        assert said in capsys.readouterr().err
    with Store.open(path) as again:
        begin(again)
        with_barriers(again, "m@2", EM_B)
    assert main(["compare", "m", "--db", str(path)]) == 2
    assert "2 models, expected one id" in capsys.readouterr().err
    assert main(["compare", "m@1", "m@2", "--db", str(path)]) == 0
