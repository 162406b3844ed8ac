"""Gradients by hand against autograd's, on every instruction set here; and without the library."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models import fused_gradients, fused_library
from models.alignn import TrunkConfig
from models.barrier import BarrierConfig, BarrierNetwork
from models.batch import GraphBatch, collate
from models.fused_gradients_stage import Trainer
from models.graph import BandGraph, GraphSettings, Parts, build_graph
from models.loop import Plan, Schedule, parameter_groups, train_network
from pathways.types import Band
from tests.models.test_fused import SOURCES, build
from tests.models.test_inference import bonded, trunk

CONFIG = TrunkConfig(2, 2, width=32, embedding=16)
WAYS = {"units": (2, True), "AVX-512": (2, False), "AVX2": (1, False), "plain": (0, False)}
"""Instruction set, and whether matrix units multiply."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    found = fused_library.load(build(tmp_path_factory.mktemp("library"), *SOURCES))
    assert found is not None
    return Trainer(found)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, library: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    level, units = WAYS[request.param]
    if level > library.level or (units and not library.units):
        pytest.skip(f"this processor has no {request.param}")
    chosen = copy.copy(library)
    chosen.level, chosen.units = level, units
    monkeypatch.delenv(fused_gradients.VARIABLE, raising=False)
    monkeypatch.setattr(fused_gradients, "trainer", lambda: chosen)


