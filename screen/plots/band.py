"""One hop: energies along its path, and the path itself among the atoms around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pathways.bond_valence_path import BondValenceProfile, profile
from pathways.elements import SYMBOLS
from pathways.neighbours import integer_box, perpendicular_widths
from pathways.types import Band, FloatArray, PathwayError
from screen.errors import FAILED, NothingToShow, UserError
from screen.plots.style import BLACK, BLUE, COLOURS, GREEN, MARKS, VERMILION, footnote, good_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from screen.queries import Record
    from screen.reader import Reader

MOST_EV = 5.0
"""What bond valence says beyond is cut off."""
REACH_A = 3.0
"""Atoms this close to the path are drawn, Å."""

_HOP = """
select * from ranked_hops where $hop_id is null or hop_id = $hop_id order by rank limit 1
"""
_MOST_PROFILES = 4
_ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "fontsize": 7}


def along_the_path(reader: Reader, hop_id: str | None) -> Figure:
    """The predicted barrier with its interval, bond valence and computed bands along the path.

    Args:
        reader: of the database.
        hop_id: which; None takes that of lowest barrier.

    Raises:
        NothingToShow: the database has no predicted hop.
        UserError: there is no such hop, or its band cannot be built again.
    """
    from matplotlib.figure import Figure

    row, band = _hop(reader, hop_id)
    curved, chord = profile(band, band.curved.path_a), profile(band)
    computed = _profiles(reader, row["hop_id"])
    figure = Figure(figsize=(7.4, 4.1), layout="constrained")
    energies, plane = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_energies(energies, row, curved, chord, computed)
    _draw_plane(plane, row["ion"], band, curved.path_a)
    figure.suptitle(f"{row['formula'] or row['material_id']}: {row['hop_id']}", fontsize=9)
    missing = ", ".join(curved.missing)
    unknown = f" (no parameters for {missing})" if missing else ""
    footnote(
        figure,
        f"1 hop of {row['length_a']:.2f} Å, {row['multiplicity']} per primitive cell, "
        f"{row['mechanism']}; model {row['model_id']}, applicability {row['applicability']:.2f}; "
        f"bond valence{unknown} is a ranking, not a barrier; computed bands: {len(computed)}; "
        f"dashes: 0.65 eV; right: the curved path and, dotted, the straight one from the side, "
        f"with atoms within {REACH_A:g} Å, paler the further off.",
    )
    return figure


def _hop(reader: Reader, hop_id: str | None) -> tuple[Record, Band]:
    from screen.stored_bands import read_bands

    found = reader.records(_HOP, {"hop_id": hop_id})
    if not found and hop_id is None:
        raise NothingToShow(f"{reader.path}: no hop to draw; `screen status` says why")
    if not found:
        raise UserError(
            f"{hop_id}: no such hop with a barrier; `screen top --by hop --db {reader.path}` "
            "lists them"
        )
    (row,) = found
    band = read_bands(reader, [row["hop_id"]])[row["hop_id"]]
    if isinstance(band, PathwayError):
        raise UserError(f"{row['hop_id']}: {band}", FAILED)
    return row, band


def _profiles(reader: Reader, hop_id: str) -> list[Record]:
    """Computed bands of the hop: method, energies and, where known, lengths along the path."""
    found = reader.records(
        "select method, source, energies_ev, path_a from profiles "
        "where hop_id = ? and len(energies_ev) > 1 order by method, source",
        [hop_id],
    )
    return found[:_MOST_PROFILES]


def _draw_energies(
    panel: Axes,
    row: Record,
    curved: BondValenceProfile,
    chord: BondValenceProfile,
    computed: list[Record],
) -> None:
    low_ev, high_ev, em_ev = row["em_low_ev"], row["em_high_ev"], row["em_ev"]
    if low_ev is not None and high_ev is not None:
        panel.axhspan(low_ev, high_ev, color=BLUE, alpha=0.15, linewidth=0, label="90 % interval")
    panel.axhline(em_ev, color=BLUE, label=f"predicted Em, {em_ev:.2f} eV")
    good_line(panel, vertical=False)
    top = max(1.0, em_ev, high_ev or 0.0)
    for name, one, form in (("curved", curved, "-"), ("straight", chord, ":")):
        if one.missing:
            continue
        above = one.energies_ev - one.energies_ev[[0, -1]].min()
        panel.plot(_share(one.path_a), above, form, color=GREEN, label=f"bond valence, {name} path")
        top = max(top, float(above.max()))
    for place, band in enumerate(computed):
        energies = np.array(band["energies_ev"], dtype=np.float64)
        energies -= energies[[0, -1]].min()
        share = np.linspace(0, 1, len(energies))
        if band["path_a"]:
            share = np.array(band["path_a"]) / max(band["path_a"][-1], 1e-9)
        panel.plot(
            share,
            energies,
            f"{MARKS[place]}--",
            color=VERMILION,
            markersize=4,
            linewidth=0.8,
            label=f"{band['method']}, {energies.max():.2f} eV",
        )
        top = max(top, float(energies.max()))
    lowest = panel.get_ylim()[0]
    panel.set(
        xlim=(0, 1),
        ylim=(min(0.0, lowest), 1.05 * min(MOST_EV, top)),
        xlabel="Share of the path, start to end",
        ylabel="Energy above the lower end (eV)",
    )
    panel.legend(**_ABOVE, ncols=2)


def _share(path_a: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(np.diff(path_a, axis=0), axis=1).cumsum()
    return np.concatenate([[0.0], lengths / max(float(lengths[-1]), 1e-9)])


def _draw_plane(panel: Axes, ion: str, band: Band, path_a: FloatArray) -> None:
    """The path in the plane of the hop and of its widest bow, with the atoms around it."""
    axes = _view(path_a)
    places_a, numbers, gap_a = _atoms_near(band, path_a)
    flat = (places_a - path_a[0]) @ axes.T
    for place, number in enumerate(sorted(set(numbers.tolist()))):
        own = numbers == number
        panel.scatter(
            flat[own, 0],
            flat[own, 1],
            90,
            color=COLOURS[(place + 1) % len(COLOURS)],
            alpha=np.clip(1.15 - gap_a[own] / REACH_A, 0.25, 0.9),
            edgecolors=BLACK,
            linewidths=0.4,
            label=SYMBOLS[number],
        )
    way = (path_a - path_a[0]) @ axes.T
    panel.plot(*way[[0, -1], :2].T, ":", color="0.4", linewidth=1)
    panel.plot(*way[:, :2].T, color=BLUE)
    panel.plot(*way[[0, -1], :2].T, "o", color=BLUE, markersize=8, label=f"{ion}, moving")
    panel.set(xlabel="Along the hop (Å)", ylabel="Beside it (Å)", aspect="equal")
    panel.margins(0.12)
    panel.legend(**_ABOVE, ncols=3, markerscale=0.6)


def _view(path_a: FloatArray) -> FloatArray:
    """(3, 3), unit vectors: along the hop, towards the widest bow, and the line of sight."""
    hop = path_a[-1] - path_a[0]
    along = hop / np.linalg.norm(hop)
    beside = (path_a - path_a[0]) - np.outer((path_a - path_a[0]) @ along, along)
    widest = beside[np.linalg.norm(beside, axis=1).argmax()]
    if np.linalg.norm(widest) < 1e-3:  # a straight path looks alike from everywhere
        widest = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    up = widest / np.linalg.norm(widest)
    return np.stack([along, up, np.cross(along, up)])


def _atoms_near(band: Band, path_a: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Places (m, 3) in Å, atomic numbers and distances from the path in Å, of what is near."""
    middle = path_a.mean(axis=0) @ np.linalg.inv(band.lattice)
    reach_a = REACH_A + float(np.linalg.norm(path_a[-1] - path_a[0]))
    cells = np.ceil(reach_a / perpendicular_widths(band.lattice)).astype(np.int64)
    frac = band.host_frac - middle
    frac = (frac - np.rint(frac))[:, None] + integer_box(cells) + middle
    places_a = frac.reshape(-1, 3) @ band.lattice
    numbers = np.repeat(band.host_numbers, frac.shape[1])
    gap_a = np.linalg.norm(places_a[:, None] - path_a, axis=2).min(axis=1)
    near = gap_a < REACH_A
    return places_a[near], numbers[near], gap_a[near]
