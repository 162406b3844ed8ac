"""Static figures: of every kind, in every format, and what they say of their rows."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from screen.cli import main
from screen.database import connect, utc_now
from screen.plots import band, barriers, funnel, style
from screen.reader import open_reader
from screen.store import Store
from tests.screen.conftest import begin, make_result

KINDS = ("histogram", "pareto", "parity", "band", "funnel", "scenario")
MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hosts of three ions: a barrier beyond the axis, one missing, two hulls, a computed band."""
    path = tmp_path_factory.mktemp("plots") / "x.duckdb"
    with Store.open(path) as store:
        begin(store)
        for name, em_ev in (("MgO", 0.4), ("NaCl", 0.9), ("CaF2", 4.5)):
            result = make_result(name)
            store.write("c1", "m@1", [make_result(name, [em_ev] * len(result.hops))])
        store.write("c1", "m@1", [make_result("MgMn2O4", failed=1)])
        store.finish_campaign("c1")
    with connect(path, read_only=False) as con:
        con.execute(
            "update materials set energy_above_hull_ev = length(material_id) / 100 "
            "where material_id in ('MgO', 'NaCl')"
        )
        ((hop_id,),) = con.execute(
            "select hop_id from hops where material_id = 'MgO' order by length_a limit 1"
        ).fetchall()
        con.execute(
            "insert into barriers (hop_id, method, source, em_forward_ev, em_reverse_ev, "
            "functional, converged, imported_at) values (?, 'neb', 'x', 0.5, 0.5, 'PBE', true, ?)",
            [hop_id, utc_now()],
        )
        con.execute(
            "insert into profiles (hop_id, method, source, energies_ev, path_a) "
            "values (?, 'neb', 'x', [0, 0.3, 0.5, 0.3, 0.1], [0, 1, 2, 3, 4])",
            [hop_id],
        )
    return path


