"""Habits of a training: it stops early, keeps its curve, computes alike, and looks at no test."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from models import fused_gradients
from models.alignn import TrunkConfig, WeightedBatchNorm
from models.arithmetic import bfloat16_products, deterministic
from models.barrier import BarrierConfig, BarrierNetwork, to_target
from models.batch import collate
from models.curves import curves_csv, from_array, to_tensor
from models.dataset import DatasetError, LabelledBands
from models.ensemble import (
    finished_members,
    learning_curves,
    member_names,
    train_ensemble,
)
from models.graph import BandGraph, GraphSettings, build_graph
from models.loop import EpochReport
from models.train import FitSettings, fit_with_curve, predict_targets, validation_part
from tests.models.conftest import TINY
from tests.models.labelled import known_bands, labelled_as

CONFIG = BarrierConfig(TrunkConfig(1, 1, width=16, embedding=8), head=(16,), dropout=0.1)
PATIENT = FitSettings(epochs=20, batch_size=4, learning_rate=5e-3, ema_decay=0.0, patience=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More threads add up in changing order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def several() -> LabelledBands:
    """Two bands of every known crystal."""
    return labelled_as([band for found in known_bands().values() for band in found[:2]])


@pytest.fixture(scope="module")
def graphs(several: LabelledBands) -> list[BandGraph]:
    settings = GraphSettings(environment_a=3.5)
    return [build_graph(band, settings) for band in several.bands]


@pytest.fixture(scope="module")
def em_ev(several: LabelledBands) -> np.ndarray:
    return several.em_ev


def alike(one: BarrierNetwork, other: BarrierNetwork) -> bool:
    rows = other.state_dict()
    return all(torch.equal(value, rows[key]) for key, value in one.state_dict().items())


def test_validation_is_a_seeded_tenth() -> None:
    held = validation_part(200, 0.1, seed=3)
    assert held.sum() == 20
    assert (held == validation_part(200, 0.1, seed=3)).all()
    assert (held != validation_part(200, 0.1, seed=4)).any()
    assert validation_part(4, 0.1, seed=0).sum() == 1


def test_validation_holds_whole_hosts() -> None:
    groups = [f"host{i % 13 if i < 60 else 'large'}" for i in range(100)]
    draws = [validation_part(100, 0.1, seed, groups) for seed in range(8)]
    for held in draws:
        assert 0 < held.sum() <= 10
        names = np.array(groups)
        assert not set(names[held]) & set(names[~held])
    assert len({tuple(held) for held in draws}) > 1
    two = validation_part(30, 0.1, 0, ["a"] * 18 + ["b"] * 12)
    assert two.tolist() == [False] * 18 + [True] * 12
    with pytest.raises(DatasetError, match=r"30 bands of 1 hosts .* at least 3 of 2 hosts"):
        validation_part(30, 0.1, 0, ["a"] * 30)


def test_it_stops_early_with_the_weights_of_the_best_epoch(
    graphs: list[BandGraph], em_ev: np.ndarray
) -> None:
    hasty = replace(PATIENT, learning_rate=0.1, epochs=40)
    network, reports = fit_with_curve(CONFIG, graphs, em_ev, hasty)
    values = [one.validation for one in reports if one.validation is not None]
    assert len(values) == len(reports) < 40
    assert len(reports) == 1 + int(np.argmin(values)) + 3
    held = validation_part(len(graphs), 0.1, hasty.seed)
    target = to_target(torch.as_tensor(em_ev[held])).numpy()
    error = np.abs(predict_targets(network, [graphs[i] for i in np.flatnonzero(held)]) - target)
    assert error.mean() / float(network.target_std) == pytest.approx(min(values), abs=1e-5)


def test_bands_that_validate_do_not_train(graphs: list[BandGraph], em_ev: np.ndarray) -> None:
    """Another label of theirs changes the validation, and neither scale nor weights."""
    settings = replace(PATIENT, epochs=1)
    held = validation_part(len(graphs), 0.1, settings.seed)
    first, (before,) = fit_with_curve(CONFIG, graphs, em_ev, settings)
    second, (after,) = fit_with_curve(CONFIG, graphs, np.where(held, 3.0, em_ev), settings)
    assert alike(first, second)
    assert before.loss == after.loss
    assert before.validation != after.validation


def test_stopped_early_and_continued_is_unbroken(
    graphs: list[BandGraph], em_ev: np.ndarray, tmp_path: Path
) -> None:
    settings = replace(PATIENT, patience=7, epochs=12)
    straight, reports = fit_with_curve(CONFIG, graphs, em_ev, settings)

    class KilledError(Exception):
        pass

    def kill(one: EpochReport) -> None:
        if one.epoch == 6:
            raise KilledError

    state = tmp_path / "member.state"
    with pytest.raises(KilledError):
        fit_with_curve(CONFIG, graphs, em_ev, settings, state_file=state, on_epoch=kill)
    assert state.is_file()
    continued, again = fit_with_curve(CONFIG, graphs, em_ev, settings, state_file=state)
    assert alike(straight, continued)
    assert [one.validation for one in again] == [one.validation for one in reports]


def test_wrong_patience_is_refused() -> None:
    with pytest.raises(ValueError, match="patience is 0, must be at least 1"):
        FitSettings(patience=0)
    with pytest.raises(ValueError, match="validation_share is 0"):
        FitSettings(validation_share=0.0)


@pytest.mark.parametrize("patience", [None, 1])
def test_no_member_looks_at_the_fold_that_tests_it(
    several: LabelledBands, tmp_path: Path, patience: int | None
) -> None:
    """Other labels of a fold leave the network that it tests as it was."""
    recipe = replace(TINY, fit=replace(TINY.fit, epochs=2, patience=patience))
    train_ensemble(several, recipe, tmp_path / "one", "tiny")
    member = next((tmp_path / "one").glob("*/group-0-1.safetensors"))
    unseen = load_file(member)["unseen"]
    changed = several.em_ev.copy()
    changed[unseen] += 1.0
    train_ensemble(replace(several, em_ev=changed), recipe, tmp_path / "two", "tiny")
    other = next((tmp_path / "two").glob("*/group-0-1.safetensors"))
    before, after = load_file(member), load_file(other)
    for key in before:
        if key != "curve":
            np.testing.assert_array_equal(before[key], after[key], err_msg=key)
    np.testing.assert_array_equal(before["curve"][:, :4], after["curve"][:, :4])


def test_curves_of_all_members_survive_a_restart(labelled: LabelledBands, tmp_path: Path) -> None:
    assert finished_members(labelled, TINY, tmp_path) == []
    _, card = train_ensemble(labelled, TINY, tmp_path, "tiny")
    before = learning_curves(labelled, TINY, tmp_path)
    assert list(before) == member_names(TINY) == finished_members(labelled, TINY, tmp_path)
    seconds = [np.median([one.seconds for one in reports]) for reports in before.values()]
    assert card["seconds_per_epoch"] == pytest.approx(np.median(seconds), abs=1e-3)
    next(tmp_path.glob("*/random-0-1.safetensors")).unlink()
    assert "random-0-1" not in finished_members(labelled, TINY, tmp_path)
    train_ensemble(labelled, TINY, tmp_path, "tiny")
    after = learning_curves(labelled, TINY, tmp_path)
    assert after["group-0-0"] == before["group-0-0"]
    rows = list(csv.DictReader(curves_csv(after).splitlines()))
    assert [row["member"] for row in rows] == [n for n in member_names(TINY) for _ in range(3)]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"] * 4
    assert [float(row["loss"]) for row in rows[:3]] == pytest.approx(
        [one.loss for one in before["random-0-0"]], abs=1e-6
    )
    assert {row["validation"] for row in rows} == {""}


def test_curve_as_tensor_and_back() -> None:
    reports = [EpochReport(1, 0.5, None, 1e-3, 2.0), EpochReport(2, 0.25, 0.6, 5e-4, 2.5)]
    assert from_array(to_tensor(reports).numpy()) == reports


def test_bfloat16_products_are_near_and_leave_no_trace(
    graphs: list[BandGraph], em_ev: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, as a GPU would: the loss is near, norms and everything kept are float32."""
    monkeypatch.setenv(fused_gradients.VARIABLE, "0")
    torch.manual_seed(0)
    network = BarrierNetwork(BarrierConfig(TrunkConfig(2, 2, width=32, embedding=16)))
    batch = collate(graphs)
    target = to_target(torch.as_tensor(em_ev, dtype=torch.float32))
    network.fit_scale(target, batch.descriptors)
    normed: list[Tensor] = []
    for part in network.modules():
        if isinstance(part, WeightedBatchNorm):
            part.register_forward_pre_hook(lambda _, given: normed.append(given[0]))

    def loss() -> Tensor:
        return (network(batch) - target).abs().mean() / network.target_std

    exact = loss().item()
    with bfloat16_products(network):
        near = loss()
    assert near.dtype == torch.float32
    assert 0 < abs(near.item() - exact) < 1e-2 * exact
    assert {rows.dtype for rows in normed} == {torch.float32}
    near.backward()  # type: ignore[no-untyped-call]
    for one in network.parameters():
        assert one.dtype == torch.float32
        assert one.grad is None or bool(torch.isfinite(one.grad).all())
    network.eval()
    with torch.inference_mode():
        before = network(batch)
        with bfloat16_products(network):
            assert not torch.equal(network(batch), before)
        assert torch.equal(network(batch), before)


def test_a_cpu_trains_in_float32_whatever_the_setting(
    graphs: list[BandGraph], em_ev: np.ndarray
) -> None:
    short = replace(PATIENT, epochs=2, patience=None)
    one, _ = fit_with_curve(CONFIG, graphs, em_ev, replace(short, autocast=True))
    other, _ = fit_with_curve(CONFIG, graphs, em_ev, replace(short, autocast=False))
    assert alike(one, other)


def test_deterministic_trainings_are_bitwise_equal(
    graphs: list[BandGraph], em_ev: np.ndarray
) -> None:
    torch.set_num_threads(2)
    settings = replace(PATIENT, epochs=4, deterministic=True)
    seen: list[tuple[int, bool]] = []

    def look(_: EpochReport) -> None:
        seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))

    one, reports = fit_with_curve(CONFIG, graphs, em_ev, settings, on_epoch=look)
    assert seen == [(1, True)] * len(reports)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (2, False)
    other, _ = fit_with_curve(CONFIG, graphs, em_ev, settings)
    assert alike(one, other)
    seeded, _ = fit_with_curve(CONFIG, graphs, em_ev, replace(settings, seed=1))
    assert not alike(one, seeded)


def test_determinism_is_not_forced() -> None:
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
