"""Figures as PNG, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pathways.types import FloatArray
from screen.atomic import replacing
from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_EV = 1e-3
"""Smaller errors are drawn here: the axis is logarithmic, as errors span three decades."""


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def box_plots(errors_ev: Mapping[str, Mapping[str, FloatArray]], path: Path) -> None:
    """Absolute errors of every system, one panel for each kind of folds.

    A box holds the middle half of the errors, its line is the median, whiskers reach from 5 % to
    95 %, points lie beyond, and the diamond, with its number, is the mean.

    Args:
        errors_ev: by kind of folds and system, (n,) absolute errors, eV.
        path: a PNG file, written whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    columns = min(2, len(errors_ev))
    rows = -(-len(errors_ev) // columns)
    height = 0.8 + 0.28 * max(map(len, errors_ev.values()))
    figure = Figure(figsize=(1.5 + 4.5 * columns, 0.4 + height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for panel, (kind, systems) in zip(panels, errors_ev.items(), strict=False):
        _box_plot(panel, systems)
        panel.set_title(kind)
    for panel in panels[len(errors_ev) :]:
        panel.set_visible(False)
    figure.supxlabel("absolute error of Em, eV (◆ and number: mean)", fontsize="medium")
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})", FAILED) from error


def _box_plot(panel: Axes, errors_ev: Mapping[str, FloatArray]) -> None:
    shown = [np.maximum(errors, _LEAST_EV) for errors in errors_ev.values()]
    means = [float(errors.mean()) for errors in errors_ev.values()]
    rows = list(range(1, len(shown) + 1))
    panel.boxplot(
        shown, orientation="horizontal", widths=0.6, whis=(5, 95), flierprops={"markersize": 1.5}
    )
    panel.plot(np.maximum(means, _LEAST_EV), rows, "D", markersize=4, color="tab:red")
    for row, mean in zip(rows, means, strict=True):
        panel.text(
            1.01,
            row,
            f"{mean:.3f}",
            transform=panel.get_yaxis_transform(),
            va="center",
            fontsize="small",
            color="tab:red",
        )
    panel.set(yticks=rows, yticklabels=list(errors_ev), xscale="log")
    panel.tick_params(labelbottom=True)
    panel.invert_yaxis()
    panel.grid(axis="x", alpha=0.3)
