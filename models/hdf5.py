"""Bands with labels in one HDF5 file: the format of training data.

Bands differ in their number of atoms, so the hosts of all bands stand one after the other and
``host_offsets`` says where each begins::

    /            format="ionscreen-bands", version=1, source, source_sha256, units
    lattice      (n, 3, 3)  Å, rows are the cell vectors
    supercell    (n, 3, 3)  integers: lattice = supercell @ primitive lattice
    ion_number   (n,)       atomic number of the moving ion
    ion_frac     (n, 5, 3)  fractional, unwrapped, start to end
    host_offsets (n + 1,)   band i has the host atoms host_offsets[i]:host_offsets[i + 1]
    host_number  (atoms,)   atomic numbers
    host_frac    (atoms, 3) fractional
    em_ev        (n,)       migration barriers, eV
    name, group, xc (n,)    UTF-8; xc is the functional of the label, empty where not known
    refused      (m, 2)     UTF-8: names and reasons of entries that were left out before

Every array of numbers has a checksum, so that a damaged file is noticed. Numbers come back to the
last bit.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from models.dataset import DatasetError, LabelledBands, band_of_atoms
from pathways.types import N_IMAGES, Band, FloatArray, IntArray, PathwayError

FORMAT = "ionscreen-bands"
VERSION = 1
_UNITS = "lattice: Å; ion_frac, host_frac: fractional; em_ev: eV"
_LARGEST_NUMBER = 118
_CHUNK_ROWS = 4096
_MOST_EXPANSION = 1100
"""Deflate packs 1,032 bytes into one at most: who claims more would only fill the memory."""
_PER_BAND: dict[str, tuple[tuple[int, ...], str]] = {
    "lattice": ((3, 3), "f"),
    "supercell": ((3, 3), "iu"),
    "ion_number": ((), "iu"),
    "ion_frac": ((N_IMAGES, 3), "f"),
    "em_ev": ((), "f"),
}
"""Shape of one band's part, and kind of number."""
_PER_ATOM: dict[str, tuple[tuple[int, ...], str]] = {
    "host_number": ((), "iu"),
    "host_frac": ((3,), "f"),
}


def write_bands(path: Path, data: LabelledBands) -> None:
    """Write bands with labels, whole or not at all; an existing file is replaced.

    Args:
        path: ``.h5`` or ``.hdf5``.
        data: what to write.

    Raises:
        ValueError: there is no band.
        OSError: the file cannot be written.
    """
    import h5py

    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs.update(
                format=FORMAT,
                version=VERSION,
                source=data.source,
                source_sha256=data.digest,
                units=_UNITS,
            )
            _write_numbers(file, data)
            texts = {"name": data.names, "group": data.groups, "xc": data.xc}
            for key, values in texts.items():
                file.create_dataset(key, data=list(values), dtype=h5py.string_dtype())
            refused = np.array(data.refused, dtype=object).reshape(-1, 2)
            file.create_dataset("refused", data=refused, dtype=h5py.string_dtype())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_numbers(file: Any, data: LabelledBands) -> None:
    """Numbers of all bands; the hosts band by band, so that no second copy is in memory."""
    packed = {"compression": "gzip", "shuffle": True, "fletcher32": True}
    offsets = np.cumsum([0, *(len(band.host_numbers) for band in data.bands)])
    per_band = {
        "lattice": np.stack([band.lattice for band in data.bands]),
        "supercell": np.stack([band.supercell for band in data.bands]),
        "ion_number": np.array([band.ion_number for band in data.bands], dtype=np.uint8),
        "ion_frac": np.stack([band.ion_frac for band in data.bands]),
        "em_ev": data.em_ev,
        "host_offsets": offsets,
    }
    for key, values in per_band.items():
        file.create_dataset(key, data=values, **packed)
    n_atoms = int(offsets[-1])
    numbers = _growing(file, "host_number", (n_atoms,), np.uint8, packed)
    fractions = _growing(file, "host_frac", (n_atoms, 3), np.float64, packed)
    for band, start, end in zip(data.bands, offsets[:-1], offsets[1:], strict=True):
        numbers[start:end] = band.host_numbers
        fractions[start:end] = band.host_frac


def _growing(file: Any, key: str, shape: tuple[int, ...], kind: Any, packed: Any) -> Any:
    """An array in chunks, which may be larger than the array itself."""
    rest = shape[1:]
    return file.create_dataset(
        key, shape, kind, chunks=(_CHUNK_ROWS, *rest), maxshape=(None, *rest), **packed
    )


def read_bands(path: Path) -> LabelledBands:
    """The bands of a file that ``write_bands`` wrote; hosts are views of one array.

    ``source`` and ``digest`` are the file's own name and sha256. An entry that is no band (numbers
    that are not finite, overlapping atoms, images off a line) is refused by name.

    Raises:
        DatasetError: the file is missing, damaged, of another format, or holds no usable band.
    """
    content, texts = _read(path)
    names, groups = texts["name"], texts["group"]
    refused = [(str(name), str(reason)) for name, reason in texts["refused"]]
    kept, bands = [], []
    for index in range(len(names)):
        band = _band(content, index)
        problem = _problem(band, float(content["em_ev"][index]))
        if problem:
            refused.append((names[index], problem))
        else:
            kept.append(index)
            bands.append(band)
    if not bands:
        raise DatasetError(f"{path}: none of {len(names)} entries is a usable band")
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return LabelledBands(
        names=tuple(names[index] for index in kept),
        bands=tuple(bands),
        em_ev=content["em_ev"][kept],
        groups=tuple(groups[index] for index in kept),
        xc=tuple(texts["xc"][index] for index in kept),
        refused=tuple(refused),
        source=path.name,
        digest=digest,
    )


