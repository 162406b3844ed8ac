"""``screen neb read`` on CSV files and on NEB documents of atomate2 and emmet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from emmet.core.neb import NebResult
from pymatgen.core import Lattice, Structure

from tests.screen.neb_results.conftest import AddCalculation, ReadBack, hop_of, rows


def test_a_csv(tmp_path: Path, read_back: ReadBack, db: Path) -> None:
    co, fe = hop_of("LiCoO2"), hop_of("LiFePO4")
    path = tmp_path / "from paper.csv"
    path.write_text(
        "hop_id,em_ev,em_reverse_ev,functional,converged\n"
        f'"{co}",0.5,0.4,PBE,yes\n"{fe}",0.3,,,\n"{co}x",0.2,,PBE,yes\n'
        f'"{fe}",-1,,PBE,yes\n,0.2,,PBE,yes\n"{fe}",0.2,,PBE,maybe\n"{fe}",0.9,,PBE,no\n'
    )
    done = read_back(path)
    assert done.code == 0
    assert [one["state"] for one in done.barriers] == ["new", "new"]
    expected = {"no_barrier", "no_hop_id", "not_said", "unknown_hop", "twice"}
    assert set(done.reasons) == expected
    assert len(done.refused) == len(expected)
    stored = {row["hop_id"]: row for row in rows(db)}
    assert rows(db, "profiles") == []  # a table says nothing of the way
    assert (stored[co]["method"], stored[co]["source"]) == ("csv", "from paper.csv")
    assert (stored[co]["em_reverse_ev"], stored[co]["converged"]) == (0.4, True)
    assert (stored[fe]["em_reverse_ev"], stored[fe]["converged"]) == (None, None)
    notes = next(one["notes"] for one in done.barriers if one["hop_id"] == fe)
    assert len(notes) == 2  # neither whether it converged nor with which functional
    found_below = read_back(tmp_path)
    assert [one["state"] for one in found_below.barriers] == ["unchanged"] * 2


def test_an_emmet_document_gives_emmets_barriers(tmp_path: Path, read_back: ReadBack) -> None:
    energies_ev = [0, 0.2, 0.5, 0.6, 0.5, 0.2, 0.05]
    result = NebResult(energies=energies_ev, state="successful", images=None)
    assert result.forward_barrier is not None
    assert result.reverse_barrier is not None
    document = json.loads(result.model_dump_json())
    known = document | {"hop_id": hop_of("LiCoO2")}
    unknown = document | {"forward_barrier": None, "tags": [f"hop_id={hop_of('LiFePO4')}"]}
    (tmp_path / "docs.json").write_text(json.dumps([known, unknown, document]))
    done = read_back(tmp_path / "docs.json")
    assert done.reasons == ["no_hop_id"]
    assert len(done.barriers) == 2
    for one in done.barriers:
        assert one["em_forward_ev"] == pytest.approx(result.forward_barrier, abs=1e-4)
        assert one["em_reverse_ev"] == pytest.approx(result.reverse_barrier, abs=1e-4)
        assert (one["method"], one["converged"]) == ("emmet", True)


def test_a_documents_images_give_the_path(tmp_path: Path, read_back: ReadBack) -> None:
    lattice = Lattice.orthorhombic(4, 5, 6)
    images = [Structure(lattice, ["Li"], [[x, 0, 0]]).as_dict() for x in (0.9, 1.1, 1.4)]
    document = {"energies": [0.0, 0.4, 0.1], "state": "successful", "images": images}
    path = tmp_path / "doc.json"
    path.write_text(json.dumps(document | {"hop_id": hop_of("LiCoO2")}))
    [one] = read_back(path).barriers
    assert one["profile"]["path_a"] == pytest.approx([0.0, 0.8, 2.0])
    images[1] = {"broken": True}
    path.write_text(json.dumps(document | {"hop_id": hop_of("LiCoO2")}))
    [one] = read_back(path).barriers
    assert (one["profile"]["path_a"], one["state"]) == (None, "changed")


def test_a_flows_record_carries_hop_and_functional(tmp_path: Path, read_back: ReadBack) -> None:
    record = {
        "metadata": {
            "hop_id": hop_of("LiCoO2"),
            "ionscreen": {"functional": "PBE+U", "hubbard_u_ev": {"Co": 3.32}},
        },
        "output": {
            "energies": [-5.0, -4.6, -4.9],
            "state": "failed",
            "directories": ["/scratch/01"],
            "failure_reasons": ["No image calculation output."],
        },
    }
    (tmp_path / "job.json").write_text(json.dumps(record))
    (tmp_path / "other.json").write_text("[1, 2]")
    [one] = read_back(tmp_path).barriers
    assert (one["method"], one["functional"], one["converged"]) == ("vasp", "PBE+U", False)
    assert json.loads(one["hubbard_u"]) == {"Co": 3.32}
    assert "No image calculation output." in one["notes"]


def test_a_document_beside_meta_json(add_calculation: AddCalculation, read_back: ReadBack) -> None:
    """The folder is one of --code ase, renamed to what atomate2 leaves: it may not be installed."""
    folder = add_calculation("LiCoO2", "ase", "--images", "1")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"code": "atomate2", "functional": "PBE"}))
    assert read_back(folder).reasons == ["not_run"]
    document = {"energies": [0.0, 0.4, 0.1], "state": "successful", "images": []}
    (folder / "neb.json").write_text(json.dumps(document))
    [one] = read_back(folder).barriers
    assert (one["hop_id"], one["functional"]) == (hop_of("LiCoO2"), "PBE")
    (folder / "neb.json").write_text(json.dumps(document | {"energies": [0.0, 0.4]}))
    assert read_back(folder).reasons == ["other_images"]
    (folder / "neb.json").write_text(json.dumps(document | {"hop_id": hop_of("LiFePO4")}))
    assert read_back(folder).reasons == ["other_hop"]


@pytest.mark.parametrize("name", ["nowhere", "notes.csv", "notes.json", "notes.txt"])
def test_files_of_another_kind_are_refused(name: str, tmp_path: Path, read_back: ReadBack) -> None:
    for suffix in ("csv", "json", "txt"):
        (tmp_path / f"notes.{suffix}").write_text("a,b\n1,2\n")
    assert read_back(tmp_path / name).code == 2


def test_nothing_to_read(tmp_path: Path, read_back: ReadBack) -> None:
    (tmp_path / "empty").mkdir()
    done = read_back(tmp_path / "empty")
    assert done.code == 3
    assert "no result of a band" in done.err


def test_no_database_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from screen.cli import main

    db = tmp_path / "new.duckdb"
    assert main(["neb", "read", str(tmp_path), "--db", str(db)]) == 2
    assert "no such database" in capsys.readouterr().err
    assert not db.exists()
