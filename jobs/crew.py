"""The workers of a run: feature workers on CPUs, model workers on GPUs or CPUs, as machines come
and go and as the rates that are measured ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jobs.balance import Balance
from jobs.materials import Keyed, WaitingGraph
from jobs.nodes import Nodes
from jobs.outcomes import Outcome
from jobs.plan import Plan, Slot, plan_workers
from jobs.pool import Pool
from jobs.settings import BATCH_COST, RunSettings
from jobs.workers import FeatureWorker, ModelWorker
from models.graph import GraphSettings


class Crew:
    """Both pools, sized to the machines that there are."""

    def __init__(
        self, settings: RunSettings, nodes: Nodes, model: Any, graphs: GraphSettings | None
    ) -> None:
        """Start as many workers as there is room for.

        Args:
            settings: batches, deadlines and shares of GPUs.
            nodes: the machines.
            model: reference of a model's files, or of a factory of predictors.
            graphs: which graphs the model takes; None asks the first worker that is up.
        """
        self._settings = settings
        self._nodes = nodes
        self._model = model
        self._balance = Balance()
        # Whether predictions take long enough to be spread over CPUs or GPUs.
        self._networks = graphs is None or graphs.parts != "numbers"
        self._plan = Plan("cpu", (), (), 0, 0)
        self._n_models = self._n_features = 0
        self.graph_settings = graphs
        """None until the first model worker is up."""
        self.models: Pool[WaitingGraph] = Pool(
            "model", self._model_worker, _send_graphs, self._batch_limit_s
        )
        self.features: Pool[Keyed] = Pool(
            "feature", self._feature_worker, self._send_candidates, self._chunk_limit_s
        )
        self._fit()

    @property
    def batch_cost(self) -> int:
        """Edges plus triplets of a batch."""
        return self._settings.batch_cost or BATCH_COST[self._plan.device]

    def tend(self) -> tuple[list[Outcome[Keyed]], list[Outcome[WaitingGraph]]]:
        """Look after machines and workers; call it a few times per second.

        Returns:
            What has to be given up of candidates and graphs with workers that hung or went away.

        Raises:
            EngineError: workers only die, none has been up for minutes, or the head is gone.
        """
        self._balance.sample(self.features.busy_share, self.models.busy_share)
        more_features, more_models = self._balance.more(self._n_features, self._n_models)
        lost_features, lost_models = [], []
        if self._nodes.look():
            lost_features = self.features.lose(self._nodes.alive)
            lost_models = self.models.lose(self._nodes.alive)
            self._fit()
        elif more_features or more_models or self._is_short():
            self._n_features = min(len(self._plan.features), self._n_features + more_features)
            self._n_models = min(len(self._plan.models), self._n_models + more_models)
            self._resize()
        return lost_features + self.features.check(), lost_models + self.models.check()

    def stop(self) -> None:
        """End all workers."""
        self.features.stop()
        self.models.stop()

    def _fit(self) -> None:
        """Plan anew for the machines that there are now, keeping what has been learnt of rates."""
        extra_features = max(0, self._n_features - self._plan.first_features)
        extra_models = max(0, self._n_models - self._plan.first_models)
        plan = plan_workers(self._nodes.usable, self._networks, self._settings.gpu_share)
        self._plan = plan
        self._n_features = min(len(plan.features), plan.first_features + extra_features)
        self._n_models = min(len(plan.models), plan.first_models + extra_models)
        self._resize()

    def _resize(self) -> None:
        self.features.resize(self._plan.features[: self._n_features])
        self.models.resize(self._plan.models[: self._n_models])

    def _is_short(self) -> bool:
        """Whether workers have gone with a machine that is there again, or still."""
        return self.features.size < self._n_features or self.models.size < self._n_models

    def _model_worker(self, slot: Slot) -> Any:
        device = "cuda" if slot.gpus else "cpu"
        return _actor(ModelWorker, slot, self._model, device, max(1, slot.cpus))

    def _feature_worker(self, slot: Slot) -> Any:
        return _actor(FeatureWorker, slot, self._settings)

    def _send_candidates(self, actor: Any, chunk: Sequence[Keyed]) -> Sequence[Any]:
        # Arrays only: what the source knows besides can be larger than the crystal.
        candidates = [replace(candidate, info={}) for _, candidate in chunk]
        call = actor.prepare.options(num_returns=2)
        references: Sequence[Any] = call.remote(self.graph_settings, candidates)
        return references

    def _batch_limit_s(self, graphs: Sequence[WaitingGraph]) -> float:
        cost = sum(graph.cost for graph in graphs)
        return self._settings.deadline_s * max(1.0, cost / self.batch_cost)

    def _chunk_limit_s(self, chunk: Sequence[Keyed]) -> float:
        return self._settings.deadline_s * max(1.0, len(chunk) / self._settings.chunk)


def _send_graphs(actor: Any, graphs: Sequence[WaitingGraph]) -> Sequence[Any]:
    positions: dict[Any, list[int]] = {}
    for graph in graphs:
        positions.setdefault(graph.chunk, []).append(graph.index)
    return [actor.score.remote(list(positions.values()), *positions)]


def _actor(worker: type, slot: Slot, *arguments: Any) -> Any:
    """An actor in a slot that Ray never restarts: its pool does."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote: Any = ray.remote(worker)
    return remote.options(
        num_cpus=slot.cpus,
        num_gpus=slot.gpus,
        max_restarts=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(slot.node_id, soft=False),
    ).remote(*arguments)
