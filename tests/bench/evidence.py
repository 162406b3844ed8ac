"""What the docs say of models and bond valence: speed, ranks, correlation, on labelled bands."""

from __future__ import annotations

from itertools import pairwise
from time import process_time

import numpy as np
from scipy.stats import spearmanr

from models.blend_training import BlendRecipe, predict_held_out, rows_of
from models.dataset import LabelledBands
from models.metrics import GOOD_EV
from models.predict import Predictor
from pathways.bond_valence_path import HIGH_EV, profile
from pathways.types import FloatArray
from tests.bench.figures import Figure, labelled_bands

MODELS = ("ionscreen-1", "model3")
_TIMED = 100
_LEAST_RATE = 20.0


def run(n_bands: int | None = None) -> list[Figure]:
    """On all labelled bands, or on the first ones."""
    data = labelled_bands()
    data = data.take(range(len(data))[:n_bands])
    return [*(_rate(data, name) for name in MODELS), *_bond_valence(data), _correlation(data)]


def _rate(data: LabelledBands, name: str) -> Figure:
    """From bands to barriers, the curved path not yet known."""
    predictor = Predictor.load(name)
    bands = labelled_bands().take(range(len(data))[:_TIMED]).bands
    predictor(bands[:2])
    began = process_time()
    predictor(bands[2:])
    rate = (len(bands) - 2) / (process_time() - began)
    note = f"{len(bands) - 2} bands in one batch, one thread"
    what = f"bands a second by {name}, one core"
    return Figure(f"rate-{name}", what, "bands/s", ">= 20", rate, rate >= _LEAST_RATE, note=note)


def _bond_valence(data: LabelledBands) -> list[Figure]:
    paths = {"chord": [None] * len(data), "curved": [band.curved.path_a for band in data.bands]}
    figures = []
    for name, found in paths.items():
        barriers = np.array(
            [profile(band, path).barrier_ev for band, path in zip(data.bands, found, strict=True)]
        )
        known = np.isfinite(barriers)
        rank = float(spearmanr(barriers[known], data.em_ev[known]).statistic)
        note = f"{known.sum()} bands with parameters"
        what = f"Spearman of Em with the bond valence barrier, {name}"
        figures.append(Figure(f"bond-valence-{name}", what, "", "", rank, note=note))
    flagged, bad = barriers[known] > HIGH_EV, data.em_ev[known] > GOOD_EV
    for name, part in (("flagged", flagged), ("not flagged", ~flagged)):
        share = float(bad[part].mean()) if part.any() else float("nan")
        what = f"share above {GOOD_EV:g} eV of hops {name} high_bond_valence"
        figures.append(Figure(f"high-{name}", what, "", "", share, note=f"{part.sum()} hops"))
    return figures


def _correlation(data: LabelledBands) -> Figure:
    """Of held-out residuals of one ion in one host: what ``screen.ranking`` draws with."""
    rows, _ = rows_of(data)
    folds = BlendRecipe(folds=min(5, len(set(rows.groups))))
    error = rows.target - predict_held_out(rows, folds, "group").mean
    pairs = [
        f"{band.ion_number}:{host}" for band, host in zip(data.bands, data.groups, strict=True)
    ]
    each = [_intraclass(one, np.array(pairs)) for one in error]
    note = f"{len(set(pairs))} pairs of host and ion; repeats {', '.join(f'{x:.3f}' for x in each)}"
    what = "correlation of held-out errors within one host and ion"
    return Figure("host-correlation", what, "", "", float(np.mean(each)), note=note)


def _intraclass(values: FloatArray, labels: np.ndarray) -> float:
    """Intraclass correlation of a one-way layout with groups of unequal size (Fisher 1925)."""
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    groups = [values[order][a:b] for a, b in pairwise([*starts, len(values)])]
    sizes = np.array([len(group) for group in groups])
    means = np.array([group.mean() for group in groups])
    n, k = len(values), len(groups)
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (k - 1)
    within = float(sum(((g - m) ** 2).sum() for g, m in zip(groups, means, strict=True))) / (n - k)
    usual = (n - (sizes**2).sum() / n) / (k - 1)
    return (between - within) / (between + (usual - 1) * within)
