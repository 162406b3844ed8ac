"""Refits: what joins, what is compared, and whether new labels that matter make a better model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import checkpoint
from models.blend import Blend, Rows
from models.blend_training import BlendRecipe, rows_of, train_blend
from models.dataset import LabelledBands, merge_bands
from models.ensemble import Recipe
from models.finetune import Start
from models.functionals import agree, clash, count_functionals
from models.networks import Ensemble
from models.predict import Predictor
from models.refit import join, lineage, refit_blend
from models.refit_comparison import Judged, compare, comparison_line
from models.refit_networks import join_bands, refit_networks
from models.train import FitSettings
from pathways.band import build_band
from pathways.hops import HopSettings, enumerate_hops
from pathways.types import Band, Crystal
from tests.models.conftest import TINY
from tests.models.labelled import labelled_as
from tests.pathways.crystals import KNOWN

SPINELS = ("MgMn2O4 spinel", "MgTi2S4 spinel", "MgSc2Se4 spinel")
FAST = BlendRecipe(folds=2, repeats=1)


def strained(names: tuple[str, ...], strains: tuple[float, ...], most: int = 4) -> list[Band]:
    """Hops of known crystals whose cells are a little larger: bands that no model has seen."""
    found = []
    for name in names:
        known = KNOWN[name]
        crystal = known.crystal()
        for strain in strains:
            larger = Crystal(crystal.lattice * (1 + strain), crystal.numbers, crystal.frac)
            network = enumerate_hops(larger, known.ion, HopSettings(cutoff_a=7.5, max_hops=most))
            found += [build_band(network.crystal, hop) for hop in network.hops]
    return found


def rows_with(bands: list[Band], shift_ev: float = 0.0) -> Rows:
    rows, refused = rows_of(labelled_as(bands))
    assert not refused
    names = tuple(f"new {i}" for i in range(len(rows)))
    return replace(rows, em_ev=rows.em_ev + shift_ev, names=names)


@pytest.fixture(scope="module")
def old() -> Blend:
    """Of all known crystals but the spinels."""
    others = tuple(name for name in KNOWN if name not in SPINELS)
    rows, _ = rows_of(labelled_as(strained(others, (0.0,))))
    return train_blend(rows, "old", FAST, {})[0]


@pytest.fixture(scope="module")
def spinels() -> Rows:
    return rows_with(strained(SPINELS, (0.0, 0.01, 0.02, 0.03)))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("PBE", "pbe ", True),
        ("PBE", "GGA", True),
        ("GGA+U", "PBE_U", True),
        ("PBE", "PBEsol", False),
        ("PBE", "GGA+U", False),
        ("SCAN", "GGA", False),
        ("r2SCAN", "R2-SCAN", True),
        ("LDA", "GGA", False),
    ],
)
def test_functionals_that_agree(one: str, other: str, same: bool) -> None:
    assert agree(one, other) is agree(other, one) is same


def test_functionals_that_may_join() -> None:
    literature = {"GGA": 490, "GGA+U": 41, "SCAN": 17, "LDA": 8}
    assert clash({"PBE": 12, "not stated": 3}, literature) is None
    assert clash({"not stated": 3}, literature) is None
    assert clash({"SCAN": 9}, {"not stated": 50}) is None
    assert "SCAN (9), the model's of GGA (490)" in str(clash({"SCAN": 9}, literature))
    assert "PBE (6), SCAN (2)" in str(clash({"PBE": 6, "SCAN": 2}, {}))
    assert count_functionals(["PBE", "", "PBE", " SCAN"]) == {
        "PBE": 2,
        "SCAN": 1,
        "not stated": 1,
    }


def test_comparison_is_paired() -> None:
    rng = np.random.default_rng(1)
    em_ev = rng.uniform(0.2, 1.5, 40)
    noise = rng.normal(0, 0.3, 40)
    old, better = (em_ev + one for one in (noise, 0.8 * noise))
    judged = [Judged(one, one - 0.4, one + 0.4) for one in (old, better)]
    bands = [str(i) for i in range(40)]
    found = compare(em_ev, *judged, bands)
    change = np.abs(0.8 * noise).mean() - np.abs(noise).mean()
    assert found["difference"]["mae_ev"] == pytest.approx(change)
    assert found["verdict"] == "better"
    # The same bands judge both, so a fifth less error is seen though the intervals overlap.
    assert found["new"]["mae_ev_interval"][1] > found["old"]["mae_ev_interval"][0]
    for name in ("mae_ev", "r2", "accuracy", "coverage90"):
        gap = found["new"][name] - found["old"][name]
        assert found["difference"][name] == pytest.approx(gap)
        low, high = found["difference"][f"{name}_interval"]
        assert low - 1e-9 <= gap <= high + 1e-9
    assert compare(em_ev, *judged[::-1], bands)["verdict"] == "worse"
    assert compare(em_ev, judged[0], judged[0], bands)["verdict"] == "alike"
    # Better for one of two hosts alone is no news of a third.
    half = np.where(np.arange(40) < 20, better, em_ev + 1.1 * noise)
    hosts = ["a"] * 20 + ["b"] * 20
    mixed = compare(em_ev, judged[0], Judged(half, half - 0.4, half + 0.4), hosts)
    assert mixed["verdict"] == "alike"


def test_known_paths_keep_their_label_unless_it_is_replaced(old: Blend, spinels: Rows) -> None:
    again = replace(old.rows.take([3, 5]), em_ev=np.array([2.0, 3.0]), names=("a", "b"))
    came = spinels + again + replace(spinels.take([0]), names=("twice",))
    kept = join(old.rows, came)
    assert kept.new.names == spinels.names
    assert kept.old.names == old.rows.names
    assert [name for name, _ in kept.left_out] == ["twice", "a", "b"]
    assert f"as {old.rows.names[3]}" in kept.left_out[1][1]
    assert "new 0" in kept.left_out[0][1]
    replaced = join(old.rows, came, replace=True)
    assert replaced.replaced == (old.rows.names[3], old.rows.names[5])
    assert len(replaced.old) == len(old.rows) - 2
    assert replaced.new.names == (*spinels.names, "a", "b")
    assert replaced.seen.tolist() == [False] * len(spinels) + [True, True]


def test_labels_that_matter_make_a_better_model(old: Blend, spinels: Rows) -> None:
    shifted = replace(spinels, em_ev=spinels.em_ev + 0.3)
    fitted, card = refit_blend(old, join(old.rows, shifted), "new", FAST)
    found = card["refit"]["comparison"]
    assert (found["kind"], found["folds"], found["hosts"]) == ("group", 3, 3)
    assert found["bands"] == card["refit"]["new_bands"] == len(spinels)
    assert found["old"]["mae_ev"] == pytest.approx(0.3, abs=0.1)
    assert found["verdict"] == "better"
    assert found["new"]["mae_ev"] < 0.5 * found["old"]["mae_ev"]
    assert len(fitted.rows) == len(old.rows) + len(spinels)


def test_labels_that_say_nothing_new_do_not(old: Blend, spinels: Rows) -> None:
    """Labels drawn from a hat teach nothing of other hosts."""
    rng = np.random.default_rng(0)
    drawn = replace(spinels, em_ev=rng.permutation(rng.uniform(0.1, 1.5, len(spinels))))
    _, card = refit_blend(old, join(old.rows, drawn), "new", FAST)
    assert card["refit"]["comparison"]["verdict"] != "better"


def test_one_host_has_random_folds(old: Blend, spinels: Rows) -> None:
    one = spinels.take([i for i, group in enumerate(spinels.groups) if group == spinels.groups[0]])
    done: list[tuple[int, int, str]] = []
    _, card = refit_blend(
        old, join(old.rows, one), "new", FAST, lambda *so_far: done.append(so_far)
    )
    assert card["refit"]["comparison"]["kind"] == "random"
    assert [one[0] for one in done] == list(range(1, 5 + 4 + 1))
    assert {one[1] for one in done} == {9}


def test_replaced_labels_are_not_compared(old: Blend) -> None:
    again = replace(old.rows.take(range(8)), em_ev=old.rows.em_ev[:8] + 0.5)
    fitted, card = refit_blend(old, join(old.rows, again, replace=True), "new", FAST)
    assert card["refit"]["comparison"] is None
    assert len(fitted.rows) == len(old.rows)
    assert "not compared" in str(comparison_line({"refit": {**card["refit"], "from": "old@1"}}))


def test_too_few(old: Blend, spinels: Rows) -> None:
    with pytest.raises(ValueError, match="4 new bands, expected at least 5"):
        refit_blend(old, join(old.rows, spinels.take(range(4))), "new", FAST)


def test_lineage_goes_on_from_refit_to_refit() -> None:
    card: dict = {"summary": "a model", "refit": {"new_bands": 6, "comparison": None}}
    parent = {"data": {"source": "a.json", "sha256": "1" * 64, "refused": [["x", "bad"]]}}
    lineage(
        card, "old@1", parent, [{"name": "b.h5", "sha256": "2" * 64}], ["PBE", ""], [("y", "z")]
    )
    assert card["data"]["functionals"] == {"PBE": 1, "not stated": 1}
    assert card["data"]["refused"] == [["x", "bad"], ["y", "z"]]
    again: dict = {"summary": "a model", "refit": {"new_bands": 5, "comparison": None}}
    lineage(again, "new@2", card, [{"name": "c.h5", "sha256": "3" * 64}], [""], [])
    assert [one["name"] for one in again["data"]["files"]] == ["a.json", "b.h5", "c.h5"]
    assert again["data"]["source"] == "a.json + b.h5 + c.h5"
    assert again["data"]["sha256"] != card["data"]["sha256"]
    assert again["refit"]["from"] == "new@2"


def tuned(folder: Path, epochs: int = 2) -> Recipe:
    start = Start(str(folder), checkpoint.model_id(folder), "layerwise")
    return replace(TINY, fit=FitSettings(epochs=epochs, batch_size=8, start=start))


@pytest.fixture(scope="module")
def new_bands() -> LabelledBands:
    found = labelled_as(
        strained(("LiCoO2 layered", "CaTiO3 perovskite"), (0.0, 0.01, 0.02), most=5)
    )
    return replace(found, names=tuple(f"new {i}" for i in range(len(found))), digest="1" * 64)


def test_networks_learn_on_beside_their_old_bands(
    tiny_model: Path, labelled: LabelledBands, new_bands: LabelledBands, tmp_path: Path
) -> None:
    model = checkpoint.load(tiny_model)
    assert isinstance(model, Ensemble)
    again = replace(labelled.take([2]), names=("again",))
    joined = join_bands(labelled, merge_bands([new_bands, again]), model.graph)
    assert joined.left_out[0][0] == "again"
    assert len(joined.all) == len(labelled) + len(joined.new)
    fitted, card = refit_networks(model, joined, tuned(tiny_model), tmp_path / "work", "tuned")
    found = card["refit"]["comparison"]
    assert card["refit"]["replay"]
    assert (found["kind"], found["bands"]) == ("group", len(joined.new))
    # The old model's own error on the new bands, by the way that users predict.
    predicted = Predictor(model, "tiny")(joined.new.bands)
    error = np.abs(np.array([one.em_ev for one in predicted]) - joined.new.em_ev)
    assert found["old"]["mae_ev"] == pytest.approx(error.mean(), rel=1e-4)
    assert card["group_folds"] == found["new"]
    assert card["random_folds"]["n"] == len(joined.new)
    assert "applicability" not in card
    # An error scale from bands that the source has seen would be far too small.
    assert fitted.calibration == model.calibration
    checkpoint.save(fitted, card, tmp_path / "tuned")
    assert len(Predictor.load(tmp_path / "tuned")(new_bands.bands[:2])) == 2


def test_networks_without_their_old_bands(
    tiny_model: Path, new_bands: LabelledBands, tmp_path: Path
) -> None:
    model = checkpoint.load(tiny_model)
    assert isinstance(model, Ensemble)
    joined = join_bands(None, new_bands, model.graph)
    fitted, card = refit_networks(model, joined, tuned(tiny_model, 1), tmp_path, "tuned")
    assert not card["refit"]["replay"]
    assert card["group_folds"]["n"] == len(new_bands)
    assert fitted.calibration != model.calibration


def test_networks_ask_for_enough(
    tiny_model: Path, new_bands: LabelledBands, tmp_path: Path
) -> None:
    model = checkpoint.load(tiny_model)
    assert isinstance(model, Ensemble)
    joined = join_bands(None, new_bands.take(range(6)), model.graph)
    with pytest.raises(ValueError, match="6 usable bands, fewer than 20"):
        refit_networks(model, joined, tuned(tiny_model), tmp_path, "tuned")
