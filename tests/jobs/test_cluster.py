"""Several machines on one: nodes of a Ray cluster that come, go and are restarted during a run."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import EngineError
from jobs.pipeline import run
from jobs.records import Candidate, MaterialResult
from jobs.settings import RunSettings
from models.graph import BandGraph
from models.predict import Prediction
from pathways.hops import HopSettings
from tests.jobs.conftest import EdgePredictor, SharedRay

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0
"""Nothing takes long, but machines that run tests can be busy."""


class WherePredictor(EdgePredictor):
    """Says as the nearest entry on which node it ran; takes a moment, as a model does."""

    def predict(self, graphs: Sequence[BandGraph]) -> list[Prediction]:
        import ray

        time.sleep(0.05)
        node = ray.get_runtime_context().get_node_id()
        return [replace(one, nearest=node) for one in super().predict(graphs)]


@pytest.fixture(scope="module")
def machines(shared_ray: SharedRay) -> Iterator[Any]:
    """A cluster whose head has no CPU to work with, left at the end; tests add machines."""
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
        cluster = Cluster(initialize_head=True, head_node_args=node_options(0))
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def node_options(cpus: int) -> dict[str, Any]:
    return {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": 100_000_000}


def barriers(results: list[MaterialResult]) -> dict[str, float]:
    return {hop.hop_id: hop.prediction.em_ev for result in results for hop in result.hops}


def nodes_of(results: list[MaterialResult]) -> set[str | None]:
    return {hop.prediction.nearest for result in results for hop in result.hops}


def test_nodes_that_join_are_used_and_those_that_die_cost_nothing(
    machines: Any, candidates: list[Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.source.AHEAD", 16)
    # Whoever edits the code while tests run would else have the second node refused.
    monkeypatch.setattr("jobs.nodes.difference", lambda theirs: "")
    first = machines.add_node(**node_options(1))
    second: Any = None
    found: list[MaterialResult] = []
    taken: list[Candidate] = []
    first_is_dead, enough = threading.Event(), threading.Event()

    def source() -> Iterator[Candidate]:
        end = time.monotonic() + PATIENCE_S
        for number in itertools.count():
            assert time.monotonic() < end
            if enough.is_set():
                return
            base = candidates[3]
            taken.append(Candidate(f"{base.material_id}-{number}", base.ion, base.crystal))
            yield taken[-1]

    def write(batch: list[MaterialResult]) -> None:
        nonlocal second
        found.extend(batch)
        if second is None:
            second = machines.add_node(**node_options(2))
        elif second.node_id in nodes_of(batch):
            if first_is_dead.is_set():
                enough.set()
            else:
                machines.remove_node(first, allow_graceful=False)
                first_is_dead.set()

    settings = RunSettings(
        ray_address=machines.address, chunk=2, batch_cost=60_000, hops=HopSettings(max_hops=2)
    )
    run(source(), write, settings, None, WherePredictor)
    assert nodes_of(found) == {first.node_id, second.node_id}
    assert [failure for result in found for failure in result.failures] == []
    assert len({result.material_id for result in found}) == len(found) == len(taken)
    again: list[MaterialResult] = []
    inline = RunSettings(engine="inline", num_gpus=0, hops=HopSettings(max_hops=2))
    run([candidates[3]], again.extend, inline, None, EdgePredictor)
    (expected,) = [barriers([result]) for result in again]
    for result in found:
        name = candidates[3].material_id
        same = {key.replace(result.material_id, name): em for key, em in barriers([result]).items()}
        assert same == expected


def test_a_machine_of_another_version_is_an_error_in_one_line(
    machines: Any, candidates: list[Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {"python": "3.11", "ray": "2.60.0", "code": "9.9.9 (0123456789ab)"}
    monkeypatch.setattr("jobs.versions.versions", lambda: mine)
    settings = RunSettings(ray_address=machines.address)
    with pytest.raises(EngineError, match=r"has ionscreen .* where the run has 9\.9\.9") as refused:
        run(candidates, lambda batch: None, settings, None, EdgePredictor)
    assert "\n" not in str(refused.value)


def tables(db: Path) -> list[list[tuple[Any, ...]]]:
    import duckdb

    with duckdb.connect(db, read_only=True) as con:
        return [
            con.execute(f"select {columns} from {table} order by all").fetchall()
            for table, columns in {
                "predictions": "hop_id, model_id, round(em_ev, 6)",
                "hops": "hop_id, multiplicity, supercell",
                "material_ranking": "material_id, ion, mechanism, round(em_1d_ev, 6), n_hops",
                "failures": "campaign_id, material_id, hop_id, stage, reason",
                "campaign_materials": "* exclude (written_at)",
                "campaigns": "campaign_id, finished is not null",
            }.items()
        ]


@pytest.mark.slow
def test_a_run_whose_head_was_restarted_goes_on_by_the_same_command(
    machines: Any, tmp_path: Path
) -> None:
    from ray.cluster_utils import Cluster

    def command(db: str, *options: str) -> list[str]:
        what = ["run", "--chemsys", "Mg-*", "--source", "catalog", "--cutoff", "8"]
        return [sys.executable, "-m", "screen.cli", *what, "--db", str(tmp_path / db), *options]

    machines.add_node(**node_options(1))
    port = int(machines.address.rpartition(":")[2])
    on_cluster = command("a.duckdb", "--ray-address", machines.address)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    }
    first = subprocess.Popen(on_cluster, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    wait_until(lambda: rows_written(tmp_path / "a.duckdb.live") > 0 or first.poll() is not None)
    assert first.poll() is None, first.stderr.read() if first.stderr else ""
    machines.remove_node(machines.head_node)  # at once, before the run can end
    machines.shutdown()
    assert first.wait(PATIENCE_S) != 0
    head = Cluster(True, head_node_args=node_options(2) | {"gcs_server_port": port})
    try:
        second = subprocess.run(
            on_cluster, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
    finally:
        head.shutdown()
    assert second.returncode == 0, second.stderr
    assert "goes on: " in second.stderr
    subprocess.run(
        command("b.duckdb", "--engine", "inline"), cwd=tmp_path, env=environment, check=True
    )
    assert tables(tmp_path / "a.duckdb") == tables(tmp_path / "b.duckdb")


def rows_written(live: Path) -> int:
    """Materials in a run's last snapshot."""
    import pyarrow.parquet

    file = live / "campaign_materials.parquet"
    return int(pyarrow.parquet.read_metadata(file).num_rows) if file.exists() else 0


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)
