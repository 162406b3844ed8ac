"""Bands: a supercell without what the hop's mechanism empties, and the ion at five places."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pathways.checks import MIN_DISTANCE_A, check_distances, ion_number
from pathways.supercell import BandSettings, determinant, find_supercell
from pathways.types import (
    MECHANISMS,
    N_IMAGES,
    Band,
    Crystal,
    FloatArray,
    Hop,
    IntArray,
    PathwayError,
)

_SITE_TOLERANCE_A = 1e-3


def build_band(crystal: Crystal, hop: Hop, settings: BandSettings | None = None) -> Band:
    """The band of a hop by its mechanism, in the smallest supercell that is wide enough.

    Both end sites are emptied, with what else the mechanism (``pathways.types.MECHANISMS``)
    empties, and the ion is placed at five equally spaced positions along the recorded image vector;
    all other atoms stay where the crystal has them. The supercell is the same by all mechanisms.

    Args:
        crystal: the symmetrised primitive crystal that the hop was enumerated in, all sites filled.
        hop: one of its hops.
        settings: width, limit on atoms, or the supercell itself; the defaults where None.

    Raises:
        PathwayError: ``hop_mismatch`` where the hop is not of this crystal, ``unknown_mechanism``,
            ``too_many_atoms`` where no supercell within the limit is wide enough,
            ``ends_coincide`` where a given supercell makes both ends, or an end and the second
            vacancy, one site, ``empty_host`` where nothing is left beside the ion,
            ``overlapping_atoms`` where atoms overlap.
    """
    settings = settings or BandSettings()
    _check_hop(crystal, hop)
    matrix = _supercell(crystal, hop, settings)
    translations = _translations(matrix)
    cells = len(translations)
    adjugate = _adjugate(matrix)
    sites = np.repeat(np.arange(len(crystal)), cells)
    frac = (crystal.frac[:, None, :] + translations).reshape(-1, 3) @ adjugate / cells

    home = translations @ adjugate % cells  # (cells, 3), names each cell exactly
    emptied = [
        site * cells
        + int(np.flatnonzero((home == np.array(cell) @ adjugate % cells).all(axis=1))[0])
        for site, cell in _emptied_once(hop)
    ]
    if len(set(emptied)) < len(emptied):
        raise PathwayError(
            "ends_coincide",
            f"hop {hop.key} empties one site of supercell {matrix} twice; give a larger one",
        )
    host = ~np.isin(sites, _emptied_everywhere(crystal, hop))
    host[emptied] = False
    if not host.any():
        raise PathwayError("empty_host", f"nothing is left of the crystal for hop {hop.key}")
    band = Band(
        lattice=np.array(matrix).reshape(3, 3) @ crystal.lattice,
        host_numbers=crystal.numbers[sites[host]],
        host_frac=frac[host] - np.floor(frac[host]),
        ion_number=ion_number(hop.ion),
        ion_frac=_images(crystal, hop) @ adjugate / cells,
        supercell=np.array(matrix, dtype=np.int64).reshape(3, 3),
    )
    _check_band(crystal, band)
    return band


def _emptied_once(hop: Hop) -> list[tuple[int, tuple[int, int, int]]]:
    """Sites that are emptied in one cell of the supercell, and which."""
    once = [(hop.start, (0, 0, 0)), (hop.end, hop.image)]
    if hop.second_vacancy is not None:
        site, a, b, c = hop.second_vacancy
        once.append((site, (a, b, c)))
    return once


def _emptied_everywhere(crystal: Crystal, hop: Hop) -> IntArray:
    """Sites that are emptied in all its cells."""
    if hop.mechanism == "dilute":
        return np.flatnonzero(crystal.numbers == ion_number(hop.ion))
    return np.array(hop.empty_sites, dtype=np.int64)


def _check_hop(crystal: Crystal, hop: Hop) -> None:
    _check_mechanism(hop)
    n = len(crystal)
    if 0 <= hop.start < n and 0 <= hop.end < n:
        ends = crystal.frac[[hop.start, hop.end]] + [(0, 0, 0), hop.image]
        gap_a = np.linalg.norm((ends - [hop.start_frac, hop.end_frac]) @ crystal.lattice, axis=1)
        others = [*hop.empty_sites, *(hop.second_vacancy or ())[:1]]
        named = [site for site in (hop.start, hop.end, *others) if 0 <= site < n]
        of_ion = crystal.numbers[named] == ion_number(hop.ion)
        if gap_a.max() < _SITE_TOLERANCE_A and of_ion.all() and len(named) == 2 + len(others):
            return
    raise PathwayError(
        "hop_mismatch",
        f"hop {hop.key} does not join two {hop.ion} sites of this crystal; "
        "pass the crystal of the network that it came from",
    )


def _check_mechanism(hop: Hop) -> None:
    if hop.mechanism not in MECHANISMS:
        raise PathwayError(
            "unknown_mechanism",
            f"hop {hop.key} of mechanism {hop.mechanism!r}, expected {', '.join(MECHANISMS)}",
        )
    if (hop.mechanism == "interstitial") != (hop.end in hop.empty_sites):
        raise PathwayError("hop_mismatch", f"hop {hop.key} of empty sites {hop.empty_sites}")
    if (hop.mechanism == "divacancy") != (hop.second_vacancy is not None):
        raise PathwayError("hop_mismatch", f"hop {hop.key} of vacancy {hop.second_vacancy}")


def _supercell(crystal: Crystal, hop: Hop, settings: BandSettings) -> tuple[int, ...]:
    if settings.supercell is None:
        matrix = find_supercell(
            crystal.lattice,
            settings.required_width_a(hop.length_a),
            settings.max_atoms // len(crystal),
        )
        return tuple(matrix.ravel().tolist())
    atoms = determinant(settings.supercell) * len(crystal)
    if atoms > settings.max_atoms:
        raise PathwayError(
            "too_many_atoms",
            f"the given supercell holds {atoms} sites, expected at most {settings.max_atoms}; "
            "raise max_atoms to allow it",
        )
    return settings.supercell


def _images(crystal: Crystal, hop: Hop) -> FloatArray:
    """(5, 3), fractional in the primitive cell, unwrapped, on the crystal's own sites."""
    start, end = crystal.frac[hop.start], crystal.frac[hop.end] + hop.image
    return np.asarray(start + np.linspace(0.0, 1.0, N_IMAGES)[:, None] * (end - start))


