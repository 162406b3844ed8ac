"""``screen top --model`` and what ``screen status`` says of models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.records import MaterialResult
from screen.cli import main
from screen.store import Store
from tests.screen.conftest import begin, make_result

HOSTS = ("LiCoO2", "LiFePO4", "LiTiS2")


def shifted(result: MaterialResult, by_ev: float) -> MaterialResult:
    """The same hops by a model that says otherwise."""
    hops = tuple(
        replace(hop, prediction=replace(hop.prediction, em_ev=by_ev - hop.prediction.em_ev))
        for hop in result.hops
    )
    return replace(result, hops=hops)


@pytest.fixture
def db(store: Store, path: Path) -> Path:
    """Three materials by one model, two of them by another one later, that ranks them in turn."""
    results = [make_result(name) for name in HOSTS]
    settings = {"ion": "Li", "query": {"chemsys": ["Li-*"]}}
    for campaign_id, model_id in (("c1", "old@1"), ("c2", "new@2")):
        store.begin_campaign(campaign_id, settings, "test", "1", model_id)
    store.write("c1", "old@1", results)
    store.write("c2", "new@2", [shifted(result, 2.0) for result in results[:2]])
    store.close()
    return path


def said(db: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main([*words, "--db", str(db), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("by", ["material", "hop"])
@pytest.mark.parametrize("model", ["old@1", "old"])
def test_rows_of_one_model(
    db: Path, capsys: pytest.CaptureFixture[str], by: str, model: str
) -> None:
    found = said(db, capsys, "top", "--by", by, "--model", model)
    assert {row["model_id"] for row in found} == {"old@1"}
    assert {row["material_id"] for row in found} == set(HOSTS)
    assert [row["rank"] for row in found] == list(range(1, len(found) + 1))
    values = [row["em_1d_ev" if by == "material" else "em_ev"] for row in found]
    assert values == sorted(values, key=lambda value: (value is None, value))
    last = said(db, capsys, "top", "--by", by)
    assert {row["model_id"] for row in last} == {"old@1", "new@2"}
    assert len({row["material_id"] for row in last}) == len(HOSTS)
    assert set(found[0]) - set(last[0]) <= {"ranked_at"}


def test_other_options_hold_within_a_model(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everything = said(db, capsys, "top", "--by", "hop", "--model", "new")
    limit_ev = everything[1]["em_ev"]
    words = ("top", "--by", "hop", "--model", "new", "--max-em", str(limit_ev), "--ion", "Li")
    assert [row["em_ev"] <= limit_ev for row in said(db, capsys, *words)] == [True, True]


def test_an_unknown_model_is_told_which_there_are(
    db: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--db", str(db), "--model", "other"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("expected one of new@2, old@1")


def test_two_models_of_one_name_need_an_id(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(db) as again:
        begin(again, "c3", "new@3")
        again.write("c3", "new@3", [make_result(HOSTS[0])])
    assert main(["top", "--db", str(db), "--model", "new"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "2 models of that name" in line
    assert line.endswith("new@3, new@2")
    assert len(said(db, capsys, "top", "--model", "new@2")) == 2


def test_status_says_who_ranked(db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(db, capsys, "status")["models"]
    assert [(row["model_id"], row["materials"]) for row in found] == [("new@2", 2), ("old@1", 3)]
    assert main(["status", "--db", str(db)]) == 0
    *_, heading, first, second = capsys.readouterr().out.splitlines()
    assert heading == "ranked by"
    assert first.split() == ["new@2", "2", "materials"]
    assert second.split() == ["old@1", "3", "materials"]
