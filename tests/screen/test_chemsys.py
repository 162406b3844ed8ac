from __future__ import annotations

import pytest

from screen.chemsys import MOBILE_IONS, default_ion, notice, parse
from screen.errors import NothingToShow, UserError
from screen.sources import Query


@pytest.mark.parametrize(
    ("text", "system", "expected"),
    [
        ("Mg-*", "Mg", False),
        ("Mg-*", "Mg-O", True),
        ("Mg-*", "Mg-Mn-O", True),
        ("Mg-*", "Ca-O", False),
        ("Mg-*", "Mg-Al-B-C-O-S", True),
        ("Mg-*", "Mg-Al-B-C-O-S-Se", False),
        ("Mg-?", "Mg-O", True),
        ("Mg-?", "Mg-Mn-O", False),
        ("Mg-Mn-O", "O-Mn-Mg", True),
        ("Mg-Mn-O", "Mg-O", False),
        ("Mg-Mn-O", "Mg-Mn-P-O", False),
        ("Mg-?-O", "Mg-Mn-O", True),
        ("Mg-?-O", "Mg-Mn-S", False),
        ("Mg-*-O", "Mg-O", False),
        ("Mg-*-O", "Mg-Ti-P-O", True),
        ("Mg-?-?", "Mg-Ti-O", True),
        ("Mg-?-*", "Mg-O", False),
        ("Mg-?-*", "Mg-Ti-O", True),
        ("*-Mg", "Mg-O", True),
        ("Mg", "Mg", True),
        (" Mg - O ", "Mg-O", True),
    ],
)
def test_matches(text: str, system: str, expected: bool) -> None:
    assert parse(text).matches(set(system.split("-"))) is expected


def test_max_elements_bounds_the_star_only() -> None:
    assert not parse("Mg-*").matches({"Mg", "Mn", "O"}, max_elements=2)
    assert parse("Mg-Mn-O").matches({"Mg", "Mn", "O"}, max_elements=2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Xx-*", "unknown element 'Xx'"),
        ("mg-O", "did you mean Mg?"),
        ("MgO", "unknown element 'MgO'"),
        ("Mg--O", "malformed"),
        ("", "malformed"),
        ("Mg-*,Ca-*", "unknown element '*,Ca'"),
        ("Mg-Mg", "twice"),
    ],
)
def test_bad_patterns_are_wrong_use(text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text)
    assert caught.value.exit_code == 2
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "ion"),
    [
        (["Mg-*"], "Mg"),
        (["Ca-Mg-O"], "Ca"),
        (["Fe-Li-O"], "Li"),
        (["Ca-Mg-O", "Mg-*"], "Mg"),
        (["*-O", "Na-*"], "Na"),
    ],
)
def test_default_ion(texts: list[str], ion: str) -> None:
    assert default_ion([parse(text) for text in texts]) == ion


@pytest.mark.parametrize("texts", [["Fe-O"], ["*"], [], ["Mg-*", "Ca-*"]])
def test_no_default_ion_says_what_to_pass(texts: list[str]) -> None:
    with pytest.raises(UserError, match=r"--ion [A-Z]") as caught:
        default_ion([parse(text) for text in texts])
    assert caught.value.exit_code == 2


def test_every_mobile_ion_is_its_own_default() -> None:
    assert [default_ion([parse(f"{ion}-*")]) for ion in MOBILE_IONS] == list(MOBILE_IONS)


def test_notice_tells_the_other_meaning_of_the_star() -> None:
    assert "Mg-? here" in str(notice([parse("Mg-*")]))
    assert "exactly one" in str(notice([parse("Mg-O"), parse("Mg-?")]))
    assert notice([parse("Mg-Mn-O")]) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"patterns": (parse("Mg-*"),), "ion": "Qq"},
        {"patterns": (parse("Ca-O"),), "ion": "Mg"},
        {"patterns": (parse("Mg-Mn-P-*"),), "ion": "Mg", "max_elements": 3},
        {"patterns": (), "ion": "Mg", "limit": 0},
        {"patterns": (), "ion": "Mg", "max_sites": 0},
        {"patterns": (), "ion": "Mg", "max_ehull_ev": float("nan")},
    ],
)
def test_a_query_that_can_never_be_met_is_wrong_use(arguments: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        Query(**arguments)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


def test_a_query_without_patterns_takes_every_system_with_the_ion() -> None:
    query = Query((), "Mg")
    assert query.selects({"Mg", "O"})
    assert not query.selects({"Ca", "O"})


def test_exit_codes() -> None:
    assert UserError("two\nlines").exit_code == 2
    assert str(UserError("two\nlines")) == "two lines"
    assert NothingToShow("nothing").exit_code == 3
