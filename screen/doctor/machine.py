"""The machine: GPUs and their driver, disks, shared memory, the compiled kernel."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from screen.doctor.findings import Finding

LEAST_DISK_GIB, LOW_DISK_GIB = 1.0, 10.0
"""A database of 20,000 materials and its snapshots take a few GiB."""
LEAST_SHARED_GIB = 1.0
"""What Ray's object store takes at most (``jobs.session``)."""

_DRIVER = Path("/proc/driver/nvidia/version")
_SHARED = Path("/dev/shm")
_GIB = 2**30


def check_gpu() -> Finding:
    """Whether torch can use a GPU; where it cannot though there is one, why."""
    try:
        import torch
    except (ImportError, OSError) as error:  # the latter where a library of CUDA is missing
        return Finding("GPU", "fail", f"torch cannot be imported: {error}", "install it again")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(one) for one in range(torch.cuda.device_count())]
        return Finding("GPU", "ok", f"{', '.join(names)} (torch {torch.__version__})")
    driver, gpus = driver_version(), driver_gpus()
    if driver is None and not gpus:
        return Finding(
            "GPU",
            "warn",
            "none; all runs on CPUs",
            "nothing for ionscreen-1, which has no use for one; networks are much faster on one",
        )
    there = f"{gpus or 'a GPU'}, driver {driver or 'unknown'}, torch {torch.__version__}"
    built_for = torch.version.cuda
    if built_for is None:
        advice = "torch is built for CPUs only: install its CUDA build"
    else:
        advice = (
            f"torch is built for CUDA {built_for} and cannot use this driver: update the driver, "
            "or install a torch for an older CUDA; in a container, check that it is given the GPU"
        )
    return Finding("GPU", "warn", f"torch cannot use {there}", advice)


def driver_version() -> str | None:
    """Version of NVIDIA's kernel driver; None where there is none."""
    try:
        found = re.search(r"Kernel Module\D*([\d.]+)", _DRIVER.read_text())
    except OSError:
        return _ask_driver("driver_version")
    return found[1] if found else None


def driver_gpus() -> str | None:
    """Names of the GPUs that the driver knows; None where it knows none."""
    return _ask_driver("name")


def _ask_driver(what: str) -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={what}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ", ".join(dict.fromkeys(done.stdout.split("\n")[:-1])) or None


def check_disks() -> Iterator[Finding]:
    """Room in the working folder, the cache, and the folder of temporary files."""
    from screen.sources.cache import default_folder

    for name, folder in (
        ("disk here", Path.cwd()),
        ("disk of cache", default_folder()),
        ("disk of temporary files", Path(tempfile.gettempdir())),
    ):
        yield check_disk(name, folder)


def check_disk(name: str, folder: Path) -> Finding:
    """Room in a folder, or where it will be made."""
    there = next(one for one in (folder, *folder.parents) if one.is_dir())
    free = shutil.disk_usage(there).free / _GIB
    found = f"{free:.1f} GiB free in {folder}"
    if free < LEAST_DISK_GIB:
        return Finding(name, "fail", found, "free some space; a run stops on a full disk")
    if free < LOW_DISK_GIB:
        return Finding(name, "warn", found, "`screen run --dry-run` says what a run will take")
    return Finding(name, "ok", found)


def check_shared_memory() -> Finding | None:
    """Room for Ray's object store; None where the system has no such place."""
    if not _SHARED.is_dir():
        return None
    free = shutil.disk_usage(_SHARED).free / _GIB
    found = f"{free:.1f} GiB free in {_SHARED}"
    if free < LEAST_SHARED_GIB:
        return Finding(
            "shared memory",
            "warn",
            f"{found}, Ray wants {LEAST_SHARED_GIB:g}",
            "give the container more (docker run --shm-size=2g), else Ray falls back on disk; "
            "--engine inline does without",
        )
    return Finding("shared memory", "ok", found)


def check_kernel() -> Finding | None:
    """Whether the compiled kernel of the networks is there, and what else was asked of the CPU;
    None where torch is broken, which is said elsewhere."""
    try:
        from models import fused, precision
    except (ImportError, OSError):
        return None
    if fused.kernel() is None:
        return Finding(
            "compiled kernel",
            "warn",
            "not there; networks run on plain torch, which is slower",
            "install again where there is a C compiler",
        )
    if precision.bfloat16_wanted() and not precision.has_bfloat16_products():
        return Finding(
            "compiled kernel",
            "warn",
            f"there; {precision.BFLOAT16_VARIABLE} is set, but this CPU has no such products",
            f"unset {precision.BFLOAT16_VARIABLE}; it makes nothing faster here",
        )
    return Finding("compiled kernel", "ok", "there")
