"""Run settings refuse what can never work, and say what of them changes results."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest

from jobs.hardware import cpu_count, describe, memory_bytes
from jobs.settings import RunSettings
from pathways.hops import HopSettings
from pathways.supercell import BandSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"engine": "spark"},
        {"num_cpus": 0},
        {"num_gpus": -1.0},
        {"num_gpus": float("nan")},
        {"num_gpus": float("inf")},
        {"batch_cost": 0},
        {"chunk": 0},
        {"gpu_share": 0.0},
        {"gpu_share": 1.5},
        {"deadline_s": 0.0},
        {"ray_address": "head"},
        {"ray_address": "head:port"},
        {"ray_address": ":6379"},
        {"ray_address": "ray://head:10001"},
        {"ray_address": "head:6379", "engine": "inline"},
    ],
)
def test_what_can_never_work_is_refused_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))) as refused:
        RunSettings(**wrong)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "head.cluster:6379", "[::1]:6379"])
def test_addresses_of_a_head(address: str) -> None:
    assert RunSettings(ray_address=address).ray_address == address


def test_science_is_json_and_leaves_machines_out() -> None:
    settings = RunSettings(band=BandSettings(supercell=(2, 0, 0, 0, 2, 0, 0, 0, 2)))
    science = settings.science()
    assert json.loads(json.dumps(science)) == science
    assert (
        replace(settings, engine="inline", num_cpus=3, chunk=1, deadline_s=9.0).science() == science
    )
    assert replace(settings, hops=HopSettings(max_hops=3)).science() != science
    assert RunSettings().science() != science


def test_settings_travel() -> None:
    settings = RunSettings(num_gpus=0.5)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_this_machine() -> None:
    assert cpu_count() >= 1
    memory = memory_bytes()
    assert memory is None or memory > 2**28
    here = describe()
    assert json.loads(json.dumps(here)) == here
    assert here["versions"]["ray"]
    assert here["cpu"]["count"] == cpu_count()
