"""From a published network's output to barriers in eV, and into a model's folder.

The published networks were trained on min-max scaled targets, and the scale was not published. It
is either given, or recovered from predictions of the same network that are known in eV. Without one
the network can be kept, but nothing predicts with it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from models import checkpoint
from models.applicability import Applicability, fit_applicability
from models.barrier import BarrierNetwork
from models.calibration import Calibration
from models.checkpoint import ModelError
from models.dataset import DatasetError, LabelledBands
from models.graph import GraphSettings, build_graph
from models.networks import Ensemble
from models.train import predict_targets

GRAPH = GraphSettings(shell="published")
"""What the published networks were trained on: whole cells, 12 neighbours, their rounding."""

_KNOWN_TOLERANCE_EV = 2e-3
_LEAST_KNOWN = 3
_LEAST_SPREAD = 1e-6
_SIGMA = 0.336
"""Of log(Em / eV + 0.1). With it the 559 literature barriers of the training split would be missed
by 0.261 eV on average, the error published for MODEL-3 (arXiv 2508.06436)."""
_QUANTILES = 201
_NO_SCALE = (
    "raw, outputs in a scale that is not known (import the checkpoint again with --target-min, "
    "--target-max and --scaled-to, or with --known)"
)
"""Stands where the format of a model that predicts has its number, so that nothing loads it."""


@dataclass(frozen=True)
class Scale:
    """How a network's output becomes a barrier: Em = slope x output + intercept."""

    slope_ev: float
    intercept_ev: float
    origin: str
    """Where it comes from, for the card."""


def scale_from_range(minimum_ev: float, maximum_ev: float, scaled_to: str) -> Scale:
    """The scale of targets that were min-max scaled.

    Raises:
        ValueError: ``scaled_to`` is another interval, or the maximum is not above the minimum.
    """
    if scaled_to not in ("0..1", "-1..1"):
        raise ValueError(f"scaled to {scaled_to!r}, expected 0..1 or -1..1")
    span = maximum_ev - minimum_ev
    if not (math.isfinite(span) and span > 0):
        raise ValueError(f"target maximum {maximum_ev:g} is not above the minimum {minimum_ev:g}")
    origin = f"given: targets from {minimum_ev:g} to {maximum_ev:g} eV scaled to {scaled_to}"
    if scaled_to == "0..1":
        return Scale(span, minimum_ev, origin)
    return Scale(span / 2, (minimum_ev + maximum_ev) / 2, origin)


def scale_from_known(network: BarrierNetwork, known: LabelledBands) -> Scale:
    """The scale that turns a network's outputs into its known predictions.

    Args:
        network: from ``models.importer.build_network``.
        known: bands with this very network's predictions, eV, in place of barriers.

    Raises:
        ModelError: they are too few or too alike, or no scale meets them all within 2 meV.
    """
    outputs = predict_targets(network, [build_graph(band, GRAPH) for band in known.bands])
    outputs = outputs.astype(float)
    spread = float(np.ptp(outputs))
    if len(outputs) < _LEAST_KNOWN or spread < _LEAST_SPREAD:
        raise ModelError(
            f"{known.source}: {len(outputs)} known predictions whose outputs are {spread:.2g} "
            f"apart, expected at least {_LEAST_KNOWN} that differ"
        )
    slope, intercept = np.polyfit(outputs, known.em_ev, 1)
    error_ev = float(np.abs(slope * outputs + intercept - known.em_ev).max())
    if error_ev > _KNOWN_TOLERANCE_EV or slope == 0.0:
        raise ModelError(
            f"{known.source}: the best scale misses a known prediction by {error_ev:.3g} eV; "
            "expected this network's own predictions in eV, not literature barriers"
        )
    origin = f"recovered: {len(outputs)} predictions of {known.source} met within {error_ev:.1e} eV"
    return Scale(float(slope), float(intercept), origin)


