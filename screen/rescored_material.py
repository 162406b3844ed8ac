"""One material's stored hops under another model, from its stored structure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jobs.records import Failure, MaterialResult, ScoredHop
from jobs.stages import GraphPredictor, Refusal, batches, one_line, reason_of, score
from models.graph import BandGraph, GraphSettings, build_graph
from models.predict import Prediction
from pathways.band import build_band
from pathways.hops import HopSettings, enumerate_hops
from pathways.mechanisms import with_mechanisms
from pathways.supercell import BandSettings
from pathways.types import Hop, HopNetwork, PathwayError
from screen.sources.structure_json import crystal_from_json

Record = dict[str, Any]

_SAME_LENGTH_A = 0.001
_MOST_ATOMS = 10_000
"""Of a supercell that a campaign has chosen already: no limit."""
_ANSWER = ("em_ev", "em_std_ev", "em_low_ev", "em_high_ev", "p_good", "applicability")


@dataclass(frozen=True)
class Limits:
    """What a campaign found hops with, and built their bands."""

    hops: HopSettings = field(default_factory=HopSettings)
    band: BandSettings = field(default_factory=BandSettings)

    @classmethod
    def read(cls, science: str) -> Limits:
        """From the JSON that a campaign keeps of ``RunSettings.science``.

        Raises:
            PathwayError: ``unknown_settings``: another version's.
        """
        try:
            found = json.loads(science)
            band = dict(found["band"])
            if band.get("supercell") is not None:
                band["supercell"] = tuple(band["supercell"])
            return cls(HopSettings(**found["hops"]), BandSettings(**band))
        except (KeyError, TypeError, ValueError) as error:
            raise PathwayError(
                "unknown_settings",
                f"the campaign's settings are not those of this version ({error}); "
                "run the campaign again",
            ) from None


@dataclass(frozen=True, eq=False)
class StoredMaterial:
    """What the database holds of one material and ion."""

    material_id: str
    ion: str
    structure: str | None
    """JSON."""
    sciences: tuple[str, ...]
    """Settings of the campaigns that found its hops, as JSON, the latest first."""
    hops: Mapping[str, Record]
    """By their ids: ``mechanism``, ``length_a``, ``supercell`` and the model's prediction, whose
    ``em_ev`` is None where there is none yet."""

    def by_mechanism(self) -> dict[str, dict[str, Record]]:
        """The hops of each mechanism."""
        parts: dict[str, dict[str, Record]] = {}
        for hop_id, row in self.hops.items():
            parts.setdefault(row["mechanism"], {})[hop_id] = row
        return parts


@dataclass
class Rescoring:
    """What a material came to."""

    results: list[MaterialResult]
    """One for each mechanism whose hops came back, of those hops alone, and one of failures."""
    n_new: int = 0
    """Barriers that were not there before."""


def rescore_material(
    material: StoredMaterial, predictor: GraphPredictor, batch_cost: int
) -> Rescoring:
    """Predict the hops that have no barrier yet, and put all of them together.

    Args:
        material: as stored.
        predictor: the model.
        batch_cost: edges plus triplets per model batch.

    Returns:
        Results to rank, never none; what could not be done is a failure.
    """
    networks, failures = _networks(material)
    graphs: dict[str, BandGraph] = {}
    supercells: dict[str, tuple[int, ...]] = {}
    for network, band in networks:
        for hop in network.hops:
            hop_id = hop.id_in(material.material_id)
            row = material.hops[hop_id]
            built = _graph(material, row, hop, network, band, predictor.graph_settings)
            if isinstance(built, Failure):
                failures.append(built)
            elif built is not None:
                graphs[hop_id], supercells[hop_id] = built
    answers = _answers(graphs, predictor, batch_cost)
    failures += [
        Failure(material.material_id, "model", answer.reason, answer.detail, hop_id)
        for hop_id, answer in answers.items()
        if isinstance(answer, Refusal)
    ]
    results = [
        MaterialResult(
            material.material_id,
            material.ion,
            None,
            network,
            tuple(_scored(material, network, answers, supercells)),
        )
        for network, _ in networks
    ]
    if failures:
        results.append(
            MaterialResult(material.material_id, material.ion, None, None, (), tuple(failures))
        )
    return Rescoring(results, len(answers) - sum(isinstance(a, Refusal) for a in answers.values()))


def _networks(
    material: StoredMaterial,
) -> tuple[list[tuple[HopNetwork, BandSettings]], list[Failure]]:
    """The hops of each mechanism with their orbits, by the first settings that give them all."""
    missing, found = material.by_mechanism(), []
    detail = "no_structure", f"{material.material_id} has no stored structure"
    for limits in _limits(material):
        if not missing:
            break
        try:
            if isinstance(limits, PathwayError):
                raise limits
            if material.structure is None:
                raise PathwayError(*detail)
            crystal = crystal_from_json(material.structure)
            network = enumerate_hops(crystal, material.ion, limits.hops)
            for mechanism, rows in list(missing.items()):
                own = with_mechanisms(network, (mechanism,))
                if _are_same(own.hops, rows, material.material_id):
                    found.append((own, limits.band))
                    del missing[mechanism]
            detail = (
                "other_hops",
                f"its stored structure gives {len(network.hops)} hops, not the stored ones "
                f"({', '.join(f'{len(rows)} {one}' for one, rows in missing.items())}); "
                "run its campaign again with --fresh",
            )
        except Exception as error:
            detail = reason_of(error), one_line(error)
    failures = [Failure(material.material_id, "hops", *detail)] if missing else []
    return found, failures


def _limits(material: StoredMaterial) -> Iterator[Limits | PathwayError]:
    for science in material.sciences or ("",):
        try:
            yield Limits.read(science) if science else Limits()
        except PathwayError as error:
            yield error


def _are_same(hops: Sequence[Hop], rows: Mapping[str, Record], material_id: str) -> bool:
    lengths_a = {hop.id_in(material_id): hop.length_a for hop in hops}
    return lengths_a.keys() == rows.keys() and all(
        abs(rows[hop_id]["length_a"] - length_a) <= _SAME_LENGTH_A
        for hop_id, length_a in lengths_a.items()
    )


def _graph(
    material: StoredMaterial,
    row: Record,
    hop: Hop,
    network: HopNetwork,
    settings: BandSettings,
    graph_settings: GraphSettings,
) -> tuple[BandGraph, tuple[int, ...]] | Failure | None:
    """The graph of a hop that has no barrier yet, in the supercell that it was predicted in."""
    if row["em_ev"] is not None:
        return None
    stage = "band"
    try:
        if row["supercell"] is not None:
            supercell = tuple(int(entry) for entry in row["supercell"])
            settings = replace(settings, supercell=supercell, max_atoms=_MOST_ATOMS)
        band = build_band(network.crystal, hop, settings)
        stage = "graph"
        graph = build_graph(band, graph_settings)
    except Exception as error:
        hop_id = hop.id_in(material.material_id)
        return Failure(material.material_id, stage, reason_of(error), one_line(error), hop_id)
    return graph, tuple(int(entry) for entry in band.supercell.ravel())


def _answers(
    graphs: Mapping[str, BandGraph], predictor: GraphPredictor, batch_cost: int
) -> dict[str, Prediction | Refusal]:
    ordered = list(graphs.values())
    answers: list[Prediction | Refusal] = []
    for batch in batches([graph.cost for graph in ordered], batch_cost):
        answers += score(predictor, ordered[batch.start : batch.stop])
    return dict(zip(graphs, answers, strict=True))


def _scored(
    material: StoredMaterial,
    network: HopNetwork,
    answers: Mapping[str, Prediction | Refusal],
    supercells: Mapping[str, tuple[int, ...]],
) -> Iterator[ScoredHop]:
    """The hops of a network that have a barrier, from before or new."""
    for hop in network.hops:
        hop_id = hop.id_in(material.material_id)
        row = material.hops[hop_id]
        answer = answers.get(hop_id)
        if row["em_ev"] is not None:
            answer = _stored(row)
        if isinstance(answer, Prediction):
            yield ScoredHop(hop_id, hop, supercells.get(hop_id, ()), answer)


def _stored(row: Record) -> Prediction:
    """The prediction in a row; nan for null, as a run has it."""
    numbers = {name: math.nan if row[name] is None else row[name] for name in _ANSWER}
    return Prediction(**numbers, nearest=row["nearest"])
