"""A machine-learned potential as a predictor of barriers: its energies along the straight path."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.barrier import TARGET_OFFSET_EV
from models.calibration import to_ev
from models.compare import Predicted, Unavailable
from pathways.types import N_IMAGES, Band, Crystal, FloatArray
from screen.atomic import replacing
from screen.chgnet import VERSION, Chgnet, NotInstalled


class ChgnetProfile:
    """CHGNet (Deng et al. 2023, doi:10.1038/s42256-023-00716-3), no structure relaxed.

    The rise of the energy over the five images, from the lower end to the highest image, is put on
    the scale of the training barriers by a straight line in log(eV + 0.1 eV): straight chords run
    into atoms, so the rise itself is far too high. Energies are computed once per band.

    Args:
        device: cpu or cuda.
        work_dir: keeps the rises, as a fold takes minutes and an interrupted one goes on.
    """

    name = "chgnet"
    settings = f"CHGNet {VERSION}, five images, line in log(eV + 0.1)"

    def __init__(self, device: str, work_dir: Path) -> None:
        self._potential = Chgnet(device)
        self._file = work_dir / f"chgnet-{VERSION}-rises.json"
        self._rise_ev: dict[str, float] | None = None

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
        if self._rise_ev is None:
            self._rise_ev = _read(self._file)
        key = _digest(band)
        if key not in self._rise_ev:
            self._rise_ev[key] = rise_ev(self._energies_ev(band))
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._file) as temporary:
                temporary.write_text(json.dumps(self._rise_ev))
        return self._rise_ev[key]

    def _energies_ev(self, band: Band) -> FloatArray:
        """(5,) energies of the host with the ion at each image, eV; NaN where there is none."""
        try:
            return self._potential.energies_ev(_images(band))
        except NotInstalled as error:
            raise Unavailable(str(error)) from None


def rise_ev(energies_ev: FloatArray) -> float:
    """From the lower end to the highest image, eV.

    An image that lies on an atom has no energy (NaN) and does not count.

    Args:
        energies_ev: (5,), eV.

    Raises:
        Unavailable: neither end has an energy.
    """
    ends = energies_ev[[0, -1]]
    if not np.isfinite(ends).any():
        raise Unavailable("CHGNet gives no energy for the ends of a band; leave it out of the data")
    return float(energies_ev[np.isfinite(energies_ev)].max() - ends[np.isfinite(ends)].min())


def _read(file: Path) -> dict[str, float]:
    """Rises by band; none where there is no file or it was damaged."""
    try:
        return {str(key): float(rise_ev) for key, rise_ev in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _digest(band: Band) -> str:
    """The same for the same atoms in the same order."""
    parts = (band.lattice, band.host_numbers, band.host_frac, band.ion_frac)
    content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return hashlib.sha256(content + str(band.ion_number).encode()).hexdigest()[:16]


def _images(band: Band) -> list[Crystal]:
    numbers = np.append(band.ion_number, band.host_numbers)
    return [
        Crystal(band.lattice, numbers, np.vstack([band.ion_frac[image], band.host_frac]))
        for image in range(N_IMAGES)
    ]
