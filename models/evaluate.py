"""A model's score on labelled bands that it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.blend import Blend
from models.card import data_digests
from models.checkpoint import read_card
from models.dataset import load_bands
from models.metrics import scores
from models.predict import Predictor
from pathways.types import PathwayError


def evaluate(predictor: Predictor, file: Path) -> dict[str, Any]:
    """MAE, R2, accuracy and precision at 0.65 eV, coverage, with bootstrap intervals.

    Args:
        predictor: the model.
        file: labelled bands, see ``models.dataset.load_bands``.

    Returns:
        The scores of ``models.metrics.scores``, with ``model_id``, the file's sha256, how many
        entries were ``refused`` and why; where the model knows its training entries, how many of
        the bands are among them.

    Raises:
        models.dataset.DatasetError: the file holds no usable band.
    """
    data = load_bands(file)
    kept, graphs, refused = [], [], list(data.refused)
    for index, (name, band) in enumerate(zip(data.names, data.bands, strict=True)):
        try:
            graphs.append(predictor.graph(band))
        except PathwayError as error:
            refused.append((name, str(error)))
            continue
        kept.append(index)
    predictions = predictor.predict(graphs)
    result: dict[str, Any] = {"model_id": predictor.model_id, "data_sha256": data.digest}
    result |= scores(
        data.em_ev[kept],
        np.array([p.em_ev for p in predictions]),
        np.array([p.em_low_ev for p in predictions]),
        np.array([p.em_high_ev for p in predictions]),
    )
    if isinstance(predictor.model, Blend):
        result["seen_in_training"] = predictor.model.known(graphs)
    result["refused"] = [{"name": name, "reason": reason} for name, reason in refused]
    return result


def was_trained_on(folder: Path, digest: str) -> bool:
    """Whether the model's card names this file among its training data."""
    return digest in data_digests(read_card(folder))
