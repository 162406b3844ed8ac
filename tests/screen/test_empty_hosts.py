"""Hosts that hold none of the ion: sites by bond valence, from a table, from a filled crystal."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from pathways.convert import structure_from_crystal
from screen.cli import main
from screen.reader import open_reader
from tests.pathways.crystals import KNOWN

NAMES = {"LiFePO4": "LiFePO4 olivine", "LiTiS2": "LiTiS2 layered", "LiCoO2": "LiCoO2 layered"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``full`` and ``empty`` crystals of the same names."""
    root = tmp_path_factory.mktemp("hosts")
    for part in ("full", "empty"):
        (root / part).mkdir()
    for name, known in NAMES.items():
        structure = structure_from_crystal(KNOWN[known].crystal())
        structure.to(filename=str(root / "full" / f"{name}.cif"))
        structure.remove_species(["Li"])
        structure.to(filename=str(root / "empty" / f"{name}.cif"))
    return root


def run(folder: Path, db: Path, *words: str | Path) -> int:
    fixed = ["--source", folder, "--ion", "Li", "--engine", "inline", "--db", db]
    return main(["run", *map(str, [*fixed, *words])])


def barriers(db: Path) -> dict[str, tuple[float, str, str | None]]:
    with open_reader(db) as reader:
        rows = reader.records(
            "select r.material_id, em_1d_ev, mechanism, sites_source "
            "from ranked_materials r join materials using (material_id)"
        )
    return {
        row["material_id"]: (round(row["em_1d_ev"], 3), row["mechanism"], row["sites_source"])
        for row in rows
    }


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Barriers of one ion on the sites that the filled crystals have."""
    db = tmp_path_factory.mktemp("full") / "full.duckdb"
    assert run(folder / "full", db, "--mechanism", "dilute") == 0
    return {name: found[0] for name, found in barriers(db).items()}


def test_ranked_voids_are_the_sites_of_known_hosts(
    folder: Path, expected: dict[str, float], tmp_path: Path
) -> None:
    db = tmp_path / "ranked.duckdb"
    assert run(folder / "empty", db, "--sites", "ranked") == 0
    found = barriers(db)
    assert set(found) == set(NAMES)
    for name, (em_ev, mechanism, source) in found.items():
        assert (mechanism, source) == ("dilute", "voids by bond valence")
        assert em_ev == pytest.approx(expected[name], abs=0.03)
    with open_reader(db) as reader:  # what is stored gives the hops back
        structures = reader.records("select structure from materials")
    assert all("Li" in json.loads(row["structure"])["species"] for row in structures)


def test_sites_of_a_filled_crystal_of_the_same_framework(
    folder: Path, expected: dict[str, float], tmp_path: Path
) -> None:
    db = tmp_path / "filled.duckdb"
    assert run(folder / "empty", db, "--sites", folder / "full" / "LiFePO4.cif") == 0
    assert set(barriers(db)) == {"LiFePO4"}
    em_ev, mechanism, source = barriers(db)["LiFePO4"]
    assert em_ev == pytest.approx(expected["LiFePO4"], abs=0.01)
    assert (mechanism, source) == ("dilute", "LiFePO4.cif:LiFePO4")
    with open_reader(db) as reader:
        failures = reader.records("select stage, reason, material_id from failures order by all")
    assert [row["reason"] for row in failures] == ["other_framework"] * 2
    assert {row["stage"] for row in failures} == {"sites"}


def test_sites_of_a_table(folder: Path, expected: dict[str, float], tmp_path: Path) -> None:
    table = tmp_path / "sites.csv"
    structure = structure_from_crystal(KNOWN["LiTiS2 layered"].crystal())
    (place,) = [site.frac_coords for site in structure if site.specie.symbol == "Li"]
    table.write_text("material_id,x,y,z\nLiTiS2," + ",".join(map(str, place)) + "\n")
    db = tmp_path / "table.duckdb"
    assert run(folder / "empty", db, "--sites", table) == 0
    assert barriers(db) == {"LiTiS2": (expected["LiTiS2"], "dilute", "sites.csv")}


def test_without_sites_such_hosts_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder / "empty", tmp_path / "none.duckdb") == 3
    with open_reader(tmp_path / "none.duckdb") as reader:
        details = [row["detail"] for row in reader.records("select detail from failures")]
    assert len(details) == 3
    assert all("--sites finds places for it" in detail for detail in details)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sites", "no-such.cif"), "expected 'ranked', 'chgnet', 'electrodes', a CSV"),
        (("--sites", "ranked", "--top-sites", "0"), "--top-sites is 0"),
        (("--sites", "ranked", "--source", "optimade:cod"), "--sites ranked fills hosts of files"),
        (("--sites", "electrodes", "--source", "optimade:cod"), "needs the electrodes of"),
        (("--sites", "electrodes", "--source", "no-such-folder"), "needs the electrodes of"),
    ],
)
def test_wrong_use(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    fixed = ["--ion", "Li", "--engine", "inline", "--db", str(tmp_path / "x.duckdb")]
    assert main(["run", *fixed, *words]) == 2
    assert message in capsys.readouterr().err


def test_a_table_with_a_bad_line_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "sites.csv"
    table.write_text("material_id,x,y,z\nLiTiS2,0.5,nan,0\n")
    assert run(folder / "empty", tmp_path / "x.duckdb", "--sites", table) != 0
    assert "line 2 holds no three numbers" in capsys.readouterr().err


def test_voids_of_least_energy(folder: Path, expected: dict[str, float], tmp_path: Path) -> None:
    pytest.importorskip("chgnet")
    db = tmp_path / "chgnet.duckdb"
    assert run(folder / "empty", db, "--sites", "chgnet") == 0
    found = barriers(db)
    assert found["LiFePO4"][0] == pytest.approx(expected["LiFePO4"], abs=0.03)
    assert {source for _, _, source in found.values()} == {"voids by CHGNet 0.3.0"}


def test_chgnet_that_is_not_installed_is_said_before_the_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("chgnet"):
        pytest.skip("chgnet is installed here")
    assert run(folder / "empty", tmp_path / "x.duckdb", "--sites", "chgnet") == 1
    assert "pip install 'ionscreen[mlip]'" in capsys.readouterr().err
    assert not (tmp_path / "x.duckdb").exists()
