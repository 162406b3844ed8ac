"""Trees as arrays: the same numbers as the library that grew them, and safe to read back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.trees import TreeModel, TreeSettings, export, fit_trees
from pathways.types import FloatArray

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(300, 12)) * np.geomspace(1e-3, 1e3, 12)
TARGET = np.tanh(ROWS[:, 5]) + 0.3 * np.abs(ROWS[:, 6]) + 0.1 * RNG.normal(size=300)
UNSEEN = RNG.normal(size=(500, 12)) * np.geomspace(1e-3, 1e3, 12)


def _forests() -> list[Any]:
    from sklearn.ensemble import (
        ExtraTreesRegressor,
        GradientBoostingRegressor,
        RandomForestRegressor,
    )

    return [
        ExtraTreesRegressor(40, max_features=0.5, random_state=1),
        ExtraTreesRegressor(7, min_samples_leaf=20, max_depth=3, random_state=2),
        RandomForestRegressor(30, random_state=3),
        GradientBoostingRegressor(n_estimators=60, subsample=0.6, random_state=4),
        ExtraTreesRegressor(5, min_samples_leaf=300, random_state=5),
    ]


@pytest.mark.parametrize("forest", _forests(), ids=lambda forest: type(forest).__name__)
def test_equal_to_scikit_learn(forest: Any) -> None:
    forest.fit(ROWS, TARGET)
    model = export(forest)
    for rows in (ROWS, UNSEEN, ROWS[:1]):
        np.testing.assert_allclose(model(rows), forest.predict(rows), rtol=0, atol=1e-12)
    assert model(UNSEEN[:0]).shape == (0,)


def test_equal_on_real_bands(real: tuple[FloatArray, FloatArray]) -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    rows, target = real
    forest = ExtraTreesRegressor(20, max_features=0.3, random_state=0).fit(rows[::2], target[::2])
    np.testing.assert_allclose(export(forest)(rows), forest.predict(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("growth", ["extra", "boosting"])
def test_learns_and_comes_back_from_a_file(growth: Any, tmp_path: Path) -> None:
    model = fit_trees(ROWS, TARGET, TreeSettings(growth, trees=80, share=0.8))
    file = tmp_path / "trees.safetensors"
    save_file(model.arrays(), file)
    again = TreeModel.from_arrays(load_file(file))
    np.testing.assert_array_equal(again(UNSEEN), model(UNSEEN))
    truth = np.tanh(UNSEEN[:, 5]) + 0.3 * np.abs(UNSEEN[:, 6])
    assert np.abs(model(UNSEEN) - truth).mean() < 0.5 * np.abs(TARGET.mean() - truth).mean()
    same = fit_trees(ROWS, TARGET, TreeSettings(growth, trees=80, share=0.8))
    np.testing.assert_array_equal(same(UNSEEN), model(UNSEEN))


def test_many_rows_equal_single_rows() -> None:
    model = fit_trees(ROWS, TARGET, TreeSettings(trees=9))
    many = np.tile(UNSEEN, (9, 1))
    np.testing.assert_array_equal(model(many)[-500:], [model(row[None])[0] for row in UNSEEN])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("left", lambda a: a[:-1], "expected"),
        ("right", lambda a: a + len(a), "points outside"),
        ("feature", lambda a: a - 1, "points outside"),
        ("root", lambda a: a + 10**6, "points outside"),
    ],
)
def test_broken_arrays_are_refused(name: str, change: Any, message: str) -> None:
    arrays = fit_trees(ROWS, TARGET, TreeSettings(trees=3)).arrays()
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=message):
        TreeModel.from_arrays(arrays)


def test_wrong_rows_and_settings_are_refused() -> None:
    model = fit_trees(ROWS, TARGET, TreeSettings(trees=3))
    with pytest.raises(ValueError, match=r"expected \(m, 12\)"):
        model(UNSEEN[:, :5])
    with pytest.raises(ValueError, match="growth"):
        TreeSettings(growth="random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        TreeSettings(trees=0)


def test_prediction_needs_no_scikit_learn(tmp_path: Path) -> None:
    model = fit_trees(ROWS, TARGET, TreeSettings(trees=5))
    save_file(model.arrays(), tmp_path / "trees.safetensors")
    np.save(tmp_path / "rows.npy", UNSEEN)
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import numpy as np; from safetensors.numpy import load_file\n"
        "from models.trees import TreeModel\n"
        "model = TreeModel.from_arrays(load_file('trees.safetensors'))\n"
        "np.save('found.npy', model(np.load('rows.npy')))\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, env=_environment(), timeout=60
    )
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), model(UNSEEN))


def _environment() -> dict[str, str]:
    import os

    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def real(data_dir: Path) -> tuple[FloatArray, FloatArray]:
    """Descriptors and targets of the labelled bands."""
    from models.dataset import load_bands
    from models.descriptors import image_distances_a, path_descriptor

    data = load_bands(data_dir / "em_bands_train.json")
    crystals = [band.folded for band in data.bands]
    rows = [path_descriptor(crystal, image_distances_a(crystal)) for crystal in crystals]
    return np.array(rows), np.log(data.em_ev + 0.1)
