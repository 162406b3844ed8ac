"""Measuring in a fresh process, whose memory and allocator nothing else has touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.figures import NotMeasured


def in_child(
    module: str,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> Any:
    """What a module of this package prints as its last line of JSON, on one thread.

    Raises:
        NotMeasured: the process failed, its last words being the reason, or took longer than
            ``limit_s``.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", f"tests.bench.{module}", *map(str, arguments)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"ended after {limit_s:g} s") from None
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise NotMeasured(last.removeprefix("tests.bench.figures.NotMeasured: "))
    return json.loads(child.stdout.splitlines()[-1])