def svg_text(path: Path) -> str:
    """What a reader of the figure sees, in order."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text("utf-8")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_by_the_command(
    kind: str, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"{kind}.png"
    assert main(["plot", kind, "--db", str(database), "-o", str(file)]) == 0
    assert capsys.readouterr().err == f"note: drawn in {file}\n"
    assert file.read_bytes().startswith(MAGIC[".png"])
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", style.SUFFIXES)
def test_formats_are_the_same_every_time(suffix: str, database: Path, tmp_path: Path) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for file in (first, second):
        with open_reader(database) as reader:
            style.save(lambda reader=reader: barriers.scenario(reader, None), file)
    assert first.read_bytes().startswith(MAGIC[suffix])
    assert first.read_bytes() == second.read_bytes()


def test_figures_say_units_rows_and_what_is_left_out(database: Path, tmp_path: Path) -> None:
    with open_reader(database) as reader:
        draw = {
            "histogram": lambda: barriers.histogram(reader, "material", 1, None),
            "hops": lambda: barriers.histogram(reader, "hop", 1, None),
            "mg": lambda: barriers.histogram(reader, "material", 1, "Mg"),
            "pareto": lambda: barriers.pareto(reader, 1, None),
            "scenario": lambda: barriers.scenario(reader, None),
            "funnel": lambda: funnel.stages(reader),
        }
        text = {}
        for name, one in draw.items():
            style.save(one, tmp_path / f"{name}.svg")
            text[name] = svg_text(tmp_path / f"{name}.svg")
        n_hops = len(reader.records("select 1 from ranked_hops"))
    for name in ("histogram", "hops", "mg", "pareto", "scenario"):
        assert "0.65 eV" in text[name], name
        assert "(eV)" in text[name], name
    for title in ("Ca: n = 1, 0 up to", "Na: n = 1, 0 up to", "Mg: n = 1, 1 up to"):
        assert title in text["histogram"]
    assert "3 of 4 rows" in text["histogram"]
    assert "1 without a way through in 1D left out" in " ".join(text["histogram"].split())
    assert "1 above 3 eV drawn there" in text["histogram"]
    assert f"{n_hops} of {n_hops} hops of 3 materials" in text["hops"]
    assert "Na:" not in text["mg"]
    assert "2 of 4 rows" in text["pareto"]
    assert "2 without a known energy above the hull" in " ".join(text["pareto"].split())
    assert "Energy above the hull (eV/atom)" in text["pareto"]
    assert "MgO" in text["pareto"]
    for ion in ("Ca", "Mg", "Na"):
        assert f"{ion}, vacancy (" in text["scenario"]
    assert "model: non_finite" in text["funnel"]
    assert "4 candidates, 1 failures" in text["funnel"]


def test_a_band_shows_what_was_computed(database: Path, tmp_path: Path) -> None:
    with open_reader(database) as reader:
        rows = reader.records("select * from ranked_hops where material_id = 'MgO' order by rank")
        (computed,) = reader.records("select hop_id from profiles")
        style.save(lambda: band.along_the_path(reader, computed["hop_id"]), tmp_path / "one.svg")
        other = next(
            row["hop_id"]
            for row in reader.records("select hop_id from ranked_hops order by rank desc")
            if row["hop_id"] != computed["hop_id"]
        )
        style.save(lambda: band.along_the_path(reader, other), tmp_path / "other.svg")
    text = svg_text(tmp_path / "one.svg")
    assert f"predicted Em, {rows[0]['em_ev']:.2f} eV" in text
    assert "neb, 0.50 eV" in text
    assert "computed bands: 1" in " ".join(text.split())
    assert "90 % interval" in text
    assert "bond valence, curved path" in text
    assert "Mg, moving" in text
    assert "neb," not in svg_text(tmp_path / "other.svg")


def test_an_old_database_without_profiles_is_drawn(database: Path, tmp_path: Path) -> None:
    """It is brought up to date first, as by every command that reads."""
    old = tmp_path / "old.duckdb"
    shutil.copy(database, old)
    with connect(old, read_only=False) as con:
        con.execute("delete from profiles")
    assert main(["plot", "band", "--db", str(old), "-o", str(tmp_path / "band.pdf")]) == 0


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["histogram", "-o", "x.gif"], "expected .png, .svg, .pdf", 2),
        (["histogram", "-o", "none/x.png"], "no folder", 2),
        (["histogram", "-o", "x.png", "--ion", "K"], "no barrier of K", 3),
        (["band", "-o", "x.png", "--hop", "mp-1:Mg:0-1:0,0,0"], "no such hop", 2),
        (["pie", "-o", "x.png"], "pie", 2),
        (["funnel", "-o", "x.png", "--ion", "Ca"], "takes no such option; it takes none", 2),
        (["pareto", "-o", "x.png", "--ion", "Ca"], "no material has a known energy", 3),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    arguments: list[str],
    said: str,
    code: int,
    database: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plot", *arguments, "--db", str(database)]) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(
    database: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    file = tmp_path / "x.png"
    assert main(["plot", "funnel", "--db", str(database), "-o", str(file)]) == 1
    assert "ionscreen[plots]" in capsys.readouterr().err


def test_an_empty_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(tmp_path / "x.duckdb").close()
    for kind in KINDS:
        arguments = ["--db", str(tmp_path / "x.duckdb"), "-o", str(tmp_path / "x.png")]
        assert main(["plot", kind, *arguments]) == 3
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_names_with_dollars_are_text(database: Path, tmp_path: Path) -> None:
    """matplotlib would take them for mathematics, and fail."""
    odd = tmp_path / "odd.duckdb"
    shutil.copy(database, odd)
    with connect(odd, read_only=False) as con:
        con.execute("update materials set formula = 'Mg$_O$x_{<&'")
    for kind in ("pareto", "band", "funnel"):
        file = tmp_path / f"{kind}.svg"
        assert main(["plot", kind, "--db", str(odd), "-o", str(file)]) == 0
    assert "Mg$_O$x_{&lt;&amp;" in svg_text(tmp_path / "pareto.svg")
    assert "Mg$_O$x_{&lt;&amp;" in svg_text(tmp_path / "band.svg")
