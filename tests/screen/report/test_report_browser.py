"""The page of ``screen report`` in a real browser, which a reader may have, too."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.screen.report.conftest import HOSTILE

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DESKTOP, _PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        # As root, as in a container, the browser wants no sandbox.
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def address(page_file: Path) -> str:
    return page_file.as_uri()


class Visit:
    """A page opened once, with all that it complains of."""

    def __init__(self, browser: Any, address: str, size: dict[str, int], colours: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        phone = size == _PHONE
        self.context = browser.new_context(
            viewport=size, color_scheme=colours, has_touch=phone, is_mobile=phone
        )
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def draw_all(self) -> None:
        """Bring every figure into view once."""
        for figure in self.page.query_selector_all("[data-figure]"):
            figure.scroll_into_view_if_needed()
            figure.wait_for_selector(".main-svg")
        self.page.locator("#material").scroll_into_view_if_needed()
        self.page.wait_for_selector("canvas[data-turn]")

    def rows(self) -> list[str]:
        """Ids of the ranked table's rows."""
        column = "document.querySelector('[data-key=material_id]').cellIndex"
        found: list[str] = self.page.eval_on_selector_all(
            "#ranking tbody tr", f"rows => rows.map((row) => row.cells[{column}].textContent)"
        )
        return found


@pytest.fixture(params=["light", "dark"])
def visit(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Visit]:
    opened = Visit(browser, address, _DESKTOP, request.param)
    yield opened
    opened.context.close()


@pytest.fixture
def light(browser: Any, address: str) -> Iterator[Visit]:
    opened = Visit(browser, address, _DESKTOP, "light")
    yield opened
    opened.context.close()


def test_draws_everything_without_complaint_or_request(visit: Visit) -> None:
    visit.draw_all()
    assert visit.complaints == []
    own = [url for url in visit.requests if not url.startswith(("data:", "blob:"))]
    assert own == [visit.page.url]


def test_table_sorts_filters_and_searches(light: Visit) -> None:
    page = light.page
    best_first = light.rows()
    assert len(best_first) == 4
    page.click('#ranking th[data-key="material_id"] button')
    assert light.rows() == sorted(best_first)
    page.click('#ranking th[data-key="material_id"] button')
    assert light.rows() == sorted(best_first, reverse=True)
    assert page.get_attribute('#ranking th[data-key="material_id"]', "aria-sort") == "descending"
    page.click('#ranking th[data-key="em_1d_ev"] button')
    page.click('#ranking th[data-key="em_1d_ev"] button')
    assert light.rows()[-1] == best_first[-1]  # without a barrier: last either way
    page.fill("#search", "lico")
    assert light.rows() == ["LiCoO2"]
    page.fill("#search", "")
    page.select_option("#ion-filter", "Mg")
    assert light.rows() == ["MgAl2O4"]
    page.select_option("#ion-filter", "")
    page.fill("#em-filter", "0")
    assert light.rows() == []
    assert page.text_content("#range") == "nothing matches"
    page.fill("#em-filter", "9")
    assert sorted(light.rows()) == ["LiCoO2", "LiFePO4", "MgAl2O4"]


def test_hostile_strings_are_text(light: Visit) -> None:
    light.draw_all()
    page = light.page
    assert page.evaluate("window.hurt") is None
    assert page.text_content("h1") == HOSTILE
    cell = page.locator("#ranking tbody tr", has_text="MgAl2O4").locator("th")
    assert cell.text_content() == HOSTILE
    cell.locator("button").click()
    assert HOSTILE in (page.text_content("#material h3") or "")
    assert page.query_selector_all("main img") == []
    hrefs = page.eval_on_selector_all("a", "all => all.map((one) => one.getAttribute('href'))")
    assert all(href.startswith(("#", "https://")) for href in hrefs)
    assert page.evaluate("window.hurt") is None
    assert light.complaints == []


