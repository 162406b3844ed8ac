"""Systems that predict barriers, on the same folds: one table, restartable at any fold."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from models.dataset import LabelledBands
from models.paired_scores import score
from models.scenarios import Fold
from pathways.types import Band, FloatArray, IntArray


class Unavailable(Exception):  # noqa: N818 - nothing went wrong
    """A system that cannot run here; one line saying what it lacks and how to get it."""


class Predicted(NamedTuple):
    """What a system says of the held-out bands."""

    em_ev: FloatArray
    """(n,), eV."""
    std_ev: FloatArray | None = None
    """(n,), eV, of a system that knows its error."""


class System(Protocol):
    """Anything that learns from labelled bands and predicts others."""

    @property
    def name(self) -> str:
        """In the table and in the names of files."""

    @property
    def settings(self) -> str:
        """All that decides the predictions; finished folds are kept as long as it is the same."""

    def fit_predict(
        self, train: Sequence[Band], em_ev: FloatArray, test: Sequence[Band]
    ) -> Predicted:
        """Learn from ``train`` and its barriers (n,) in eV; predict ``test``.

        Raises:
            Unavailable: the machine lacks something that the system needs.
        """


class News(NamedTuple):
    """Where a comparison stands, told before each fold of a system and at the end."""

    done: int
    total: int
    now: str
    """System and fold that come next."""
    seconds_left: float | None
    """None until every system has finished a fold."""


class _Unit(NamedTuple):
    """One system on one fold."""

    kind: str
    fold: Fold
    system: System
    file: Path


class _Finished(NamedTuple):
    predicted: Predicted
    seconds: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """The table, and the errors it sums up."""

    rows: tuple[dict[str, Any], ...]
    """One per kind of folds and system: scores, each with ``<score>_low`` and ``<score>_high``."""
    errors_ev: Mapping[str, Mapping[str, FloatArray]]
    """By kind of folds and system: absolute error of every held-out prediction, eV."""
    absent: Mapping[str, str]
    """System and why it could not run."""
    reused: int
    """Folds that the work folder held already."""


def compare(
    data: LabelledBands,
    plan: Mapping[str, Sequence[Fold]],
    systems: Sequence[System],
    work_dir: Path,
    on_news: Callable[[News], None] | None = None,
) -> Comparison:
    """Let every system predict every fold, and score them.

    Args:
        data: the labelled bands.
        plan: folds by kind; a kind is a row of the table for each system.
        systems: what is compared.
        work_dir: finished folds; the same call continues it, other data, folds or settings do not
            touch what is there.
        on_news: told where the comparison stands.

    Raises:
        ValueError: a system predicts no number for a band.
    """
    units = list(_units(data, plan, systems, work_dir))
    finished = {unit.file: done for unit in units if (done := _read(unit)) is not None}
    reused = len(finished)
    absent: dict[str, str] = {}
    for unit in units:
        if unit.file in finished or unit.system.name in absent:
            continue
        if on_news is not None:
            on_news(_news(units, finished, absent, f"{unit.system.name}, {unit.fold.name}"))
        try:
            finished[unit.file] = _run(unit, data)
        except Unavailable as error:
            absent[unit.system.name] = str(error)
    if on_news is not None:
        on_news(_news(units, finished, absent, "done"))
    rows, errors = [], defaultdict[str, dict[str, FloatArray]](dict)
    for kind, folds in plan.items():
        for system in systems:
            own = [u for u in units if u.kind == kind and u.system is system]
            if system.name in absent:
                continue
            pairs = _Pairs.of(data, folds, [finished[u.file].predicted for u in own])
            seconds = sum(finished[u.file].seconds for u in own)
            scored = score(pairs.em_ev, pairs.predicted_ev, pairs.band, pairs.std_ev)
            head = {"folds": kind, "system": system.name}
            rows.append({**head, **scored, "seconds": round(seconds, 2)})
            errors[kind][system.name] = np.abs(pairs.predicted_ev - pairs.em_ev)
    return Comparison(tuple(rows), errors, absent, reused)


def _units(
    data: LabelledBands,
    plan: Mapping[str, Sequence[Fold]],
    systems: Sequence[System],
    work_dir: Path,
) -> Iterator[_Unit]:
    """Fold by fold, so that after the first one the time of every system is known."""
    for kind, folds in plan.items():
        for fold in folds:
            for system in systems:
                parts = [data.digest, system.name, system.settings]
                parts += [" ".join(map(str, part.tolist())) for part in (fold.train, fold.test)]
                key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
                yield _Unit(kind, fold, system, work_dir / f"{system.name}-{key}.json")


def _run(unit: _Unit, data: LabelledBands) -> _Finished:
    """Fit and predict one fold, and keep the result, whole or not at all."""
    train, test = unit.fold.train, unit.fold.test
    began = time.perf_counter()
    predicted = unit.system.fit_predict(
        [data.bands[i] for i in train], data.em_ev[train], [data.bands[i] for i in test]
    )
    done = _Finished(predicted, time.perf_counter() - began)
    for values in (predicted.em_ev, predicted.std_ev):
        if values is not None and not (len(values) == len(test) and np.isfinite(values).all()):
            raise ValueError(
                f"{unit.system.name} gives no number for a band of {unit.fold.name}; "
                "leave the system out with --systems"
            )
    unit.file.parent.mkdir(parents=True, exist_ok=True)
    temporary = unit.file.with_name(f".{unit.file.name}.{os.getpid()}.tmp")
    temporary.write_text(
        json.dumps(
            {
                "fold": unit.fold.name,
                "settings": unit.system.settings,
                "seconds": done.seconds,
                "em_ev": np.asarray(predicted.em_ev, dtype=float).tolist(),
                "std_ev": None
                if predicted.std_ev is None
                else np.asarray(predicted.std_ev, dtype=float).tolist(),
            }
        )
    )
    temporary.replace(unit.file)
    return done


def _read(unit: _Unit) -> _Finished | None:
    """A finished fold; None where there is none or its file was damaged."""
    try:
        kept = json.loads(unit.file.read_text())
        em_ev = np.array(kept["em_ev"], dtype=float)
        std_ev = None if kept["std_ev"] is None else np.array(kept["std_ev"], dtype=float)
        seconds = float(kept["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if em_ev.shape != unit.fold.test.shape or (std_ev is not None and std_ev.shape != em_ev.shape):
        return None
    return _Finished(Predicted(em_ev, std_ev), seconds)


def _news(
    units: Sequence[_Unit],
    finished: Mapping[Path, _Finished],
    absent: Mapping[str, str],
    now: str,
) -> News:
    present = [unit for unit in units if unit.system.name not in absent]
    taken = defaultdict[str, list[float]](list)
    for unit in present:
        if unit.file in finished:
            taken[unit.system.name].append(finished[unit.file].seconds)
    left = [unit.system.name for unit in present if unit.file not in finished]
    known = all(name in taken for name in left)
    seconds = float(sum(np.mean(taken[name]) for name in left)) if known else None
    return News(len(present) - len(left), len(present), now, seconds)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Every held-out prediction of a system, with the band that it is of."""

    band: IntArray
    em_ev: FloatArray
    predicted_ev: FloatArray
    std_ev: FloatArray | None

    @staticmethod
    def of(data: LabelledBands, folds: Sequence[Fold], predicted: Sequence[Predicted]) -> _Pairs:
        band = np.concatenate([fold.test for fold in folds])
        spreads = [one.std_ev for one in predicted if one.std_ev is not None]
        return _Pairs(
            band,
            data.em_ev[band],
            np.concatenate([one.em_ev for one in predicted]),
            np.concatenate(spreads) if len(spreads) == len(folds) else None,
        )
