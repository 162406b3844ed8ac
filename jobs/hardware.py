"""What this machine has, and how many workers of each kind a run gets."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "ionscreen",
    "torch",
    "ray",
    "duckdb",
    "spglib",
    "pymatgen-core",
    "vesin",
    "numpy",
    "scipy",
    "pyarrow",
    "safetensors",
)
_CPUS_PER_FEATURE_WORKER = 4
"""Where the model runs on CPUs: preparing a hop takes about a tenth of the time of its forward."""
_FEATURE_WORKERS_PER_LIGHT_MODEL = 32
"""Where it is no network: a prediction takes about a fortieth of the time of its numbers."""


@dataclass(frozen=True)
class WorkerPlan:
    """How many workers of each kind, and what each asks of Ray."""

    device: str
    """``cuda`` or ``cpu``, of the model workers."""
    model_workers: int
    model_cpus: int
    model_gpus: float
    feature_workers: int
    feature_cpus: int


def plan_workers(cpus: int, gpus: float, networks: bool = True) -> WorkerPlan:
    """Split CPUs and GPUs among workers.

    With GPUs: one model worker each, and the CPUs left over prepare graphs. Without: one model
    worker per CPU, and a few feature workers that share the CPUs with them, asking Ray for none,
    since a worker that waits for a CPU which the others never give back would wait for ever. A
    model without networks takes next to no time: few workers of it beside a feature worker per CPU.
    """
    if not networks:
        return WorkerPlan(
            device="cpu",
            model_workers=1 + cpus // _FEATURE_WORKERS_PER_LIGHT_MODEL,
            model_cpus=0,
            model_gpus=0.0,
            feature_workers=cpus,
            feature_cpus=1,
        )
    if gpus > 0:
        models = math.ceil(gpus)
        spare = cpus - models
        return WorkerPlan(
            device="cuda",
            model_workers=models,
            model_cpus=int(spare > 0),
            model_gpus=min(1.0, gpus / models),
            feature_workers=max(1, spare),
            feature_cpus=int(spare > 0),
        )
    return WorkerPlan(
        device="cpu",
        model_workers=cpus,
        model_cpus=1,
        model_gpus=0.0,
        feature_workers=max(1, cpus // _CPUS_PER_FEATURE_WORKER),
        feature_cpus=0,
    )


def cpu_count() -> int:
    """CPUs that this process may use: its affinity, within its container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(count, math.ceil(quota)) if quota else count)


def memory_bytes() -> int | None:
    """Memory that this process may use: the machine's, within its container's limit."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = _read(Path("/sys/fs/cgroup") / name)
        if limit.isdecimal():
            return min(total, int(limit))
    return total


def describe() -> dict[str, Any]:
    """CPUs, memory, GPUs and versions, as JSON types; imports torch to ask for the GPUs."""
    memory = memory_bytes()
    return {
        "platform": platform.platform(),
        "cpu": {"count": cpu_count(), "model": _cpu_model()},
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "gpus": _gpus(),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
    }


def gpu_count() -> int:
    """GPUs that torch can use here."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _gpus() -> list[dict[str, Any]]:
    try:
        count = gpu_count()
    except ImportError:
        return []
    import torch

    gpus = []
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        memory_gib = round(properties.total_memory / 2**30, 1)
        gpus.append({"index": index, "name": properties.name, "memory_gib": memory_gib})
    return gpus


def _cgroup_quota() -> float | None:
    """CPUs of the container's quota; None where it has none."""
    root = Path("/sys/fs/cgroup")
    quota, _, period = _read(root / "cpu.max").partition(" ")
    if not quota:
        quota = _read(root / "cpu/cpu.cfs_quota_us")
        period = _read(root / "cpu/cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal() and int(period) > 0:
        return int(quota) / int(period)
    return None


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
