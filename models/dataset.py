"""Labelled bands from files, their folds, and what a loader has to refuse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pathways.elements import SYMBOLS, atomic_number
from pathways.types import N_IMAGES, Band, FloatArray, IntArray, PathwayError

MIN_HOST_DISTANCE_A = 0.5
_MAX_STEP_SPREAD_A = 0.05
LEAST_BANDS = 20
"""Fewer than this say nothing."""


class DatasetError(ValueError):
    """A file that is no set of labelled bands; one line saying what was expected."""


@dataclass(frozen=True, eq=False)
class LabelledBands:
    """Bands with literature barriers, in file order."""

    names: tuple[str, ...]
    bands: tuple[Band, ...]
    em_ev: FloatArray
    """(n,), eV."""
    groups: tuple[str, ...]
    """Host formula without the mobile ion, reduced: one group never straddles two folds."""
    xc: tuple[str, ...]
    """Exchange-correlation functional of each label, such as ``PBE``; empty where not known."""
    refused: tuple[tuple[str, str], ...]
    """Name and reason of every entry left out."""
    source: str
    """Name of the file."""
    digest: str
    """sha256 of the file."""

    def __len__(self) -> int:
        return len(self.bands)

    def take(self, kept: Sequence[int]) -> LabelledBands:
        """Those of the bands, by their indices, in this order."""
        return replace(
            self,
            names=tuple(self.names[i] for i in kept),
            bands=tuple(self.bands[i] for i in kept),
            em_ev=self.em_ev[list(kept)],
            groups=tuple(self.groups[i] for i in kept),
            xc=tuple(self.xc[i] for i in kept),
        )


def load_bands(path: Path) -> LabelledBands:
    """Labelled bands in the published JSON format, or in HDF5 (``models.hdf5``) by the suffix.

    A list of ``{"jid" or "sys_name", "target": Em in eV, "atoms": {"lattice_mat" (3, 3) Å,
    "coords" (n, 3), "elements", "cartesian"}}``; atoms 0-4 are the moving ion, start to end; ``xc``
    names the functional of the label, where it is known. Other files in this format:
    github.com/sai-mat-group (MIT).

    Raises:
        DatasetError: the file is missing, is no JSON list (or HDF5), or holds no usable entry.
    """
    if path.suffix.lower() in (".h5", ".hdf5"):
        from models.hdf5 import read_bands

        return read_bands(path)
    try:
        content = path.read_bytes()
        entries = json.loads(content)
    except OSError as error:
        raise DatasetError(
            f"{path}: {error.strerror or error}; pass a JSON file of bands"
        ) from None
    except ValueError as error:
        raise DatasetError(
            f"{path}: not JSON ({error}); expected a list of labelled bands"
        ) from None
    if not isinstance(entries, list) or not entries:
        raise DatasetError(f"{path}: expected a non-empty JSON list of labelled bands")
    names, bands, targets, xc, refused = [], [], [], [], []
    for index, entry in enumerate(entries):
        name = _name(entry, index)
        try:
            band, em_ev = _read_entry(entry)
        except PathwayError as error:
            refused.append((name, str(error)))
            continue
        names.append(name)
        bands.append(band)
        targets.append(em_ev)
        xc.append(str(entry.get("xc") or ""))
    if not bands:
        raise DatasetError(
            f"{path}: none of {len(entries)} entries is a usable band; first: {refused[0][1]}"
        )
    return LabelledBands(
        names=tuple(names),
        bands=tuple(bands),
        em_ev=np.array(targets),
        groups=tuple(host_group(band) for band in bands),
        xc=tuple(xc),
        refused=tuple(refused),
        source=path.name,
        digest=hashlib.sha256(content).hexdigest(),
    )


def merge_bands(parts: Sequence[LabelledBands]) -> LabelledBands:
    """Several sets as one, in their order; its digest is of theirs."""
    digests = " ".join(part.digest for part in parts)
    return LabelledBands(
        names=tuple(name for part in parts for name in part.names),
        bands=tuple(band for part in parts for band in part.bands),
        em_ev=np.concatenate([part.em_ev for part in parts]),
        groups=tuple(group for part in parts for group in part.groups),
        xc=tuple(xc for part in parts for xc in part.xc),
        refused=tuple(item for part in parts for item in part.refused),
        source=" + ".join(part.source for part in parts),
        digest=hashlib.sha256(digests.encode()).hexdigest(),
    )


def _name(entry: Any, index: int) -> str:
    if not isinstance(entry, dict):
        return str(index)
    parts = [str(entry[key]) for key in ("jid", "sys_name") if entry.get(key) not in (None, "")]
    return ":".join(parts) or str(index)


def _read_entry(entry: Any) -> tuple[Band, float]:
    try:
        atoms = entry["atoms"]
        em_ev = float(entry["target"])
        lattice = np.array(atoms["lattice_mat"], dtype=float)
        coords = np.array(atoms["coords"], dtype=float)
        numbers = np.array([atomic_number(str(symbol).strip()) for symbol in atoms["elements"]])
    except (KeyError, TypeError, ValueError) as error:
        raise PathwayError(
            "unreadable", f"no labelled band ({type(error).__name__}: {error})"
        ) from None
    if lattice.shape != (3, 3) or coords.shape != (len(numbers), 3) or len(numbers) <= N_IMAGES:
        raise PathwayError(
            "unreadable",
            f"lattice {lattice.shape}, coords {coords.shape}, expected (3, 3) and (n > 5, 3)",
        )
    if not (np.isfinite(lattice).all() and np.isfinite(coords).all() and np.isfinite(em_ev)):
        raise PathwayError(
            "non_finite", "a coordinate, the cell or the barrier is not a finite number"
        )
    if abs(np.linalg.det(lattice)) < 1e-3:
        raise PathwayError("singular_cell", "the cell has no volume")
    frac = coords @ np.linalg.inv(lattice) if atoms.get("cartesian") else coords
    return band_of_atoms(lattice, numbers, frac), em_ev


def band_of_atoms(lattice: FloatArray, numbers: IntArray, frac: FloatArray) -> Band:
    """A band from one folded cell whose first five atoms are the ion's images.

    Raises:
        PathwayError: ``bad_band`` where the images are no straight line of one element,
            ``overlapping_atoms`` where two host atoms are closer than 0.5 Å.
    """
    if len(set(numbers[:N_IMAGES].tolist())) != 1:
        found = "".join(SYMBOLS[z] for z in numbers[:N_IMAGES])
        raise PathwayError("bad_band", f"atoms 0-4 are {found}, expected one element")
    steps = np.diff(frac[:N_IMAGES], axis=0)
    steps -= np.round(steps)
    ion_frac = frac[0] + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    lengths = np.linalg.norm(steps @ lattice, axis=1)
    if np.ptp(lengths) > _MAX_STEP_SPREAD_A or lengths.min() < 1e-3:
        raise PathwayError(
            "bad_band", f"images are {np.round(lengths, 3).tolist()} Å apart, expected equal steps"
        )
    closest = _closest_pair_a(lattice, frac[N_IMAGES:])
    if closest < MIN_HOST_DISTANCE_A:
        raise PathwayError(
            "overlapping_atoms",
            f"two host atoms are {closest:.3f} Å apart, expected at least {MIN_HOST_DISTANCE_A:g}",
        )
    return Band(
        lattice=lattice,
        host_numbers=numbers[N_IMAGES:],
        host_frac=frac[N_IMAGES:],
        ion_number=int(numbers[0]),
        ion_frac=ion_frac,
        supercell=np.eye(3, dtype=np.int64),
    )


def _closest_pair_a(lattice: FloatArray, frac: FloatArray) -> float:
    step = frac[:, None, :] - frac[None, :, :]
    step = (step - np.round(step)) @ lattice
    distance = np.sqrt((step**2).sum(-1))
    distance[np.diag_indices(len(frac))] = np.inf
    return float(distance.min()) if len(frac) > 1 else float("inf")


def host_group(band: Band) -> str:
    """Reduced formula of the host without the mobile ion."""
    numbers, counts = np.unique(
        band.host_numbers[band.host_numbers != band.ion_number], return_counts=True
    )
    divisor = int(np.gcd.reduce(counts)) if len(counts) else 1
    return "".join(f"{SYMBOLS[z]}{c // divisor}" for z, c in zip(numbers, counts, strict=True))


def check_enough(source: str, groups: Sequence[str], folds: int) -> None:
    """Refuse bands that are too few to learn from, or to fold by hosts.

    Args:
        source: name of the file.
        groups: host of each band.
        folds: of the cross-validation.

    Raises:
        DatasetError: fewer than 20 bands, or fewer hosts than folds.
    """
    n_hosts = len(set(groups))
    if len(groups) < LEAST_BANDS:
        raise DatasetError(
            f"{source} has {len(groups)} usable bands, fewer than {LEAST_BANDS}: too few to train "
            "and test on; add labelled bands, or predict with a shipped model (screen models list)"
        )
    if n_hosts < folds:
        raise DatasetError(
            f"{source} has bands of {n_hosts} hosts, expected at least {folds}, one for each "
            "group fold; add bands of other hosts or pass a smaller --folds"
        )


def folds_by(kind: str, groups: Sequence[str], k: int, seed: int) -> IntArray:
    """(n,) fold of each entry: ``group_folds`` of the groups, or ``random_folds``.

    Args:
        kind: ``group`` or ``random``.
        groups: host of each entry.
        k: folds.
        seed: of the draw.
    """
    return group_folds(groups, k, seed) if kind == "group" else random_folds(len(groups), k, seed)


def random_folds(n: int, k: int, seed: int) -> IntArray:
    """(n,) fold of each entry, sizes as equal as can be."""
    folds = np.arange(n) % k
    np.random.default_rng(seed).shuffle(folds)
    return folds


def group_folds(groups: Sequence[str], k: int, seed: int) -> IntArray:
    """(n,) fold of each entry; a group stays together; the fold sizes are evened out greedily."""
    names, inverse, counts = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    sizes = np.zeros(k, dtype=np.int64)
    fold_of_group = np.zeros(len(names), dtype=np.int64)
    for group in order:
        fold = int(np.argmin(sizes))
        fold_of_group[group] = fold
        sizes[fold] += counts[group]
    return fold_of_group[inverse]
