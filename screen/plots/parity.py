"""Predictions against barriers that came back, in any format of a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screen.parity import read_groups
from screen.parity_figure import draw_panel
from screen.plots.style import footnote, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from screen.reader import Reader


def parity(reader: Reader, model: str | None) -> Figure:
    """A panel for each method and functional, as ``screen parity`` draws them.

    Args:
        reader: of the database.
        model: name or id; None takes that which predicted last.

    Raises:
        NothingToShow: no converged barrier has a prediction.
    """
    groups = read_groups(reader, model)
    ions = sorted({str(row["ion"]) for group in groups for row in group.rows})
    figure, axes = panels(len(groups), 4.0, 4.0, same_axes=False)
    for panel, group in zip(axes, groups, strict=True):
        draw_panel(panel, group, ions)
    n = sum(len(group.rows) for group in groups)
    footnote(figure, f"{n:,} pairs of converged barriers; line: equal; dashes: 0.65 eV")
    return figure
