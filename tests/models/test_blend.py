"""The kind of model that ships: what it predicts, what leaves it alone, and what its card holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import DEFAULT_MODEL, checkpoint
from models.blend import Blend, Rows, fit_voters
from models.blend_training import BlendRecipe, predict_held_out, rows_of, train_blend
from models.card import data_card
from models.checkpoint import ModelError
from models.dataset import LabelledBands, load_bands
from models.graph import GraphSettings, build_graph
from models.predict import Prediction, Predictor
from pathways.band import build_band
from pathways.hops import HopSettings, enumerate_hops
from pathways.supercell import BandSettings
from pathways.types import Band
from tests.models.labelled import all_bands, labelled_as
from tests.models.test_graph import variants
from tests.pathways.crystals import KNOWN


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor.load(DEFAULT_MODEL)


@pytest.fixture(scope="module")
def labelled() -> LabelledBands:
    return labelled_as(all_bands())


@pytest.fixture(scope="module")
def rows(labelled: LabelledBands) -> Rows:
    found, refused = rows_of(labelled)
    assert not refused
    return found


@pytest.fixture(scope="module")
def small(rows: Rows, labelled: LabelledBands) -> tuple[Blend, dict]:
    return train_blend(rows, "small", BlendRecipe(folds=2, repeats=2), data_card(labelled))


def close(one: Prediction, other: Prediction, atol: float) -> bool:
    keys = ("em_ev", "em_std_ev", "em_low_ev", "em_high_ev", "p_good", "applicability")
    gaps = [abs(getattr(one, key) - getattr(other, key)) for key in keys]
    return max(gaps) < atol and one.nearest == other.nearest


@pytest.mark.parametrize("kind", ["rotated", "shifted", "reordered", "reversed", "unwrapped"])
def test_invariances(shipped: Predictor, bands: list[Band], kind: str) -> None:
    for band in bands:
        before, after = shipped([band, variants(band)[kind]])
        assert close(before, after, 1e-3), (band.length_a, before, after)


@pytest.mark.parametrize("name", ["MgMn2O4 spinel", "LiFePO4 olivine", "LiCoO2 layered"])
def test_a_larger_supercell_changes_nothing_to_speak_of(shipped: Predictor, name: str) -> None:
    known = KNOWN[name]
    network = enumerate_hops(known.crystal(), known.ion, HopSettings(max_hops=3))
    for hop in network.hops:
        wide = BandSettings(min_width_a=13.0, max_atoms=2000)
        usual, large = (build_band(network.crystal, hop, one) for one in (BandSettings(), wide))
        assert len(large) > len(usual)
        before, after = shipped([usual, large])
        assert abs(before.em_ev - after.em_ev) < 0.02


def test_predictions_are_sane_and_batched_as_single(shipped: Predictor, bands: list[Band]) -> None:
    together = shipped(bands)
    for band, one in zip(bands, together, strict=True):
        assert close(shipped([band])[0], one, 1e-9)
        assert 0 <= one.em_low_ev <= one.em_ev <= one.em_high_ev
        assert 0 <= one.p_good <= 1
        assert 0 <= one.applicability <= 1
        assert one.nearest


def test_a_chord_through_an_atom_is_hardly_applicable(
    shipped: Predictor, bands: list[Band]
) -> None:
    band = bands[0]
    middle = band.ion_frac[2] - np.floor(band.ion_frac[2])
    blocked = replace(band, host_frac=np.vstack([middle + 0.01, band.host_frac[1:]]))
    free, through = shipped([band, blocked])
    assert through.applicability < 0.2 * free.applicability


def test_saved_and_loaded_is_the_same(
    small: tuple[Blend, dict], bands: list[Band], tmp_path: Path
) -> None:
    model, card = small
    checkpoint.save(model, card, tmp_path / "small")
    loaded = Predictor.load(tmp_path / "small")
    assert loaded(bands) == Predictor(model, "unsaved")(bands)
    assert isinstance(loaded.model, Blend)
    assert loaded.model.rows.names == model.rows.names
    assert np.array_equal(loaded.model.rows.numbers, model.rows.numbers)
    assert checkpoint.read_card(tmp_path / "small") == json.loads(json.dumps(card))


def test_training_bands_are_their_own_nearest_entries(
    small: tuple[Blend, dict], labelled: LabelledBands
) -> None:
    model, _ = small
    for name, one in zip(labelled.names, Predictor(model, "x")(labelled.bands), strict=True):
        twin = labelled.bands[int(str(one.nearest))]
        same = labelled.bands[int(name)]
        assert one.nearest == name or np.isclose(twin.length_a, same.length_a)


def test_held_out_rows_are_not_seen(rows: Rows) -> None:
    """A row's own label must not move its held-out prediction; the others' must."""
    recipe = BlendRecipe(folds=2, repeats=1)
    before = predict_held_out(rows, recipe, "group").mean[0]
    em_ev = rows.em_ev.copy()
    chosen = np.flatnonzero(np.array(rows.groups) == rows.groups[0])
    em_ev[chosen] = 5.0
    after = predict_held_out(replace(rows, em_ev=em_ev), recipe, "group").mean[0]
    folds = recipe.draw(rows, "group", 0)
    with_it = folds == folds[chosen[0]]
    assert np.array_equal(before[with_it], after[with_it])
    assert not np.isclose(before[~with_it], after[~with_it]).any()


def test_fit_is_reproducible(rows: Rows) -> None:
    first, again = (fit_voters(rows)(rows.numbers).mean for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize(
    ("keep", "folds", "message"),
    [
        (8, 2, "8 usable bands, fewer than 20"),
        (None, 99, r"expected at least 99, one for each group fold"),
    ],
)
def test_too_little_data(
    rows: Rows, labelled: LabelledBands, keep: int | None, folds: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train_blend(rows.take(range(keep or len(rows))), "x", BlendRecipe(folds), {})


def test_graphs_of_another_model_are_refused(shipped: Predictor, bands: list[Band]) -> None:
    with pytest.raises(ValueError, match="reads 'numbers'"):
        shipped.predict([build_graph(bands[0], GraphSettings())])


def test_a_damaged_folder_is_refused(small: tuple[Blend, dict], tmp_path: Path) -> None:
    folder = tmp_path / "small"
    checkpoint.save(*small, folder)
    config = json.loads((folder / "config.json").read_text())
    for change in ({"names": config["names"][:-1]}, {"kind": "forest"}, {"groups": None}):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match="not a readable model"):
            checkpoint.load(folder)


def test_card_of_the_shipped_model_holds_what_is_promised() -> None:
    card = checkpoint.read_card(checkpoint.find_model(DEFAULT_MODEL))
    assert card["group_folds"]["mae_ev"] <= 0.285
    assert card["random_folds"]["mae_ev"] <= 0.255
    assert card["random_folds"]["accuracy"] >= 0.84
    for kind in ("random", "group"):
        for third in card[f"{kind}_folds_by_prediction"]:
            assert 0.85 <= third["coverage90"] <= 0.95
        errors = [third["mae_ev"] for third in card[f"{kind}_folds_by_applicability"]]
        assert errors[0] > 1.5 * errors[1] > 2 * errors[2]
        assert sum(one["n"] for one in card[f"{kind}_folds_reliability"]) == 3 * 556


def test_card_is_what_the_data_give(data_dir: Path) -> None:
    """One repeat of the group folds, from the file, meets the shipped card's figure."""
    rows, _ = rows_of(load_bands(data_dir / "em_bands_train.json"))
    held_out = predict_held_out(rows, BlendRecipe(repeats=1), "group")
    error_ev = np.abs(np.maximum(np.exp(held_out.mean[0]) - 0.1, 0) - rows.em_ev)
    card = checkpoint.read_card(checkpoint.find_model(DEFAULT_MODEL))
    assert error_ev.mean() == pytest.approx(card["group_folds"]["mae_ev"], abs=0.01)


def test_bands_seen_in_training_are_counted(
    small: tuple[Blend, dict], labelled: LabelledBands, tmp_path: Path
) -> None:
    from models.evaluate import evaluate
    from models.hdf5 import write_bands

    turned = [variants(band)["rotated"] for band in labelled.bands[:4]]
    longer = [replace(band, lattice=band.lattice * 1.05) for band in labelled.bands[4:9]]
    file = tmp_path / "bands.h5"
    write_bands(file, replace(labelled.take(range(9)), bands=(*turned, *longer)))
    assert evaluate(Predictor(small[0], "x"), file)["seen_in_training"] == 4