def _check_band(crystal: Crystal, band: Band) -> None:
    """The ion's end points must lie on emptied sites, clear of what is left."""
    check_distances(crystal)
    ends = band.ion_frac[[0, -1]]
    gap = ends[:, None, :] - band.host_frac
    # Wrapping finds any distance below half the least width, and overlaps are well below.
    distance_a = np.linalg.norm((gap - np.rint(gap)) @ band.lattice, axis=-1)
    if distance_a.min(initial=np.inf) < MIN_DISTANCE_A:
        raise PathwayError(
            "overlapping_atoms",
            f"an end of the hop lies {distance_a.min():.3f} Å from a host atom, "
            f"expected at least {MIN_DISTANCE_A:g} Å",
        )


def _adjugate(matrix: tuple[int, ...]) -> IntArray:
    """Inverse times determinant, in integers, (3, 3)."""
    a, b, c, d, e, f, g, h, i = matrix
    return np.array(
        [
            [e * i - f * h, c * h - b * i, b * f - c * e],
            [f * g - d * i, a * i - c * g, c * d - a * f],
            [d * h - e * g, b * g - a * h, a * e - b * d],
        ]
    )


@lru_cache(maxsize=512)
def _translations(matrix: tuple[int, ...]) -> IntArray:
    """The primitive cells inside a supercell, (determinant, 3), each once, in a fixed order.

    The row space of the matrix has a triangular basis; the box of its diagonal holds one integer
    vector of every class.
    """
    rows = [list(matrix[k : k + 3]) for k in (0, 3, 6)]
    for column in range(3):
        for lower in range(column + 1, 3):  # Euclid on two rows clears the lower entry
            while rows[lower][column]:
                quotient = rows[column][column] // rows[lower][column]
                rest = [x - quotient * y for x, y in zip(rows[column], rows[lower], strict=True)]
                rows[column], rows[lower] = rows[lower], rest
    sides = [abs(rows[k][k]) for k in range(3)]
    return np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), axis=-1).reshape(-1, 3)
