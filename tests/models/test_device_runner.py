"""Votes in batches that fit: the same as an ensemble's, whatever the memory does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.alignn import TrunkConfig
from models.barrier import BarrierConfig, BarrierNetwork
from models.batch import collate
from models.device_memory import Backoff
from models.device_runner import DeviceRunner, band_costs, sent
from models.graph import BandGraph, GraphSettings, build_graph
from models.networks import Ensemble
from models.predict import Predictor
from pathways.types import Band, PathwayError

SETTINGS = GraphSettings(environment_a=4.5)


@pytest.fixture(scope="module")
def model3() -> Ensemble:
    model = Predictor.load("model3").model
    assert isinstance(model, Ensemble)
    return replace(model, members=model.members[:2])


@pytest.fixture(scope="module")
def runner(model3: Ensemble) -> DeviceRunner:
    return DeviceRunner(model3.members, model3.graph, "cpu")


@pytest.fixture(scope="module")
def bands(bands: list[Band]) -> list[Band]:
    """Every third: small cells and large ones."""
    return bands[::3]


@pytest.fixture(scope="module")
def graphs(bands: list[Band]) -> list[BandGraph]:
    return [build_graph(band, SETTINGS) for band in bands]


def test_same_votes_as_the_ensemble(
    model3: Ensemble, runner: DeviceRunner, graphs: list[BandGraph], bands: list[Band]
) -> None:
    expected = model3.votes(graphs)
    assert expected.std() > 0.1
    np.testing.assert_allclose(runner.votes(graphs), expected, atol=1e-5)
    found = runner.votes_of_bands(bands)
    assert not found.failures
    np.testing.assert_allclose(found.votes, expected, atol=1e-5)


def test_same_estimate_as_the_ensemble(
    model3: Ensemble, runner: DeviceRunner, graphs: list[BandGraph], bands: list[Band]
) -> None:
    expected = model3.estimate(graphs)
    ours, failures = runner.estimate(bands, model3.calibration, model3.applicability)
    assert not failures
    np.testing.assert_allclose(ours.mean, expected.mean, atol=1e-5)
    np.testing.assert_allclose(ours.sigma, expected.sigma, atol=1e-5)
    np.testing.assert_allclose(ours.applicability, expected.applicability, atol=1e-9)


def test_a_bad_band_costs_only_itself(
    model3: Ensemble, runner: DeviceRunner, bands: list[Band]
) -> None:
    strange = replace(bands[1], ion_number=119)
    lonely = replace(bands[1], lattice=bands[1].lattice * 30)
    some = [bands[0], strange, lonely, bands[-1]]
    ours, failures = runner.estimate(some, model3.calibration, model3.applicability)
    assert {index: error.reason for index, error in failures.items()} == {
        1: "unknown_element",
        2: "bad_graph",
    }
    assert np.isnan(ours.mean).tolist() == [False, True, True, False]
    alone = model3.estimate([build_graph(bands[-1], SETTINGS)])
    assert ours.mean[3] == pytest.approx(alone.mean[0], abs=1e-5)


class SmallMemory(BarrierNetwork):
    """A network on a device that holds so many bond pairs and no more."""

    room: int = 0

    def forward(self, batch: object) -> torch.Tensor:
        if len(batch.triplets.row_weight) > self.room:  # type: ignore[attr-defined]
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(batch)  # type: ignore[arg-type]


def small_runner(room: int) -> DeviceRunner:
    torch.manual_seed(0)
    config = BarrierConfig(TrunkConfig(1, 1, width=16, embedding=8), head=(16,))
    network = SmallMemory(config)
    network.room = room
    return DeviceRunner([network], SETTINGS, "cpu")


def test_shortage_of_memory_halves_the_batches(graphs: list[BandGraph], bands: list[Band]) -> None:
    largest = max(graph.n_triplets for graph in graphs)
    expected = small_runner(10**9).votes(graphs)
    small = small_runner(largest)
    np.testing.assert_allclose(small.votes(graphs), expected, atol=1e-6)
    assert small.backoff.limit < small.backoff.most
    again = small_runner(largest)
    found = again.votes_of_bands(bands)
    assert not found.failures
    np.testing.assert_allclose(found.votes, expected, atol=1e-5)


def test_what_does_not_fit_alone_is_said(graphs: list[BandGraph], bands: list[Band]) -> None:
    triplets = np.array([graph.n_triplets for graph in graphs])
    small = small_runner(int(triplets.max()) - 1)
    with pytest.raises(PathwayError, match="out_of_memory"):
        small.votes(graphs)
    found = small.votes_of_bands(bands)
    assert sorted(found.failures) == np.flatnonzero(triplets == triplets.max()).tolist()
    assert {error.reason for error in found.failures.values()} == {"out_of_memory"}
    assert np.isfinite(found.votes[:, triplets < triplets.max()]).all()


def test_backoff_grows_again() -> None:
    backoff = Backoff(most=16)
    done: list[int] = []
    sizes: list[int] = []

    def work(batch: list[int]) -> None:
        # Memory is short at first, as when another program holds some of it.
        if len(done) < 10 and len(batch) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(batch))
        done.extend(batch)

    assert backoff.run([1] * 200, work) == []
    assert sorted(done) == list(range(200))
    assert sizes[0] == 2
    assert max(sizes) == 16
    assert backoff.limit == 16


def test_other_errors_go_through() -> None:
    def work(_: list[int]) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        Backoff(most=4).run([1, 1], work)


@pytest.mark.parametrize("parts", ["whole", "ends", "local"])
@pytest.mark.parametrize("environment_a", [None, 4.5])
def test_costs_are_about_right(bands: list[Band], parts: str, environment_a: float | None) -> None:
    settings = GraphSettings(environment_a=environment_a, parts=parts)  # type: ignore[arg-type]
    expected = np.array([build_graph(band, settings).cost for band in bands])
    ratio = band_costs(bands, settings) / expected
    assert ratio.min() > 0.3
    assert ratio.max() < 5


def test_a_sent_batch_is_the_same(graphs: list[BandGraph]) -> None:
    batch = collate(graphs[:2])
    copy = sent(batch, torch.device("cpu"))
    torch.testing.assert_close(copy.vector, batch.vector)
    torch.testing.assert_close(copy.triplets.blocks, batch.triplets.blocks)
    assert copy.sizes == batch.sizes


def test_a_model_uses_fused_kernels_that_say_the_same(model3: Ensemble) -> None:
    runner, what = model3._fused
    assert isinstance(runner, DeviceRunner)
    assert what == "fused kernels"


@pytest.mark.parametrize("fault", ["raises", "nan"])
def test_a_model_does_without_fused_kernels_that_do_not(
    model3: Ensemble, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def votes(self: DeviceRunner, graphs: list[BandGraph]) -> np.ndarray:
        if fault == "raises":
            raise RuntimeError("no kernel image is available\nfor this device")
        return np.full((len(self.members), len(graphs)), np.nan)

    monkeypatch.setattr(DeviceRunner, "votes", votes)
    runner, what = replace(model3)._fused
    assert runner is None
    assert what.startswith("PyTorch (fused kernels")
    assert "\n" not in what
