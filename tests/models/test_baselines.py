"""The classical baselines: what they see, what they learn, and their place in a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.baselines import BASELINES, COLUMNS, Baseline, describe
from models.compare import System, compare
from models.dataset import LabelledBands, group_folds, load_bands
from models.numbers import number_groups
from models.scenarios import Fold
from pathways.types import Band


def _scaled(band: Band, factor: float) -> Band:
    return replace(band, lattice=band.lattice * factor)


def test_all_by_name() -> None:
    assert len(BASELINES) == 16
    for name, system in BASELINES.items():
        assert system.name == name
    assert len({system.settings for system in BASELINES.values()}) == 16


def test_composition_does_not_see_geometry_nor_the_reverse(bands: Sequence[Band]) -> None:
    band = bands[0]
    larger = _scaled(band, 1.07)
    other = replace(band, host_numbers=np.where(band.host_numbers == 25, 24, band.host_numbers))
    rows = describe([band, larger, other])
    changed = np.abs(rows[1:] - rows[0]) > 1e-9
    for index, hidden in ((0, "composition"), (1, "geometry")):
        assert changed[index].any()
        assert not changed[index][COLUMNS[hidden]].any()  # type: ignore[arg-type]
    assert changed[0][COLUMNS["geometry"]].any()
    assert changed[1][COLUMNS["composition"]].any()
    assert sorted(COLUMNS["curved"].tolist()) == list(range(rows.shape[1]))
    assert set(COLUMNS["both"]) < set(COLUMNS["surroundings"]) < set(COLUMNS["curved"])
    assert set(COLUMNS["both"]) == set(COLUMNS["composition"]) | set(COLUMNS["geometry"])


def test_groups_tell_the_species_apart(bands: Sequence[Band]) -> None:
    groups = number_groups()
    # Without the moving ion's species in the host, only its own group is empty.
    lone = next(band for band in bands if (band.host_numbers == band.ion_number).any())
    kept = lone.host_numbers != lone.ion_number
    alone = replace(lone, host_numbers=lone.host_numbers[kept], host_frac=lone.host_frac[kept])
    with_others, without = describe([lone, alone])
    moved = np.abs(with_others - without) > 1e-9
    assert len(groups) == len(moved)
    straight = groups < 6
    assert set(groups[moved & straight]) == {1}
    assert set(groups[moved & ~straight]) == {6, 7, 8, 9}


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_learns_real_barriers(name: str, real: LabelledBands) -> None:
    train, test = np.flatnonzero(_folds(real) != 0), np.flatnonzero(_folds(real) == 0)
    system: System = BASELINES[name]
    found = system.fit_predict(
        [real.bands[i] for i in train], real.em_ev[train], [real.bands[i] for i in test]
    )
    error = np.abs(found.em_ev - real.em_ev[test]).mean()
    median = np.abs(np.median(real.em_ev[train]) - real.em_ev[test]).mean()
    assert (found.em_ev >= 0).all()
    share = {"composition": 0.97, "geometry": 0.9, "both": 0.9}.get(name.split("-")[1], 0.75)
    assert error < share * median
    assert (found.std_ev is not None) == name.startswith(("gp", "blend"))


def _folds(data: LabelledBands) -> np.ndarray:
    return group_folds(data.groups, 5, seed=0)


def test_reversed_hops_are_the_same(bands: Sequence[Band]) -> None:
    backwards = [replace(band, ion_frac=band.ion_frac[::-1].copy()) for band in bands]
    np.testing.assert_allclose(describe(backwards), describe(bands), atol=1e-6)


def test_in_a_comparison(real: LabelledBands, tmp_path: Path) -> None:
    few = replace(
        real,
        names=real.names[:90],
        bands=real.bands[:90],
        groups=real.groups[:90],
        em_ev=np.array([band.length_a / 8 for band in real.bands[:90]]),
    )
    parts = np.arange(90) % 3
    folds = [Fold(f"{i}", np.flatnonzero(parts != i), np.flatnonzero(parts == i)) for i in (0, 1)]
    systems = [Baseline("geometry", "gp"), Baseline("both", "svr")]
    table = compare(few, {"parts": folds}, systems, tmp_path)
    assert [row["system"] for row in table.rows] == ["gp-geometry", "svr-both"]
    # The labels are the hop length, which geometry knows.
    assert table.rows[0]["mae_ev"] < 0.02
    assert compare(few, {"parts": folds}, systems, tmp_path).reused == 4


@pytest.fixture(scope="module")
def real(data_dir: Path) -> LabelledBands:
    return load_bands(data_dir / "em_bands_train.json")
