"""Bands per second of one GPU: the published trunk, from bands in to votes out, and its parts.

Times are of the clock, device synchronised, best of a few repeats after one that compiles. The
floor is what the products of one forward pass take at the peak of an H200's tensor cores, and what
its rows take through its memory; neither can be reached by one batch after another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from models.alignn import TrunkConfig
from models.barrier import BarrierConfig, BarrierNetwork
from models.batch import GraphBatch
from models.device_graphs import device_batch
from models.device_runner import DeviceRunner
from models.device_trunk import TrunkArithmetic, fuse
from models.graph import GraphSettings
from models.triton_conv import Tiles, kernel_runs_on
from pathways.types import Band
from tests.bench.figures import Figure, NotMeasured, labelled_bands
from tests.models.labelled import all_bands

PEAK_FLOPS, PEAK_BYTES = 989e12, 4.8e12
"""Of an H200: bfloat16 products, dense, and memory, per second."""
PER_FORWARD = 256
ARITHMETICS = {
    "fp32": TrunkArithmetic(),
    "tf32": TrunkArithmetic("tf32", "tf32"),
    "bf16 pairs, tf32 bonds": TrunkArithmetic("bfloat16", "tf32"),
    "bf16 pairs, fp16 bonds": TrunkArithmetic("bfloat16", "float16"),
}
TILES = (
    Tiles(),
    Tiles(warps=4, stages=3),
    Tiles(depth=64),
    Tiles(depth=64, stages=3),
    Tiles(segments=8),
    Tiles(columns=128),
    Tiles(columns=128, warps=4),
    Tiles(columns=32, warps=4),
)


def run(n_bands: int = 2048, repeats: int = 3, config: TrunkConfig | None = None) -> list[Figure]:
    """Graphs alone, forward alone in each arithmetic and with each size of tiles, and all of it.

    Raises:
        NotMeasured: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise NotMeasured("no GPU: torch.cuda finds none; run it on the machine that has one")
    return measured(torch.device("cuda"), n_bands, repeats, config or TrunkConfig())


def measured(device: torch.device, n_bands: int, repeats: int, config: TrunkConfig) -> list[Figure]:
    """As ``run``, on any device."""
    bands, origin = _bands(n_bands)
    settings = GraphSettings()
    torch.manual_seed(0)
    network = BarrierNetwork(BarrierConfig(config)).to(device)
    some = bands[: min(PER_FORWARD, n_bands)]
    built, _ = device_batch(some, settings, device)
    assert built is not None
    batch = built.batch
    _settle(network, batch)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    kernel = "Triton" if kernel_runs_on(batch.vector.new_zeros(1, config.width)) else "PyTorch"
    where = f"{name}, {kernel}; {n_bands} bands, {origin}"
    target = f"floor {_floor(batch, config):,.0f}"
    with torch.inference_mode():
        return [
            _figure("graphs", _graphs(bands, settings, device, repeats), "", where),
            *_forwards(network, batch, repeats, target, f"{where}; {len(some)} per pass"),
            *_whole(network, bands, settings, device, repeats, target, where),
        ]


def _forwards(
    network: BarrierNetwork, batch: GraphBatch, repeats: int, target: str, where: str
) -> list[Figure]:
    """Forward passes over one batch: the training network, then fused ones."""

    def rate(candidate: nn.Module) -> float:
        return len(batch) / _best_s(lambda: candidate(batch), batch.vector.device, repeats)

    expected = network(batch)
    plain = rate(network)
    figures = []
    for name, arithmetic in ARITHMETICS.items():
        fused = fuse(network, arithmetic)
        error = float((fused(batch) - expected).abs().max())
        note = f"{where}; log(Em) off by {error:.1e} of a spread of {float(expected.std()):.2g}"
        figures.append(_figure(f"forward {name}", rate(fused), target, note, plain))
    tiles = {str(tiles): _rate_or_nan(rate, network, tiles) for tiles in TILES}
    best = max(tiles, key=lambda one: np.nan_to_num(tiles[one]))
    note = "; ".join(f"{one}: {value:,.0f}" for one, value in tiles.items())
    figures.append(_figure(f"forward bf16 pairs, best {best}", tiles[best], target, note, plain))
    return figures


