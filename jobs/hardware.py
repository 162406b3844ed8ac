"""What this machine has."""

from __future__ import annotations

import math
import os
import platform
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
    except (ImportError, OSError):
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
