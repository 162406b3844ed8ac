"""Bands in HDF5: everything comes back to the last bit, and what is damaged is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models.dataset import DatasetError, LabelledBands, load_bands
from models.hdf5 import read_bands, write_bands


@pytest.fixture
def file(labelled: LabelledBands, tmp_path: Path) -> Path:
    path = tmp_path / "bands.h5"
    write_bands(path, labelled)
    return path


def assert_same(found: LabelledBands, expected: LabelledBands) -> None:
    for field in ("names", "groups", "refused"):
        assert getattr(found, field) == getattr(expected, field)
    np.testing.assert_array_equal(found.em_ev, expected.em_ev)
    for band, other in zip(found.bands, expected.bands, strict=True):
        assert band.ion_number == other.ion_number
        for field in ("lattice", "host_numbers", "host_frac", "ion_frac", "supercell"):
            ours, theirs = getattr(band, field), getattr(other, field)
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


def test_bands_come_back(file: Path, labelled: LabelledBands) -> None:
    found = read_bands(file)
    assert_same(found, labelled)
    assert found.source == "bands.h5"
    assert found.digest != labelled.digest
    assert [path.name for path in file.parent.iterdir()] == ["bands.h5"]


def test_published_bands_come_back(data_dir: Path, tmp_path: Path) -> None:
    """All of them, by the door that training and evaluation use; corrupt ones stay named."""
    published = load_bands(data_dir / "em_bands_train.json")
    path = tmp_path / "em.hdf5"
    write_bands(path, published)
    assert_same(load_bands(path), published)
    assert path.stat().st_size < (data_dir / "em_bands_train.json").stat().st_size / 2
    with h5py.File(path) as opened:
        assert opened.attrs["source"] == "em_bands_train.json"
        assert opened.attrs["source_sha256"] == published.digest


def test_hosts_are_not_copied(file: Path) -> None:
    first, second = read_bands(file).bands[:2]
    assert first.host_frac.base is not None
    assert first.host_frac.base is second.host_frac.base


def test_functionals_come_back(file: Path, labelled: LabelledBands) -> None:
    assert set(read_bands(file).xc) == {""}
    functionals = ("PBE", "SCAN", *[""] * (len(labelled) - 2))
    write_bands(file, replace(labelled, xc=functionals))
    assert read_bands(file).xc == functionals


def test_a_failed_write_leaves_the_old_file(file: Path, labelled: LabelledBands) -> None:
    before = file.read_bytes()
    broken = replace(labelled, em_ev=np.array(["a"] * len(labelled), dtype=object))
    with pytest.raises((TypeError, ValueError)):
        write_bands(file, broken)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["bands.h5"]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("em_ev", np.nan, "non_finite"),
        ("lattice", 0.0, "singular_cell"),
        ("ion_number", 0, "unknown_element"),
        ("ion_frac", 0.25, "bad_band"),
    ],
)
def test_a_bad_entry_is_refused_by_name(
    file: Path, labelled: LabelledBands, key: str, value: Any, reason: str
) -> None:
    with h5py.File(file, "a") as opened:
        opened[key][1] = value
    found = read_bands(file)
    assert len(found) == len(labelled) - 1
    assert "1" not in found.names
    [(name, why)] = found.refused
    assert name == "1"
    assert why.startswith(reason)


def _delete(key: str) -> Callable[[Any], None]:
    return lambda opened: opened.__delitem__(key)


def _replace(key: str, values: Any) -> Callable[[Any], None]:
    def change(opened: Any) -> None:
        del opened[key]
        opened[key] = values

    return change


def _claim(opened: Any) -> None:
    """An array of a terabyte that was never written."""
    del opened["em_ev"]
    opened.create_dataset("em_ev", (2**37,), np.float64, chunks=(1024,))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda opened: opened.attrs.update(format="other"), "format 'other'"),
        (lambda opened: opened.attrs.update(version=99), "version 99"),
        (_delete("host_frac"), "no array 'host_frac'"),
        (_delete("name"), "no texts 'name'"),
        (_replace("name", ["only one"]), "1 entries in 'name'"),
        (_replace("em_ev", 1.0), "'em_ev' is float64 of shape"),
        (_replace("em_ev", np.array([1, 2])), "expected floats"),
        (_replace("lattice", np.zeros((3, 3))), "'lattice' is float64 of shape"),
        (_replace("lattice", np.zeros((2, 3, 3))), "'lattice' is float64 of shape"),
        (_replace("refused", np.zeros(3)), "no texts 'refused'"),
        (lambda opened: opened["host_offsets"].__setitem__(1, 10**6), "does not ascend"),
        (lambda opened: opened["host_offsets"].__setitem__(-1, 10**6), "host_number"),
        (lambda opened: opened["em_ev"].__setitem__(slice(None), np.nan), "none of"),
        (_claim, "more than it can hold"),
    ],
)
def test_another_file_is_refused_in_a_line(
    file: Path, change: Callable[[Any], None], said: str
) -> None:
    with h5py.File(file, "a") as opened:
        change(opened)
    with pytest.raises(DatasetError, match=said) as raised:
        read_bands(file)
    assert str(raised.value).startswith(str(file))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.99])
def test_a_truncated_file_is_refused(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match="not readable as HDF5"):
        read_bands(file)


def test_flipped_bits_are_noticed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    with h5py.File(file) as opened:
        chunk = opened["host_frac"].id.get_chunk_info(0)
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DatasetError, match="not readable as HDF5"):
        read_bands(file)


def test_what_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        load_bands(tmp_path / "nowhere.h5")
    path = tmp_path / "bands.h5"
    path.write_text(json.dumps([]))
    with pytest.raises(DatasetError, match="not readable as HDF5"):
        load_bands(path)
