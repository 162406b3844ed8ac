"""What every source does alike: examine its crystals, then admit each once.

``examine`` looks at one crystal by itself, hence on any machine; ``admit`` knows what came before,
hence in the driver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jobs.records import Candidate, Failure
from pathways.checks import check_cell
from pathways.elements import SYMBOLS
from pathways.fingerprint import fingerprint
from pathways.types import Crystal, FloatArray, PathwayError
from screen.sources.base import RANKED, Query
from screen.sources.duplicates import Duplicates
from screen.sources.empty_hosts import fill
from screen.sources.filters import reject
from screen.sources.structure_json import structure_json

MAX_DETAIL = 300
"""Longest detail of a failure, characters."""


@dataclass(frozen=True, eq=False)
class Examined:
    """A candidate or failure of a source, before it is known whether it was there already."""

    item: Candidate | Failure
    fingerprint: FloatArray | None = None
    """Of the candidate's crystal, where duplicates are looked for."""


def examine(
    material_id: str,
    crystal: Crystal,
    info: Mapping[str, Any],
    query: Query,
    discharged: Sequence[tuple[str, Crystal]] = (),
) -> Examined | None:
    """A candidate, the failure that keeps it out, or None for a system not asked for.

    Args:
        material_id: The material's id in its source.
        crystal: The crystal as the source gives it.
        info: What else the source knows; the keys are columns of ``materials``, and what the
            filters ask for.
        query: What is asked for.
        discharged: Name and crystal of what the source knows to be this host with the ion in it.
    """
    numbers, counts = np.unique(crystal.numbers, return_counts=True)
    amounts = {SYMBOLS[number]: int(n) for number, n in zip(numbers, counts, strict=True)}
    if query.patterns and not query.selects(amounts):
        return None
    rejection = reject(amounts, info, query)
    if rejection is not None:
        return Examined(failed(material_id, "filter", *rejection))
    empty = query.ion not in amounts
    if empty and query.sites != RANKED:
        try:
            crystal, sites_source = fill(material_id, crystal, query, discharged)
        except PathwayError as error:
            return Examined(failed(material_id, "sites", error.reason, error.detail))
        info = {**info, "sites_source": sites_source, "structure_json": None}
    described = {
        "chemsys": "-".join(sorted(amounts)),
        "nsites": len(crystal),
        **{key: value for key, value in info.items() if value is not None},
    }
    if "formula" not in described:
        described["formula"] = reduced_formula(amounts)
    if "structure_json" not in described:
        described["structure_json"] = structure_json(crystal)
    candidate = Candidate(material_id, query.ion, crystal, described)
    if empty:
        orbits = query.top_sites if query.sites == RANKED else 0
        candidate = replace(candidate, was_empty=True, void_orbits=orbits)
    return Examined(candidate, None if query.keep_duplicates else _fingerprint(crystal))


def _fingerprint(crystal: Crystal) -> FloatArray | None:
    """What tells the crystal from others; None where it will be refused for its cell."""
    try:
        check_cell(crystal)
    except PathwayError:
        return None
    return fingerprint(crystal)


def admit(examined: Iterable[Examined | None], query: Query) -> Iterator[Candidate | Failure]:
    """Each candidate once, by its structure, until ``limit`` candidates have passed."""
    duplicates = Duplicates()
    n_candidates = 0
    for one in examined:
        if one is None:
            continue
        item = one.item
        if isinstance(item, Candidate) and one.fingerprint is not None:
            first = duplicates.first(item.material_id, item.crystal.numbers, one.fingerprint)
            if first is not None:
                yield failed(
                    item.material_id,
                    "filter",
                    "duplicate_structure",
                    f"the same crystal as {first}; --keep-duplicates takes both",
                )
                continue
        yield item
        n_candidates += isinstance(item, Candidate)
        if n_candidates == query.limit:
            return


def failed(material_id: str, stage: str, reason: str, detail: object) -> Failure:
    """A failure whose detail is one line of bounded length, whatever the message was."""
    line = " ".join(str(detail).split())
    if len(line) > MAX_DETAIL:
        line = line[: MAX_DETAIL - 1] + "…"
    return Failure(material_id, stage, reason, line)


def reduced_formula(amounts: Mapping[str, int]) -> str:
    """The reduced formula, written as the Materials Project does.

    Args:
        amounts: Atoms per element in the cell.
    """
    from pymatgen.core.composition import Composition

    return str(Composition(amounts).reduced_formula)
