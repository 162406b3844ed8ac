"""The energy along the path of a hop as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from screen.atomic import replacing
from screen.errors import FAILED, UserError

# Okabe and Ito, told apart with any colour vision.
_PATH, _PREDICTED = "#0072B2", "#D55E00"
_SAME_PLACE_A = 1e-6


def draw_profile(
    path_length_a: Sequence[float],
    energy_ev: Sequence[float],
    *,
    predicted_ev: float | None,
    low_ev: float | None,
    high_ev: float | None,
    title: str,
    file: Path,
) -> None:
    """Energies of a band's images over the path, with a curve through them.

    The curve is a monotone one (PCHIP; Fritsch and Butland 1984, doi:10.1137/0905021): nowhere
    higher than the images, the highest of which stands on the saddle where it was made to climb.

    Args:
        path_length_a: (n,) distance from the start along the path, Å, not falling.
        energy_ev: (n,) relative to any zero; drawn relative to the first.
        predicted_ev: predicted barrier from the start, eV; None: no line.
        low_ev: lower end of its interval; None: no band.
        high_ev: upper end.
        title: one line.
        file: a PNG file, written whole or not at all.

    Raises:
        ValueError: fewer than two images, or not as many lengths as energies.
        UserError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from scipy.interpolate import PchipInterpolator

    path_a, energies = np.asarray(path_length_a, float), np.asarray(energy_ev, float)
    if len(path_a) != len(energies) or len(path_a) < 2:
        raise ValueError(f"{len(path_a)} lengths and {len(energies)} energies, expected 2 or more")
    energies = energies - energies[0]
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.subplots()
    if low_ev is not None and high_ev is not None:
        axes.axhspan(low_ev, high_ev, color=_PREDICTED, alpha=0.15, label="90 % interval")
    if predicted_ev is not None:
        axes.axhline(predicted_ev, color=_PREDICTED, linestyle="--", label="predicted Em")
    apart = np.concatenate([[True], np.diff(path_a) > _SAME_PLACE_A])
    if apart.sum() > 1:
        fine_a = np.linspace(path_a[0], path_a[-1], 400)
        axes.plot(fine_a, PchipInterpolator(path_a[apart], energies[apart])(fine_a), color=_PATH)
    axes.plot(path_a, energies, "o", color=_PATH, label=f"images, Em = {energies.max():.3f} eV")
    axes.set(xlabel="Length of the path (Å)", ylabel="Energy (eV)")
    axes.set_title(title, fontsize=8)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    try:
        with replacing(file) as temporary:
            figure.savefig(temporary, format="png", dpi=200)
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror or error})", FAILED) from error
