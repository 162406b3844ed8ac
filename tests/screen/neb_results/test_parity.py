"""``screen parity``: scores by hand, and a figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from screen.cli import main
from screen.reader import open_reader
from screen.store import Store


def barrier(hop_id: str, em_ev: float, method: str = "vasp", **changes: Any) -> dict[str, Any]:
    return {
        "hop_id": hop_id,
        "method": method,
        "source": "runs",
        "em_forward_ev": em_ev - 0.05,
        "em_reverse_ev": em_ev,
        "functional": "PBE" if method == "vasp" else None,
        "hubbard_u": None,
        "converged": True,
    } | changes


@pytest.fixture
def predicted(db: Path) -> dict[str, float]:
    with open_reader(db) as reader:
        found = reader.records("select hop_id, em_ev from predictions order by hop_id")
    assert len(found) >= 4
    return {row["hop_id"]: row["em_ev"] for row in found}


def insert(db: Path, *barriers: dict[str, Any]) -> None:
    with Store.open(db) as store:
        store.write_barriers(barriers)


def said(db: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    capsys.readouterr()
    assert main(["parity", "--db", str(db), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_scores_are_those_by_hand(
    db: Path, predicted: dict[str, float], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    errors_ev = np.resize([0.1, -0.2, 0.3], len(predicted))
    references = dict(zip(predicted, np.array(list(predicted.values())) - errors_ev, strict=True))
    insert(db, *(barrier(hop_id, em_ev) for hop_id, em_ev in references.items()))
    picture = tmp_path / "parity.png"
    [one] = said(db, capsys, "-o", str(picture))
    assert (one["method"], one["functional"], one["n"]) == ("vasp", "PBE", len(predicted))
    assert one["mae_ev"] == pytest.approx(np.abs(errors_ev).mean())
    spread = np.array(list(references.values())).var()
    assert one["r2"] == pytest.approx(1 - (errors_ev**2).mean() / spread)
    assert one["mae_ev_interval"][0] <= one["mae_ev"] <= one["mae_ev_interval"][1]
    # Intervals are 0.2 eV to either side.
    assert one["coverage90"] == pytest.approx((np.abs(errors_ev) < 0.21).mean())
    assert sum(part["n"] for part in one["by_ion"].values()) == len(predicted)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["parity", "--db", str(db)]) == 0
    assert "0." in capsys.readouterr().out


def test_functionals_and_methods_stand_apart_and_the_last_barrier_counts(
    db: Path, predicted: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = predicted
    insert(db, barrier(first, 0.2, source="old"))
    insert(
        db,
        barrier(first, 0.5),
        barrier(first, 0.6, source="u", hubbard_u='{"Co": 3.32}'),
        barrier(first, 0.45, "ase:m:C"),
        barrier(second, 0.4, "ase:m:C"),
    )
    found = {
        (one["predicted_by"], one["method"], one["functional"]): one for one in said(db, capsys)
    }
    assert {key: one["n"] for key, one in found.items()} == {
        ("m@1", "vasp", "PBE"): 1,
        ("m@1", "vasp", "PBE+U"): 1,
        ("m@1", "ase:m:C", None): 2,
        ("ase:m:C", "vasp", "PBE"): 1,
        ("ase:m:C", "vasp", "PBE+U"): 1,
    }
    assert found["ase:m:C", "vasp", "PBE"]["mae_ev"] == pytest.approx(0.05)
    assert found["m@1", "vasp", "PBE"]["mae_ev"] == pytest.approx(abs(predicted[first] - 0.5))


def test_only_what_converged_unless_all_is_asked_for(
    db: Path, predicted: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parity", "--db", str(db)]) == 3
    assert "screen neb read" in capsys.readouterr().err
    first, second, third, *_ = predicted
    insert(db, barrier(first, 0.5, converged=False), barrier(second, 0.5, converged=None))
    assert main(["parity", "--db", str(db)]) == 3
    assert "--all" in capsys.readouterr().err
    [one] = said(db, capsys, "--all")
    assert one["n"] == 2
    insert(db, barrier(third, 0.5))
    assert [one["n"] for one in said(db, capsys)] == [1]
    assert main(["parity", "--db", str(db), "--model", "other"]) == 3


def test_a_figure_of_another_kind_is_refused(
    db: Path, predicted: dict[str, float], tmp_path: Path
) -> None:
    insert(db, barrier(next(iter(predicted)), 0.5))
    assert main(["parity", "--db", str(db), "-o", str(tmp_path / "parity.pdf")]) == 2
    assert not list(tmp_path.glob("parity*"))


def test_barriers_that_a_model_has_learnt_say_nothing_of_it(
    db: Path, predicted: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    """The predictions made before count; those after only where they are asked for, and said so."""
    insert(db, *(barrier(hop_id, em_ev + 0.1) for hop_id, em_ev in predicted.items()))
    with duckdb.connect(str(db)) as con:
        con.execute(
            "insert into predictions select * replace ('n@2' as model_id, em_ev + 0.1 as em_ev, "
            "hop_id as nearest, predicted_at + interval 1 hour as predicted_at) from predictions"
        )
    [before] = said(db, capsys)
    assert (before["predicted_by"], before["learnt"]) == ("m@1", False)
    assert before["mae_ev"] == pytest.approx(0.1)
    assert main(["parity", "--db", str(db), "--model", "n"]) == 0
    shown = capsys.readouterr()
    assert "n@2" in shown.out
    assert "n@2 was fitted with these barriers" in shown.err
