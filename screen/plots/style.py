"""What all static figures share: colours, the 0.65 eV line, sizes, and how a file is written.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart with any colour
vision; where they are many, marks tell as much.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.metrics import GOOD_EV
from screen.atomic import replacing
from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, YELLOW = "#E69F00", "#56B4E9", "#000000", "#F0E442"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
MARKS = "osD^vP*X"
DOTS_PER_INCH = 200
SUFFIXES = (".png", ".svg", ".pdf")

_SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # names come from data
    "pdf.fonttype": 42,  # text that stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "ionscreen",  # the same figure, the same bytes
}
_NO_DATE: dict[str, dict[str, Any]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def check(path: Path) -> None:
    """Refuse a figure that cannot be drawn, before anything is read.

    Raises:
        UserError: a name of another kind, no such folder, or matplotlib is missing.
    """
    if path.suffix.lower() not in SUFFIXES:
        found = path.suffix or "no suffix"
        raise UserError(f"{path}: {found} found, expected {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: no folder {path.parent}; make it, or pass another -o")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UserError(
            "matplotlib is not installed; `pip install 'ionscreen[plots]'`", FAILED
        ) from None


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Draw a figure in the common style and write it, whole or not at all.

    Args:
        draw: makes the figure.
        path: its suffix is the kind, one of ``SUFFIXES``.

    Raises:
        UserError: see ``check``, or the file cannot be written.
    """
    check(path)
    import matplotlib

    kind = path.suffix.lower()
    content = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = draw()
        figure.savefig(content, format=kind[1:], dpi=DOTS_PER_INCH, metadata=_NO_DATE[kind])
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})", FAILED) from error


def panels(
    count: int, width: float = 3.4, height: float = 2.6, same_axes: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, at most three side by side.

    Args:
        count: at least 1.
        width: of a panel, inches.
        height: of a panel, inches.
        same_axes: whether all have one horizontal axis.
    """
    from matplotlib.figure import Figure

    columns = min(3, count)
    rows = -(-count // columns)
    size = (max(5.2, width * columns), height * rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=same_axes).ravel().tolist()
    for panel in axes[count:]:
        panel.set_visible(False)
    return figure, axes[:count]


def colour_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, by its place among them."""
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}


def good_line(panel: Axes, vertical: bool = True) -> None:
    """The line at 0.65 eV, up to which a barrier is called good."""
    line = panel.axvline if vertical else panel.axhline
    line(GOOD_EV, color="0.35", linewidth=1, linestyle="--", zorder=1.5)


def footnote(figure: Figure, text: str) -> None:
    """What the figure shows and leaves out, under it, in lines that fit its width."""
    import textwrap

    characters = int(figure.get_figwidth() * 16)
    lines = textwrap.wrap(text, characters)
    figure.supxlabel("\n".join(lines), fontsize=7, color="0.3")