def test_csv_has_what_the_filters_leave(light: Visit, tmp_path: Path) -> None:
    page = light.page
    page.select_option("#ion-filter", "Li")
    with page.expect_download() as download:
        page.click("#csv")
    file = tmp_path / "ranking.csv"
    download.value.save_as(file)
    with file.open(newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    assert [row["material_id"] for row in rows] == light.rows()
    assert {row["url"] for row in rows} == {"", "https://example.org/1"}
    assert float(rows[0]["em_1d_ev"]) > 0
    assert rows[-1]["em_1d_ev"] == ""


def test_csv_runs_no_formula(light: Visit, tmp_path: Path) -> None:
    page = light.page
    page.fill("#search", "MgAl2O4")
    with page.expect_download() as download:
        page.click("#csv")
    file = tmp_path / "ranking.csv"
    download.value.save_as(file)
    with file.open(newline="", encoding="utf-8") as text:
        (row,) = csv.DictReader(text)
    assert row["formula"] == HOSTILE
    assert row["space_group"].startswith("'=")


def test_crystal_turns_by_mouse_and_keys(light: Visit) -> None:
    page = light.page
    page.locator("#material").scroll_into_view_if_needed()
    page.wait_for_selector("canvas[data-turn]")
    canvas = page.locator("#crystal")
    canvas.scroll_into_view_if_needed()
    picture = "canvas => canvas.toDataURL()"
    turns, pictures = [canvas.get_attribute("data-turn")], [canvas.evaluate(picture)]

    def turned() -> None:
        page.wait_for_function(
            "before => document.querySelector('#crystal').dataset.turn !== before", arg=turns[-1]
        )
        turns.append(canvas.get_attribute("data-turn"))
        pictures.append(canvas.evaluate(picture))

    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 80, y + 30)
    turned()
    page.mouse.up()
    canvas.press("ArrowLeft")
    turned()
    assert len(set(turns)) == len(set(pictures)) == 3
    page.click('#material .group button:has-text("all hops")')
    page.wait_for_function(
        "before => document.querySelector('#crystal').toDataURL() !== before", arg=pictures[-1]
    )


def test_material_opens_on_click(light: Visit) -> None:
    page = light.page
    page.locator("#ranking tbody tr", has_text="LiCoO2").locator("button").click()
    assert (page.text_content("#material h3") or "").startswith("LiCoO2")
    assert page.get_attribute("#material header a", "href") == "https://example.org/1"
    page.click('#material-list button:has-text("LiFePO4")')
    assert (page.text_content("#material h3") or "").startswith("LiFePO4")


def test_dark_and_light_by_system_and_by_hand(visit: Visit) -> None:
    page = visit.page
    visit.draw_all()
    shade = "getComputedStyle(document.body).backgroundColor"
    axis = "getComputedStyle(document.querySelector('.xtick text')).fill"
    first = page.evaluate(shade), page.evaluate(axis)
    page.click("#theme")
    second = page.evaluate(shade), page.evaluate(axis)
    assert first[0] != second[0]
    assert first[1] != second[1]
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    brightness = [sum(map(int, text[4:-1].split(","))) for text in (first[0], second[0])]
    assert (brightness[0] < brightness[1]) is dark
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate(shade) == second[0]


def test_phone_scrolls_only_down(browser: Any, address: str) -> None:
    visit = Visit(browser, address, _PHONE, "light")
    visit.draw_all()
    assert visit.page.evaluate("document.documentElement.scrollWidth") == _PHONE["width"]
    assert visit.complaints == []
    visit.context.close()


def test_prints_every_figure(light: Visit, tmp_path: Path) -> None:
    pdf = light.page.pdf(path=tmp_path / "report.pdf")
    assert pdf.startswith(b"%PDF")
    drawn = light.page.eval_on_selector_all(
        "[data-figure]", "all => all.map((one) => Boolean(one.querySelector('.main-svg')))"
    )
    assert drawn
    assert all(drawn)
    assert light.complaints == []
