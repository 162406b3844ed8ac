"""What every source does alike: build a candidate's description and apply the query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from jobs.records import Candidate, Failure
from pathways.elements import SYMBOLS
from pathways.types import Crystal
from screen.sources.base import Query
from screen.sources.structure_json import structure_json

MAX_DETAIL = 300
"""Longest detail of a failure, characters."""


def select(
    material_id: str, crystal: Crystal, info: Mapping[str, Any], query: Query
) -> Candidate | Failure | None:
    """A candidate, the failure that keeps it out, or None for a system not asked for.

    Args:
        material_id: The material's id in its source.
        crystal: The crystal as the source gives it.
        info: What else the source knows; the keys are columns of ``materials``.
        query: What is asked for.
    """
    elements = [SYMBOLS[number] for number in np.unique(crystal.numbers)]
    if not query.selects(elements):
        if query.patterns:
            return None
        found = "-".join(sorted(elements))
        return failed(material_id, "filter", "no_mobile_ion", f"{found} holds no {query.ion}")
    ehull_ev = info.get("energy_above_hull_ev")
    if ehull_ev is not None and query.max_ehull_ev is not None and ehull_ev > query.max_ehull_ev:
        return failed(
            material_id,
            "filter",
            "above_hull",
            f"{ehull_ev:.3f} eV/atom above the hull, at most {query.max_ehull_ev:g} asked for",
        )
    if len(crystal) > query.max_sites:
        return failed(
            material_id,
            "filter",
            "too_many_sites",
            f"{len(crystal)} sites, at most {query.max_sites} asked for",
        )
    described = {
        "chemsys": "-".join(sorted(elements)),
        "nsites": len(crystal),
        **{key: value for key, value in info.items() if value is not None},
    }
    described.setdefault("formula", reduced_formula(crystal))
    described.setdefault("structure_json", structure_json(crystal))
    return Candidate(material_id, query.ion, crystal, described)


def failed(material_id: str, stage: str, reason: str, detail: object) -> Failure:
    """A failure whose detail is one line of bounded length, whatever the message was."""
    line = " ".join(str(detail).split())
    if len(line) > MAX_DETAIL:
        line = line[: MAX_DETAIL - 1] + "…"
    return Failure(material_id, stage, reason, line)


def up_to(items: Iterable[Candidate | Failure], limit: int | None) -> Iterator[Candidate | Failure]:
    """Pass items on until ``limit`` candidates have passed; failures do not count."""
    n_candidates = 0
    for item in items:
        yield item
        n_candidates += isinstance(item, Candidate)
        if n_candidates == limit:
            return


def reduced_formula(crystal: Crystal) -> str:
    """The reduced formula, written as the Materials Project does."""
    from pymatgen.core.composition import Composition

    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    amounts = {SYMBOLS[number]: int(count) for number, count in zip(numbers, counts, strict=True)}
    return str(Composition(amounts).reduced_formula)
