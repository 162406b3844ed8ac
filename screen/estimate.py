"""What a run would come to, judged by a sample that is screened on the spot."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from jobs import pipeline
from jobs.hardware import cpu_count, gpu_count
from jobs.records import Candidate, MaterialResult
from jobs.settings import RunSettings
from screen.sources.base import Query, Source

SAMPLE = 24
_START_S = 10.0
"""Until Ray's workers are up, about, on two cores."""
_DB_BYTES_PER_MATERIAL = 1_000
_DB_BYTES_PER_HOP = 500
"""Measured together: 18,837 materials with 18,175 hops took 28 MB."""


@dataclass(frozen=True)
class Estimate:
    """A run before it has begun."""

    source: str
    version: str
    ion: str
    candidates: int
    """That the source has for the query, before the filters that need the crystal."""
    left_out: Mapping[str, int]
    """Materials that a server's own filters keep back, by reason."""
    sampled: int
    """Candidates that were screened for the estimate."""
    hops: int
    seconds: float
    """On this machine, or the given number of CPUs."""
    db_bytes: int

    def record(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        left_out = ", ".join(f"{reason} {n:,}" for reason, n in self.left_out.items())
        lines = [
            f"source       {self.source}, {self.version}",
            f"candidates   {self.candidates:,} with {self.ion}",
        ]
        if left_out:
            lines.append(f"left out     by the server: {left_out}")
        return [
            *lines,
            f"hops         about {self.hops:,}",
            f"time         about {_duration(self.seconds)} on this machine",
            f"disk         about {max(1, round(self.db_bytes / 1e6)):,} MB of database",
            f"judged by    {self.sampled} candidates, screened now",
        ]


def estimate(source: Source, query: Query, settings: RunSettings) -> Estimate:
    """Count what a source has for a query, and screen a few of them.

    Raises:
        UserError: The source cannot be read or reached.
    """
    n_candidates = _count(source, query)
    sample = source.sample(query, min(SAMPLE, n_candidates)) if n_candidates else []
    results, seconds_each = _screened(sample, settings)
    n_sampled = max(1, len(results))
    hops_each = sum(len(one.network.hops) for one in results if one.network) / n_sampled
    workers = 1 if gpu_count() else settings.num_cpus or cpu_count()
    return Estimate(
        source=source.name,
        version=source.version(query),
        ion=query.ion,
        candidates=n_candidates,
        left_out=source.left_out(query),
        sampled=len(results),
        hops=round(hops_each * n_candidates),
        seconds=_START_S + seconds_each * n_candidates / workers,
        db_bytes=round(n_candidates * (_DB_BYTES_PER_MATERIAL + _DB_BYTES_PER_HOP * hops_each)),
    )


def _count(source: Source, query: Query) -> int:
    n_known = source.count(query)
    if n_known is not None:
        return n_known
    return sum(isinstance(item, Candidate) for item in source.candidates(query))


def _screened(sample: list[Candidate], settings: RunSettings) -> tuple[list[MaterialResult], float]:
    """What became of a sample, and the seconds per candidate once the model is loaded."""
    if not sample:
        return [], 0.0
    results: list[MaterialResult] = []
    inline = replace(settings, engine="inline", ray_address=None)
    predictor = _predictor(inline)
    began = time.monotonic()
    pipeline.run(sample, results.extend, inline, predictor_factory=lambda: predictor)
    return results, (time.monotonic() - began) / len(sample)


def _predictor(settings: RunSettings) -> Any:
    from jobs.inline import inline_device
    from models.predict import Predictor

    return Predictor.load(settings.model, inline_device(settings))


def _duration(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"
