"""From a campaign over a shortlist to inputs, with a name that files and formats take amiss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from screen.cli import main
from screen.neb.inputs import read_hop
from screen.sources.structure_json import structure_json
from tests.screen.conftest import crystal_of

HOSTILE = "../odd \"name'\\ 50% <b>\t="


@pytest.fixture(scope="module")
def shortlist(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    row = {"material_id": HOSTILE, "structure": json.loads(structure_json(crystal_of("LiCoO2")))}
    (folder / "crystals.jsonl").write_text(json.dumps(row) + "\n")
    db, model = str(folder / "a.duckdb"), str(tiny_model)
    source = ["--source", str(folder / "crystals.jsonl"), "--chemsys", "Li-*", "--max-hops", "2"]
    how = ["--engine", "inline", "--mechanism", "both", "--model", model, "--db", db]
    assert main(["run", *source, *how]) == 0
    out = folder / "shortlist"
    assert main(["shortlist", "--db", db, "-o", str(out)]) == 0
    return out


@pytest.mark.parametrize("code", ["vasp", "qe", "ase"])
def test_every_hop_of_a_shortlist_is_written(shortlist: Path, code: str) -> None:
    assert main(["neb", "write", str(shortlist), "--code", code]) == 0
    hops = sorted(path.parent for path in shortlist.rglob("hop.json"))
    assert len(hops) == 2
    for folder in hops:
        said = json.loads((folder / "hop.json").read_text())
        meta = json.loads((folder / code / "meta.json").read_text())
        assert meta["hop_id"] == said["hop_id"] == read_hop(folder).hop_id
        assert meta["material_id"] == HOSTILE
        assert meta["model_id"] == said["predicted"]["model_id"]
        # The cell that the shortlist reckons the cost of.
        assert (meta["supercell"], meta["n_atoms"]) == (
            said["neb"]["supercell"],
            said["neb"]["atoms"],
        )
