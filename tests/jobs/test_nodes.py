"""What machines must have alike, a head that goes away, and models that travel as bytes."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from jobs.errors import EngineError
from jobs.nodes import Nodes
from jobs.records import Candidate
from jobs.session import Resources
from jobs.settings import RunSettings
from jobs.stages import prepare
from jobs.versions import difference, versions
from jobs.weights import load_predictor, read_graph_settings, read_model
from models.checkpoint import ModelError, find_model
from models.predict import Predictor


def test_machines_alike_do_not_differ_and_others_say_in_what() -> None:
    assert difference(versions()) == ""
    assert difference(versions() | {"more": "is no harm"}) == ""
    said = difference(versions() | {"ray": "1.0.0", "code": "0.0.1 (abc)"})
    assert f"Ray 1.0.0 where the run has {versions()['ray']}" in said
    assert "ionscreen 0.0.1 (abc) where" in said
    assert "Python unknown" in difference({})


def test_a_local_ray_is_one_machine_within_the_settings(cluster: Resources) -> None:
    nodes = Nodes(RunSettings(num_cpus=1), 0)
    assert nodes.look()
    (node,) = nodes.usable
    assert (node.cpus, node.gpus) == (1, 0)
    assert node.node_id in nodes.alive
    assert not nodes.look()  # not yet again
    nodes.close()


def test_a_head_that_stays_away_ends_the_run_in_one_line(
    cluster: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Nodes(RunSettings(), 0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        nodes._head = f"127.0.0.1:{server.getsockname()[1]}"
    assert not nodes.look()  # it may come back
    monkeypatch.setattr("jobs.nodes._HEAD_PATIENCE_S", -1.0)
    nodes._look_at = 0.0
    with pytest.raises(EngineError, match="give the same command: it goes on") as raised:
        nodes.look()
    assert "\n" not in str(raised.value)


def test_a_model_predicts_the_same_where_its_folder_is_not(
    tmp_path: Path, candidates: list[Candidate]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(find_model("ionscreen-1"), folder)
    (folder / "notes.bin").write_bytes(b"not the model's")
    there = Predictor.load(folder)
    files = read_model(str(folder))
    assert "notes.bin" not in files
    assert read_graph_settings(str(folder)) == there.graph_settings
    shutil.rmtree(folder)
    here = load_predictor(files, "cpu")
    _, graphs = prepare(candidates[3], RunSettings(), there.graph_settings)
    assert here.predict(graphs) == there.predict(graphs)
    with pytest.raises(ModelError):
        read_model(str(folder))
