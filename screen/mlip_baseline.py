"""A machine-learned potential as a predictor of barriers: its energies along the straight path."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.barrier import TARGET_OFFSET_EV
from models.calibration import to_ev
from models.compare import Predicted, Unavailable
from pathways.convert import structure_from_crystal
from pathways.types import N_IMAGES, Band, Crystal, FloatArray

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

_BATCH = 8


class ChgnetProfile:
    """CHGNet (Deng et al. 2023, doi:10.1038/s42256-023-00716-3), no structure relaxed.

    The rise of the energy over the five images, from the lower end to the highest image, is put on
    the scale of the training barriers by a straight line in log(eV + 0.1 eV): straight chords run
    into atoms, so the rise itself is far too high. Energies are computed once per band.
    """

    name = "chgnet"
    settings = "CHGNet 0.3.0, five images, line in log(eV + 0.1)"

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._rise_ev: dict[Band, float] = {}
        self._model: Any = None

    def fit_predict(
        self, train: Sequence[Band], em_ev: FloatArray, test: Sequence[Band]
    ) -> Predicted:
        """See ``models.compare.System``."""
        seen, unseen = (
            np.log(np.array([self._rise(band) for band in bands]) + TARGET_OFFSET_EV)
            for bands in (train, test)
        )
        slope, start = np.polyfit(seen, np.log(np.maximum(em_ev, 0.0) + TARGET_OFFSET_EV), 1)
        return Predicted(np.minimum(to_ev(slope * unseen + start), em_ev.max()))

    def _rise(self, band: Band) -> float:
        if band not in self._rise_ev:
            energies = self._energies_ev(band)
            self._rise_ev[band] = float(energies.max() - min(energies[0], energies[-1]))
        return self._rise_ev[band]

    def _energies_ev(self, band: Band) -> FloatArray:
        """(5,) energies of the host with the ion at each image, eV."""
        if self._model is None:
            self._model = _load(self._device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch, on code that is not ours
            found = self._model.predict_structure(_images(band), task="e", batch_size=_BATCH)
        per_atom = np.array([float(one["e"]) for one in found])
        return per_atom * (len(band.host_numbers) + 1)


def _load(device: str) -> Any:
    try:
        from chgnet.model import CHGNet
    except ImportError as error:
        raise Unavailable(
            f"chgnet cannot be imported ({error}); pip install 'ionscreen[mlip]' and run again"
        ) from None
    # It greets on stdout, which is for results.
    with contextlib.redirect_stdout(sys.stderr):
        return CHGNet.load(use_device=device, verbose=False)


def _images(band: Band) -> list[Structure]:
    numbers = np.append(band.ion_number, band.host_numbers)
    return [
        structure_from_crystal(
            Crystal(band.lattice, numbers, np.vstack([band.ion_frac[image], band.host_frac]))
        )
        for image in range(N_IMAGES)
    ]
