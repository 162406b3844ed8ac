"""What a training is made from: bands of a file, some of them, and the network to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from screen.errors import UserError
from screen.output import notice
from screen.scores import require_file

if TYPE_CHECKING:
    from models.dataset import LabelledBands

_NAMED = 20
"""Rows left out that are named one by one; all of them stand in the card."""


def name_refused(refused: Sequence[tuple[str, str]]) -> None:
    """Say on stderr which rows were left out and why."""
    for entry, reason in refused[:_NAMED]:
        notice(f"left out {entry}: {reason}")
    if len(refused) > _NAMED:
        notice(f"left out {len(refused) - _NAMED} more; the model's card names all")


def read_bands(data: Path) -> LabelledBands:
    """Labelled bands of a file; corrupt entries are named and left out."""
    from models.dataset import load_bands
    from screen.datasets import find_data

    data = find_data(data)
    require_file(data)
    labelled = load_bands(data)
    name_refused(labelled.refused)
    return labelled


def draw_bands(data: LabelledBands, size: int | None, seed: int) -> LabelledBands:
    """As many bands as asked for, drawn by the seed."""
    import numpy as np

    if size is None:
        return data
    if size > len(data):
        raise UserError(f"--size is {size}, but {data.source} has {len(data)} usable bands")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(data))[:size]).tolist()
    return data.take(chosen)


def find_source(source: Path) -> Path:
    """A property model's folder, or a barrier model's by name or path."""
    from models.checkpoint import ModelError, find_model
    from models.properties import is_property_model

    if is_property_model(source):
        return source
    try:
        return find_model(str(source))
    except ModelError:
        raise UserError(
            f"no model in {source}, expected a folder from `screen train pretrain` "
            "or a barrier model; check --from"
        ) from None
