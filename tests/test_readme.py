"""The README does what it says: its transcripts run, its names exist."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from jobs.records import Candidate
from screen.chemsys import parse
from screen.sources.base import Query
from screen.sources.catalog import Catalog
from tests.standins.documents import summary_document
from tests.standins.materials_project import MaterialsProject
from tests.transcripts import ROOT, check_transcript, run

README = (ROOT / "README.md").read_text()


def test_transcripts_run(tmp_path: Path) -> None:
    check_transcript(README, tmp_path, least=6)
    assert (tmp_path / "hops.parquet").is_file()


def test_the_real_thing_runs_on_a_stand_in_of_the_server(tmp_path: Path) -> None:
    (block,) = re.findall(r"```bash\n(export MP_API_KEY=.*?)```", README, flags=re.DOTALL)
    lines = [line for line in block.splitlines() if line.startswith("screen ")]
    assert len(lines) == 2
    query = Query((parse("Mg-*"),), "Mg", limit=4)
    documents = [
        summary_document(one.material_id, one.crystal)
        for one in Catalog().candidates(query)
        if isinstance(one, Candidate)
    ]
    with MaterialsProject(documents) as server:
        variables = {"IONSCREEN_CACHE": str(tmp_path / "cache"), **server.environment}
        for line in lines:
            done = run(line, tmp_path, variables)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "mp.duckdb").is_file()


def test_a_model_of_your_own_is_trained_scored_and_used(tmp_path: Path, data_dir: Path) -> None:
    """The block as it stands, but for the download, on few of the bands and for a short while."""
    (block,) = re.findall(r"```bash\n(screen data fetch em-bands.*?)```", README, flags=re.DOTALL)
    entries = json.loads((data_dir / "em_bands_train.json").read_text())
    small = sorted(entries, key=lambda entry: len(entry["atoms"]["elements"]))
    (tmp_path / "em-bands-train").write_text(json.dumps(small[:40]))
    (tmp_path / "em-bands-test").write_text(json.dumps(small[40:60]))
    shorter = block.replace("--epochs 10", "--epochs 1 --folds 2")
    shorter = shorter.replace('"Mg-*"', '"Mg-*" --limit 4')
    assert len(shorter.splitlines()) == 5
    for line in shorter.splitlines()[1:]:
        done = run(line, tmp_path, {"OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "my-networks" / "curve.csv").is_file()


def test_every_dependency_has_a_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *(name for extra in extras for name in extra)]
    table = README.split("## Dependencies")[1].split("## Licence")[0]
    for requirement in needed:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert name.group() in table, f"{name.group()} has no line in the README's table"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"setup", "demo", "test", "lint", "types", "bench"} <= targets
    assert set(re.findall(r"`?make (\w+)", README)) <= targets | {"are"}
