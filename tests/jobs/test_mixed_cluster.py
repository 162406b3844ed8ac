"""Machines that are not alike: one with a GPU and no CPU to spare, one without, one to refuse."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jobs.nodes
from jobs.materials import Materials
from jobs.pipeline import run
from jobs.records import Candidate, MaterialResult
from jobs.settings import RunSettings
from models.graph import BandGraph
from models.predict import Prediction
from pathways.hops import HopSettings
from tests.jobs.conftest import EdgePredictor, SharedRay

pytestmark = pytest.mark.slow
PATIENCE_S = 120.0
"""Nothing takes long, but machines that run tests can be busy."""
HOPS = HopSettings(max_hops=2)
OTHER_VERSION = """
from importlib import metadata

theirs = metadata.version
metadata.version = lambda name: "9.9.9" if name == "ionscreen" else theirs(name)
"""


class SharePredictor(EdgePredictor):
    """Says as the nearest entry where it ran, and on how much of a GPU; slower than its graphs."""

    def predict(self, graphs: Sequence[BandGraph]) -> list[Prediction]:
        import ray

        time.sleep(0.3)
        here = ray.get_runtime_context()
        share = here.get_assigned_resources().get("GPU", 0)
        where = f"{here.get_node_id()} {share:g} {os.getpid()}"
        return [replace(one, nearest=where) for one in super().predict(graphs)]


@pytest.fixture(scope="module")
def cluster_of_kinds(shared_ray: SharedRay) -> Iterator[Any]:
    """A head without CPUs and a machine that has a GPU only; others are added by tests."""
    import ray
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    shared_ray.leave()
    # The workers cannot import tests.
    for module in (sys.modules[__name__], sys.modules[EdgePredictor.__module__]):
        cloudpickle.register_pickle_by_value(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "2")
        # However small, graphs stay on the machine that has made them.
        patch.setenv("RAY_max_direct_call_object_size", "1")
        cluster = Cluster(initialize_head=True, head_node_args=node_options(0))
        cluster.with_gpu = cluster.add_node(**node_options(0, num_gpus=1))
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def node_options(cpus: int, **more: Any) -> dict[str, Any]:
    memory = {"include_dashboard": False, "object_store_memory": 100_000_000}
    return {"num_cpus": cpus, **memory, **more}


def feature_nodes() -> set[str]:
    """Machines on which there is a worker that makes graphs now."""
    from ray._private.state import actors

    return {
        actor["Address"]["NodeID"]
        for actor in actors().values()
        if actor["ActorClassName"].endswith("FeatureWorker") and actor["State"] == "ALIVE"
    }


def until(enough: threading.Event, base: Candidate, taken: list[Candidate]) -> Iterator[Candidate]:
    """One crystal again and again."""
    end = time.monotonic() + PATIENCE_S
    for number in itertools.count():
        assert time.monotonic() < end
        if enough.is_set():
            return
        taken.append(Candidate(f"{base.material_id}-{number}", base.ion, base.crystal))
        yield taken[-1]


def check(found: list[MaterialResult], taken: list[Candidate], base: Candidate) -> None:
    """Every material once, whole, with the barriers of the inline engine."""
    again: list[MaterialResult] = []
    run([base], again.extend, RunSettings(engine="inline", hops=HOPS), None, EdgePredictor)
    expected = [hop.prediction.em_ev for hop in again[0].hops]
    assert sorted(result.material_id for result in found) == sorted(
        candidate.material_id for candidate in taken
    )
    for result in found:
        assert result.failures == ()
        assert [hop.prediction.em_ev for hop in result.hops] == expected


def on_cluster(cluster: Any) -> RunSettings:
    return RunSettings(
        ray_address=cluster.address, chunk=2, batch_cost=20_000, hops=HOPS, gpu_share=0.5
    )


def test_graphs_of_a_machine_without_gpu_go_to_shares_of_anothers_and_are_made_again_when_lost(
    cluster_of_kinds: Any, candidates: list[Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.source.AHEAD", 16)
    # Whoever edits the code while tests run would else have the machine refused.
    monkeypatch.setattr("jobs.nodes.difference", lambda theirs: "")
    with_gpu = cluster_of_kinds.with_gpu
    without = cluster_of_kinds.add_node(**node_options(1))
    made_again, to_make_again = [], Materials.to_make_again

    def counted(self: Materials, *lost: Any) -> Any:
        made_again.append(len(lost[0]))
        return to_make_again(self, *lost)

    monkeypatch.setattr(Materials, "to_make_again", counted)
    found: list[MaterialResult] = []
    taken: list[Candidate] = []
    seen: list[set[str]] = []
    enough = threading.Event()

    def write(batch: list[MaterialResult]) -> None:
        found.extend(batch)
        seen.append(feature_nodes())
        if len(seen) == 1:
            cluster_of_kinds.remove_node(without, allow_graceful=False)
        elif made_again and seen[-1] == {with_gpu.node_id}:
            enough.set()

    run(
        until(enough, candidates[3], taken),
        write,
        on_cluster(cluster_of_kinds),
        None,
        SharePredictor,
    )
    assert seen[0] == {without.node_id}
    workers = {str(hop.prediction.nearest) for result in found for hop in result.hops}
    assert len(workers) == 2
    assert {tuple(worker.split()[:2]) for worker in workers} == {(with_gpu.node_id, "0.5")}
    check(found, taken, candidates[3])


def test_a_machine_of_another_version_that_joins_later_is_left_alone(
    cluster_of_kinds: Any,
    candidates: list[Candidate],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("jobs.source.AHEAD", 16)
    (tmp_path / "sitecustomize.py").write_text(OTHER_VERSION)  # the guard of all tests imports it
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(tmp_path)])
    answers, answer = [], jobs.nodes._answer

    def noted(reference: Any) -> str | None:
        answers.append(answer(reference))
        return answers[-1]

    monkeypatch.setattr("jobs.nodes._answer", noted)
    found: list[MaterialResult] = []
    taken: list[Candidate] = []
    places: set[str] = set()
    enough = threading.Event()
    stranger: Any = None

    def write(batch: list[MaterialResult]) -> None:
        nonlocal stranger
        found.extend(batch)
        places.update(feature_nodes())
        if stranger is None:
            stranger = cluster_of_kinds.add_node(**node_options(2), env_vars={"PYTHONPATH": path})
        elif any(answers):
            enough.set()

    run(
        until(enough, candidates[3], taken),
        write,
        on_cluster(cluster_of_kinds),
        None,
        SharePredictor,
    )
    (refusal,) = {said for said in answers if said}
    assert refusal.startswith("ionscreen 9.9.9 (")
    assert " where the run has " in refusal
    assert places == {cluster_of_kinds.with_gpu.node_id}
    check(found, taken, candidates[3])
