"""What is held out: the published rule, and that nothing a scenario calls unseen is seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from models.dataset import DatasetError, LabelledBands, load_bands
from models.scenarios import anion_class, elements_of, unseen_chemistry, unseen_pathway
from models.splits import (
    FOLD_KINDS,
    NEED_ORIGINS,
    Origins,
    class_aware_split,
    draw_folds,
    read_origins,
)
from tests.models.labelled import all_bands, known_bands, labelled_as

SIZES = {"big": 120, "middle": 60, "two per cent": 4, "one per cent": 2, "rare": 1}
"""Beside 13 further classes of one entry: 200 entries."""


@pytest.fixture(scope="module")
def published(data_dir: Path) -> tuple[LabelledBands, Origins]:
    """The training bands of the publication."""
    file = data_dir / "em_bands_train.json"
    data = load_bands(file)
    return data, read_origins(file, data)


def classes_of_sizes() -> list[str]:
    names = [name for name, size in SIZES.items() for _ in range(size)]
    return names + [f"single {i}" for i in range(200 - len(names))]


@pytest.fixture(scope="module")
def em_ev() -> np.ndarray:
    return np.random.default_rng(7).lognormal(-0.5, 0.8, 200)


def test_small_classes_give_one_or_no_test_entry(em_ev: np.ndarray) -> None:
    classes = np.array(classes_of_sizes())
    train, test = class_aware_split(em_ev, classes, test_share=0.1)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(200))
    given = {name: int((classes[test] == name).sum()) for name in SIZES}
    assert given == {"big": 12, "middle": 6, "two per cent": 1, "one per cent": 1, "rare": 0}
    assert len(test) == 20


def test_split_is_random_but_the_same_for_a_seed(em_ev: np.ndarray) -> None:
    classes = classes_of_sizes()
    tests = [class_aware_split(em_ev, classes, seed=seed)[1].tolist() for seed in (3, 3, 4)]
    assert tests[0] == tests[1]
    assert tests[0] != tests[2]


def test_split_does_not_depend_on_the_scale_of_the_barriers(em_ev: np.ndarray) -> None:
    classes = classes_of_sizes()
    plain, logarithmic = (
        class_aware_split(values, classes)[1] for values in (em_ev, np.log(em_ev))
    )
    assert np.array_equal(plain, logarithmic)


def test_barriers_are_distributed_alike(em_ev: np.ndarray) -> None:
    classes = classes_of_sizes()
    train, test = class_aware_split(em_ev, classes, test_share=0.1)
    rng = np.random.default_rng(0)
    usual = []
    for _ in range(200):
        drawn = rng.permutation(200)
        usual.append(ks_2samp(em_ev[drawn[:20]], em_ev[drawn[20:]]).statistic)
    assert ks_2samp(em_ev[train], em_ev[test]).statistic < np.percentile(usual, 5)


def test_classes_that_are_all_rare_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="none gives a test entry"):
        class_aware_split(np.linspace(0, 1, 200), [str(i) for i in range(200)])


def test_published_classes_and_barriers_are_alike(
    published: tuple[LabelledBands, Origins],
) -> None:
    data, origins = published
    classes = np.array(origins.classes)
    names, counts = np.unique(classes, return_counts=True)
    for seed in range(3):
        train, test = class_aware_split(data.em_ev, origins.classes, seed=seed)
        assert len(test) == round(len(data) * 60 / 619)
        assert ks_2samp(data.em_ev[train], data.em_ev[test]).statistic < 0.08
        for name, count in zip(names, counts, strict=True):
            given, share = int((classes[test] == name).sum()), count / len(data)
            if share < 0.01:
                assert given == 0
            elif share <= 0.02:
                assert given == 1
            else:
                assert abs(given - share * len(test)) < 1.5


def test_spellings_of_a_class_are_one(published: tuple[LabelledBands, Origins]) -> None:
    classes = set(published[1].classes)
    assert "SPINEL" in classes
    assert "SPINEL CHALCOGENIDE" in classes
    assert not {"SPINELS", "POST-SPINEL(CF)", "POST-SPINELS"} & classes


@pytest.mark.parametrize("kind", FOLD_KINDS)
def test_train_and_test_are_apart(kind: str, published: tuple[LabelledBands, Origins]) -> None:
    data, origins = published
    folds = draw_folds(kind, data, origins, k=4, repeats=2)
    assert len({fold.name for fold in folds}) == len(folds)
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
        assert len(fold.train) >= len(data) / 2
        assert (np.diff(fold.train) > 0).all()
        assert (np.diff(fold.test) > 0).all()


@pytest.mark.parametrize(
    "kind", ["group", "scenario-b", "scenario-c", "scenario-c-element", "scenario-c-anion"]
)
def test_no_host_on_both_sides(kind: str, published: tuple[LabelledBands, Origins]) -> None:
    data, origins = published
    groups = np.array(data.groups)
    for repeat in draw_folds(kind, data, origins, repeats=2):
        assert not set(groups[repeat.train]) & set(groups[repeat.test])


def test_unseen_paths_belong_to_known_structures(
    published: tuple[LabelledBands, Origins],
) -> None:
    data, origins = published
    structures = np.array(origins.structures)
    folds = draw_folds("scenario-a", data, origins)
    tested = np.concatenate([fold.test for fold in folds])
    assert len(set(tested)) == len(tested) > 200
    for fold in folds:
        assert set(structures[fold.test]) <= set(structures[fold.train])
        for i in fold.test:
            same = fold.train[structures[fold.train] == structures[i]]
            lengths = [data.bands[j].length_a for j in same]
            labels = data.em_ev[same]
            twins = np.isclose(lengths, data.bands[i].length_a, atol=1e-9) & (
                np.abs(labels - data.em_ev[i]) < 1e-9
            )
            assert not twins.any(), (data.names[i], [data.names[j] for j in same[twins]])


def test_a_path_and_its_reverse_are_one_path() -> None:
    first, second = known_bands()["LiFePO4 olivine"]
    back = replace(first, ion_frac=first.ion_frac[::-1].copy())
    data = labelled_as([first, back, second])
    for seed in range(5):
        folds = unseen_pathway(data, ["one"] * 3, 2, seed)
        assert sorted(fold.test.tolist() for fold in folds) == [[0, 1], [2]]
        assert unseen_pathway(data, ["one", "one", "other"], 2, seed) == []


def test_unseen_hosts_belong_to_known_frameworks(
    published: tuple[LabelledBands, Origins],
) -> None:
    data, origins = published
    frameworks = np.array(origins.frameworks)
    folds = draw_folds("scenario-b", data, origins)
    assert sum(len(fold.test) for fold in folds) > 300
    for fold in folds:
        assert set(frameworks[fold.test]) <= set(frameworks[fold.train])


@pytest.mark.parametrize("kind", ["scenario-c", "scenario-c-element", "scenario-c-anion"])
def test_unseen_chemistry_is_unseen(kind: str, published: tuple[LabelledBands, Origins]) -> None:
    data, origins = published
    labels = {
        "scenario-c": [frozenset({name}) for name in origins.classes],
        "scenario-c-element": [elements_of(band) for band in data.bands],
        "scenario-c-anion": [anion_class(band) for band in data.bands],
    }[kind]
    folds = draw_folds(kind, data, origins, repeats=3)
    assert len(folds) > 10
    for fold in folds:
        label = fold.name.removeprefix("without ")
        assert all(label in labels[i] for i in fold.test)
        assert not any(label in labels[i] for i in fold.train)


def test_chemistry_of_real_crystals() -> None:
    phosphate = known_bands()["LiFePO4 olivine"][0]
    assert elements_of(phosphate) == {"Li", "Fe", "P", "O"}
    assert anion_class(phosphate) == {"O-P"}
    bands = all_bands()
    folds = unseen_chemistry(labelled_as(bands), [elements_of(band) for band in bands])
    # Five bands with the element at least, and half of the others to train on.
    assert [fold.name for fold in folds] == ["without Mn", "without Ti"]
    for fold in folds:
        tested = {fold.name.removeprefix("without ") in elements_of(bands[i]) for i in fold.test}
        assert tested == {True}


def test_kinds_without_origins_need_none() -> None:
    data = labelled_as(all_bands())
    for kind in set(FOLD_KINDS) - NEED_ORIGINS:
        assert draw_folds(kind, data, None, k=2)
    for kind in NEED_ORIGINS:
        with pytest.raises(ValueError, match="need the origins"):
            draw_folds(kind, data, None)
    with pytest.raises(ValueError, match="'chemistry', expected one of random"):
        draw_folds("chemistry", data, None)


def test_bands_of_one_host_give_no_group_fold() -> None:
    with pytest.raises(DatasetError, match="no group fold"):
        draw_folds("group", labelled_as(known_bands()["LiFePO4 olivine"]), None)


def test_repeats_draw_anew(labelled: LabelledBands) -> None:
    folds = draw_folds("random", labelled, None, k=2, repeats=4)
    assert [fold.name for fold in folds[:3]] == ["0: random-0", "0: random-1", "1: random-0"]
    for first, second in zip(folds[::2], folds[1::2], strict=True):
        both = np.concatenate([first.test, second.test])
        assert np.array_equal(np.sort(both), np.arange(len(labelled)))
    assert len({tuple(fold.test) for fold in folds}) > 2


def test_origins_need_their_keys(labelled: LabelledBands, tmp_path: Path) -> None:
    data = replace(labelled, names=tuple(f"{i}:x_{i}" for i in range(len(labelled))))
    entries = [
        {"jid": i, "sys_name": f"x_{i}", "class": "POST-SPINEL(CF)", "space_group": "Pnma"}
        for i in range(len(data))
    ]
    file = tmp_path / "bands.json"
    # A refused entry, which the bands do not hold, comes first.
    file.write_text(json.dumps([{"jid": 99, "sys_name": "y", "class": "NASICON"}, *entries]))
    origins = read_origins(file, data)
    assert set(origins.structures) == {"x"}
    assert set(origins.classes) == {"POST-SPINEL"}
    assert set(origins.frameworks) == {"POST-SPINEL Pnma"}
    del entries[2]["class"]
    file.write_text(json.dumps(entries))
    with pytest.raises(DatasetError, match="entry 2:x_2 has no class"):
        read_origins(file, data)
    file.write_bytes(b"\x89HDF\r\n")
    with pytest.raises(DatasetError, match="need the JSON file"):
        read_origins(file, data)
