"""Bands of real crystals and one small model trained on them, shared by the tests of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.alignn import TrunkConfig
from models.barrier import BarrierConfig
from models.dataset import LabelledBands
from models.ensemble import Recipe, train_ensemble
from models.graph import GraphSettings
from models.train import FitSettings
from pathways.band import build_band
from pathways.hops import HopSettings, enumerate_hops
from pathways.types import Band
from tests.models.labelled import labelled_as
from tests.pathways.crystals import KNOWN

TINY = Recipe(
    GraphSettings(environment_a=4.5),
    BarrierConfig(TrunkConfig(1, 1, width=8, embedding=8), head=(16,), dropout=0.1),
    FitSettings(epochs=3, batch_size=8),
    folds=2,
)


@pytest.fixture(scope="session")
def bands() -> list[Band]:
    """Bands of several crystals, shortest hops first."""
    found = []
    for name in ("MgMn2O4 spinel", "LiFePO4 olivine", "MgTi2S4 spinel"):
        known = KNOWN[name]
        network = enumerate_hops(known.crystal(), known.ion, HopSettings(max_hops=5))
        found += [build_band(network.crystal, hop) for hop in network.hops]
    return found


@pytest.fixture(scope="session")
def labelled(bands: list[Band]) -> LabelledBands:
    """The bands with a made-up but learnable label: their hop length over 8 Å, in eV."""
    return labelled_as(bands)


@pytest.fixture(scope="session")
def trained(labelled: LabelledBands, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small ensemble and its card."""
    return train_ensemble(labelled, TINY, tmp_path_factory.mktemp("work"), "tiny")


@pytest.fixture(scope="session")
def tiny_model(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small model."""
    from models import checkpoint

    folder = tmp_path_factory.mktemp("models") / "tiny"
    checkpoint.save(*trained, folder)
    return folder
