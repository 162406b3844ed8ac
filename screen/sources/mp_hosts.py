"""Charged insertion electrodes of the Materials Project, and the discharged crystals of each.

The server knows which crystals are one framework with and without the ion; a charged one, which
holds none of it, gets its sites from the discharged one (``pathways.framework``).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pathways.types import Crystal, PathwayError
from screen.sources.base import Query
from screen.sources.mp_client import Client
from screen.sources.mp_feed import SummaryFeed
from screen.sources.mp_pages import legacy_id
from screen.sources.structure_json import crystal_from_json

_IDS_AT_ONCE = 100
"""Keeps a request's address under the 2,000 characters or so that every server takes."""

Pairs = Mapping[str, Sequence[str]]
"""Discharged crystals by charged one."""
Filled = Mapping[str, tuple[tuple[str, Crystal], ...]]
"""Discharged crystals with their ids, by charged one."""


def electrode_pairs(pages: Iterable[bytes], ion: str) -> Pairs:
    """Which discharged crystals belong to each charged one.

    Args:
        pages: Of insertion electrodes, gzipped.
        ion: The working ion.
    """
    pairs: dict[str, list[str]] = {}
    for packed in pages:
        for document in json.loads(gzip.decompress(packed))["data"]:
            ends = [document.get(name) for name in ("id_charge", "id_discharge")]
            if document.get("working_ion") != ion or None in ends or ends[0] == ends[1]:
                continue
            charged, discharged = (legacy_id(str(end)) for end in ends)
            known = pairs.setdefault(charged, [])
            if discharged not in known:
                known.append(discharged)
    return dict(sorted(pairs.items()))


def host_feeds(
    client: Client, query: Query, include_gnome: bool, pairs: Pairs
) -> list[SummaryFeed]:
    """The charged crystals, by the query's filters."""
    return list(_by_id(client, query, include_gnome, sorted(pairs)))


def filled_feeds(
    client: Client, query: Query, include_gnome: bool, pairs: Pairs
) -> list[SummaryFeed]:
    """The discharged crystals, whatever the filters say: they only show where the ion sits."""
    any_query = replace(
        query, max_ehull_ev=None, theoretical=True, band_gap_min_ev=None, exclude=()
    )
    wanted = sorted({one for discharged in pairs.values() for one in discharged})
    return list(_by_id(client, any_query, include_gnome, wanted))


def _by_id(
    client: Client, query: Query, include_gnome: bool, ids: Sequence[str]
) -> Iterator[SummaryFeed]:
    for start in range(0, len(ids), _IDS_AT_ONCE):
        group = list(ids[start : start + _IDS_AT_ONCE])
        yield SummaryFeed(client, query, {"material_ids": group}, include_gnome)


def filled_crystals(pages: Iterable[bytes], pairs: Pairs) -> Filled:
    """The discharged crystals of each charged one; those that cannot be read are left out.

    Args:
        pages: Of summaries, gzipped.
        pairs: Which belong together.
    """
    crystals: dict[str, Crystal] = {}
    for packed in pages:
        for document in json.loads(gzip.decompress(packed))["data"]:
            crystal = _crystal(document)
            if crystal is not None:
                crystals[legacy_id(str(document.get("material_id")))] = crystal
    return {
        charged: tuple((one, crystals[one]) for one in discharged if one in crystals)
        for charged, discharged in pairs.items()
    }


def _crystal(document: Mapping[str, Any]) -> Crystal | None:
    try:
        return crystal_from_json(document["structure"])
    except (PathwayError, KeyError):
        return None
