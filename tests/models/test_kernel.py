"""The Gaussian process: against scikit-learn's, its closed forms, its invariances."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.dataset import LabelledBands, group_folds, load_bands
from models.descriptors import image_distances_a, path_descriptor
from models.kernel import KernelModel, _hyperparameters, _loss, _squared_distances, fit_kernel
from models.metrics import scores
from pathways.types import FloatArray

GROUPS = np.array([0, 0, 0, 1, 1, 2])
RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(80, 6)) * [1, 10, 0.1, 1, 5, 2] + 3
TARGET = np.sin(ROWS[:, 0]) + 0.2 * ROWS[:, 1] / 10 + 0.2 * RNG.normal(size=80)
UNSEEN = RNG.normal(size=(40, 6)) * [1, 10, 0.1, 1, 5, 2] + 3


@pytest.fixture(scope="module")
def model() -> KernelModel:
    return fit_kernel(ROWS, TARGET, GROUPS, names=[f"entry {i}" for i in range(80)])


def test_equal_to_scikit_learn_at_the_same_hyperparameters(model: KernelModel) -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(model.amplitude) * Matern(1.0, nu=1.5) + WhiteKernel(model.noise)
    reference = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None)
    weighted = np.clip((UNSEEN - model.centre) * model.weight, -model.limit, model.limit)
    reference.fit(model.rows, TARGET - TARGET.mean())
    mean, std = reference.predict(weighted, return_std=True)
    found_mean, found_std = model(UNSEEN)
    np.testing.assert_allclose(found_mean, mean + TARGET.mean(), atol=1e-9)
    np.testing.assert_allclose(found_std, std, atol=1e-9)


def test_gradient_of_the_loss() -> None:
    distances = np.stack([_squared_distances(ROWS[:, [i]], ROWS[:, [i]]) for i in (0, 3, 5)])
    logs = np.array([0.3, 0.5, 0.9, -0.5, -2.0])
    _, gradient = _loss(logs, distances, TARGET)
    for i in range(len(logs)):
        step = np.zeros(len(logs))
        step[i] = 1e-5
        up, _ = _loss(logs + step, distances, TARGET)
        down, _ = _loss(logs - step, distances, TARGET)
        assert gradient[i] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


def test_finds_the_group_that_matters_and_the_noise(model: KernelModel) -> None:
    lengths = model.lengths
    assert lengths[0] < 0.5 * min(lengths[1], lengths[2])
    assert 0.1 < np.sqrt(model.noise) < 0.3
    truth = np.sin(UNSEEN[:, 0]) + 0.2 * UNSEEN[:, 1] / 10
    mean, std = model(UNSEEN)
    assert scores(truth, mean)["r2"] > 0.7
    assert ((np.abs(truth - mean) / std) < 2).mean() > 0.85


def test_left_out_equals_fitting_without_the_group(model: KernelModel) -> None:
    groups = np.arange(80) // 7
    left_out = model.left_out(groups)
    for group in (0, 5, 11):
        out = groups == group
        kept = model.rows[~out]
        covariance = model.amplitude * _correlation(kept, kept) + model.noise * np.eye(len(kept))
        dual = np.linalg.solve(covariance, TARGET[~out] - model.offset)
        expected = model.offset + model.amplitude * _correlation(model.rows[out], kept) @ dual
        np.testing.assert_allclose(left_out[out], expected, atol=1e-9)


def _correlation(a: FloatArray, b: FloatArray) -> FloatArray:
    r = np.linalg.norm(a[:, None] - b, axis=2) * np.sqrt(3)
    return (1 + r) * np.exp(-r)


def test_nearest_entry(model: KernelModel) -> None:
    names, similarity = model.nearest(ROWS[[4, 17]])
    assert names == ["entry 4", "entry 17"]
    np.testing.assert_allclose(similarity, 1.0, atol=1e-6)
    far = ROWS.mean(axis=0) + 1000 * ROWS.std(axis=0)
    _, (far_similarity,) = model.nearest(far[None])
    _, near = model.nearest(UNSEEN)
    assert far_similarity < near.min()
    assert ((near > 0) & (near < 1)).all()


def test_units_order_and_constant_numbers_do_not_matter(model: KernelModel) -> None:
    scale, shift = np.array([10, 0.1, 3, 7, 1, 2.0]), np.arange(6.0)
    moved = fit_kernel(ROWS * scale + shift, TARGET, GROUPS)
    np.testing.assert_allclose(moved(UNSEEN * scale + shift)[0], model(UNSEEN)[0], atol=1e-3)
    shuffled = RNG.permutation(80)
    again = fit_kernel(ROWS[shuffled], TARGET[shuffled], GROUPS)
    np.testing.assert_allclose(again(UNSEEN)[0], model(UNSEEN)[0], atol=1e-3)
    constant = np.column_stack([ROWS, np.full(80, 5.0)])
    with_constant = fit_kernel(constant, TARGET, np.append(GROUPS, 1))
    moved_constant = np.column_stack([UNSEEN, np.full(40, 99.0)])
    np.testing.assert_allclose(with_constant(moved_constant)[0], model(UNSEEN)[0], atol=1e-3)


def test_comes_back_from_a_file_without_scikit_learn(model: KernelModel, tmp_path: Path) -> None:
    save_file(model.arrays(), tmp_path / "kernel.safetensors")
    again = KernelModel.from_arrays(load_file(tmp_path / "kernel.safetensors"))
    assert again.names == model.names
    for found, expected in zip(again(UNSEEN), model(UNSEEN), strict=True):
        np.testing.assert_array_equal(found, expected)
    code = "import sys; sys.modules['sklearn'] = None; import models.kernel"
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_broken_arrays_are_refused(model: KernelModel) -> None:
    arrays = model.arrays()
    with pytest.raises(ValueError, match="dual"):
        KernelModel.from_arrays({**arrays, "dual": arrays["dual"][:-1]})
    with pytest.raises(ValueError, match="79 names"):
        KernelModel.from_arrays({**arrays, "names": arrays["names"][:-9]})
    with pytest.raises(KeyError):
        KernelModel.from_arrays({key: arrays[key] for key in arrays if key != "rows"})


def test_bad_training_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        fit_kernel(ROWS[:2], TARGET[:2], GROUPS)
    with pytest.raises(ValueError, match="groups"):
        fit_kernel(ROWS, TARGET, GROUPS[:-1])
    with pytest.raises(ValueError, match="finite"):
        fit_kernel(np.where(ROWS > 5, np.nan, ROWS), TARGET, GROUPS)


def test_equal_targets_do_not_break_the_fit() -> None:
    mean, std = fit_kernel(ROWS, np.full(80, 2.0), GROUPS)(UNSEEN)
    np.testing.assert_allclose(mean, 2.0, atol=1e-6)
    assert np.isfinite(std).all()


@pytest.fixture(scope="module")
def real(data_dir: Path) -> tuple[LabelledBands, FloatArray]:
    """The labelled bands and their descriptors."""
    data = load_bands(data_dir / "em_bands_train.json")
    crystals = [band.folded for band in data.bands]
    rows = [path_descriptor(crystal, image_distances_a(crystal)) for crystal in crystals]
    return data, np.array(rows)


def test_predicts_unseen_hosts(real: tuple[LabelledBands, FloatArray]) -> None:
    data, rows = real
    target = np.log(data.em_ev + 0.1)
    groups = (np.arange(rows.shape[1]) >= 194).astype(np.int64)
    train = group_folds(data.groups, 5, seed=0) != 0
    model = fit_kernel(rows[train], target[train], groups)
    mean, std = model(rows[~train])
    error = np.abs(np.exp(mean) - 0.1 - data.em_ev[~train])
    median = np.abs(np.median(data.em_ev[train]) - data.em_ev[~train])
    assert error.mean() < 0.7 * median.mean()
    # In the trained scale, about 90 % lie within 1.64 standard deviations.
    inside = (np.abs(mean - target[~train]) < 1.64 * std).mean()
    assert 0.75 < inside <= 1.0
    similarity = model.nearest(rows[~train])[1]
    order = np.argsort(similarity)
    assert error[order[: len(order) // 3]].mean() > error[order[-len(order) // 3 :]].mean()


def test_hyperparameters_stay_within_bounds() -> None:
    nothing = RNG.normal(size=80)
    distances = _squared_distances(ROWS[:, [0]], ROWS[:, [0]])[None]
    lengths, amplitude, noise = _hyperparameters(distances, nothing)
    assert np.isfinite([*lengths, amplitude, noise]).all()
    assert noise > 0.3 * nothing.var()
