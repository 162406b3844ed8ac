"""What a machine of a cluster must have alike with the one that the run was started on."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

PACKAGES = ("pathways", "models", "jobs")
"""Whose code decides results and runs on workers."""


@functools.cache
def versions() -> dict[str, str]:
    """Versions of this machine; ``code`` is a digest of the sources that workers run."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "ray": metadata.version("ray"),
        "code": f"{_own_version()} ({_digest()})",
    }


def difference(theirs: Mapping[str, str]) -> str:
    """What of another machine's versions differs from this one's, in words; empty if nothing."""
    names = {"python": "Python", "ray": "Ray", "code": "ionscreen"}
    return " and ".join(
        f"{names[key]} {theirs.get(key, 'unknown')} where the run has {mine}"
        for key, mine in versions().items()
        if theirs.get(key) != mine
    )


def _own_version() -> str:
    try:
        return metadata.version("ionscreen")
    except metadata.PackageNotFoundError:
        return "unknown"


def _digest() -> str:
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(f"{file.relative_to(root)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
