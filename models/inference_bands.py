"""A few bands that need no file: what a faster arithmetic is compared on before it is used."""

from __future__ import annotations

import numpy as np

from pathways.types import N_IMAGES, Band, FloatArray, IntArray

_UNEVEN_A = 0.08
"""Standard deviation of the atoms' places, Å: a perfect crystal has too few distinct angles."""


def reference_bands() -> list[Band]:
    """Hops of Li, Na, Mg and Ca in rock salt, caesium chloride and fluorite hosts, a little uneven.

    Always the same ones.
    """
    generator = np.random.default_rng(0)
    corner = np.zeros((1, 3))
    face = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    quarter = np.array([[x, y, z] for x in (1, 3) for y in (1, 3) for z in (1, 3)]) / 4
    centre = np.full((1, 3), 0.5)
    hosts = [
        (3, 17, 5.13, face, face + centre, 2, face[1]),
        (12, 8, 4.21, face, face + centre, 2, face[1]),
        (11, 35, 3.6, corner, centre, 3, np.array([1.0, 0, 0])),
        (20, 9, 5.46, face, quarter, 2, face[1]),
    ]
    return [_band(*host, generator) for host in hosts]


def _band(
    cation: int,
    anion: int,
    cell_a: float,
    cations: FloatArray,
    anions: FloatArray,
    repeat: int,
    step: FloatArray,
    generator: np.random.Generator,
) -> Band:
    """The cation in the corner moves by ``step`` (of the cubic cell) to where another one was."""
    cells = np.stack(np.meshgrid(*[np.arange(repeat)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    still = np.concatenate([cations, anions])
    frac = (cells + still).reshape(-1, 3) / repeat
    numbers: IntArray = np.tile(np.repeat([cation, anion], [len(cations), len(anions)]), len(cells))
    end = step / repeat
    gap = np.abs(frac - np.round(frac)).sum(1)
    to_end = np.abs(frac - end - np.round(frac - end)).sum(1)
    kept = (gap > 1e-6) & (to_end > 1e-6)
    edge_a = cell_a * repeat
    uneven = generator.normal(scale=_UNEVEN_A / edge_a, size=(int(kept.sum()), 3))
    return Band(
        lattice=np.eye(3) * edge_a,
        host_numbers=numbers[kept],
        host_frac=frac[kept] + uneven,
        ion_number=cation,
        ion_frac=np.linspace(0.0, 1.0, N_IMAGES)[:, None] * end,
        supercell=np.eye(3, dtype=np.int64) * repeat,
    )
