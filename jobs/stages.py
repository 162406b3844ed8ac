"""The stages as plain functions: candidate → hops → bands → graphs → Em, failures as rows.

Every engine calls these same functions, so that a material comes out the same whatever carried it.
They raise only what ends a process (``KeyboardInterrupt``, ``SystemExit``): one bad structure among
a thousand is one failure row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from jobs.records import BondValence, Candidate, Failure, MaterialResult, ScoredHop
from jobs.settings import RunSettings
from models.graph import BandGraph, GraphSettings, build_graph
from pathways.band import build_band
from pathways.bond_valence_path import profile
from pathways.checks import check_crystal
from pathways.hops import enumerate_hops
from pathways.mechanisms import with_mechanisms
from pathways.types import Band, Hop, HopNetwork, PathwayError
from pathways.voids import find_sites

if TYPE_CHECKING:  # so that who predicts nothing need not import the networks
    from models.predict import Prediction


class GraphPredictor(Protocol):
    """What the engines ask of a predictor; ``models.predict.Predictor`` is one."""

    @property
    def graph_settings(self) -> GraphSettings:
        """How the graphs that it takes are built."""
        ...

    def predict(self, graphs: Sequence[BandGraph]) -> list[Prediction]:
        """One prediction per graph, in order."""
        ...


PredictorFactory = Callable[[], GraphPredictor]


@dataclass(frozen=True)
class ReadyHop:
    """A hop whose graph is built and waits for the model."""

    index: int
    """Which of the network's hops."""
    supercell: tuple[int, ...]
    """9 integers, row by row."""
    cost: int
    """Edges plus triplets of its graph."""
    bond_valence: BondValence


