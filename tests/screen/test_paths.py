"""``screen paths``: one crystal's hops as a table, as files, as a page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core.structure import Structure

from pathways.convert import structure_from_crystal
from screen.cli import main
from tests.pathways.crystals import KNOWN
from tests.pathways.test_vacuum import slab


@pytest.fixture(scope="module")
def olivine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paths") / "LiFePO4.cif"
    structure_from_crystal(KNOWN["LiFePO4 olivine"].crystal()).to(filename=str(path))
    return path


def test_a_file_and_a_database_say_the_same(
    olivine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["paths", str(olivine), "--ion", "Li", "--mechanism", "both", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert [row["mechanism"] for row in alone["ways"]] == ["vacancy", "dilute"]
    assert alone["hops"][0]["length_a"] == pytest.approx(3.0, abs=0.1)
    db = str(tmp_path / "x.duckdb")
    fixed = ["--ion", "Li", "--engine", "inline", "--mechanism", "both"]
    assert main(["run", "--source", str(olivine), *fixed, "--db", db]) == 0
    capsys.readouterr()
    assert main(["paths", "LiFePO4", "--db", db, "--json"]) == 0
    stored = json.loads(capsys.readouterr().out)
    assert stored["hops"] == alone["hops"]
    assert main(["paths", "LiFePO4", "--db", db]) == 0
    out = capsys.readouterr().out
    assert "1D: " in out
    assert "along [010]" in out
    assert main(["paths", "nothing", "--db", db]) == 2
    assert "no hops in nothing" in capsys.readouterr().err


def test_bands_are_written_as_other_programs_read_them(olivine: Path, tmp_path: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    folder = tmp_path / "bands"
    words = ["paths", str(olivine), "--ion", "Li", "--write", str(folder)]
    assert main(words) == 0
    bands = sorted(folder.glob("*.extxyz"))
    assert len(bands) >= 2
    for path in bands:
        images = ase_io.read(path, index=":")
        folded = Structure.from_file(path.with_suffix(".cif"))
        assert len(images) == 5
        assert len(folded) == len(images[0]) + 4
        steps = np.diff([image.positions[0] for image in images], axis=0)
        assert np.allclose(steps, steps[0], atol=1e-6)
        assert np.allclose(images[0].positions[1:], images[4].positions[1:])
    assert len(Structure.from_file(folder / "crystal.cif")) == 28


def test_a_page_draws_them(olivine: Path, tmp_path: Path) -> None:
    page = tmp_path / "paths.html"
    assert main(["paths", str(olivine), "--ion", "Li", "-o", str(page)]) == 0
    text = page.read_text()
    assert "LiFePO4" in text
    assert '"routes"' in text


def test_a_slab_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "slab.cif"
    structure_from_crystal(slab(4, 12.0)).to(filename=str(path))
    assert main(["paths", str(path), "--ion", "Mg", "--cutoff", "6", "--json"]) == 0
    said = capsys.readouterr()
    assert "vacuum of 12.0 Å along c" in said.err
    (way,) = json.loads(said.out)["ways"]
    assert way["em_3d_ev"] is None


def test_aluminium_of_the_framework_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "perovskite.cif"
    places = [[0.0] * 3, [0.5] * 3, [0.5, 0.5, 0.0]]
    structure = Structure.from_spacegroup("Pm-3m", np.eye(3) * 3.79, ["La", "Al", "O"], places)
    structure.to(filename=str(path))
    assert main(["paths", str(path), "--ion", "Al"]) == 0
    assert "every Al site counts as mobile" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("no-such.cif", "--ion", "Li"), 2, "no such file"),
        (("{olivine}",), 2, "which ion moves"),
        (("{olivine}", "--ion", "Mg"), 1, "no_mobile_ion"),
        (("{olivine}", "--ion", "Xx"), 2, "Xx"),
        (("{olivine}", "--ion", "Li", "-o", "page.pdf"), 2, "expected .html"),
    ],
)
def test_wrong_use(
    olivine: Path,
    words: tuple[str, ...],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [word.format(olivine=olivine) for word in words]
    assert main(["paths", *given]) == code
    assert message in capsys.readouterr().err


def test_several_crystals_are_refused(
    olivine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.cif").write_text(olivine.read_text())
    assert main(["paths", str(tmp_path), "--ion", "Li"]) == 2
    assert "several crystals" in capsys.readouterr().err
