"""Patterns and filters in the words of the Materials Project's client."""

from __future__ import annotations

from typing import Any

import pytest

from pathways.elements import SYMBOLS
from screen.chemsys import parse
from screen.sources.base import Query
from screen.sources.mp_pages import legacy_id
from screen.sources.mp_query import steps, systems


def query(*patterns: str, ion: str = "Mg", **more: Any) -> Query:
    return Query(tuple(parse(text) for text in patterns), ion, **more)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("Mg-*", {"elements": ["Mg"], "num_elements": (2, 6)}),
        ("Mg-Mn-*", {"elements": ["Mg", "Mn"], "num_elements": (3, 6)}),
        ("*-O", {"elements": ["O", "Mg"], "num_elements": (2, 6)}),
        ("Mg-?", {"chemsys": "Mg-*"}),
        ("Mg-?-O", {"chemsys": "Mg-*-O"}),
        ("?-O", {"chemsys": "*-O", "elements": ["Mg"]}),
        ("Mg-Mn-O", {"chemsys": "Mg-Mn-O"}),
        ("Mg-?-*", {"elements": ["Mg"], "num_elements": (3, 6)}),
    ],
)
def test_a_pattern_is_one_search(pattern: str, expected: dict[str, Any]) -> None:
    assert systems(query(pattern)) == [expected]


def test_no_pattern_asks_for_the_ion() -> None:
    assert systems(query()) == [{"elements": ["Mg"]}]


def test_exact_systems_share_a_search_as_far_as_the_server_reads() -> None:
    metals = ("Mn", "V", "Cr", "Fe", "Co", "Ni", "Ti", "Mo", "W", "Si")
    names = [f"Mg-{metal}-O" for metal in metals]
    found = systems(query(*names, "Mg-?"))
    assert found[-1] == {"chemsys": "Mg-*"}
    listed = [name for one in found[:-1] for name in one["chemsys"]]
    assert sorted(listed) == sorted(names)
    assert all(len(",".join(one["chemsys"])) <= 60 for one in found[:-1])


def test_the_server_filters_what_it_can() -> None:
    default = {step.reason: step.criteria for step in steps(query("Mg-*"))}
    assert default["above_hull"] == {"energy_above_hull": (None, 0.1)}
    assert default["too_many_sites"] == {"num_sites": (None, 200)}
    assert list(default) == ["deprecated", "unknown_ehull", "above_hull", "too_many_sites"]
    asked = steps(
        query("Mg-*", theoretical=False, band_gap_min_ev=1.0, exclude=("Pb", "Cd"), max_ehull_ev=0)
    )
    criteria = {name: value for step in asked for name, value in step.criteria.items()}
    assert criteria == {
        "deprecated": False,
        "theoretical": False,
        "energy_above_hull": (None, 0),
        "num_sites": (None, 200),
        "exclude_elements": ["Cd", "Pb"],
        "band_gap": (1.0, None),
    }


def test_what_the_server_would_drop_or_refuse_is_filtered_here() -> None:
    kept = {step.reason for step in steps(query("Mg-*", unknown_ehull="keep"))}
    assert not kept & {"unknown_ehull", "above_hull"}  # a range drops what is not known
    many = tuple(symbol for symbol in SYMBOLS[21:60] if symbol != "Mg")
    assert len(",".join(many)) > 60
    assert "excluded_element" not in {s.reason for s in steps(query("Mg-*", exclude=many))}


@pytest.mark.parametrize(
    ("written", "legacy"),
    [
        ("mp-aaaaaaft", "mp-149"),
        ("mp-149", "mp-149"),
        ("aaaaaaft", "mp-149"),
        ("mp-aaahilze", "mp-hilze"),
        ("mp-hilze", "mp-hilze"),
        ("mvc-2970", "mvc-2970"),
    ],
)
def test_an_id_has_one_form(written: str, legacy: str) -> None:
    assert legacy_id(written) == legacy


def test_ids_are_those_of_the_projects_own_package() -> None:
    from emmet.core.mpid import AlphaID
    from emmet.core.types.typing import format_identifier

    for number in (1, 25, 26, 149, 3_347_528, 3_347_529, 3_347_530, 3_347_531, 12_345_678):
        alpha = str(AlphaID(number, prefix="mp", padlen=8))
        assert legacy_id(alpha) == format_identifier(f"mp-{number}", legacy=True)