@dataclass(frozen=True, eq=False)
class Prepared:
    """A candidate as it leaves the feature stages, without its graphs."""

    network: HopNetwork | None
    """None where the crystal was refused."""
    ready: tuple[ReadyHop, ...] = ()
    """In the order of the graphs."""
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why the model gave no barrier for one graph."""

    reason: str
    detail: str


def prepare(
    candidate: Candidate, settings: RunSettings, graph_settings: GraphSettings
) -> tuple[Prepared, list[BandGraph]]:
    """Hops, bands and graphs of one candidate, by each mechanism that it is to be predicted by.

    Returns:
        What the candidate came to, and one graph per hop in ``Prepared.ready``.
    """
    stage, crystal = "check", candidate.crystal
    try:
        if candidate.void_orbits:
            stage = "sites"
            found = find_sites(crystal, candidate.ion, candidate.void_orbits)
            crystal = found.filled(candidate.void_orbits)
            stage = "check"
        check_crystal(crystal, candidate.ion, settings.hops.max_sites)
        stage = "hops"
        network = with_mechanisms(
            enumerate_hops(crystal, candidate.ion, settings.hops),
            settings.mechanisms(candidate),
        )
    except Exception as error:
        return Prepared(None, failures=(_failure(candidate.material_id, stage, error),)), []
    ready: list[ReadyHop] = []
    graphs: list[BandGraph] = []
    failures: list[Failure] = []
    for index, hop in enumerate(network.hops):
        built = _build(candidate.material_id, network, hop, settings, graph_settings)
        if isinstance(built, Failure):
            failures.append(built)
            continue
        band, graph = built
        supercell = tuple(int(entry) for entry in band.supercell.ravel())
        ready.append(ReadyHop(index, supercell, graph.cost, _bond_valence(band)))
        graphs.append(graph)
    return Prepared(network, tuple(ready), tuple(failures)), graphs


def _build(
    material_id: str,
    network: HopNetwork,
    hop: Hop,
    settings: RunSettings,
    graph_settings: GraphSettings,
) -> tuple[Band, BandGraph] | Failure:
    stage = "band"
    try:
        band = build_band(network.crystal, hop, settings.band)
        stage = "graph"
        graph = build_graph(band, graph_settings)
    except Exception as error:
        return _failure(material_id, stage, error, hop.id_in(material_id))
    return band, graph


def _bond_valence(band: Band) -> BondValence:
    found = profile(band, band.curved.path_a)
    return BondValence(found.barrier_ev, found.charges_source, found.flags)


def score(predictor: GraphPredictor, graphs: Sequence[BandGraph]) -> list[Prediction | Refusal]:
    """Barriers of a batch; what the model cannot do costs only the graphs it cannot do.

    Where a batch raises, or runs out of the device's memory, its halves are tried by themselves,
    down to the single graph at fault. A barrier that is not finite is asked for once more alone, in
    case another graph spoilt it.
    """
    try:
        answers: list[Prediction | Refusal] = list(predictor.predict(graphs))
        if len(answers) != len(graphs):
            raise ValueError(f"the model gave {len(answers)} predictions for {len(graphs)} graphs")
    except Exception as error:
        if len(graphs) == 1:
            return [Refusal(reason_of(error), one_line(error))]
    else:
        return [_checked(predictor, graphs, at, answer) for at, answer in enumerate(answers)]
    # Outside the handler, whose traceback would keep the failed batch's tensors alive.
    middle = len(graphs) // 2
    return score(predictor, graphs[:middle]) + score(predictor, graphs[middle:])


def _checked(
    predictor: GraphPredictor,
    graphs: Sequence[BandGraph],
    at: int,
    answer: Prediction | Refusal,
) -> Prediction | Refusal:
    if isinstance(answer, Refusal) or math.isfinite(answer.em_ev):
        return answer
    if len(graphs) > 1:
        return score(predictor, graphs[at : at + 1])[0]
    return Refusal("non_finite", f"the model gave a barrier of {answer.em_ev} eV, not a number")


def assemble(
    candidate: Candidate, prepared: Prepared, answers: Sequence[Prediction | Refusal]
) -> MaterialResult:
    """The material's rows from what each of its ready hops came to, in the same order."""
    hops: list[ScoredHop] = []
    failures = list(prepared.failures)
    for ready, answer in zip(prepared.ready, answers, strict=True):
        assert prepared.network is not None  # there is no ready hop without one
        hop = prepared.network.hops[ready.index]
        hop_id = hop.id_in(candidate.material_id)
        if isinstance(answer, Refusal):
            failures.append(
                Failure(candidate.material_id, "model", answer.reason, answer.detail, hop_id)
            )
        else:
            hops.append(ScoredHop(hop_id, hop, ready.supercell, answer, ready.bond_valence))
    return MaterialResult(
        material_id=candidate.material_id,
        ion=candidate.ion,
        candidate=candidate,
        network=prepared.network,
        hops=tuple(hops),
        failures=tuple(failures),
    )


def pass_through(failure: Failure) -> MaterialResult:
    """A failure of the source as the result it ends as."""
    return MaterialResult(failure.material_id, "", None, None, failures=(failure,))


def batches(costs: Iterable[int], limit: int) -> Iterator[range]:
    """Runs of consecutive indices whose costs stay within a limit; one alone may exceed it."""
    start, end, total = 0, 0, 0
    for index, cost in enumerate(costs):
        if index > start and total + cost > limit:
            yield range(start, index)
            start, total = index, 0
        total += cost
        end = index + 1
    if start < end:
        yield range(start, end)


def reason_of(error: BaseException) -> str:
    """The reason code of an exception: its own, or its class in snake case."""
    if isinstance(error, PathwayError):
        return error.reason
    if "out of memory" in str(error).lower():
        return "out_of_memory"
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(error).__name__)
    return words.lower()


def one_line(error: BaseException, width: int = 300) -> str:
    """An exception's message on one line, not longer than a row of a report can show."""
    detail = error.detail if isinstance(error, PathwayError) else str(error)
    line = " ".join(detail.split()) or type(error).__name__
    return line if len(line) <= width else line[: width - 1] + "…"


def _failure(material_id: str, stage: str, error: Exception, hop_id: str = "") -> Failure:
    return Failure(material_id, stage, reason_of(error), one_line(error), hop_id)
