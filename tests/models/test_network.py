"""The networks: one graph or many, any orientation, restart or not, the same result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.alignn import TrunkConfig, WeightedBatchNorm
from models.barrier import BarrierConfig, BarrierNetwork, to_target
from models.batch import collate, split_by_cost
from models.graph import GraphSettings, build_graph
from models.train import FitSettings, fit, predict_targets
from pathways.types import Band
from tests.models.test_graph import SETTINGS, variants

CONFIG = BarrierConfig(TrunkConfig(2, 2, width=16, embedding=8), dropout=0.2)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums of one thread have one order, so that weights can be compared to the last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network() -> BarrierNetwork:
    torch.manual_seed(0)
    return BarrierNetwork(CONFIG).double().eval()


def barrier(network: BarrierNetwork, band: Band) -> float:
    with torch.inference_mode():
        return float(network(collate([build_graph(band, SETTINGS)], dtype=torch.float64)))


def test_batched_equals_single(network: BarrierNetwork, bands: list[Band]) -> None:
    with torch.inference_mode():
        together = network(
            collate([build_graph(band, SETTINGS) for band in bands], dtype=torch.float64)
        )
    alone = [barrier(network, band) for band in bands]
    np.testing.assert_allclose(together.numpy(), alone, atol=1e-12)


@pytest.mark.parametrize("kind", ["rotated", "shifted", "reordered", "reversed", "unwrapped"])
def test_invariant(network: BarrierNetwork, bands: list[Band], kind: str) -> None:
    for band in bands[::3]:
        assert barrier(network, variants(band)[kind]) == pytest.approx(
            barrier(network, band), abs=1e-8
        )


def test_supercell_hardly_matters(network: BarrierNetwork, bands: list[Band]) -> None:
    """A longer cell changes nothing near the path but for the ion's own copy, 8 Å or more away."""
    band = max(bands, key=lambda one: abs(np.linalg.det(one.lattice)))
    whole = build_graph(band, SETTINGS)
    twice = build_graph(variants(band)["doubled"], SETTINGS)
    assert len(whole.numbers) == len(twice.numbers)
    assert barrier(network, variants(band)["doubled"]) == pytest.approx(
        barrier(network, band), abs=1e-3
    )


def test_weighted_norm_is_that_of_repeated_rows() -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(6, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    times = torch.tensor([1, 2, 1, 3, 2, 1])
    weighted, plain = WeightedBatchNorm(3).double(), torch.nn.BatchNorm1d(3).double()
    out = weighted(rows, times.unsqueeze(1).double())
    repeated = plain(rows.repeat_interleave(times, dim=0))
    first = torch.cumsum(times, 0) - times
    torch.testing.assert_close(out, repeated[first])
    torch.testing.assert_close(weighted.running_mean, plain.running_mean)
    torch.testing.assert_close(weighted.running_var, plain.running_var)
    pull = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(
        lambda x: WeightedBatchNorm(3).double()(x, times.unsqueeze(1).double()) * pull, (rows,)
    )


def test_split_by_cost(bands: list[Band]) -> None:
    graphs = [build_graph(band, SETTINGS) for band in bands]
    bound = 3 * max(graph.cost for graph in graphs)
    batches = list(split_by_cost(graphs, bound))
    assert sorted(index for batch in batches for index in batch) == list(range(len(graphs)))
    assert all(sum(graphs[i].cost for i in batch) <= bound for batch in batches)
    assert all(len(batch) == 1 for batch in split_by_cost(graphs, 1))


@pytest.mark.usefixtures("one_thread")
def test_training_learns_and_restarts(bands: list[Band], tmp_path: Path) -> None:
    """An interrupted training, continued, ends with the weights of an uninterrupted one."""
    graphs = [build_graph(band, SETTINGS) for band in bands]
    em_ev = np.array([band.length_a / 8 for band in bands])
    config = BarrierConfig(TrunkConfig(1, 1, width=16, embedding=8), head=(16,), dropout=0.1)
    settings = FitSettings(epochs=24, batch_size=4, learning_rate=5e-3, ema_decay=0.9)
    losses: list[float] = []
    straight = fit(config, graphs, em_ev, settings, on_epoch=lambda _, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    error = np.abs(predict_targets(straight, graphs) - to_target(torch.tensor(em_ev)).numpy())
    assert error.mean() < 0.2

    class StopError(Exception):
        pass

    def stop(epoch: int, _: float) -> None:
        if epoch == 12:
            raise StopError

    state = tmp_path / "member.state"
    with pytest.raises(StopError):
        fit(config, graphs, em_ev, settings, state_file=state, on_epoch=stop)
    assert state.is_file()
    epochs: list[int] = []
    continued = fit(
        config, graphs, em_ev, settings, state_file=state, on_epoch=lambda e, _: epochs.append(e)
    )
    assert epochs[0] == 11
    for (name, one), other in zip(
        straight.state_dict().items(), continued.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, msg=name)


def test_state_of_another_run_is_not_continued(bands: list[Band], tmp_path: Path) -> None:
    graphs = [build_graph(band, GraphSettings(environment_a=3.5)) for band in bands[:4]]
    config = BarrierConfig(TrunkConfig(0, 1, width=4, embedding=4), head=(4,))
    state = tmp_path / "member.state"
    em_ev = np.linspace(0.2, 1.0, 4)
    fit(config, graphs, em_ev, FitSettings(epochs=5, batch_size=4), state_file=state)
    epochs: list[int] = []
    other = FitSettings(epochs=6, batch_size=4, seed=1)
    fit(config, graphs, em_ev, other, state_file=state, on_epoch=lambda e, _: epochs.append(e))
    assert epochs[0] == 1
