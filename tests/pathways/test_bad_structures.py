"""Structures that nobody would wish for: each ends in barriers or in a reason, soon and small.

``HYPOTHESIS_PROFILE=thousands`` takes 5,000 of them, drawn anew each time.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from jobs.records import Candidate
from jobs.settings import RunSettings
from jobs.stages import Refusal, prepare, score
from models.predict import Prediction, Predictor
from pathways.hops import HopSettings
from pathways.types import Crystal, FloatArray, IntArray

THOUSANDS = os.environ.get("HYPOTHESIS_PROFILE") == "thousands"
MOST_CPU_S = 30.0
"""A third of it is the most seen, on a machine that was busy."""
MOST_MIB = 500.0
ION = "Mg"
LATTICES = (
    *("plain", "left", "needle", "plate", "skew", "near", "flat", "huge", "tiny", "nan"),
    *("infinite", "zero"),
)
SPECIES = ("ion", "light", "exotic", "none", "impossible")
PLACES = (
    "free",
    "grid",
    "crowded",
    "same",
    "far",
    "absurd",
    "nan",
    "wrapped",
    "minus_zero",
    "edge",
)
SITES = (1, 2, 3, 5, 8, 20, 60, 200, 201, 5000)


@dataclass(frozen=True)
class Drawn:
    """What a structure is drawn from."""

    lattice: str
    species: str
    places: str
    sites: int
    seed: int

    def crystal(self) -> Crystal:
        """The structure."""
        draw = np.random.default_rng(self.seed)
        frac = places(self.places, self.sites, draw)
        numbers = species(self.species, self.sites, draw)
        return Crystal(lattice(self.lattice, self.sites, draw), numbers, frac)


def lattice(kind: str, sites: int, draw: np.random.Generator) -> FloatArray:
    """Cell vectors; those that could be a crystal's have room for about 20 Å^3 a site."""
    cell = np.diag(draw.uniform(2.5, 9.0, 3)) + draw.normal(0, 0.6, (3, 3))
    match kind:
        case "left":
            cell = cell[[1, 0, 2]]
        case "needle":
            cell[2] *= draw.uniform(5, 150)
        case "plate":
            cell[:2] *= draw.uniform(5, 150)
        case "skew":
            cell[2] += cell[:2].T @ draw.integers(-50, 50, 2)
        case "near":
            cell[2] = cell[:2].T @ draw.uniform(-1, 1, 2) + draw.normal(
                0, 10.0 ** draw.integers(-8, 0), 3
            )
        case "flat":
            cell[2] = cell[0]
        case "huge":
            cell *= 10.0 ** draw.integers(1, 30)
        case "tiny":
            cell *= 10.0 ** -draw.integers(1, 30)
        case "nan":
            cell[1, 2] = np.nan
        case "infinite":
            cell[0, 0] = -np.inf
        case "zero":
            cell[1] = -0.0
    if kind in ("plain", "left", "needle", "skew") and sites > 3:
        cell *= max(1.0, (sites * 20 / abs(np.linalg.det(cell))) ** (1 / 3))
    return np.asarray(cell)


def species(kind: str, sites: int, draw: np.random.Generator) -> IntArray:
    """Atomic numbers, the ion's first except where there is none."""
    chosen: Any
    match kind:
        case "ion":
            return np.full(sites, 12)
        case "light":
            chosen = draw.choice([3, 8, 9, 12, 16, 22, 25], sites)
        case "exotic":
            chosen = draw.integers(1, 119, sites)
        case "none":
            return np.full(sites, 8)
        case _:
            chosen = draw.integers(-5, 400, sites)
    chosen[0] = 12
    return np.asarray(chosen, dtype=np.int64)


def places(kind: str, sites: int, draw: np.random.Generator) -> FloatArray:
    """Fractional coordinates."""
    frac = draw.random((sites, 3))
    match kind:
        case "grid":
            edge = int(np.ceil(sites ** (1 / 3)))
            frac = np.argwhere(np.ones((edge, edge, edge)))[:sites] / edge
        case "crowded":
            frac *= 0.05
        case "same":
            frac[-1] = frac[0] + draw.choice([0, 1e-9, 1e-3, 1])
        case "far":
            frac += draw.integers(-(10**6), 10**6, (sites, 3))
        case "absurd":
            frac[0] = 10.0 ** draw.integers(9, 300)
        case "nan":
            frac[-1, 1] = np.nan
        case "wrapped":
            frac -= 0.5
        case "minus_zero":
            frac[0] = -0.0
        case "edge":
            frac[0] = (1 - 1e-16, 1e-16, -1e-17)
    return np.asarray(frac)


