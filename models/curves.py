"""The learning curves of an ensemble: kept with its members, written as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from models.loop import EpochReport
from models.property_card import curve_csv

Curves = Mapping[str, Sequence[EpochReport]]
"""Every member's epochs, by its name."""


def to_tensor(reports: Sequence[EpochReport]) -> Tensor:
    """(epochs, 5) in float64: epoch, loss, validation (nan without), learning rate, seconds."""
    rows = [
        (
            one.epoch,
            one.loss,
            np.nan if one.validation is None else one.validation,
            one.learning_rate,
            one.seconds,
        )
        for one in reports
    ]
    return torch.tensor(rows, dtype=torch.float64).view(-1, 5)


def from_array(rows: np.ndarray) -> list[EpochReport]:
    """What ``to_tensor`` was made of."""
    return [
        EpochReport(int(epoch), loss, None if np.isnan(held) else held, rate, seconds)
        for epoch, loss, held, rate, seconds in rows.tolist()
    ]


def curves_csv(curves: Curves) -> str:
    """All of them as CSV: member, epoch, loss, validation, learning_rate, seconds."""
    lines: list[str] = []
    for member, reports in curves.items():
        header, *rows = curve_csv(reports).splitlines()
        lines = lines or [f"member,{header}"]
        lines += [f"{member},{row}" for row in rows]
    return "\n".join(lines) + "\n"


def seconds_per_epoch(curves: Curves) -> float:
    """Median over the members of each one's median."""
    each = [np.median([one.seconds for one in reports]) for reports in curves.values()]
    return round(float(np.median(each)), 3)
