"""What the page of ``screen report`` holds, and that it holds nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pathways.hops import enumerate_hops
from screen.cli import main
from screen.database import connect
from screen.reader import open_reader
from screen.report.contents import read_contents
from screen.report.markup import Html, formula, join, json_for_script, link, tag
from screen.report.scene import make_scene
from screen.snapshots import live_folder
from screen.store import Store
from tests.screen.conftest import begin, make_result
from tests.screen.report.conftest import HOSTILE, data_of, report
from tests.small_crystals import crystal_of


class _Page(HTMLParser):
    """Elements, visible text and addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._silent = tag if tag in ("script", "style") else self._silent

    def handle_endtag(self, tag: str) -> None:
        self._silent = "" if tag == self._silent else self._silent

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data


def test_page_needs_nothing_from_elsewhere(page: str) -> None:
    parsed = _Page(page)
    for name, attributes in parsed.elements:
        assert "src" not in attributes, name
        assert name not in ("link", "iframe", "object", "base", "form")
        assert not [key for key in attributes if key.startswith("on")], name
    outside = [one["href"] for name, one in parsed.elements if name == "a"]
    assert [href for href in outside if not str(href).startswith("#")] == []


def test_policy_lets_only_the_pages_own_scripts_run(page: str) -> None:
    policy = next(
        one["content"] or ""
        for name, one in _Page(page).elements
        if name == "meta" and one.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    assert len(hashes) == 2
    assert all(f"'sha256-{one}'" in policy for one in hashes)
    assert "\r" not in page


def test_strings_from_data_never_become_markup(page: str) -> None:
    assert HOSTILE not in page
    assert "window.hurt=1</" not in page
    parsed = _Page(page)
    assert "img" not in [name for name, _ in parsed.elements]
    assert HOSTILE in parsed.text  # as a title, and whom to cite
    assert not [one for _, one in parsed.elements if "javascript:" in str(one.get("href"))]
    table = data_of(page)["table"]
    assert HOSTILE in [row[1] for row in table["rows"]]
    figures = json.dumps(data_of(page)["figures"])
    assert "<script" not in figures
    assert "<img" not in figures


def test_funnel_ranking_and_provenance_are_those_of_the_database(page: str, campaign: Path) -> None:
    document, text = data_of(page), _Page(page).text
    keys = [column["key"] for column in document["table"]["columns"]]
    rows = [dict(zip(keys, row, strict=True)) for row in document["table"]["rows"]]
    with open_reader(campaign) as reader:
        expected = reader.records("select * from ranked_materials")
        (stored,) = reader.records("select * from campaigns")
    assert [row["material_id"] for row in rows] == [row["material_id"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row["note"] == other["note"]
        for name in ("em_1d_ev", "em_2d_ev", "em_3d_ev", "em_1d_low_ev", "applicability"):
            assert (row[name] is None) == (other[name] is None)
            assert row[name] is None or row[name] == pytest.approx(other[name], abs=1e-4)
    hops, barriers = document["figures"]["funnel"]["data"][1]["x"]
    assert hops == sum(row["n_hops"] for row in expected)
    assert barriers == sum(row["n_predicted"] for row in expected)
    for word in (stored["campaign_id"], "test, version 1", "m@1", stored["code_version"]):
        assert word in text
    assert "model: non_finite" in document["figures"]["failures"]["data"][0]["y"]


def test_axes_have_units_and_captions_say_what_is_left_out(page: str) -> None:
    for key, figure in data_of(page)["figures"].items():
        for axis in ("xaxis", "yaxis"):
            title = figure["layout"][axis].get("title")
            assert title is None or re.search(r"\(.+\)|no unit|Rankings|Hops", title["text"]), key
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.S)
    assert len(captions) == len(data_of(page)["figures"]) + 1  # and the table's
    assert all("Shows" in caption for caption in captions)
    assert "Shows 3 of 4 rankings; 1 left out: no way through." in page


def test_columns_of_which_nothing_is_known_are_left_out(database: Path) -> None:
    keys = [column["key"] for column in data_of(report(database))["table"]["columns"]]
    assert "voltage_v" not in keys
    assert "mechanism" not in keys
    con = connect(database, read_only=False)
    con.execute("update materials set voltage_v = 3.4 where material_id = 'LiFePO4'")
    con.close()
    document = data_of(report(database))
    assert "voltage_v" in [column["key"] for column in document["table"]["columns"]]
    assert document["figures"]["voltage"]["data"][0]["x"] == [3.4]
    assert "capacity" not in document["figures"]


def test_same_database_same_page(page: str, campaign: Path) -> None:
    assert report(campaign, "--title", HOSTILE) == page


def test_material_has_its_hops_and_way(page: str, campaign: Path) -> None:
    details = [data_of(page, f"material-{n}") for n in range(data_of(page)["n_details"])]
    iron = next(one for one in details if one["material_id"] == "LiFePO4")
    assert [route["dimension"] for route in iron["scene"]["routes"]] == [
        d for d, (em_ev, _, _) in enumerate(iron["barriers"], 1) if em_ev is not None
    ]
    em_ev = [hop["em_ev"] for hop in iron["hops"]]
    assert em_ev == sorted(em_ev)
    for route, (value, low, high), limiting in zip(
        iron["scene"]["routes"], iron["barriers"], iron["limiting"], strict=False
    ):
        assert low <= value <= high
        limits = {iron["hops"][int(step[6])]["id"] for step in route["steps"] if step[7]}
        assert limits == {limiting}
    fewer = report(campaign, "--top", "2")
    assert "material-1" in fewer
    assert "material-2" not in fewer


@pytest.mark.parametrize("name", ["LiFePO4", "LiCoO2", "MgMn2O4"])
def test_way_joins_sites_of_the_ion_and_goes_from_cell_to_cell(name: str) -> None:
    crystal = crystal_of(name)
    network = enumerate_hops(crystal, name[:2])
    em_ev = [hop.length_a / 10 for hop in network.hops]
    scene = make_scene(network, network.hops, em_ev)
    sites = np.array(scene.sites)
    assert all(0 < one[-1] < 16 for one in [*scene.sites, *scene.atoms])
    lengths_a = [hop.length_a for hop in network.hops]
    assert scene.routes
    for route in scene.routes:
        reached = []
        for step in route["steps"]:
            ends = np.array(step[:6]).reshape(2, 3)
            assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(lengths_a[step[6]], abs=0.01)
            reached += list(ends)
            for end in ends:
                nearest = np.linalg.norm(sites[:, :3] - end, axis=1).argmin()
                assert sites[nearest, :3] == pytest.approx(end, abs=0.02)
                assert int(sites[nearest, 3]) & 1 << route["dimension"]
        frac = (np.array(reached) - reached[0]) @ np.linalg.inv(np.array(scene.cell))
        whole = np.abs(frac - frac.round()).max(axis=1) < 0.01
        vectors = frac[whole].round()
        assert np.linalg.matrix_rank(vectors) >= route["dimension"]
    ions = scene.elements[-1]
    assert (ions["symbol"], ions["ion"]) == (name[:2], True)
    assert all(0 <= atom[3] < len(scene.elements) - 1 for atom in scene.atoms)
    assert all(max(bond) < len(scene.atoms) for bond in scene.bonds)


def test_hundred_thousand_rankings_fit_in_ten_megabytes(large_database: Path) -> None:
    page = report(large_database)
    assert len(page.encode()) < 10e6
    document = data_of(page)
    assert len(document["table"]["rows"]) == 10_000
    assert "Shows 10,000 of 100,000 rankings; 90,000 left out" in page
    heights = [sum(trace["y"]) for trace in document["figures"]["materials"]["data"]]
    assert sum(heights) == 98_000
    assert "Shows 98,000 of 100,000 rankings; 2,000 left out: no way through." in page
    assert document["figures"]["hull"]["data"][0]["type"] == "heatmap"
    assert sum(n or 0 for row in document["figures"]["hull"]["data"][0]["z"] for n in row) == 98_000


def test_no_campaign_is_one_line(
    tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(path).close()
    page = tmp_path / "report.html"
    assert main(["report", "--db", str(path), "-o", str(page)]) == 3
    assert capsys.readouterr().err == f"{path}: no campaign yet; `screen run` makes one\n"
    assert not page.exists()


def test_campaign_without_rankings_has_a_page(path: Path) -> None:
    with Store.open(path) as store:
        begin(store)
    page = report(path)
    assert "No material is ranked yet" in page
    assert data_of(page)["table"]["rows"] == []
    assert data_of(page)["n_details"] == 0


def test_one_material_without_a_barrier_has_a_page(path: Path) -> None:
    with Store.open(path) as store:
        begin(store)
        store.write("c1", "m@1", [make_result("LiTiS2", failed=99)])
    page = report(path)
    assert "no hop could be predicted" in page
    assert data_of(page, "material-0")["barriers"] == [[None] * 3] * 3
    assert "lowest" not in data_of(page)["figures"]


def test_crystal_that_gives_other_hops_is_not_drawn(database: Path) -> None:
    con = connect(database, read_only=False)
    con.execute("update hops set length_a = length_a + 1 where material_id = 'LiFePO4'")
    con.execute("update materials set structure = null where material_id = 'LiCoO2'")
    con.execute("""update materials set structure = '"none"' where material_id = 'MgAl2O4'""")
    con.close()
    page = report(database)
    details = {
        one["material_id"]: one for one in (data_of(page, f"material-{n}") for n in range(4))
    }
    assert "other hops" in details["LiFePO4"]["no_scene"]
    assert details["LiCoO2"]["no_scene"] == "no structure is stored"
    assert details["MgAl2O4"]["no_scene"] == "the structure is str, expected a JSON object"
    assert all(one["hops"] for one in details.values())


def test_running_campaign_is_reported_from_its_snapshot(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import subprocess
    import sys

    with Store.open(path) as store:
        begin(store)
        store.write("c1", "m@1", [make_result("LiFePO4")])
        store.snapshots.take()
        assert live_folder(path).is_dir()
        page = path.with_name("report.html")
        done = subprocess.run(
            [sys.executable, "-m", "screen.cli", "report", "--db", str(path), "-o", str(page)],
            capture_output=True,
            text=True,
            check=True,
        )
    assert f"a run is writing {path}: this is as of " in done.stderr
    assert "this is its snapshot" in page.read_text()
    assert "LiFePO4" in page.read_text()


def test_two_models_and_barriers_that_came_back(database: Path) -> None:
    with Store.open(database) as store:
        store.begin_campaign("c2", {"ion": "Li"}, "test", "1", "n@2", expected=4)
        hops = make_result("LiFePO4").hops
        store.write("c2", "n@2", [make_result("LiFePO4", [0.5] * len(hops)), make_result("LiCoO2")])
        em_ev = {hop.hop_id: hop.prediction.em_ev for hop in hops}
        rows: list[dict[str, Any]] = [
            {
                "hop_id": hop_id,
                "method": "vasp",
                "source": "here",
                "em_forward_ev": value + shift,
                "em_reverse_ev": None,
                "functional": "PBE",
                "hubbard_u": None,
                "converged": True,
            }
            for (hop_id, value), shift in zip(em_ev.items(), [0.1, 5.0, *[-0.1] * 99], strict=False)
        ]
        store.write_barriers(rows)
    page = report(database, "--model", "m")
    figures = data_of(page)["figures"]
    assert len(figures["parity-0"]["data"][1]["x"]) == len(hops)
    inside = f"{len(hops) - 1} of {len(hops)} references"
    assert inside in page
    assert "by m@1, not by n@2" in page
    assert len(figures["models"]["data"][1]["x"]) == 2
    newest = report(database)
    assert "by n@2, not by m@1" in newest


def test_relaxed_bands_are_drawn_and_corrected(database: Path) -> None:
    names = ("LiFePO4", "LiCoO2", "MgAl2O4")
    ids = [hop.hop_id for name in names for hop in make_result(name).hops]
    known = ids[1:]
    profile = {"energies_ev": [0.1, 0.9, 0.2], "path_a": [0.0, 1.5, 3.0]}

    def barrier(hop_id: str, method: str, em_ev: float, profile: Any) -> dict[str, Any]:
        return {
            "hop_id": hop_id,
            "method": method,
            "source": "here",
            "em_forward_ev": em_ev,
            "em_reverse_ev": None,
            "functional": "PBE" if method == "vasp" else None,
            "hubbard_u": None,
            "converged": True,
            "profile": profile,
        }

    assert len(known) >= 5
    with Store.open(database) as store:
        store.write_barriers(
            [
                *(barrier(one, "ase:m:C", 0.1 * n, None) for n, one in enumerate(known)),
                *(barrier(one, "vasp", 0.2 * n + 0.1, None) for n, one in enumerate(known)),
                barrier(ids[0], "ase:m:C", 0.8, profile),
            ]
        )
    figures = data_of(report(database))["figures"]
    [band] = figures["profiles"]["data"]
    assert band["x"] == profile["path_a"]
    assert band["y"] == pytest.approx([0.0, 0.8, 0.1])
    raw, corrected, dft = figures["corrected-0"]["data"]
    assert len(raw["x"]) == len(corrected["x"]) == len(ids)
    assert len(dft["x"]) == len(known)
    at = dict(zip(corrected["x"], corrected["y"], strict=True))
    assert [at[n] for n in dft["x"]] == pytest.approx(dft["y"], abs=0.02)


def test_unknown_model_and_wrong_names_are_one_line(
    campaign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = str(tmp_path / "report.html")
    assert main(["report", "--db", str(campaign), "-o", page, "--model", "other"]) == 2
    assert "it has ranked nothing" in capsys.readouterr().err
    assert main(["report", "--db", str(campaign), "-o", str(tmp_path / "report.pdf")]) == 2
    assert "expected .html" in capsys.readouterr().err
    assert main(["report", "--db", str(campaign), "-o", str(tmp_path / "no" / "r.html")]) == 2
    assert "make it" in capsys.readouterr().err


def test_card_of_a_shipped_model_is_shown(path: Path) -> None:
    from models.checkpoint import find_model, model_id, read_card

    folder = find_model("ionscreen-1")
    with Store.open(path) as store:
        begin(store, model_id=model_id(folder))
        store.write("c1", model_id(folder), [make_result("LiFePO4")])
    text = _Page(report(path)).text
    card = read_card(folder)
    assert card["how_scored"] in text
    assert f"{card['group_folds']['mae_ev']:.2f}" in text


def test_page_is_written_whole_or_not_at_all(
    campaign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "report.html"
    taken.mkdir()
    assert main(["report", "--db", str(campaign), "-o", str(taken)]) == 1
    assert f"{taken}: cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [taken]


def test_markup_escapes_all_but_markup() -> None:
    assert tag("p", "<b>", Html("<b>"), title='"') == '<p title="&quot;">&lt;b&gt;<b></p>'
    assert join(["a", None, 3]) == "a3"
    assert formula("Mg(V2O4)2") == "Mg(V<sub>2</sub>O<sub>4</sub>)<sub>2</sub>"
    assert formula("<b>2") == "&lt;b&gt;2"
    assert link("javascript:alert(1)", "x") == "x"
    hard = "</script>\u2028<!--&\ud800"
    text = json_for_script({"a": hard})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text)["a"] == hard.replace("\ud800", "?")
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_for_script(float("nan"))


def test_contents_know_every_model(campaign: Path) -> None:
    with open_reader(campaign) as reader:
        contents = read_contents(reader, None)
    assert contents.models == ("m@1",)
    assert set(contents.ions) == {"Li", "Mg"}
