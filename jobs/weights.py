"""A model on its way to workers: its files as bytes, once per machine through Ray's object store.

So no machine but the one that the run is started on needs the model's folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from jobs.stages import GraphPredictor
from models.graph import GraphSettings

ModelFiles = Mapping[str, bytes]
"""Content of the files in a model's folder, by name."""


def read_model(model: str) -> dict[str, bytes]:
    """The files of a model that its predictor needs, by its name or folder.

    Raises:
        models.checkpoint.ModelError: it is not there.
        OSError: a file cannot be read.
    """
    from models.checkpoint import CONFIG, WEIGHTS, find_model

    folder = find_model(model)
    return {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}


def read_graph_settings(model: str) -> GraphSettings:
    """How a model's graphs are built, without its weights; raises as ``read_model``."""
    from models import checkpoint

    return checkpoint.read_graph_settings(checkpoint.find_model(model))


def load_predictor(files: ModelFiles, device: str) -> GraphPredictor:
    """The predictor of a model that came as its files, on ``cpu`` or ``cuda``; raises as
    ``models.predict.Predictor.load``."""
    from models.predict import Predictor

    with tempfile.TemporaryDirectory(prefix="ionscreen-model-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return Predictor.load(folder, device=device)
