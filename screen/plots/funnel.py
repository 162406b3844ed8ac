"""What became of the candidates of a campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from screen.errors import NothingToShow
from screen.plots.style import BLUE, VERMILION, footnote

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from screen.reader import Reader

_STAGES = (
    ("candidates", "from the source"),
    ("filtered", "after filters"),
    ("enumerated", "with hops"),
    ("hops", "hops"),
    ("predicted", "barriers"),
)
_MOST_REASONS = 12


def stages(reader: Reader) -> Figure:
    """Counts of the last campaign at each stage, and its failures by reason.

    Raises:
        NothingToShow: there is no campaign.
    """
    from matplotlib.figure import Figure

    from screen.queries import campaigns

    found = campaigns(reader)
    if not found:
        raise NothingToShow(f"{reader.path}: no campaign yet; `screen run` makes one")
    campaign = found[0]
    failed = sorted(campaign["failed"], key=lambda one: -one["n"])
    shown, rest = failed[:_MOST_REASONS], failed[_MOST_REASONS:]
    reasons = [(f"{one['stage']}: {one['reason']}", one["n"]) for one in shown]
    if rest:
        reasons.append((f"{len(rest)} more reasons", sum(one["n"] for one in rest)))
    rows = [len(_STAGES)] + ([len(reasons)] if reasons else [])
    figure = Figure(figsize=(6.2, 0.9 + 0.27 * (sum(rows) + 3)), layout="constrained")
    axes = figure.subplots(len(rows), 1, height_ratios=rows, squeeze=False).ravel()
    counts = [(label, campaign[key]) for key, label in _STAGES]
    _bars(axes[0], counts, BLUE, "materials, then hops")
    if reasons:
        _bars(axes[1], reasons, VERMILION, "failures by stage and reason")
    footnote(
        figure,
        f"campaign {campaign['campaign_id']} ({campaign['state']}): {campaign['ion']} in "
        f"{' '.join(campaign['chemsys'] or ()) or 'all systems'} of {campaign['source']}; "
        f"{campaign['candidates']:,} candidates, "
        f"{sum(one['n'] for one in failed):,} failures of materials and hops",
    )
    return figure


def _bars(panel: Axes, rows: list[tuple[str, int]], colour: str, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    names, counts = [name for name, _ in rows], [n for _, n in rows]
    drawn = panel.barh(range(len(rows)), counts, 0.72, color=colour)
    panel.bar_label(drawn, [f" {n:,}" for n in counts], fontsize=8)
    panel.set(yticks=range(len(rows)), yticklabels=names, ylim=(len(rows) - 0.4, -0.6))
    panel.set_xlim(0, 1.12 * max([*counts, 1]))
    panel.set_title(title, loc="left")
    panel.grid(axis="y", visible=False)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
