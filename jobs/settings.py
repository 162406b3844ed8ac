"""What a run is asked to do, in one frozen object that checks itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from jobs.records import BOTH, Candidate
from models import DEFAULT_MODEL
from pathways.hops import HopSettings
from pathways.supercell import BandSettings

Engine = Literal["ray", "inline"]
Mechanism = Literal["auto", "vacancy", "dilute", "both"]

BATCH_COST = {"cpu": 100_000, "cuda": 6_000_000}
"""Edges plus triplets per model batch where none is asked for: small on a CPU, where larger
batches only cost memory, large on a GPU, an estimate that no GPU has confirmed yet."""


@dataclass(frozen=True)
class RunSettings:
    """How to screen: the model, the limits on hops and bands, and the machines to use.

    Raises:
        ValueError: where a value can never work, in one line.
    """

    model: str = DEFAULT_MODEL
    """Name of a model, or the path of its folder."""
    engine: Engine = "ray"
    hops: HopSettings = field(default_factory=HopSettings)
    band: BandSettings = field(default_factory=BandSettings)
    mechanism: Mechanism = "auto"
    """By which mechanisms each hop is predicted; ``auto`` leaves it to the candidate."""
    num_cpus: int | None = None
    """CPUs to use; None takes all that this process may use, or all of the cluster's."""
    num_gpus: float | None = None
    """GPUs to use; None takes all there are, 0 none."""
    ray_address: str | None = None
    """``host:port`` of a running cluster's head, or ``auto``; None starts Ray on this machine."""
    batch_cost: int | None = None
    """Edges plus triplets per model batch; None decides by device."""
    chunk: int = 8
    """Candidates that a feature worker takes at once, after a start with smaller ones."""
    gpu_share: float = 1.0
    """Of a GPU that each model worker asks for: 0.5 puts two on every GPU."""
    deadline_s: float = 600.0
    """Seconds that a worker may take for a batch or chunk, more for a batch of higher cost than
    ordinary; then it is ended, and the batch cut down to the one that it hangs on."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is empty, must be a model's name or folder")
        if self.engine not in get_args(Engine):
            raise ValueError(f"engine is {self.engine!r}, must be one of {get_args(Engine)}")
        if self.mechanism not in get_args(Mechanism):
            raise ValueError(
                f"mechanism is {self.mechanism!r}, must be one of {get_args(Mechanism)}"
            )
        if self.num_cpus is not None and self.num_cpus < 1:
            raise ValueError(f"num_cpus is {self.num_cpus}, must be at least 1")
        if self.num_gpus is not None and not 0 <= self.num_gpus < float("inf"):
            raise ValueError(f"num_gpus is {self.num_gpus}, must be 0 or more")
        if self.batch_cost is not None and self.batch_cost < 1:
            raise ValueError(f"batch_cost is {self.batch_cost}, must be at least 1")
        if self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}, must be at least 1")
        if not 0 < self.gpu_share <= 1:
            raise ValueError(f"gpu_share is {self.gpu_share}, must be above 0 and at most 1")
        if not self.deadline_s > 0:
            raise ValueError(f"deadline_s is {self.deadline_s}, must be above 0")
        if self.ray_address is not None:
            self._check_address(self.ray_address)

    def _check_address(self, address: str) -> None:
        if self.engine != "ray":
            raise ValueError(f"ray_address is {address!r} but engine is {self.engine!r}, not 'ray'")
        host, _, port = address.rpartition(":")
        if address != "auto" and not (host and "/" not in host and port.isdecimal()):
            raise ValueError(
                f"ray_address is {address!r}, must be HOST:PORT as 'ray start --head' prints it, "
                "or 'auto'"
            )

    def mechanisms(self, candidate: Candidate) -> tuple[str, ...]:
        """The mechanisms by which a candidate's hops are predicted."""
        if candidate.was_empty:
            return ("dilute",)
        match self.mechanism:
            case "auto":
                return candidate.mechanisms
            case "both":
                return BOTH
            case one:
                return (one,)

    def science(self) -> dict[str, Any]:
        """What changes results, as JSON types: part of a campaign's identity, like the model's id.

        Engine, machines and batches are left out, since they change only how fast results come.
        """
        science: dict[str, Any] = json.loads(
            json.dumps(
                {
                    "hops": asdict(self.hops),
                    "band": asdict(self.band),
                    "mechanism": self.mechanism,
                }
            )
        )
        return science
