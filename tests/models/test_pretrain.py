"""Pre-training: it learns, stops, goes on where it stopped, and says how good it is."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.alignn import TrunkConfig
from models.checkpoint import ModelError
from models.dataset import DatasetError
from models.graph import BandGraph
from models.loop import EpochReport, Schedule
from models.pretrain import PretrainSettings, build_graphs, pretrain
from models.property_card import curve_csv
from models.steps import parts_of, steps_of
from pathways.types import Crystal
from tests.models.bulk_crystals import table

SETTINGS = PretrainSettings(
    trunk=TrunkConfig(1, 1, width=8, embedding=8),
    head=(16,),
    schedule=Schedule(6, 16, learning_rate=1e-2, noise_a=0.0, ema_decay=0.0),
)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """More threads add up in changing order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> Any:
    return build_graphs(table(60), SETTINGS.graph)


def with_schedule(**changes: Any) -> PretrainSettings:
    return replace(SETTINGS, schedule=replace(SETTINGS.schedule, **changes))


@pytest.fixture(scope="module")
def trained(data: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return pretrain(*data, SETTINGS, tmp_path_factory.mktemp("work"), "tiny")


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_it_learns(trained: Any) -> None:
    _, card, reports = trained
    assert len(reports) == 6
    assert reports[-1].loss < 0.7 * reports[0].loss
    assert min(one.validation for one in reports) < reports[0].validation
    assert card["best_epoch"] == 1 + int(np.argmin([one.validation for one in reports]))


def test_card_has_errors_in_units(data: Any, trained: Any) -> None:
    content, graphs = data
    model, card, _ = trained
    json.dumps(card)
    shear = card["properties"]["shear_modulus"]
    assert (shear["unit"], shear["learned"]) == ("GPa", "log10")
    present = int((~np.isnan(content.labels[:, 0])).sum())
    assert shear["train"] + shear["validation"] + shear["test"] == present
    predicted = model.predict(graphs)[:, 0]
    errors = np.abs(predicted - content.labels[:, 0])
    assert np.nanmin(errors) <= shear["test_mae"] <= np.nanmax(errors)
    assert shear["test_mae"] < 0.9 * shear["test_mae_of_median"]
    assert card["data"]["sha256"] == content.digest


@pytest.mark.parametrize("stop_at", [1, 7, 11])
def test_killed_and_continued_is_unbroken(
    data: Any, trained: Any, tmp_path: Path, stop_at: int
) -> None:
    """Stopped after any step, also within an epoch."""

    class KilledError(Exception):
        pass

    def kill(done: int, total: int, loss: float) -> None:
        if done == stop_at:
            raise KilledError

    with pytest.raises(KilledError):
        pretrain(*data, SETTINGS, tmp_path, "tiny", on_step=kill)
    steps: list[int] = []
    again, _, reports = pretrain(
        *data, SETTINGS, tmp_path, "tiny", on_step=lambda done, total, loss: steps.append(done)
    )
    n_steps = 18 // 6
    assert steps[0] == (stop_at - 1) // n_steps * n_steps + 1
    assert alike(weights(trained[0].network), weights(again.network))
    strip = [replace(one, seconds=0.0) for one in reports]
    assert strip == [replace(one, seconds=0.0) for one in trained[2]]


def test_a_finished_training_is_not_repeated_and_other_settings_are(
    data: Any, tmp_path: Path
) -> None:
    first, *_ = pretrain(*data, with_schedule(epochs=2), tmp_path, "tiny")
    steps: list[int] = []
    same, *_ = pretrain(
        *data, with_schedule(epochs=2), tmp_path, "tiny", on_step=lambda *it: steps.append(it[0])
    )
    assert steps == []
    assert alike(weights(first.network), weights(same.network))
    pretrain(
        *data,
        with_schedule(epochs=2, seed=1),
        tmp_path,
        "tiny",
        on_step=lambda *it: steps.append(it[0]),
    )
    assert len(steps) == 6


def test_it_stops_when_validation_stands_still(data: Any, tmp_path: Path) -> None:
    still = with_schedule(epochs=30, learning_rate=1e-12)
    _, card, reports = pretrain(*data, replace(still, patience=3), tmp_path, "tiny")
    assert len(reports) < 30
    assert len(reports) == card["best_epoch"] + 3


def test_a_training_that_diverges_says_so(data: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"loss of epoch \d+ is nan; lower the learning rate"):
        pretrain(*data, with_schedule(learning_rate=1e30), tmp_path, "tiny")


def test_size_draws_what_is_learned_from_and_keeps_the_test(data: Any, tmp_path: Path) -> None:
    settings = replace(with_schedule(epochs=1), size=20)
    _, card, _ = pretrain(*data, settings, tmp_path, "tiny")
    _, whole, _ = pretrain(*data, with_schedule(epochs=1), tmp_path, "tiny")
    for name, one in card["properties"].items():
        assert one["train"] + one["validation"] <= 20
        assert one["test"] == whole["properties"][name]["test"]
    with pytest.raises(DatasetError, match=r"size is 59, expected 20 to \d+"):
        pretrain(*data, replace(settings, size=59), tmp_path, "tiny")


def test_overlapping_atoms_are_named_and_left_out() -> None:
    content = table(24)
    good = content.crystals[2]
    squeezed = Crystal(good.lattice * 0.1, good.numbers, good.frac)
    crystals = (*content.crystals[:2], squeezed, *content.crystals[3:])
    kept, graphs = build_graphs(replace(content, crystals=crystals), SETTINGS.graph)
    assert len(kept) == len(graphs) == 23
    assert [name for name, _ in kept.refused] == ["row-2"]
    assert "expected at least 0.5" in kept.refused[0][1]


def test_parts_hold_every_graph_once_and_never_one_alone(data: Any) -> None:
    graphs: list[BandGraph] = data[1]
    chosen = list(range(3, 40))
    total = sum(graphs[i].cost for i in chosen)
    assert parts_of(chosen, graphs, None) == [chosen]
    for bound in (total, total // 3, 1):
        parts = parts_of(chosen, graphs, bound)
        assert sorted(i for part in parts for i in part) == chosen
        assert min(len(part) for part in parts) >= 2
    assert len(parts_of(chosen, graphs, total // 3)) >= 3


def test_a_short_last_step_joins_the_one_before() -> None:
    for count, sizes in ((33, [16, 17]), (40, [16, 16, 8]), (5, [5]), (32, [16, 16])):
        steps = list(steps_of(list(range(count)), 16, merge_last=True))
        assert [len(step) for step in steps] == sizes
        assert [one for step in steps for one in step] == list(range(count))
    assert [len(step) for step in steps_of(list(range(33)), 16)] == [16, 16, 1]


def test_curve_as_csv() -> None:
    reports = [EpochReport(1, 0.5, 0.6, 1e-3, 2.0), EpochReport(2, 0.4, None, 5e-4, 2.5)]
    rows = list(csv.DictReader(curve_csv(reports).splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["validation"]) == 0.6
    assert rows[1]["validation"] == ""


def test_norms_and_biases_do_not_decay(trained: Any) -> None:
    from models.loop import parameter_groups

    network = trained[0].network
    groups = parameter_groups([(network.parameters(), 1e-3)], 0.1)
    decay = {id(one): group["weight_decay"] for group in groups for one in group["params"]}
    for name, one in network.named_parameters():
        norm_or_bias = name.endswith(".bias") or ".bn_" in name or ".layer.1." in name
        assert decay[id(one)] == (0.0 if norm_or_bias else 0.1), name