def _rate_or_nan(
    rate: Callable[[nn.Module], float], network: BarrierNetwork, tiles: Tiles
) -> float:
    """NaN where the kernel does not compile with these tiles (too much shared memory)."""
    try:
        return rate(fuse(network, ARITHMETICS["bf16 pairs, tf32 bonds"], tiles))
    except Exception as error:  # Triton raises types of its own, which a machine may not have
        print(f"{tiles}: {type(error).__name__}: {error}")
        return float("nan")


def _whole(
    network: BarrierNetwork,
    bands: Sequence[Band],
    settings: GraphSettings,
    device: torch.device,
    repeats: int,
    target: str,
    where: str,
) -> list[Figure]:
    """Bands in, votes out; the second figure's note says where the time goes."""
    figures = []
    for name in ("fp32", "bf16 pairs, tf32 bonds"):
        runner = DeviceRunner([network], settings, device, ARITHMETICS[name])
        seconds = _best_s(lambda one=runner: one.votes_of_bands(bands), device, repeats)  # type: ignore[misc]
        note = f"{where}; {_profile(lambda one=runner: one.votes_of_bands(bands))}"  # type: ignore[misc]
        figures.append(_figure(f"bands to votes, {name}", len(bands) / seconds, target, note))
    return figures


def _graphs(
    bands: Sequence[Band], settings: GraphSettings, device: torch.device, repeats: int
) -> float:
    def build() -> None:
        for first in range(0, len(bands), PER_FORWARD):
            device_batch(bands[first : first + PER_FORWARD], settings, device)

    return len(bands) / _best_s(build, device, repeats)


def _figure(what: str, rate: float, target: str, note: str, plain: float | None = None) -> Figure:
    """A rate; the peer, where there is one, is the training network's on the same device."""
    compared = "" if plain is None else f"; the training network: {plain:,.0f}"
    return Figure("gpu", f"GPU: {what}", "bands/s", target, value=rate, note=note + compared)


def _bands(n: int) -> tuple[list[Band], str]:
    """So many bands, and where they are from."""
    try:
        bands, origin = list(labelled_bands().bands), "published"
    except NotMeasured:
        bands, origin = all_bands(), "of known crystals (no published ones here)"
    repeated = [bands[index % len(bands)] for index in range(n)]
    return repeated, f"{origin}, {np.mean([len(band) for band in repeated]):.0f} atoms"


def _best_s(task: Callable[[], object], device: torch.device, repeats: int) -> float:
    best = float("inf")
    for turn in range(repeats + 1):
        began = time.perf_counter()
        task()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn:
            best = min(best, time.perf_counter() - began)
    return best


def _profile(task: Callable[[], object]) -> str:
    """The steps that take most of the device's time, with their shares."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        task()
    times = {
        row.key: row.self_device_time_total or row.self_cpu_time_total * (len(activities) == 1)
        for row in profiler.key_averages()
    }
    total = sum(times.values()) or 1.0
    most = sorted(times, key=lambda key: -times[key])[:6]
    return ", ".join(f"{key[:40]} {times[key] / total:.0%}" for key in most)


def _floor(batch: GraphBatch, config: TrunkConfig) -> float:
    """Bands per second that neither products in bfloat16 nor the memory allow to pass."""
    atoms, bonds, pairs = len(batch.atoms), len(batch.vector), len(batch.triplets.row_weight)
    # Every row is multiplied once, every node four times.
    per_layer = pairs + 5 * bonds + 4 * atoms
    width, products = config.width, config.alignn_layers * per_layer
    products += config.gcn_layers * (bonds + 4 * atoms)
    flops = 2 * width**2 * products
    # Written by the table, then read and written by each layer but the last, which only reads.
    row_bytes = 2 * pairs * width * 2 * config.alignn_layers
    return len(batch) / max(flops / PEAK_FLOPS, row_bytes / PEAK_BYTES)


def _settle(network: BarrierNetwork, batch: GraphBatch) -> None:
    """Set every batch norm to the moments of this input, as after training."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(batch)
    network.eval()
