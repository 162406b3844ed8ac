"""An ensemble by cross-validation: every member is also a held-out test of the recipe.

Members are the networks of k random folds and of k group folds, each trained on the other folds.
So every band has predictions of networks that had not seen it (or its host), from which scores,
error scale and intervals come; the shipped ensemble is all of these members together.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import save_file

from models import fused_gradients
from models.applicability import fit_applicability
from models.arithmetic import deterministic
from models.barrier import BarrierConfig, BarrierNetwork, to_target
from models.calibration import calibrate, features
from models.card import model_card
from models.curves import Curves, from_array, seconds_per_epoch, to_tensor
from models.dataset import LabelledBands, folds_by
from models.graph import BandGraph, GraphSettings, build_graph
from models.loop import EpochReport
from models.networks import Ensemble
from models.precision import route_matmuls
from models.train import FitSettings, fit_with_curve, predict_targets
from pathways.types import FloatArray, IntArray

KINDS = ("random", "group")

OnEpoch = Callable[[str, EpochReport], None]
"""Of a member and an epoch that it has finished."""


@dataclass(frozen=True)
class Recipe:
    """All that decides the members: graphs, network, schedule, folds."""

    graph: GraphSettings = field(default_factory=lambda: GraphSettings(environment_a=4.5))
    network: BarrierConfig = field(default_factory=BarrierConfig)
    fit: FitSettings = field(default_factory=FitSettings)
    folds: int = 5
    repeats: int = 1
    """Times that both kinds of folds are drawn; members = 2 x folds x repeats."""

    def __post_init__(self) -> None:
        if self.folds < 2 or self.repeats < 1:
            raise ValueError(f"{self.folds} folds, {self.repeats} repeats: need at least 2 and 1")
        # The network decides what a band is cut into.
        object.__setattr__(self, "graph", replace(self.graph, parts=self.network.parts))


@dataclass(frozen=True)
class _Unit:
    kind: str
    repeat: int
    fold: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.repeat}-{self.fold}"


def _units(recipe: Recipe) -> list[_Unit]:
    return [
        _Unit(kind, repeat, fold)
        for repeat in range(recipe.repeats)
        for kind in KINDS
        for fold in range(recipe.folds)
    ]


def member_names(recipe: Recipe) -> list[str]:
    """Every member that the recipe trains, in training order."""
    return [unit.name for unit in _units(recipe)]


def _folds(data: LabelledBands, recipe: Recipe, kind: str, repeat: int) -> IntArray:
    return folds_by(kind, data.groups, recipe.folds, seed=repeat)


def train_ensemble(
    data: LabelledBands,
    recipe: Recipe,
    work_dir: Path,
    name: str,
    *,
    device: str = "cpu",
    workers: int = 1,
    on_epoch: OnEpoch | None = None,
) -> tuple[Ensemble, dict[str, Any]]:
    """Train every member that ``work_dir`` does not hold yet, then score and calibrate.

    Args:
        data: labelled bands.
        recipe: what to train.
        work_dir: finished members and the state of unfinished ones; the same call continues it.
        name: of the model.
        device: where to train.
        workers: processes that train side by side, one thread each.
        on_epoch: called with member and finished epoch.

    Returns:
        The ensemble and its model card.
    """
    folder = _folder(work_dir, data, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    graphs = [build_graph(band, recipe.graph) for band in data.bands]
    started = time.time()
    _train_missing(data, graphs, recipe, folder, device, workers, on_epoch)
    held_out = {kind: held_out_targets(data, recipe, work_dir, kind) for kind in KINDS}
    members = tuple(
        _load_member(recipe, folder / f"{unit.name}.safetensors") for unit in _units(recipe)
    )
    target = to_target(torch.as_tensor(data.em_ev)).numpy()
    spread = np.abs(held_out["random"] - held_out["group"]) / np.sqrt(2.0)
    rows = features(graphs, held_out["group"])
    calibration = calibrate(rows, target - held_out["group"], spread)
    ensemble = Ensemble(
        name, recipe.graph, recipe.network, members, calibration, fit_applicability(graphs)
    )
    folds = _folds(data, recipe, "group", 0)
    card = model_card(data, graphs, asdict(recipe), held_out, spread, folds, ensemble)
    card["training_seconds_of_last_run"] = round(time.time() - started)
    card["trained_with"] = fused_gradients.how_trained(device)
    card["seconds_per_epoch"] = seconds_per_epoch(learning_curves(data, recipe, work_dir))
    return ensemble, card


def finished_members(data: LabelledBands, recipe: Recipe, work_dir: Path) -> list[str]:
    """Members that ``work_dir`` holds, in training order; arguments as of ``train_ensemble``."""
    folder = _folder(work_dir, data, recipe)
    return [name for name in member_names(recipe) if _member_file(folder, name).is_file()]


def held_out_targets(data: LabelledBands, recipe: Recipe, work_dir: Path, kind: str) -> FloatArray:
    """(n,) predictions in the learned scale by finished members that had not seen the band (or its
    host), averaged over the repeats; arguments as of ``train_ensemble``, a kind of ``KINDS``."""
    folder = _folder(work_dir, data, recipe)
    each = [_held_out(data, recipe, kind, repeat, folder) for repeat in range(recipe.repeats)]
    mean: FloatArray = np.mean(each, axis=0)
    return mean


def learning_curves(data: LabelledBands, recipe: Recipe, work_dir: Path) -> Curves:
    """Of every finished member, restarts or not; arguments as of ``train_ensemble``."""
    folder = _folder(work_dir, data, recipe)
    return {
        name: from_array(load_arrays(_member_file(folder, name))["curve"])
        for name in finished_members(data, recipe, work_dir)
    }


def _folder(work_dir: Path, data: LabelledBands, recipe: Recipe) -> Path:
    """Of this very training."""
    return work_dir / hashlib.sha256(f"{recipe!r} {data.digest}".encode()).hexdigest()[:12]


def _member_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _train_missing(
    data: LabelledBands,
    graphs: list[BandGraph],
    recipe: Recipe,
    folder: Path,
    device: str,
    workers: int,
    on_epoch: OnEpoch | None,
) -> None:
    todo = [unit for unit in _units(recipe) if not _member_file(folder, unit.name).is_file()]
    if workers <= 1:
        for unit in todo:
            _train_unit(data, graphs, recipe, unit, folder, device, on_epoch)
        return
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(workers, mp_context=context) as pool:
        news = manager.Queue()
        pending = {
            pool.submit(_train_unit_apart, data, recipe, unit, folder, device, news)
            for unit in todo
        }
        while pending:
            done, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            while not news.empty():
                if on_epoch is not None:
                    on_epoch(*news.get())
            for future in done:
                future.result()


def _train_unit_apart(
    data: LabelledBands, recipe: Recipe, unit: _Unit, folder: Path, device: str, news: Any
) -> None:
    torch.set_num_threads(1)
    graphs = [build_graph(band, recipe.graph) for band in data.bands]

    def report(name: str, epoch: EpochReport) -> None:
        news.put((name, epoch))

    _train_unit(data, graphs, recipe, unit, folder, device, report)


def _train_unit(
    data: LabelledBands,
    graphs: list[BandGraph],
    recipe: Recipe,
    unit: _Unit,
    folder: Path,
    device: str,
    on_epoch: OnEpoch | None,
) -> None:
    """Train one member; keep it with its curve and its predictions of the fold it has not seen."""
    route_matmuls()
    folds = _folds(data, recipe, unit.kind, unit.repeat)
    seen, unseen = np.flatnonzero(folds != unit.fold), np.flatnonzero(folds == unit.fold)
    seed = recipe.fit.seed + _units(recipe).index(unit)
    state = folder / f"{unit.name}.state"
    with deterministic(recipe.fit.deterministic):
        network, reports = fit_with_curve(
            recipe.network,
            [graphs[i] for i in seen],
            data.em_ev[seen],
            FitSettings(**{**asdict(recipe.fit), "seed": seed}),
            groups=[data.groups[i] for i in seen] if unit.kind == "group" else None,
            device=device,
            state_file=state,
            on_epoch=None if on_epoch is None else lambda epoch: on_epoch(unit.name, epoch),
        )
        predicted = predict_targets(network, [graphs[i] for i in unseen], device)
    tensors = {
        f"network.{key}": value.cpu().contiguous() for key, value in network.state_dict().items()
    }
    tensors["unseen"] = torch.as_tensor(unseen)
    tensors["predicted"] = torch.as_tensor(predicted)
    tensors["curve"] = to_tensor(reports)
    file = _member_file(folder, unit.name)
    temporary = file.with_suffix(".tmp")
    save_file(tensors, temporary)
    temporary.replace(file)
    state.unlink(missing_ok=True)


def _held_out(
    data: LabelledBands, recipe: Recipe, kind: str, repeat: int, folder: Path
) -> FloatArray:
    """(n,) predictions, each by the member that had not seen the band."""
    predicted = np.full(len(data), np.nan)
    for fold in range(recipe.folds):
        arrays = load_arrays(folder / f"{_Unit(kind, repeat, fold).name}.safetensors")
        predicted[arrays["unseen"]] = arrays["predicted"]
    return predicted


def _load_member(recipe: Recipe, file: Path) -> BarrierNetwork:
    network = BarrierNetwork(recipe.network)
    state = {
        key.removeprefix("network."): torch.as_tensor(value)
        for key, value in load_arrays(file).items()
        if key.startswith("network.")
    }
    network.load_state_dict(state)
    return network.eval()
