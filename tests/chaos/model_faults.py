"""Faults of the model and of the workers that hold it: damaged files, no numbers, hangs, memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from models import DEFAULT_MODEL, checkpoint
from screen.reader import open_reader
from tests.chaos.campaigns import Campaign
from tests.chaos.fault import Scene
from tests.chaos.processes import Ended, done


def _copied(scene: Scene, name: str) -> tuple[Path, Campaign]:
    """A folder like the shipped model's, and the campaign with it."""
    folder = scene.folder / name
    shutil.copytree(checkpoint.find_model(DEFAULT_MODEL), folder)
    words = (*scene.campaign.words, "--model", str(folder))
    return folder, Campaign(scene.campaign.name, words)


def truncated_weights(scene: Scene) -> tuple[str, list[str]]:
    """The model's weights are cut short."""
    folder, campaign = _copied(scene, "short")
    weights = folder / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1000])
    said = scene.refused(campaign.run(scene.db, "inline"), "not a readable model")
    return "one line, exit 1; with the whole model, tables equal", said + scene.goes_on()


def flipped_weights(scene: Scene) -> tuple[str, list[str]]:
    """One bit of the model's weights is another, though they can be read."""
    folder, campaign = _copied(scene, "flipped")
    weights = folder / checkpoint.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1000] ^= 1
    weights.write_bytes(content)
    said = scene.refused(campaign.run(scene.db, "inline"), "the sha256 of")
    return "the digest tells, one line, exit 1; then tables equal", said + scene.goes_on()


def nan_weights(scene: Scene) -> tuple[str, list[str]]:
    """The model's weights are no numbers, and its digest says that they shall be."""
    folder, campaign = _copied(scene, "nan")
    weights = load_file(folder / checkpoint.WEIGHTS)
    weights["kernel.dual"] = torch.full_like(weights["kernel.dual"], torch.nan)
    config = json.loads((folder / checkpoint.CONFIG).read_text())
    checkpoint.write_folder(folder, config, weights, checkpoint.read_card(folder))
    said = scene.refused(campaign.run(scene.db, "inline"), "every candidate was refused", (3,))
    with open_reader(scene.db) as reader:
        rows = reader.records("select distinct stage, reason from failures where hop_id <> ''")
        predicted = reader.records("select * from predictions")
    if {"stage": "model", "reason": "non_finite"} not in rows or predicted:
        said.append(f"failures are {rows}, with {len(predicted)} predictions")
    # The other model's campaign is one of its own, in the same database.
    ended = scene.campaign.run(scene.db, "inline")
    return "failure rows non_finite, exit 3; then the whole model runs", said + ended.complaints(
        [0]
    )


def _child(scene: Scene, kind: str, engine: str) -> tuple[Ended, list[str]]:
    """A run of ``tests.chaos.children`` with a predictor that goes wrong on one band."""
    ended = done(["-m", "tests.chaos.children", kind, engine], scene.folder, 300)
    said = ended.complaints([0])
    found = json.loads(ended.out.splitlines()[-1]) if not said else {}
    expected = {"hang": ["deadline"], "memory": ["memory_error"], "device": ["out_of_memory"]}
    wanted = expected.get(kind, ["memory_error"])
    if not said and found["reasons"] != wanted:
        said.append(f"reasons {found['reasons']}, expected {wanted}")
    if not said and found["materials"] != found["expected"]:
        said.append(f"{found['materials']} materials, expected {found['expected']}")
    if not said and found["lost_hops"]:
        said.append(f"hops without an answer or a row: {found['lost_hops']}")
    return ended, said


def hanging_model(scene: Scene) -> tuple[str, list[str]]:
    """A model actor on Ray never comes back from one band."""
    return "one row `deadline`, all others predicted", _child(scene, "hang", "ray")[1]


def out_of_memory_band(scene: Scene) -> tuple[str, list[str]]:
    """A band is too large for the model: MemoryError, the device's message, a real limit."""
    said = []
    for kind in ("memory", "device", "limit"):
        said += [f"{kind}: {one}" for one in _child(scene, kind, "inline")[1]]
    return "one row, all others predicted", said


def clock_jump(scene: Scene) -> tuple[str, list[str]]:
    """The clock jumps a month back and ten years ahead, again and again."""
    words = scene.campaign.command(scene.db, "inline")[2:]
    ended = done(["-m", "tests.chaos.children", "clock", *words], scene.folder)
    said = ended.complaints([0])
    shown = done(["-m", "screen.cli", "status", "--db", str(scene.db)], scene.folder)
    return "ended as usual, tables equal", said + shown.complaints([0]) + scene.goes_on()