@pytest.fixture
def best(library: Trainer, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    monkeypatch.delenv(fused_gradients.VARIABLE, raising=False)
    monkeypatch.setattr(fused_gradients, "trainer", lambda: library)
    return library


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Passed:
    """What one pass forward and back leaves."""

    out: Tensor
    gradients: dict[str, Tensor]
    buffers: dict[str, Tensor]


def passed(network: nn.Module, graphs: list[BandGraph], dtype: torch.dtype) -> Passed:
    """Of a network's copy, with one and the same gradient of what comes out."""
    network = copy.deepcopy(network).to(dtype)
    out = network(collate(graphs, dtype=dtype))
    pull = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (out * pull.to(dtype)).sum().backward()
    return Passed(
        out.detach().double(),
        {n: p.grad.double() for n, p in network.named_parameters() if p.grad is not None},
        {n: b.double() for n, b in network.named_buffers()},
    )


def by_autograd(
    network: nn.Module, graphs: list[BandGraph], dtype: torch.dtype, patch: pytest.MonkeyPatch
) -> Passed:
    with patch.context() as within:
        within.setenv(fused_gradients.VARIABLE, "0")
        return passed(network, graphs, dtype)


def assert_near(found: Tensor, exact: Tensor, plain: Tensor, name: str, noise: float) -> None:
    """To 1e-5 of the norm; where digits cancel, to so many times autograd's own error."""
    error, of_plain = (float((one - exact).norm()) for one in (found, plain))
    allowed = max(1e-5 * float(exact.norm()), noise * of_plain)
    of = f"of {float(exact.norm()):.2e}, autograd's {of_plain:.2e}"
    assert error <= allowed, f"{name}: {error:.2e} {of}"


def assert_gradients(
    network: nn.Module, graphs: list[BandGraph], patch: pytest.MonkeyPatch, noise: float = 2.0
) -> Passed:
    found = passed(network, graphs, torch.float32)
    exact = by_autograd(network, graphs, torch.float64, patch)
    plain = by_autograd(network, graphs, torch.float32, patch)
    assert not torch.equal(found.out, plain.out)
    assert found.gradients.keys() == exact.gradients.keys()
    assert_near(found.out, exact.out, plain.out, "out", noise)
    for name, gradient in found.gradients.items():
        assert_near(gradient, exact.gradients[name], plain.gradients[name], name, noise)
    for name, buffer in found.buffers.items():
        assert_near(buffer, exact.buffers[name], plain.buffers[name], name, noise)
    return found


def graphs_of(bands: list[Band], parts: Parts = "whole") -> list[BandGraph]:
    return [build_graph(band, GraphSettings(environment_a=3.5, parts=parts)) for band in bands]


@pytest.mark.usefixtures("way")
def test_gradients_of_real_bands(bands: list[Band], monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges that count twice among them."""
    graphs = graphs_of(bands[::6])
    assert any((graph.multiplicity > 1).any() for graph in graphs)
    found = assert_gradients(trunk(CONFIG).train(), graphs, monkeypatch)
    assert "alignn_layers.1.edge_update.bn_edges.weight" not in found.gradients
    assert int(found.buffers["alignn_layers.0.edge_update.bn_edges.num_batches_tracked"]) == 1


@pytest.mark.usefixtures("best")
@pytest.mark.parametrize("parts", ["ends", "local"])
def test_gradients_of_two_graphs_a_band(
    bands: list[Band], parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_gradients(trunk(CONFIG).train(), graphs_of(bands[:2], parts), monkeypatch)


@pytest.mark.usefixtures("way")
def test_gradients_of_every_degree(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 1 to 26 bonds, and atoms without; of two atoms each, where single precision is poor."""
    graphs = [bonded(degree, degree % 3) for degree in range(1, 27)]
    network = trunk(TrunkConfig(1, 1, width=48, embedding=8)).train()
    assert_gradients(network, graphs, monkeypatch, noise=4.0)


@pytest.mark.usefixtures("way")
def test_gradients_of_a_network_that_rests(
    bands: list[Band], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In eval mode, where running moments count and stay."""
    network = trunk(CONFIG)
    found = assert_gradients(network, graphs_of(bands[:2]), monkeypatch)
    for name, buffer in network.named_buffers():
        assert torch.equal(found.buffers[name], buffer.double()), name


@pytest.mark.usefixtures("best")
def test_frozen_parts_stay(bands: list[Band], monkeypatch: pytest.MonkeyPatch) -> None:
    network = trunk(CONFIG).train()
    frozen = [network.angle_embedding, network.edge_embedding, network.alignn_layers[0]]
    for part in frozen:
        part.eval().requires_grad_(False)
    before = {n: b.double() for n, b in network.alignn_layers[0].named_buffers()}
    found = assert_gradients(network, graphs_of(bands[:2]), monkeypatch, noise=4.0)
    assert not any(name.startswith("angle_embedding") for name in found.gradients)
    for name, buffer in before.items():
        assert torch.equal(found.buffers[f"alignn_layers.0.{name}"], buffer), name


@pytest.mark.usefixtures("best")
@pytest.mark.parametrize("threads", [2, 3])
def test_the_same_on_every_run(bands: list[Band], threads: int) -> None:
    """With one number of threads to the last bit, with another to round-off."""
    network, graphs = trunk(CONFIG).train(), graphs_of(bands[:3])
    usual = passed(network, graphs, torch.float32)
    torch.set_num_threads(threads)
    first, second = (passed(network, graphs, torch.float32) for _ in range(2))
    for name, gradient in first.gradients.items():
        assert torch.equal(gradient, second.gradients[name]), name
    total = torch.cat([one.flatten() for one in first.gradients.values()])
    others = torch.cat([one.flatten() for one in usual.gradients.values()])
    assert float((total - others).norm() / total.norm()) < 1e-5


@pytest.mark.usefixtures("best")
def test_without_gradients_nothing_changes(
    bands: list[Band], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, batch = trunk(CONFIG).train(), collate(graphs_of(bands[:2]))
    again = copy.deepcopy(network)
    with torch.no_grad():
        found = network(batch)
        monkeypatch.setenv(fused_gradients.VARIABLE, "0")
        assert torch.equal(found, again(batch))


@pytest.mark.usefixtures("best")
def test_what_is_no_number_stays_so(bands: list[Band]) -> None:
    network, graphs = trunk(CONFIG).train(), graphs_of(bands[:1])
    with torch.no_grad():
        network.alignn_layers[0].edge_update.edge_gate.weight[3, 4] = torch.nan  # type: ignore[union-attr]
    found = passed(network, graphs, torch.float32)
    assert found.out.isnan().all()
    assert found.gradients["alignn_layers.0.edge_update.edge_gate.weight"].isnan().any()


def test_products_on_units(library: Trainer) -> None:
    """Also of row counts that no block divides, and of more rows than a thread begins with."""
    if not library.units:
        pytest.skip("this processor has no matrix units")
    generator = torch.Generator().manual_seed(0)
    for rows, n_in, n_out in ((1, 32, 32), (45, 64, 128), (2001, 512, 96), (300, 96, 512)):
        x, weight, grad = (
            torch.randn(size, generator=generator)
            for size in ((rows, n_in), (n_out, n_in), (rows, n_out))
        )
        exact = x.double() @ weight.double().T
        found = library.multiply(x, weight.T)
        assert float((found - exact).norm() / exact.norm()) < 5e-7
        exact = grad.double().T @ x.double()
        found = library.multiply_columns(grad, x)
        assert float((found - exact).norm() / exact.norm()) < 1e-6


def test_can_be_forbidden_or_absent(best: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.zeros(4, 32, requires_grad=True)
    assert fused_gradients.trains(rows, 32)
    assert not fused_gradients.trains(rows.double(), 32)
    assert not fused_gradients.trains(rows, 40)
    assert ("matrix units" in fused_gradients.how_trained("cpu")) == best.units
    assert fused_gradients.how_trained("cuda") == "PyTorch"
    monkeypatch.setenv(fused_gradients.VARIABLE, "0")
    assert fused_gradients.how_trained("cpu") == "PyTorch"
    monkeypatch.delenv(fused_gradients.VARIABLE)
    monkeypatch.setattr(fused_gradients, "trainer", lambda: None)
    assert not fused_gradients.trains(rows, 32)


def trained(
    graphs: list[BandGraph], epochs: int = 3, state: Path | None = None, stop: int = 0
) -> tuple[nn.Module, list[float]]:
    """A small network after some epochs in steps that are cut into parts, and their losses."""
    torch.manual_seed(0)
    network = BarrierNetwork(BarrierConfig(CONFIG, head=(16,)))
    targets = torch.linspace(-1.0, 1.0, len(graphs))

    def loss(net: nn.Module, batch: GraphBatch, chosen: list[int], whole: list[int]) -> Tensor:
        return (net(batch) - targets[chosen]).abs().sum() / len(whole)

    def halt(report: object) -> None:
        if getattr(report, "epoch", 0) == stop:
            raise KeyboardInterrupt

    schedule = Schedule(epochs=epochs, batch_size=4, deterministic=True)
    plan = Plan(
        parameter_groups([(network.parameters(), 2e-3)], 1e-2),
        max_cost=2 * max(graph.cost for graph in graphs),
    )
    final, reports = train_network(
        network, graphs, loss, schedule, plan, key="one", state_file=state, on_epoch=halt
    )
    return final, [report.loss for report in reports]


@pytest.mark.usefixtures("best")
def test_a_training_is_autograds(
    bands: list[Band], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same losses; the same weights twice, and after a restart."""
    graphs = graphs_of(bands[:6])
    network, losses = trained(graphs)
    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        trained(graphs, state=state, stop=2)
    again, _ = trained(graphs, state=state)
    for (name, one), other in zip(
        network.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    monkeypatch.setenv(fused_gradients.VARIABLE, "0")
    _, expected = trained(graphs)
    assert losses == pytest.approx(expected, rel=1e-3)
    assert losses != expected
