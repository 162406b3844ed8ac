"""Predictions against references as a figure, one panel for each method and functional."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.metrics import GOOD_EV
from screen.atomic import replacing
from screen.errors import FAILED, UserError
from screen.parity import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = "osD^vP*X"
# Okabe and Ito, told apart with any colour vision; the shape of a mark tells as much.
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#000000", "#F0E442"),
)
_MOST_COLUMNS = 3


def draw_parity(groups: Sequence[Group], path: Path) -> None:
    """Predictions with their 90 % intervals over the references, in eV; marks tell the ion.

    Args:
        groups: a panel each.
        path: a PNG file, written whole or not at all.

    Raises:
        UserError: a name of another kind, or the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: {path.suffix or 'no suffix'} found, expected .png")
    from matplotlib.figure import Figure

    ions = sorted({str(row["ion"]) for group in groups for row in group.rows})
    columns = min(_MOST_COLUMNS, len(groups))
    n_rows = -(-len(groups) // columns)
    figure = Figure(figsize=(4.2 * columns, 4.3 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, columns, squeeze=False).ravel()
    for panel, group in zip(panels, groups, strict=False):
        draw_panel(panel, group, ions)
    for panel in panels[len(groups) :]:
        panel.set_visible(False)
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=200)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})", FAILED) from error


def draw_panel(panel: Axes, group: Group, ions: Sequence[str]) -> None:
    """Predictions of one group against its computed barriers, a mark for each ion."""
    for number, ion in enumerate(ions):
        rows = [row for row in group.rows if str(row["ion"]) == ion]
        if not rows:
            continue
        places = np.array([(row["reference_ev"], row["em_ev"]) for row in rows], dtype=float)
        ends = [
            (row["em_ev"], row["em_ev"])
            if row["em_low_ev"] is None or row["em_high_ev"] is None
            else (row["em_low_ev"], row["em_high_ev"])
            for row in rows
        ]
        low, high = np.array(ends, dtype=float).T
        panel.errorbar(
            places[:, 0],
            places[:, 1],
            yerr=np.maximum(0, [places[:, 1] - low, high - places[:, 1]]),
            fmt=_MARKS[number % len(_MARKS)],
            color=_COLOURS[number % len(_COLOURS)],
            markersize=5,
            elinewidth=0.8,
            label=f"{ion} ({len(rows)})",
        )
    top = max(1.0, panel.get_xlim()[1], panel.get_ylim()[1])
    bottom = min(0.0, panel.get_ylim()[0])  # lower ends of intervals may be negative
    panel.plot([0, top], [0, top], color="0.3", linewidth=1)
    for line in (panel.axhline, panel.axvline):
        line(GOOD_EV, color="0.5", linewidth=1, linestyle="--")
    panel.set(
        xlim=(0, top),
        ylim=(bottom, top),
        aspect="equal",
        xlabel=f"Em by {group.title} (eV)",
        ylabel=f"Em by {group.predicted_by} (eV)",
    )
    panel.set_title(f"n = {len(group.rows)}; bars: 90 % interval; dashes: 0.65 eV", fontsize=8)
    panel.legend(loc="upper left", fontsize=8)
