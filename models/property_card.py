"""The card of a property network and its learning curve."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from models.bulk import BulkTable
from models.bulk_split import Split
from models.graph import BandGraph
from models.loop import EpochReport
from models.properties import PropertyModel, predict_targets
from pathways.types import FloatArray, IntArray

_HOW_SCORED = (
    "Test crystals were used neither to train, nor to stop, nor to scale. Which they are follows "
    "from structure and split seed, so a fine-tuned network and its source have the same."
)
_PUBLISHED = " Properties with published test rows are tested on these."


def property_card(
    table: BulkTable,
    graphs: Sequence[BandGraph],
    parts: Split,
    recipe: dict[str, Any],
    model: PropertyModel,
    reports: Sequence[EpochReport],
    device: str,
) -> dict[str, Any]:
    """What a network was made of, and its errors on the test labels in their units.

    Args:
        table: labelled crystals.
        graphs: one per crystal.
        parts: which labels trained and test.
        recipe: all settings.
        model: what is described.
        reports: of its epochs.
        device: where it was trained.
    """
    rows = np.flatnonzero(parts.test.any(axis=1)).tolist()
    predicted = np.full(table.labels.shape, np.nan)
    targets = predict_targets(model.network, [graphs[i] for i in rows], device)
    predicted[rows] = model.scale.to_label(targets)
    validated = [one.validation for one in reports if one.validation is not None]
    return {
        "summary": f"ALIGNN on {len(table.properties)} bulk properties of {len(table)} crystals",
        "data": {
            "source": table.source,
            "sha256": table.digest,
            "crystals": len(table),
            "refused": [list(item) for item in table.refused],
        },
        "recipe": recipe,
        "how_scored": _HOW_SCORED + (_PUBLISHED if recipe["published"] else ""),
        "properties": {
            one.name: {
                "unit": one.unit,
                "learned": "log10" if one.log10 else "linear",
                "train": int(parts.train[:, column].sum()),
                "validation": int(parts.validation[:, column].sum()),
                **_scores(table.labels, predicted, parts, column),
            }
            for column, one in enumerate(table.properties)
        },
        "epochs": len(reports),
        "best_epoch": int(np.argmin(validated)) + 1 if validated else 0,
        "seconds_per_epoch": round(float(np.median([one.seconds for one in reports])), 3),
        "device": device,
        "versions": {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def _scores(
    labels: FloatArray, predicted: FloatArray, parts: Split, column: int
) -> dict[str, float | int | None]:
    """Test scores of a property, and the error of always saying the training median."""
    rows: IntArray = np.flatnonzero(parts.test[:, column])
    truth, guess = labels[rows, column], predicted[rows, column]
    median = float(np.median(labels[parts.train[:, column], column]))
    spread = float(((truth - truth.mean()) ** 2).sum())
    residual = float(((truth - guess) ** 2).sum())
    return {
        "test": len(rows),
        "test_mae": float(np.abs(truth - guess).mean()),
        "test_r2": 1.0 - residual / spread if spread > 0 else None,
        "test_mae_of_median": float(np.abs(truth - median).mean()),
    }


def curve_csv(reports: Sequence[EpochReport]) -> str:
    """The learning curve as CSV: epoch, loss, validation, learning_rate, seconds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", "loss", "validation", "learning_rate", "seconds"])
    for one in reports:
        value = "" if one.validation is None else f"{one.validation:.6f}"
        rate, seconds = f"{one.learning_rate:.3e}", f"{one.seconds:.2f}"
        writer.writerow([one.epoch, f"{one.loss:.6f}", value, rate, seconds])
    return text.getvalue()
