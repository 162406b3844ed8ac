"""Figures of relaxed bands that came back: energies along the path, and corrected barriers."""

from __future__ import annotations

from collections.abc import Sequence

from screen.report.contents import Contents, Record
from screen.report.figures import (
    MARKS,
    Figure,
    Json,
    axis,
    colour,
    column,
    label,
    rounded,
    shown,
    threshold,
)

_MOST_PROFILES = 8
_MOST_CORRECTED = 60


def profile_figure(contents: Contents) -> list[Figure]:
    """Energies over the path of the bands with the lowest barriers; nothing without a path."""
    known = [row for row in contents.profiles if row["energies_ev"] and row["path_a"]]
    if not known:
        return []
    lowest = sorted(known, key=lambda row: (_highest(row), row["hop_id"], row["method"]))
    drawn = lowest[:_MOST_PROFILES]
    traces = [_profile(row, place) for place, row in enumerate(drawn)]
    layout = {
        "xaxis": axis("Length of the path (Å)", rangemode="tozero"),
        "yaxis": axis("Energy above the first image (eV)"),
    }
    rest = shown(len(drawn), len(contents.profiles), "bands", "higher, or of unknown path")
    return [
        Figure(
            "profiles",
            "Energy along the way",
            f"Images of relaxed bands, lowest barrier first; straight lines between them. {rest}",
            traces,
            layout,
            400,
        )
    ]


def _profile(row: Record, place: int) -> Json:
    converged = "" if row["converged"] else ", not converged"
    name = f"{row['formula'] or ''} {row['hop_id']}, {row['method']}{converged}"
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [rounded(value) for value in row["path_a"]],
        "y": [rounded(value - row["energies_ev"][0]) for value in row["energies_ev"]],
        "line": {"color": colour(place), "width": 1.5},
        "marker": {"color": colour(place), "symbol": MARKS[place], "size": 7},
        "name": label(name),
        "hovertemplate": "%{x:.2f} Å: %{y:.3f} eV<extra></extra>",
    }


def _highest(row: Record) -> float:
    return float(max(row["energies_ev"]) - row["energies_ev"][0])


def correction_figures(contents: Contents) -> list[Figure]:
    """For each calculator and functional: barriers raw and corrected, and DFT's where known."""
    return [_correction(one, number) for number, one in enumerate(contents.corrections)]


def _correction(fitted: Record, number: int) -> Figure:
    rows = sorted(fitted["barriers"], key=lambda row: (row["em_corrected_ev"], row["hop_id"]))
    drawn = rows[:_MOST_CORRECTED]
    spread = {"type": "data", "array": column(drawn, "sigma_ev"), "thickness": 1.2, "width": 0}
    traces = [
        _marks(drawn, "em_raw_ev", "raw", 1),
        {**_marks(drawn, "em_corrected_ev", "corrected, with its sigma", 0), "error_y": spread},
        _marks(drawn, "reference_ev", str(fitted["functional"]), 2),
    ]
    layout = {
        "xaxis": axis("Hops, lowest corrected barrier first (number)", showgrid=False),
        "yaxis": axis("Em (eV)", rangemode="tozero"),
        **threshold("y"),
    }
    better = "" if fitted["helps"] else "The correction does not help: take the raw ones. "
    caption = (
        f"Barriers by {fitted['method']}, corrected by {fitted['n_points']} hops of which "
        f"{fitted['functional']} barriers are known, too: mean absolute error of barriers left out "
        f"of the fit {fitted['mae_raw_ev']:.2f} eV raw, {fitted['mae_corrected_ev']:.2f} eV "
        f"corrected. {better}{shown(len(drawn), len(rows), 'hops')}"
    )
    title = f"{fitted['method']} corrected to {fitted['functional']}"
    return Figure(f"corrected-{number}", title, caption, traces, layout, 380)


def _marks(rows: Sequence[Record], name: str, words: str, place: int) -> Json:
    """One value of every hop that has it."""
    known = [(n + 1, row) for n, row in enumerate(rows) if row[name] is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [n for n, _ in known],
        "y": [rounded(row[name]) for _, row in known],
        "text": [label(f"{row['formula'] or ''} {row['hop_id']}") for _, row in known],
        "marker": {"color": colour(place), "symbol": MARKS[place], "size": 8},
        "name": f"{label(words)} ({len(known):,})",
        "hovertemplate": "%{text}<br>%{y:.2f} eV<extra></extra>",
    }
