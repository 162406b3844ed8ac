"""Campaigns to report on: real crystals with chosen barriers, and 100,000 made-up rows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from screen.cli import main
from screen.database import connect, migrate
from screen.store import Store
from tests.screen.conftest import begin, make_result

HOSTILE = '</script><script>window.hurt=1</script><img src=x onerror="window.hurt=1">'
"""A formula that would run in a careless page."""

_MATERIALS = """
insert into materials by name select 'mp-' || i as material_id, 'made-up' as source,
    'Mg' || (1 + i % 9) || 'V' || (1 + i % 7) || 'O' || (1 + i % 12) as formula,
    ['Mg-O-V', 'Mg-O', 'Li-O', 'Ca-Mn-O'][1 + i % 4] as chemsys, 'Pnma' as space_group,
    (i * 7919 % 1000) / 10000.0 as energy_above_hull_ev, 'https://example.org/' || i as url,
    'CC-BY-4.0' as license, 'the makers of rows' as attribution, '1' as source_version,
    1 + i * 31 % 300 / 100.0 as voltage_v, 80 + i * 17 % 250 as capacity_mah_g
from range(?) rows(i)
"""
_RANKING = """
insert into material_ranking by name select 'mp-' || i as material_id,
    ['Mg', 'Li', 'Ca', 'Na'][1 + i % 4] as ion, 'vacancy' as mechanism, 'm@1' as model_id,
    'c1' as campaign_id, case when i % 50 > 0 then (i * 104729 % 30011) / 10000.0 end as em_1d_ev,
    em_1d_ev * 0.7 as em_1d_low_ev, em_1d_ev * 1.4 as em_1d_high_ev,
    em_1d_ev + 0.1 as em_2d_ev, em_2d_ev * 0.7 as em_2d_low_ev, em_2d_ev * 1.4 as em_2d_high_ev,
    case when i % 50 > 0 then 2 else 0 end::tinyint as dimension, 0.5 as p_good_1d,
    (i % 101) / 100.0 as applicability, 3 as n_hops, 3 as n_predicted, 0 as n_cut, 5.5 as cutoff_a,
    0.01 as symprec_a, timestamp '2026-01-01' as ranked_at
from range(?) rows(i)
"""


@pytest.fixture(scope="session")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hosts, one of them with a hostile formula and address and one without a way through."""
    path = tmp_path_factory.mktemp("campaign") / "campaign.duckdb"
    with Store.open(path) as store:
        begin(store)
        results = [make_result(name) for name in ("LiFePO4", "MgAl2O4", "LiCoO2")]
        results.append(make_result("LiTiS2", failed=99))
        store.write("c1", "m@1", results)
        store.finish_campaign("c1")
    _hostile(path)
    return path


@pytest.fixture
def database(campaign: Path, path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copy(campaign, path)


@pytest.fixture(scope="session")
def page(campaign: Path) -> str:
    """Its report, with a hostile title."""
    return report(campaign, "--title", HOSTILE)


@pytest.fixture(scope="session")
def page_file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page, encoding="utf-8", newline="\n")
    return file


def _hostile(path: Path) -> None:
    con = connect(path, read_only=False)
    con.execute(
        "update materials set formula = ?, url = ?, attribution = ?, license = 'x', "
        "space_group = '=HYPERLINK(1)' "
        "where material_id = 'MgAl2O4'",
        [HOSTILE, "javascript:window.hurt=1", HOSTILE],
    )
    con.execute("update materials set url = 'https://example.org/1' where material_id = 'LiCoO2'")
    con.close()


@pytest.fixture(scope="session")
def large_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100,000 rankings."""
    path = tmp_path_factory.mktemp("large") / "large.duckdb"
    with Store.open(path) as store:
        begin(store)
        store.finish_campaign("c1")
    con = connect(path, read_only=False)
    migrate(con, path)
    con.execute(_MATERIALS, [100_000])
    con.execute(_RANKING, [100_000])
    con.close()
    return path


def report(path: Path, *more: str) -> str:
    """The page that the command writes beside the database."""
    page = path.with_name("report.html")
    assert main(["report", "--db", str(path), "-o", str(page), *more]) == 0
    return page.read_text(encoding="utf-8")


def data_of(page: str, name: str = "report-data") -> Any:
    """A JSON document of the page, as a browser finds it."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])