def _band(content: dict[str, Any], index: int) -> Band:
    start, end = content["host_offsets"][index : index + 2]
    return Band(
        lattice=content["lattice"][index],
        host_numbers=content["host_number"][start:end],
        host_frac=content["host_frac"][start:end],
        ion_number=int(content["ion_number"][index]),
        ion_frac=content["ion_frac"][index],
        supercell=content["supercell"][index],
    )


def _problem(band: Band, em_ev: float) -> str:
    """What is wrong with an entry, empty for nothing."""
    # Not ``band.folded``, which would stay in memory beside the shared arrays.
    numbers: IntArray = np.concatenate([np.full(N_IMAGES, band.ion_number), band.host_numbers])
    floats: tuple[FloatArray, ...] = (band.lattice, band.ion_frac, band.host_frac)
    if not (np.isfinite(em_ev) and all(np.isfinite(array).all() for array in floats)):
        return "non_finite: a coordinate, the cell or the barrier is not a finite number"
    if numbers.min() < 1 or numbers.max() > _LARGEST_NUMBER:
        return f"unknown_element: atomic numbers {numbers.min()} to {numbers.max()}"
    if abs(np.linalg.det(band.lattice)) < 1e-3:
        return "singular_cell: the cell has no volume"
    try:
        band_of_atoms(band.lattice, numbers, np.concatenate([band.ion_frac, band.host_frac]))
    except PathwayError as error:
        return str(error)
    return ""


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Numbers and texts of a file, their shapes checked."""
    import h5py

    if not path.is_file():
        raise DatasetError(f"{path}: no such file; pass an HDF5 file of bands")
    try:
        # Files come whole by a rename: a lock, which some file systems lack, is not needed.
        with h5py.File(path, "r", locking=False) as file:
            _check_format(path, file)
            content = _read_numbers(path, file)
            texts = {key: _texts(path, file, key) for key in ("name", "group", "xc", "refused")}
    except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(f"{path}: not readable as HDF5 ({first}); copy the file again") from None
    n = len(content["em_ev"])
    for key in ("name", "group", "xc"):
        if len(texts[key]) != n:
            raise DatasetError(f"{path}: {len(texts[key])} entries in {key!r}, expected {n}")
    return content, texts


def _check_format(path: Path, file: Any) -> None:
    found, version = file.attrs.get("format"), file.attrs.get("version")
    if found != FORMAT:
        raise DatasetError(
            f"{path}: HDF5 of format {found!r}, expected {FORMAT!r} as `write_bands` writes it"
        )
    if version != VERSION:
        raise DatasetError(
            f"{path}: version {version} of the format, this program reads {VERSION}; "
            "install the version that wrote it"
        )


def _read_numbers(path: Path, file: Any) -> dict[str, Any]:
    n = len(_dataset(path, file, "em_ev", (), "f"))
    content = {
        key: _dataset(path, file, key, shape, kind, n) for key, (shape, kind) in _PER_BAND.items()
    }
    offsets = _dataset(path, file, "host_offsets", (), "iu", n + 1)
    if offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise DatasetError(f"{path}: 'host_offsets' does not ascend from 0")
    n_atoms = int(offsets[-1])
    for key, (shape, kind) in _PER_ATOM.items():
        content[key] = _dataset(path, file, key, shape, kind, n_atoms)
    content["host_offsets"] = offsets
    return content


def _dataset(
    path: Path, file: Any, key: str, shape: tuple[int, ...], kind: str, n: int | None = None
) -> Any:
    """An array of n rows as float64 or int64; its size is checked before it is read."""
    import h5py

    dataset = file.get(key)
    if not isinstance(dataset, h5py.Dataset):
        raise DatasetError(f"{path}: no array {key!r}, expected one of shape (n, *{shape})")
    rows = dataset.shape[0] if dataset.shape else -1
    wrong_kind = dataset.dtype.kind not in kind
    if wrong_kind or dataset.shape[1:] != shape or rows < 0 or n not in (None, rows):
        expected = (rows if n is None else n, *shape)
        raise DatasetError(
            f"{path}: {key!r} is {dataset.dtype} of shape {dataset.shape}, expected "
            f"{'floats' if kind == 'f' else 'integers'} of shape {expected}"
        )
    if dataset.nbytes > _MOST_EXPANSION * path.stat().st_size:
        raise DatasetError(
            f"{path}: {key!r} claims {dataset.nbytes:,} bytes, more than it can hold"
        )
    return dataset[()].astype(np.float64 if kind == "f" else np.int64, copy=False)


def _texts(path: Path, file: Any, key: str) -> Any:
    import h5py

    dataset = file.get(key)
    if not isinstance(dataset, h5py.Dataset) or h5py.check_string_dtype(dataset.dtype) is None:
        raise DatasetError(f"{path}: no texts {key!r}")
    if key == "refused" and (dataset.ndim != 2 or dataset.shape[1] != 2):
        raise DatasetError(f"{path}: 'refused' is of shape {dataset.shape}, expected (m, 2)")
    return dataset.asstr()[()].tolist()
