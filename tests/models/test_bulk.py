"""Bulk properties: read, merged, split and scaled; and every bad row named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from models.bulk import BulkTable, Property, merge
from models.bulk_files import load_bulk, write_bulk
from models.bulk_split import fit_scale, split
from models.dataset import DatasetError
from pathways.types import Crystal
from tests.models.bulk_crystals import FORMATION, GAP, SHEAR, table, write_parquet
from tests.pathways.crystals import shuffled


def same(one: BulkTable, other: BulkTable) -> bool:
    return (
        one.names == other.names
        and one.properties == other.properties
        and np.array_equal(one.labels, other.labels, equal_nan=True)
        and np.array_equal(one.published_test, other.published_test)
        and all(
            np.allclose(a.lattice, b.lattice, atol=1e-12)
            and np.array_equal(a.numbers, b.numbers)
            and np.allclose(a.frac, b.frac, atol=1e-12)
            for a, b in zip(one.crystals, other.crystals, strict=True)
        )
    )


def test_parquet_and_hdf5_hold_the_same(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    content = table(30)
    content.published_test[5, 1] = True
    read = load_bulk([write_parquet(tmp_path / "bulk.parquet", content)])
    assert same(read, content)
    assert len(read.digest) == 64
    write_bulk(read, tmp_path / "bulk.h5")
    again = load_bulk([tmp_path / "bulk.h5"], ["fe"])
    assert again.properties == (FORMATION,)
    assert np.array_equal(again.labels[:, 0], read.labels[~np.isnan(read.labels[:, 1]), 1])
    assert again.published_test.sum() == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], (SHEAR, FORMATION)),
        (["fe", "shear"], (FORMATION, SHEAR)),
        (["formation_energy_fe"], (FORMATION,)),
        (["shear_modulus_gv_gpa"], (SHEAR,)),
        (["own"], (Property("own", "own"),)),
    ],
)
def test_properties_by_any_of_their_names(
    tmp_path: Path, words: list[str], expected: tuple[Property, ...]
) -> None:
    path = write_parquet(tmp_path / "bulk.parquet", table(9), own=pa.array(np.arange(9.0)))
    assert load_bulk([path], words).properties == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [(["gap"], "no property 'gap', the file offers"), (["gv", "shear"], "named twice")],
)
def test_unknown_or_doubled_property(tmp_path: Path, words: list[str], message: str) -> None:
    path = write_parquet(tmp_path / "bulk.parquet", table(9))
    with pytest.raises(DatasetError, match=message):
        load_bulk([path], words)


def test_overlaps_are_merged_by_structure(tmp_path: Path) -> None:
    one, other = table(30, (SHEAR, GAP)), table(30, (GAP, FORMATION))
    rng = np.random.default_rng(3)
    mixed = replace(other, crystals=tuple(shuffled(one, rng) for one in other.crystals))
    paths = [
        write_parquet(tmp_path / "one.parquet", one),
        write_parquet(tmp_path / "other.parquet", mixed),
    ]
    merged = load_bulk(paths, ["gv", "bg", "fe"])
    assert len(merged) == 30
    assert merged.properties == (SHEAR, GAP, FORMATION)
    np.testing.assert_allclose(
        merged.labels[:, 1], np.nanmean([one.labels[:, 1], other.labels[:, 0]], axis=0)
    )
    np.testing.assert_array_equal(merged.labels[:, 0], one.labels[:, 0])
    assert merged.source == "one.parquet, other.parquet"
    assert merged.digest != load_bulk(paths[:1], ["gv"]).digest
    stretched = Crystal(
        one.crystals[0].lattice * 1.01, one.crystals[0].numbers, one.crystals[0].frac
    )
    apart = merge([one, replace(one, crystals=(stretched, *one.crystals[1:]))])
    assert len(apart) == 31


def test_bad_rows_are_named_and_left_out(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "bulk.parquet", table(12, (SHEAR, FORMATION)))
    rows = parquet.read_table(path).to_pylist()
    rows[1]["structure"] = "{"
    rows[3]["structure"] = '{"lattice": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "species": ["Xx"]}'
    rows[4]["structure"] = rows[4]["structure"].replace("lattice", "cell")
    rows[5]["shear_modulus_gv_gpa"] = -1.0
    rows[7]["formation_energy_fe_ev_atom"] = float("inf")
    rows[8]["structure"] = None
    parquet.write_table(pa.Table.from_pylist(rows), path)
    read = load_bulk([path])
    reasons = dict(read.refused)
    assert set(reasons) == {"row-1", "row-3", "row-4", "row-5", "row-7", "row-8"}
    assert "no element" in reasons["row-3"]
    assert "lacks 'lattice'" in reasons["row-4"]
    assert reasons["row-5"] == "shear_modulus is -1, expected positive and finite"
    assert "formation_energy is inf" in reasons["row-7"]
    assert {"row-5", "row-7"} <= set(read.names)  # each keeps its other label
    assert not {"row-1", "row-3", "row-4", "row-8"} & set(read.names)


def test_unreadable_files_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bulk.parquet"
    with pytest.raises(DatasetError, match="No such file"):
        load_bulk([path])
    path.write_bytes(b"no table")
    with pytest.raises(DatasetError, match="not readable as Parquet") as caught:
        load_bulk([path])
    assert "\n" not in str(caught.value)
    parquet.write_table(pa.table({"formula": ["MgO"]}), path)
    with pytest.raises(DatasetError, match="no column 'structure', found formula"):
        load_bulk([path])
    write_parquet(path, table(9, (Property("own", "own", words=("o",)),)))
    with pytest.raises(DatasetError, match="name some of: own"):
        load_bulk([path])
    write_parquet(path, table(9, (GAP,)).rows(np.array([0])))
    with pytest.raises(DatasetError, match="no crystal with one of these labels"):
        load_bulk([path])


def test_broken_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "bulk.h5"
    path.write_bytes(b"no hdf5")
    with pytest.raises(DatasetError, match="not readable as HDF5"):
        load_bulk([path])
    write_bulk(table(9), path)
    with h5py.File(path, "a") as file:
        offsets = file["offsets"][:]
        del file["offsets"]
        file["offsets"] = offsets[:-1]
    with pytest.raises(DatasetError, match="do not fit together"):
        load_bulk([path])
    with h5py.File(path, "w") as file:
        file["labels"] = np.zeros(3)
    with pytest.raises(DatasetError, match="no table of bulk properties"):
        load_bulk([path])


def test_a_draw_splits_by_crystal() -> None:
    content = table(200)
    parts = split(content, seed=1)
    used = [part.any(axis=1) for part in (parts.train, parts.validation, parts.test)]
    assert np.array_equal(np.sum(used, axis=0), np.ones(200))
    assert [int(part.sum()) for part in used] == pytest.approx([160, 20, 20], abs=12)
    present = ~np.isnan(content.labels)
    assert np.array_equal(parts.train | parts.validation | parts.test, present)
    assert np.array_equal(parts.test, split(content, seed=1).test)
    assert not np.array_equal(parts.test, split(content, seed=2).test)


def test_a_crystal_is_in_the_same_part_of_every_table() -> None:
    """Else what pre-training has seen would test the fine-tuned network."""
    content = table(200)
    rows = np.arange(199, 20, -1)
    some = table(200, (GAP,)).rows(rows)
    rng = np.random.default_rng(0)
    some = replace(some, crystals=tuple(shuffled(crystal, rng) for crystal in some.crystals))
    first, second = split(content, seed=4), split(some, seed=4)
    tested, seen = second.test.any(axis=1), first.train.any(axis=1)[rows]
    assert tested.any()
    assert not (tested & seen).any()


def test_published_rows_test_and_never_train() -> None:
    content = table(200)
    content.published_test[1:40:3, 0] = True
    parts = split(content, seed=1, published=True)
    assert np.array_equal(parts.test[:, 0], content.published_test[:, 0])
    seen = (parts.train | parts.validation).any(axis=1)
    assert not (seen & parts.test.any(axis=1)).any()
    assert not seen[1:40:3].any()
    assert parts.test[:, 1].any()  # nothing is published for it, so a draw tests it


def test_too_few_or_equal_labels() -> None:
    with pytest.raises(DatasetError, match="has 18 usable labels, expected at least 20"):
        split(table(27), seed=0)
    content = table(90)
    content.labels[:, 1] = 3.0
    with pytest.raises(DatasetError, match="every training label of formation_energy"):
        fit_scale(content, split(content, seed=0).train)


def test_scale_is_of_the_training_labels_alone_and_turns_back() -> None:
    content = table(90)
    parts = split(content, seed=0)
    scale = fit_scale(content, parts.train)
    target = scale.to_target(content.labels)
    for column in range(2):
        own = target[parts.train[:, column], column]
        assert own.min() == pytest.approx(-1)
        assert own.max() == pytest.approx(1)
    held = np.flatnonzero(parts.test[:, 0])[0]
    content.labels[held, 0] *= 1000
    assert np.array_equal(fit_scale(content, parts.train).high, scale.high)
    np.testing.assert_allclose(scale.to_label(target)[held + 1 :], content.labels[held + 1 :])
    middle = scale.to_label(np.zeros((1, 2)))[0, 0]
    low, high = scale.to_label(np.array([[-1.0, -1.0], [1.0, 1.0]]))[:, 0]
    assert middle == pytest.approx(np.sqrt(low * high))  # of the logarithm


def test_the_whole_table(data_dir: Path) -> None:
    read = load_bulk([data_dir / "bulk_properties.parquet"])
    counts = dict(
        zip([one.name for one in read.properties], (~np.isnan(read.labels)).sum(0), strict=True)
    )
    assert counts["shear_modulus"] == 6683
    assert counts["piezo"] == 940
    assert "jarvis2d_band_gap" not in counts
    assert int(read.published_test[:, 0].sum()) == 1077 + 10 + 9 + 4
    parts = split(read, seed=0, published=True)
    assert not ((parts.train | parts.validation).any(axis=1) & parts.test.any(axis=1)).any()
