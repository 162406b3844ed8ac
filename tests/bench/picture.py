"""One picture of the table: where the time goes, how peers do, how cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from screen.atomic import replacing
from tests.bench.figures import Figure
from tests.bench.growth import WORDS
from tests.bench.stages import STAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart with any colour vision.
_COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"),
    *("#CC79A7", "#F0E442", "#000000", "#999999"),
)
_MARKS = "osD^vP*X"
_TIMES = ("ms CPU", "s CPU", "ms")


def draw(figures: Sequence[Figure], machine: str, path: Path) -> None:
    """Shares of stages, ratios to peers and growth; an empty panel says that it has no figures.

    Args:
        figures: any; those that belong in no panel are left to the table.
        machine: in words, the picture's title.
        path: a PNG file, written whole or not at all.
    """
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(16, 5.5), layout="constrained")
    picture.suptitle(machine, fontsize=9)
    shares, ratios, growth = picture.subplots(1, 3)
    _draw_shares(shares, figures)
    _draw_ratios(ratios, figures)
    _draw_growth(growth, figures)
    for panel in (shares, ratios, growth):
        if not panel.has_data():
            panel.text(0.5, 0.5, "not measured", ha="center", transform=panel.transAxes)
    with replacing(path) as temporary:
        picture.savefig(temporary, format="png", dpi=120)


def _draw_shares(panel: Axes, figures: Sequence[Figure]) -> None:
    """One bar for each run, of its stages' shares."""
    values = {figure.name: figure.value or 0.0 for figure in figures}
    suffix = "-whole"
    runs = [name.removesuffix(suffix) for name in values if name.endswith(suffix)]
    runs = [name for name in runs if name.startswith("stages-")]
    if runs:
        labels = [
            f"{name.removeprefix('stages-')}\n{values[name + suffix]:.1f} ms a band"
            for name in runs
        ]
        left = [0.0] * len(runs)
        for (stage, words), colour in zip(STAGES.items(), _COLOURS, strict=True):
            shares = [100 * values[f"{name}-{stage}"] / values[name + suffix] for name in runs]
            panel.barh(labels, shares, left=left, color=colour, label=words)
            left = [before + share for before, share in zip(left, shares, strict=True)]
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, fontsize=7)
    panel.set(title="Where the time of a run goes", xlabel="% of CPU time", xlim=(0, 100))
    panel.invert_yaxis()


def _draw_ratios(panel: Axes, figures: Sequence[Figure]) -> None:
    """One bar for each peer whose time was measured, from ours to its own."""
    peers = [figure for figure in figures if figure.ratio and figure.unit in _TIMES]
    if peers:
        labels = [f"{figure.name}\n{figure.peer}" for figure in peers]
        beyond = [(figure.ratio or 1.0) - 1.0 for figure in peers]
        bars = panel.barh(labels, beyond, left=1.0, color=_COLOURS[0])
        panel.bar_label(bars, [f"{figure.ratio:.2g}x" for figure in peers], fontsize=7, padding=2)
        panel.set_xscale("log")
        panel.axvline(1.0, color="0.3", linewidth=1)
        panel.margins(x=0.15)
        panel.tick_params(axis="y", labelsize=7)
    panel.set(title="Peers in the same run", xlabel="times our time")
    panel.invert_yaxis()


def _draw_growth(panel: Axes, figures: Sequence[Figure]) -> None:
    """One line for each thing that grows, from where it starts."""
    growing = [figure for figure in figures if figure.points]
    for number, figure in enumerate(growing):
        sizes, took = zip(*figure.points, strict=True)
        what, of = WORDS[figure.name.removeprefix("growth-")]
        panel.plot(
            [size / sizes[0] for size in sizes],
            [ms / took[0] for ms in took],
            marker=_MARKS[number % len(_MARKS)],
            color=_COLOURS[number % len(_COLOURS)],
            label=f"{what}: {of}^{figure.value:.2f}",
        )
    if growing:
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=7)
    panel.set(title="How cost grows", xlabel="size, first one = 1", ylabel="CPU time, first = 1")
