"""Errors of systems of models, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pathways.types import FloatArray
from screen.plots.style import BLUE, VERMILION, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST_EV = 0.01
"""Smaller errors are drawn here: the axis is logarithmic, and no calculation is as good."""
TITLES = {
    "random": "Random folds",
    "group": "Unseen host",
    "split": "Published split rule",
    "scenario-a": "A: unseen pathway",
    "scenario-b": "B: unseen composition",
    "scenario-c": "C: unseen structural class",
    "scenario-c-element": "C: unseen element",
    "scenario-c-anion": "C: unseen anion chemistry",
}
"""Of the kinds of folds."""
_KEY = "line: median · ◆ and number: mean (eV) · box: middle half · whiskers: 5 % to 95 %"


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
    95 %, points lie beyond, and the diamond, with its number, is the mean. Errors below 0.01 eV are
    drawn at 0.01 eV. n counts held-out predictions.

    Args:
        errors_ev: by kind of folds and system, (n,) absolute errors, eV.
        path: .png, .svg or .pdf, written whole or not at all.

    Raises:
        UserError: a name of another kind, or the file cannot be written.
    """
    save(lambda: _figure(errors_ev), path)


def _figure(errors_ev: Mapping[str, Mapping[str, FloatArray]]) -> Figure:
    from matplotlib.figure import Figure

    columns = 2 if len(errors_ev) == 4 else min(3, len(errors_ev))
    rows = -(-len(errors_ev) // columns)
    same_systems = len({tuple(systems) for systems in errors_ev.values()}) == 1
    height = 0.6 + 0.26 * max(map(len, errors_ev.values()))
    size = (max(6.0, 1.6 + 2.8 * columns), 0.7 + height * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(
        rows, columns, squeeze=False, sharex=True, sharey="row" if same_systems else "none"
    ).ravel()
    for panel, (kind, systems) in zip(panels, errors_ev.items(), strict=False):
        _box_plot(panel, systems)
        n = max(map(len, systems.values()))
        panel.set_title(f"{TITLES.get(kind, kind)} (n = {n})", fontsize="medium")
    for panel in panels[len(errors_ev) :]:
        panel.set_visible(False)
    figure.supxlabel(f"Absolute error of the migration barrier (eV)\n{_KEY}", fontsize="small")
    return figure


def _box_plot(panel: Axes, errors_ev: Mapping[str, FloatArray]) -> None:
    shown = [np.maximum(errors, _LEAST_EV) for errors in errors_ev.values()]
    means = [float(errors.mean()) for errors in errors_ev.values()]
    rows = list(range(1, len(shown) + 1))
    panel.boxplot(
        shown,
        orientation="horizontal",
        widths=0.6,
        whis=(5, 95),
        patch_artist=True,
        boxprops={"facecolor": f"{BLUE}40", "edgecolor": BLUE},
        whiskerprops={"color": BLUE},
        capprops={"color": BLUE},
        medianprops={"color": "black", "linewidth": 1.5},
        flierprops={"marker": ".", "markersize": 2, "markeredgecolor": "0.5"},
    )
    panel.plot(np.maximum(means, _LEAST_EV), rows, "D", markersize=4, color=VERMILION)
    for row, mean in zip(rows, means, strict=True):
        panel.text(
            1.01,
            row,
            f"{mean:.3f}",
            transform=panel.get_yaxis_transform(),
            va="center",
            fontsize="small",
            color=VERMILION,
        )
    panel.set(yticks=rows, yticklabels=list(errors_ev), ylim=(len(rows) + 0.5, 0.5), xscale="log")
    panel.set_xticks([0.01, 0.1, 1, 10], ["≤ 0.01", "0.1", "1", "10"])
    panel.tick_params(labelbottom=True)
    panel.grid(axis="x", alpha=0.3)