def known_by_name(path: Path, bands: LabelledBands) -> LabelledBands:
    """The bands that a CSV file names, with the predictions it has for them.

    Args:
        path: columns ``name`` and ``prediction_ev``.
        bands: where the structures are; a name is an entry's, or its jid or sys_name.

    Raises:
        DatasetError: another file, a name of no band or of several, a prediction that is no number.
    """
    index: dict[str, set[int]] = {}
    for i, name in enumerate(bands.names):
        for part in (*name.split(":"), name):
            index.setdefault(part, set()).add(i)
    chosen: list[int] = []
    predictions: list[float] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found = index.get(row["name"], set())
                if len(found) != 1:
                    raise ValueError(f"{row['name']!r} names {len(found)} bands")
                chosen += found
                predictions.append(float(row["prediction_ev"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: {type(error).__name__} {error}; expected CSV with the columns name "
            f"(of one band of {bands.source}) and prediction_ev"
        ) from None
    return replace(
        bands,
        names=tuple(bands.names[i] for i in chosen),
        bands=tuple(bands.bands[i] for i in chosen),
        groups=tuple(bands.groups[i] for i in chosen),
        em_ev=np.array(predictions, dtype=float),
        source=path.name,
    )


def with_scale(network: BarrierNetwork, scale: Scale) -> BarrierNetwork:
    """The network with its output in eV."""
    scaled = BarrierNetwork(replace(network.config, target="linear"))
    scaled.load_state_dict(network.state_dict())
    scaled.target_mean.fill_(scale.intercept_ev)
    scaled.target_std.fill_(scale.slope_ev)
    return scaled.eval()


def save_imported(
    network: BarrierNetwork,
    name: str,
    folder: Path,
    scale: Scale | None,
    origin: Mapping[str, Any],
    trained_on: LabelledBands | None = None,
) -> None:
    """Write the folder of an imported model, whole or not at all; an existing one is replaced.

    Args:
        network: from ``models.importer.build_network``.
        name: of the model.
        folder: where to.
        scale: None keeps the network in a folder that nothing predicts with.
        origin: what the card says of the checkpoint.
        trained_on: the bands that the network was trained on, where they are known.
    """
    member = network if scale is None else with_scale(network, scale)
    ensemble = Ensemble(
        name=name,
        graph=GRAPH,
        network=member.config,
        members=(member,),
        calibration=_calibration(),
        applicability=_applicability(trained_on),
    )
    card = _card(network, scale, origin, trained_on)
    form = checkpoint.FORMAT if scale is not None else _NO_SCALE
    checkpoint.save(ensemble, card, folder, form)


def _calibration() -> Calibration:
    """The published error, the same for every band: nothing finer is known of the network."""
    levels = np.linspace(0.0, 1.0, _QUANTILES).clip(1e-3, 1 - 1e-3)
    quantiles = tuple(round(float(q), 6) for q in norm.ppf(levels))
    return Calibration((math.log(_SIGMA), 0.0, 0.0, 0.0), quantiles)


def _applicability(trained_on: LabelledBands | None) -> Applicability:
    """0 for every band where the training set is not known."""
    if trained_on is None:
        return Applicability({}, {}, (0.0, 0.0))
    return fit_applicability([build_graph(band, GRAPH) for band in trained_on.bands])


def _card(
    network: BarrierNetwork,
    scale: Scale | None,
    origin: Mapping[str, Any],
    trained_on: LabelledBands | None,
) -> dict[str, Any]:
    trunk = network.config.trunk
    return {
        "summary": f"imported ALIGNN network, {trunk.alignn_layers} + {trunk.gcn_layers} layers of "
        f"width {trunk.width}" + ("" if scale else ", without a scale"),
        "unit": "eV" if scale else "not known",
        "data": {
            "source": trained_on.source if trained_on else "not known",
            "sha256": trained_on.digest if trained_on else None,
            "bands": len(trained_on) if trained_on else "unknown number of",
        },
        "checkpoint": dict(origin),
        "scale": asdict(scale) if scale else None,
        "how_scored": "Not scored. "
        + (f"Scale {scale.origin}. " if scale else "")
        + f"Intervals are not measured: sigma {_SIGMA} in log(Em + 0.1 eV), as the published error "
        "of MODEL-3 implies. "
        + ("" if trained_on else "Applicability is 0: what it was trained on is not known. ")
        + "The readout is a mean over all atoms: another supercell gives another barrier.",
    }
