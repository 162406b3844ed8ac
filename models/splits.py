"""Which bands train and which are held out: folds, the published split, and the scenarios."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dataset import DatasetError, LabelledBands, folds_by
from models.scenarios import (
    Fold,
    anion_class,
    elements_of,
    unseen_chemistry,
    unseen_composition,
    unseen_pathway,
)
from pathways.types import FloatArray, IntArray

PUBLISHED_TEST_SHARE = 60 / 619
"""Of the published split: 559 bands to train on, 60 to test."""

FOLD_KINDS = (
    "random",
    "group",
    "split",
    "scenario-a",
    "scenario-b",
    "scenario-c",
    "scenario-c-element",
    "scenario-c-anion",
)
"""``split`` is the published rule; ``scenario-c`` leaves out structural classes."""
NEED_ORIGINS = frozenset({"split", "scenario-a", "scenario-b", "scenario-c"})

_ONE_ENTRY_SHARES = (0.01, 0.02)
_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Origins:
    """What the published file says of each band beside its path, in the order of the bands."""

    structures: tuple[str, ...]
    """``sys_name`` without the number of the path: one crystal structure, polymorphs apart."""
    classes: tuple[str, ...]
    """Structural class, spellings brought together (``SPINELS`` and ``SPINEL``)."""
    frameworks: tuple[str, ...]
    """Structural class and, where the file has it, space group."""


def read_origins(path: Path, data: LabelledBands) -> Origins:
    """Structure, class and framework of every band.

    Args:
        path: the JSON file that ``data`` was loaded from.
        data: its bands.

    Raises:
        DatasetError: no JSON list, or an entry without ``class`` or ``sys_name``.
    """
    try:
        entries = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path}: not readable as JSON ({error}); the published split and the scenarios need "
            "the JSON file of bands"
        ) from None
    known = {name: entry for entry in entries for name in [_name(entry)] if name}
    found = [known.get(name, {}) for name in data.names]
    for name, entry in zip(data.names, found, strict=True):
        missing = [key for key in ("sys_name", "class") if not entry.get(key)]
        if missing:
            raise DatasetError(
                f"{path}: entry {name} has no {' and no '.join(missing)}, which the published "
                "split and the scenarios need; use random or group folds"
            )
    classes = [_class(str(entry["class"])) for entry in found]
    groups = [str(entry.get("space_group") or "").strip() for entry in found]
    return Origins(
        structures=tuple(re.sub(r"_\d+$", "", str(entry["sys_name"]).strip()) for entry in found),
        classes=tuple(classes),
        frameworks=tuple(f"{c} {g}".strip() for c, g in zip(classes, groups, strict=True)),
    )


def _name(entry: Any) -> str:
    """The name that the loader gives an entry."""
    if not isinstance(entry, dict):
        return ""
    return ":".join(str(entry[k]) for k in ("jid", "sys_name") if entry.get(k) not in (None, ""))


def _class(text: str) -> str:
    words = re.sub(r"\(.*?\)", " ", text.upper()).split()
    return " ".join(words).removesuffix("S")


def draw_folds(
    kind: str, data: LabelledBands, origins: Origins | None, k: int = 5, repeats: int = 1
) -> list[Fold]:
    """All folds of a kind.

    Args:
        kind: one of ``FOLD_KINDS``.
        data: the bands.
        origins: of the bands; the kinds in ``NEED_ORIGINS`` need it.
        k: folds of a repeat; the published split is one fold, scenario C one per label.
        repeats: times that folds are drawn, seeded 0, 1, ...; scenario C leaves nothing to draw
            and has one.

    Raises:
        DatasetError: the bands give no fold of this kind.
        ValueError: no such kind, or origins are missing.
    """
    if kind not in FOLD_KINDS:
        raise ValueError(f"folds {kind!r}, expected one of {', '.join(FOLD_KINDS)}")
    drawn = 1 if kind.startswith("scenario-c") else repeats
    found = [
        replace(fold, name=f"{repeat}: {fold.name}" if drawn > 1 else fold.name)
        for repeat in range(drawn)
        for fold in _draw(kind, data, origins, k, repeat)
    ]
    if not found:
        raise DatasetError(
            f"{data.source}: {len(data)} bands give no {kind} fold; use random or group folds"
        )
    return found


def _draw(kind: str, data: LabelledBands, origins: Origins | None, k: int, seed: int) -> list[Fold]:
    if kind in ("random", "group"):
        folds = folds_by(kind, data.groups, k, seed)
        parts = [(np.flatnonzero(folds != i), np.flatnonzero(folds == i)) for i in range(k)]
        return [Fold(f"{kind}-{i}", *both) for i, both in enumerate(parts) if all(map(len, both))]
    if kind == "scenario-c-element":
        return unseen_chemistry(data, [elements_of(band) for band in data.bands])
    if kind == "scenario-c-anion":
        return unseen_chemistry(data, [anion_class(band) for band in data.bands])
    if origins is None:
        raise ValueError(f"{kind} folds need the origins of the bands")
    if kind == "split":
        return [Fold("split", *class_aware_split(data.em_ev, origins.classes, seed=seed))]
    if kind == "scenario-a":
        return unseen_pathway(data, origins.structures, k, seed)
    if kind == "scenario-b":
        return unseen_composition(data, origins.frameworks, k, seed)
    return unseen_chemistry(data, [frozenset({name}) for name in origins.classes])


def class_aware_split(
    em_ev: FloatArray,
    classes: Sequence[str],
    *,
    test_share: float = PUBLISHED_TEST_SHARE,
    seed: int = 0,
) -> tuple[IntArray, IntArray]:
    """The published rule of the 559/60 split (arXiv 2508.06436).

    A structural class with 1-2 % of the entries gives one test entry, a larger one its share, a
    smaller one none; within a class the choice is random, and barriers are distributed alike in
    both parts. To that end, of 1,000 draws the one with the least Kolmogorov-Smirnov distance of
    the barriers is kept.

    Args:
        em_ev: (n,) barriers, eV.
        classes: (n,) structural class of each.
        test_share: of the entries.
        seed: the same seed gives the same split.

    Returns:
        Indices of the training and of the test part, ascending.

    Raises:
        DatasetError: no class is large enough to give a test entry.
    """
    _, inverse, counts = np.unique(np.array(classes), return_inverse=True, return_counts=True)
    quota = _quotas(counts, round(test_share * len(em_ev)))
    if not quota.any():
        raise DatasetError(
            f"{len(em_ev)} bands in {len(counts)} structural classes: none gives a test entry; "
            "use random or group folds"
        )
    rng = np.random.default_rng(seed)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    chosen = np.arange(len(em_ev)) - np.repeat(first, counts) < np.repeat(quota, counts)
    is_test, least = np.zeros(len(em_ev), dtype=bool), np.inf
    for _ in range(_DRAWS):
        drawn = np.zeros(len(em_ev), dtype=bool)
        drawn[np.lexsort((rng.random(len(em_ev)), inverse))[chosen]] = True
        distance = _distribution_distance(em_ev, drawn)
        if distance < least:
            is_test, least = drawn, distance
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _quotas(counts: IntArray, n_test: int) -> IntArray:
    """(classes,) test entries of each class; larger classes share what the small ones leave."""
    share = counts / counts.sum()
    low, high = _ONE_ENTRY_SHARES
    quota: IntArray = ((share >= low) & (share <= high)).astype(np.int64)
    large = share > high
    left = max(0, n_test - int(quota.sum()))
    if left and large.any():
        exact = np.where(large, left * counts / counts[large].sum(), 0.0)
        quota += np.floor(exact).astype(np.int64)
        remainders = np.argsort(-(exact - np.floor(exact)), kind="stable")
        quota[remainders[: max(0, n_test - int(quota.sum()))]] += 1
    return quota


def _distribution_distance(em_ev: FloatArray, is_test: NDArray[np.bool_]) -> float:
    """Kolmogorov-Smirnov distance of the barriers in the two parts."""
    order = np.argsort(em_ev, kind="stable")
    test = is_test[order]
    gap = np.cumsum(test) / test.sum() - np.cumsum(~test) / (~test).sum()
    last_of_ties = np.append(np.diff(em_ev[order]) > 0, True)
    return float(np.abs(gap[last_of_ties]).max())