DRAWN = st.builds(
    Drawn,
    st.sampled_from(LATTICES),
    st.sampled_from(SPECIES),
    st.sampled_from(PLACES),
    st.sampled_from(SITES),
    st.integers(0, 2**31),
)
# Those that could be crystals come more often than one in twelve.
LIKELY = st.builds(
    Drawn,
    st.sampled_from(("plain", "left", "needle", "plate", "skew")),
    st.sampled_from(("ion", "light", "exotic")),
    st.sampled_from(("free", "grid", "wrapped", "far", "minus_zero", "edge")),
    st.sampled_from(SITES[:8]),
    st.integers(0, 2**31),
)


@pytest.fixture(scope="module")
def model() -> Predictor:
    """The model that ships."""
    return Predictor.load()


@pytest.fixture(scope="module")
def reasons() -> set[str]:
    """Every code that the packages give a reason by; an exception's own name is none of them."""
    root = Path(__file__).parents[2]
    sources = [
        path.read_text() for room in ("pathways", "models") for path in (root / room).glob("*.py")
    ]
    return {code for source in sources for code in re.findall(r'PathwayError\(\s*"(\w+)"', source)}


def peak_mib() -> float:
    """Most memory since it was last reset."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


def screened(
    drawn: Drawn, model: Predictor, run: RunSettings
) -> tuple[list[str], list[Prediction]]:
    """Reasons and barriers of a structure, within the time and memory that are stated."""
    candidate = Candidate("bad", ION, drawn.crystal())
    resettable = Path("/proc/self/clear_refs")
    if resettable.exists():
        resettable.write_text("5")
        before_mib = peak_mib()
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared, graphs = prepare(candidate, run, model.graph_settings)
        answers = score(model, graphs) if graphs else []
    assert time.process_time() - began < MOST_CPU_S
    if resettable.exists():
        assert peak_mib() - before_mib < MOST_MIB
    assert len(answers) == len(graphs) == len(prepared.ready)
    barriers = [answer for answer in answers if not isinstance(answer, Refusal)]
    said = [answer.reason for answer in answers if isinstance(answer, Refusal)]
    return said + [failure.reason for failure in prepared.failures], barriers


@example(Drawn("plate", "light", "grid", 60, 61))
@example(Drawn("plain", "light", "free", 5000, 0))
@example(Drawn("plain", "light", "free", 200, 1))
@given(st.one_of(DRAWN, LIKELY))
@settings(
    max_examples=5000 if THOUSANDS else 200,
    derandomize=not THOUSANDS,
    deadline=None,
    phases=(
        Phase.explicit,
        Phase.generate,
    ),  # the drawn structure says enough, shrinking takes hours
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_barriers_or_one_reason(model: Predictor, reasons: set[str], drawn: Drawn) -> None:
    said, barriers = screened(drawn, model, RunSettings(engine="inline"))
    assert said or barriers
    assert set(said) <= reasons
    for barrier in barriers:
        numbers = [
            *(barrier.em_ev, barrier.em_std_ev, barrier.em_low_ev, barrier.em_high_ev),
            *(barrier.p_good, barrier.applicability),
        ]
        assert np.isfinite(numbers).all()
        assert barrier.em_low_ev <= barrier.em_ev <= barrier.em_high_ev
        assert 0 <= barrier.p_good <= 1
        assert 0 <= barrier.applicability <= 1


@pytest.mark.parametrize(("kind", "sites"), [("light", 1000), ("ion", 1000), ("exotic", 5000)])
def test_a_raised_limit_on_sites_is_bounded_too(
    model: Predictor, reasons: set[str], kind: str, sites: int
) -> None:
    run = RunSettings(engine="inline", hops=HopSettings(max_sites=sites))
    said, barriers = screened(Drawn("plain", kind, "grid", sites, 3), model, run)
    assert said or barriers
    assert set(said) <= reasons


@pytest.mark.parametrize("kind", LATTICES)
def test_a_bad_cell_is_refused_by_name(model: Predictor, kind: str) -> None:
    """What no crystal can be is told at once, and what one can be is screened."""
    said, barriers = screened(
        Drawn(kind, "light", "grid", 2, 1), model, RunSettings(engine="inline")
    )
    refused = {
        "flat": "singular_cell",
        "zero": "singular_cell",
        "tiny": "singular_cell",
        "huge": "singular_cell",
        "nan": "non_finite",
        "infinite": "non_finite",
    }
    if kind in refused:
        assert said == [refused[kind]]
        assert not barriers
