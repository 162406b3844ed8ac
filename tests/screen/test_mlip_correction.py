"""Barriers without DFT, corrected by lines that are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from screen.cli import main
from screen.mlip_correction import LEAST_POINTS, Correction, fit_correction
from screen.reader import open_reader
from screen.store import Store
from tests.screen.conftest import make_result

RAW_EV = np.linspace(0.2, 1.2, 12)
CALCULATOR = "ase:m:C"


def fitted(raw_ev: Any, reference_ev: Any) -> Correction:
    found = fit_correction(raw_ev, reference_ev)
    assert found is not None
    return found


def test_a_line_is_found_and_takes_the_error_away() -> None:
    found = fitted(RAW_EV, 1.3 * RAW_EV + 0.05)
    assert found.slope == pytest.approx(1.3, abs=0.01)
    assert found.corrected_ev(0.7) == pytest.approx(0.96, abs=0.01)
    assert found.mae_raw_ev == pytest.approx(0.3 * RAW_EV.mean() + 0.05)
    assert found.mae_corrected_ev < 0.01
    assert found.helps
    assert found.n_points == len(RAW_EV)


@pytest.mark.parametrize("outliers", [[3], [0, 11], [2, 5, 9]])
def test_bands_on_other_paths_do_not_turn_the_line(outliers: list[int]) -> None:
    reference_ev = 1.3 * RAW_EV + 0.05
    reference_ev[outliers] += [1.5, -0.8, 2.0][: len(outliers)]
    found = fitted(RAW_EV, reference_ev)
    assert found.slope == pytest.approx(1.3, abs=0.05)
    assert found.corrected_ev(0.7) == pytest.approx(0.96, abs=0.03)
    assert found.sigma_ev < 0.1
    least_squares = np.polyfit(RAW_EV, reference_ev, 1)
    if len(outliers) == 2:  # at the ends of the line, where it would turn
        assert abs(least_squares[0] - 1.3) > 0.3


def test_fewer_than_five_tell_nothing() -> None:
    assert LEAST_POINTS == 5
    assert fit_correction(RAW_EV[:4], 1.3 * RAW_EV[:4]) is None
    assert fitted(RAW_EV[:5], 1.3 * RAW_EV[:5]).n_points == 5


def test_pairs_that_cannot_tell_a_slope_leave_it_to_the_offset() -> None:
    rng = np.random.default_rng(1)
    close_ev = 0.5 + 0.01 * rng.random(6)
    found = fitted(close_ev, close_ev + 0.2 + rng.normal(0, 0.05, 6))
    assert found.slope == pytest.approx(1.0, abs=0.02)
    assert found.corrected_ev(0.5) == pytest.approx(0.7, abs=0.05)
    alike = fitted([0.5] * 5, [0.6, 0.7, 0.8, 0.7, 0.7])
    assert (alike.slope, alike.offset_ev) == pytest.approx((1.0, 0.2))


def test_the_slope_is_trusted_as_pairs_become_many() -> None:
    rng = np.random.default_rng(2)

    def slope(n: int) -> float:
        raw_ev = rng.uniform(0.2, 1.2, n)
        return fitted(raw_ev, 1.4 * raw_ev + rng.normal(0, 0.15, n)).slope

    few, many = (np.mean([slope(n) for _ in range(40)]) for n in (5, 60))
    assert 1.0 < few < 1.3 < many < 1.42


def test_neither_order_nor_a_common_shift_matters() -> None:
    rng = np.random.default_rng(3)
    reference_ev = 1.2 * RAW_EV + rng.normal(0, 0.05, len(RAW_EV))
    found = fitted(RAW_EV, reference_ev)
    order = rng.permutation(len(RAW_EV))
    assert fitted(RAW_EV[order], reference_ev[order]).slope == pytest.approx(found.slope)
    shifted = fitted(RAW_EV, reference_ev + 0.3)
    assert shifted.slope == pytest.approx(found.slope)
    assert shifted.offset_ev == pytest.approx(found.offset_ev + 0.3)


def test_noise_without_a_bias_is_not_made_better() -> None:
    errors_ev = np.resize([0.2, -0.2, -0.2, 0.2], len(RAW_EV))
    found = fitted(RAW_EV, RAW_EV + errors_ev)
    assert not found.helps


def test_errors_are_of_what_was_left_out_and_no_barrier_is_negative() -> None:
    reference_ev = np.append(RAW_EV[:5], 3.0)
    found = fitted(RAW_EV[:6], reference_ev)
    assert found.mae_corrected_ev > 0.3  # the outlier is never fitted to
    assert Correction(1.0, -0.5, 0.1, 5, 0.1, 0.1).corrected_ev(0.2) == 0.0


@pytest.fixture
def hops(db: Path) -> list[str]:
    with open_reader(db) as reader:
        found = [row["hop_id"] for row in reader.records("select hop_id from hops order by 1")]
    assert len(found) >= 7
    return found


@pytest.fixture
def db(store: Store, path: Path) -> Path:
    """A campaign of several hosts."""
    names = ("LiCoO2", "LiFePO4", "LiTiS2", "MgMn2O4")
    store.write("c1", "m@1", [make_result(name) for name in names])
    store.close()
    return path


def barrier(hop_id: str, em_ev: float, method: str, **changes: Any) -> dict[str, Any]:
    return {
        "hop_id": hop_id,
        "method": method,
        "source": method,
        "em_forward_ev": em_ev,
        "em_reverse_ev": em_ev - 0.02,
        "functional": None if method == CALCULATOR else "PBE",
        "hubbard_u": None,
        "converged": True,
    } | changes


def fill(db: Path, hops: list[str], n_dft: int, **changes: Any) -> dict[str, float]:
    """A barrier without DFT for all hops, one with it for some; the former by hop."""
    raw = {hop_id: 0.2 + 0.1 * number for number, hop_id in enumerate(hops)}
    with Store.open(db) as store:
        store.write_barriers(
            [barrier(hop_id, em_ev, CALCULATOR) for hop_id, em_ev in raw.items()]
            + [barrier(one, 1.25 * raw[one] + 0.1, "vasp", **changes) for one in hops[:n_dft]]
        )
    return raw


def rows(db: Path, query: str) -> list[dict[str, Any]]:
    with open_reader(db) as reader:
        return reader.records(query)


def test_the_view_has_raw_and_corrected_side_by_side(db: Path, hops: list[str]) -> None:
    raw = fill(db, hops, 6)
    reference_ev = {one: 1.25 * raw[one] + 0.1 for one in hops[:6]}
    expected = fitted([raw[one] for one in hops[:6]], list(reference_ev.values()))
    found = {row["hop_id"]: row for row in rows(db, "select * from corrected_barriers")}
    assert set(found) == set(hops)
    for hop_id, row in found.items():
        assert row["em_raw_ev"] == pytest.approx(raw[hop_id])
        assert row["em_corrected_ev"] == pytest.approx(expected.corrected_ev(raw[hop_id]))
        assert (row["functional"], row["n_points"]) == ("PBE", 6)
        known = reference_ev.get(hop_id)
        assert row["reference_ev"] == (None if known is None else pytest.approx(known))
    stored = rows(db, f"select em_forward_ev from barriers where method = '{CALCULATOR}'")
    assert sorted(row["em_forward_ev"] for row in stored) == pytest.approx(sorted(raw.values()))


@pytest.mark.parametrize("changes", [{}, {"converged": False}, {"functional": None}])
def test_nothing_is_corrected_by_too_few(
    db: Path, hops: list[str], changes: dict[str, Any]
) -> None:
    fill(db, hops, 6 if changes else 4, **changes)
    assert rows(db, "select * from corrected_barriers") == []


def test_functionals_are_not_pooled(db: Path, hops: list[str]) -> None:
    raw = fill(db, hops, 4)
    others = [
        barrier(one, raw[one], "vasp", source="u", hubbard_u='{"Co": 3.32}') for one in hops[4:]
    ]
    with Store.open(db) as store:
        store.write_barriers(others[:3])
    assert rows(db, "select * from mlip_corrections") == []


def test_parity_shows_it_from_five_on_and_says_how_many_are_missing(
    db: Path, hops: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fill(db, hops, 4)
    capsys.readouterr()
    assert main(["parity", "--db", str(db)]) == 0
    said = capsys.readouterr()
    assert "corrected to" not in said.out
    assert "4 hops have a barrier of PBE, too; its barriers are corrected from 5 on" in said.err
    raw = fill(db, hops, 6)
    capsys.readouterr()
    assert main(["parity", "--db", str(db)]) == 0
    said = capsys.readouterr()
    assert f"{CALCULATOR} corrected to PBE: 1.2" in said.out
    assert "from 6 hops; MAE 0.2" in said.out
    assert all(f"{value:.3f}" in said.out for value in raw.values())
    assert said.err == ""
    assert main(["parity", "--db", str(db), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    pairs = {(one["predicted_by"], one["method"]): one for one in found}
    assert set(pairs) == {("m@1", "vasp"), ("m@1", CALCULATOR), (CALCULATOR, "vasp")}
    correction = pairs[CALCULATOR, "vasp"]["correction"]
    assert (correction["n_points"], len(correction["barriers"])) == (6, len(hops))
    assert correction["mae_corrected_ev"] < correction["mae_raw_ev"]
    assert pairs["m@1", "vasp"]["correction"] is None


def test_a_correction_that_does_not_help_is_said_to(
    db: Path, hops: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    raw = fill(db, hops, 0)
    errors_ev = np.resize([0.15, -0.15, -0.15, 0.15], len(hops))
    dft = [
        barrier(one, max(0.0, raw[one] + error_ev), "vasp")
        for one, error_ev in zip(hops, errors_ev, strict=True)
    ]
    with Store.open(db) as store:
        store.write_barriers(dft)
    capsys.readouterr()
    assert main(["parity", "--db", str(db)]) == 0
    assert "does not help" in capsys.readouterr().err
