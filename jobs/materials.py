"""The materials that are on their way through the workers, and the graphs that wait for the model.

Nothing here knows of workers: pieces that come back are taken in, and a material that is complete
goes to the sink.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.records import Candidate, Failure
from jobs.sink import Sink
from jobs.stages import Prepared, Refusal, assemble, batches
from models.predict import Prediction

_MAX_TRIES = 3
"""How often a material's graphs are made again when the object store loses them."""

Keyed = tuple[int, Candidate]
"""A candidate and its key among the open materials."""


@dataclass(frozen=True, eq=False, slots=True)
class WaitingGraph:
    """A graph in the object store that the model has not answered."""

    material: int
    """Key of the open material."""
    position: int
    """In its ``Prepared.ready``."""
    cost: int
    chunk: Any
    """Reference of the list that it is in."""
    index: int
    """Where in that list."""


@dataclass(eq=False, slots=True)
class _Open:
    """A material on its way."""

    candidate: Candidate
    prepared: Prepared | None = None
    answers: dict[int, Prediction | Refusal] = field(default_factory=dict)
    """By position in ``prepared.ready``."""
    chunk: Any = None
    """Reference of the list that its graphs are in now."""
    tries: int = 0


class Materials:
    """Everything taken from the source and not yet with the sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._open: dict[int, _Open] = {}
        self._waiting: deque[WaitingGraph] = deque()
        self._next_key = 0
        self.waiting_cost = 0
        """Of the graphs that wait."""

    def __len__(self) -> int:
        return len(self._open)

    def add(self, candidates: Iterable[Candidate]) -> list[Keyed]:
        """Open materials for these candidates."""
        chunk = []
        for candidate in candidates:
            self._open[self._next_key] = _Open(candidate)
            chunk.append((self._next_key, candidate))
            self._next_key += 1
        return chunk

    def next_batch(self, limit: int) -> list[WaitingGraph]:
        """The graphs that have waited longest, within a limit of cost; one alone may exceed it."""
        batch = next(batches((graph.cost for graph in self._waiting), limit))
        graphs = [self._waiting.popleft() for _ in batch]
        self.waiting_cost -= sum(graph.cost for graph in graphs)
        return graphs

    def take_prepared(self, chunk: Sequence[Keyed], prepared: Sequence[Prepared], ref: Any) -> None:
        """A chunk has come back, its graphs being in the list of a reference."""
        index = 0
        for (key, _), one in zip(chunk, prepared, strict=True):
            material = self._open[key]
            material.prepared, material.chunk = one, ref
            if material.tries == 0:
                self._sink.count(hops=len(one.network.hops) if one.network else 0)
            for position, ready in enumerate(one.ready):
                if position not in material.answers:
                    self._waiting.append(
                        WaitingGraph(key, position, ready.cost, ref, index + position)
                    )
                    self.waiting_cost += ready.cost
            index += len(one.ready)
            self._finish_if_done(key)

    def give_up(self, chunk: Sequence[Keyed], reason: str, detail: str) -> None:
        """Candidates for which no worker could give an answer."""
        for key, candidate in chunk:
            failure = Failure(candidate.material_id, "hops", reason, detail)
            material = self._open[key]
            material.prepared = Prepared(None, failures=(failure,))
            material.answers.clear()
            self._finish_if_done(key)

    def take_answer(self, graph: WaitingGraph, answer: Prediction | Refusal) -> None:
        """What the model says of a graph."""
        material = self._open.get(graph.material)
        if material is None or graph.position in material.answers:
            return  # a second answer to graphs that were made again
        material.answers[graph.position] = answer
        self._sink.count(predictions=int(not isinstance(answer, Refusal)))
        self._finish_if_done(graph.material)

    def to_make_again(
        self, graphs: Sequence[WaitingGraph], reason: str, detail: str
    ) -> list[Keyed]:
        """The candidates of graphs that the object store has lost, with a machine or under
        pressure; those that were lost too often are refused instead."""
        again = []
        for graph in graphs:
            material = self._open.get(graph.material)
            if material is None or material.chunk is not graph.chunk:
                continue  # finished meanwhile, or made again already
            if material.tries == _MAX_TRIES:
                self.take_answer(graph, Refusal(reason, detail))
            else:
                material.tries += 1
                material.prepared = material.chunk = None
                again.append((graph.material, material.candidate))
        return again

    def _finish_if_done(self, key: int) -> None:
        material = self._open[key]
        prepared = material.prepared
        if prepared is None or len(material.answers) < len(prepared.ready):
            return
        del self._open[key]
        answers = [material.answers[position] for position in range(len(prepared.ready))]
        self._sink.add(assemble(material.candidate, prepared, answers))
