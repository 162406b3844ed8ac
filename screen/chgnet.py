"""CHGNet (Deng et al. 2023, doi:10.1038/s42256-023-00716-3): energies of crystals as they stand."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pathways.convert import structure_from_crystal
from pathways.types import Crystal, FloatArray

VERSION = "0.3.0"
_BATCH = 8


class NotInstalled(Exception):  # noqa: N818 - nothing went wrong
    """CHGNet is not there; one line saying how to get it."""


class Chgnet:
    """The potential, loaded when it is first asked.

    Args:
        device: cpu or cuda.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._model: Any = None

    def energies_ev(self, crystals: Sequence[Crystal]) -> FloatArray:
        """(n,) total energies, eV; NaN where atoms lie on each other.

        Raises:
            NotInstalled: CHGNet cannot be imported.
        """
        if self._model is None:
            self._model = load(self._device)
        import torch

        structures = [structure_from_crystal(crystal) for crystal in crystals]
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch, on code that is not ours
            found = self._model.predict_structure(structures, task="e", batch_size=_BATCH)
        # One structure gives one answer, several a list of them.
        answers = found if isinstance(found, list) else [found]
        sizes = [len(crystal) for crystal in crystals]
        return np.array([float(one["e"]) * n for one, n in zip(answers, sizes, strict=True)])


def load(device: str) -> Any:
    """The network of CHGNet's own package.

    Raises:
        NotInstalled: it cannot be imported.
    """
    try:
        from chgnet.model import CHGNet
    except ImportError as error:
        raise NotInstalled(
            f"chgnet cannot be imported ({error}); pip install 'ionscreen[mlip]' and run again"
        ) from None
    # It greets on stdout, which is for results.
    with contextlib.redirect_stdout(sys.stderr):
        return CHGNet.load(model_name=VERSION, use_device=device, verbose=False)
