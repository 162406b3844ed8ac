"""A small untrained model, real crystals, and their hops with barriers that a test chooses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from jobs.records import Candidate, Failure, MaterialResult, ScoredHop
from models.predict import Prediction
from pathways.hops import HopSettings, enumerate_hops
from pathways.types import Crystal
from screen.cli import main
from screen.reader import open_reader
from screen.schema import TABLES
from screen.sources.structure_json import structure_json
from screen.store import Store
from tests.small_crystals import FACTS, crystal_of

REPOSITORY = Path(__file__).resolve().parents[2]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Screen = Callable[..., Result]


@pytest.fixture
def screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Screen:
    """Runs the program in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MP_API_KEY", raising=False)

    def call(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return call


def save_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Two networks of width 8 with random weights: barriers that mean nothing, but never change."""
    import torch

    from models.alignn import TrunkConfig
    from models.applicability import Applicability
    from models.barrier import BarrierConfig, BarrierNetwork
    from models.calibration import Calibration
    from models.checkpoint import save
    from models.graph import GraphSettings
    from models.networks import Ensemble

    config = BarrierConfig(
        trunk=TrunkConfig(alignn_layers=1, gcn_layers=1, embedding=8, width=8), head=(8,)
    )
    torch.manual_seed(seed)
    members = tuple(BarrierNetwork(config).eval() for _ in range(2))
    with torch.no_grad():
        for member in members:
            member.target_mean.fill_(-0.5)
            member.target_std.fill_(0.8)
    ensemble = Ensemble(
        name="tiny",
        graph=GraphSettings(environment_a=4.5),
        network=config,
        members=members,
        calibration=Calibration((-1.0, 0.0, 0.0, 0.0), tuple(np.linspace(-2, 2, 41).tolist())),
        applicability=Applicability({12: 50, 3: 50, 11: 20}, {8: 100, 12: 50, 3: 50}, (2.0, 6.0)),
    )
    save(ensemble, {"summary": "untrained"}, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def prediction(em_ev: float, width_ev: float = 0.2) -> Prediction:
    """A prediction whose interval is ``width_ev`` to either side."""
    return Prediction(em_ev, width_ev / 2, em_ev - width_ev, em_ev + width_ev, 0.5, 0.8)


def make_result(
    name: str,
    em_ev: Sequence[float] | None = None,
    *,
    material_id: str | None = None,
    settings: HopSettings | None = None,
    failed: int = 0,
) -> MaterialResult:
    """One of ``FACTS`` with its real hops; Em by hop, else by length, as the hop is shorter.

    The last ``failed`` hops have a failure instead of a barrier.
    """
    ion = name[:2]
    material_id = material_id or name
    crystal = crystal_of(name)
    network = enumerate_hops(crystal, ion, settings)
    values = [hop.length_a / 10 for hop in network.hops] if em_ev is None else list(em_ev)
    keep = len(network.hops) - failed
    hops = tuple(
        ScoredHop(hop.id_in(material_id), hop, (2, 0, 0, 0, 2, 0, 0, 0, 2), prediction(value))
        for hop, value in list(zip(network.hops, values, strict=True))[:keep]
    )
    failures = tuple(
        Failure(material_id, "model", "non_finite", "no number", hop.id_in(material_id))
        for hop in network.hops[keep:]
    )
    info = {
        "source": "test",
        "source_version": "1",
        "formula": name,
        "chemsys": "-".join(sorted(set(FACTS[name][2]))),
        "nsites": len(crystal),
        "structure_json": structure_json(crystal),
    }
    candidate = Candidate(material_id, ion, crystal, info)
    return MaterialResult(material_id, ion, candidate, network, hops, failures)


TIMES = {
    "fetched_at",
    "predicted_at",
    "ranked_at",
    "failed_at",
    "written_at",
    "started",
    "finished",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        begin(opened)
        yield opened


def begin(store: Store, campaign_id: str = "c1", model_id: str = "m@1") -> None:
    store.begin_campaign(campaign_id, {"ion": "Li"}, "test", "1", model_id, expected=4)


def content(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every table without its times, in an order of its own."""
    with open_reader(path) as reader:
        return {
            table: sorted(
                (
                    {key: value for key, value in row.items() if key not in TIMES}
                    for row in reader.records(f"select * from {table}")
                ),
                key=repr,
            )
            for table in TABLES
            if table != "schema_version"
        }


def environment() -> dict[str, str]:
    """Of a process that runs the program from this checkout, alike on every machine."""
    kept = {key: value for key, value in os.environ.items() if key != "MP_API_KEY"}
    # With what tests/conftest.py has put on the path to keep child processes on this machine.
    path = os.pathsep.join((str(REPOSITORY), os.environ.get("PYTHONPATH", "")))
    return {**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TERM": "dumb"}


def write_structures(path: Path, names: Sequence[str], copies: int = 1) -> Path:
    """Structures as a JSON-lines file that ``--source`` reads, each copy a little larger."""
    with path.open("w") as file:
        for copy in range(copies):
            for name in names:
                crystal = crystal_of(name)
                lattice = crystal.lattice * (1 + 0.002 * copy)
                text = structure_json(Crystal(lattice, crystal.numbers, crystal.frac))
                row = {"material_id": f"{name}-{copy}", "structure": json.loads(text)}
                file.write(json.dumps(row) + "\n")
    return path
