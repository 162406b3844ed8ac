"""Sets by matminer: what is said without it, and with it a download, a table and its labels."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pymatgen.core.structure import Structure

from models.bulk import KNOWN as PROPERTIES
from models.bulk_files import load_bulk
from pathways.convert import structure_from_crystal
from screen.cli import main
from screen.datasets import find_data
from screen.errors import UserError
from screen.matminer_sets import (
    SETS,
    MatminerSet,
    bulk_table,
    default_folder,
    find_property,
    find_set,
    short_reference,
)
from tests.models.bulk_crystals import crystals
from tests.standins.faults import Answer, Dropped
from tests.standins.loopback import LoopbackServer

N_CRYSTALS = 24
"""Enough labels for a training to take them."""
SHEAR = "matbench-log-gvrh"


def structures(count: int = N_CRYSTALS) -> list[Structure]:
    return [structure_from_crystal(crystal) for crystal in crystals(count)]


def chosen(name: str) -> MatminerSet:
    found = find_set(name)
    assert found is not None
    return found


def frame(name: str, count: int = N_CRYSTALS) -> pd.DataFrame:
    """Real crystals as matminer's table of a set has them, with labels 1.0, 1.1, …"""
    one = chosen(name)
    columns: dict[str, Any] = {
        "structure": structures(count),
        one.column: [1.0 + row / 10 for row in range(count)],
    }
    if one.identifier:
        columns[one.identifier] = [f"real-{row}" for row in range(count)]
    return pd.DataFrame(columns)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("IONSCREEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_matminer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python as it is where there is no matminer."""
    for name in ("matminer", "matminer.datasets"):
        monkeypatch.setitem(sys.modules, name, None)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    return errors[0]


@pytest.mark.usefixtures("no_matminer")
def test_without_the_package_it_is_said_what_to_install(
    capsys: pytest.CaptureFixture[str], own_cache: Path
) -> None:
    assert main(["data", "fetch", SHEAR]) == 1
    error = said(capsys)
    assert SHEAR in error
    assert "pip install matminer" in error
    assert not own_cache.exists()
    assert main(["data", "list"]) == 0
    out, err = capsys.readouterr()
    assert "matminer, not installed" in out
    assert "10,987 crystals" in out
    assert "pip install matminer" in err
    assert main(["data", "list", "--json"]) == 0
    rows = {row["file"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["em-bands-test"]["by"] == "ionscreen"
    assert {row["installed"] for row in rows.values() if row["by"] == "matminer"} == {False}
    assert rows[SHEAR]["entries"] == 10_987
    assert rows[SHEAR]["path"] is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([SHEAR, "--base-url", "http://127.0.0.1:9/"], "matminer downloads it"),
        (["matbench-steels"], "expected one of: em-bands, matbench-log-gvrh"),
    ],
)
def test_wrong_use(capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    assert main(["data", "fetch", *arguments]) == 2
    assert expected in said(capsys)


def test_names_as_data_takes_them() -> None:
    assert find_set("matbench_phonons") is find_set("matbench-phonons")
    with pytest.raises(UserError, match="screen data fetch matbench-phonons"):
        find_data(Path("matbench-phonons"))
    path = default_folder() / "matbench-phonons.h5"
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_data(Path("matbench_phonons")) == path


def test_every_set_but_one_is_a_property_that_we_know() -> None:
    unknown = [one.name for one in SETS if find_property(one) not in PROPERTIES]
    assert unknown == ["matbench-dielectric"]


def test_logarithms_become_moduli() -> None:
    table = bulk_table(frame(SHEAR), chosen(SHEAR), "0" * 64)
    assert table.properties == (PROPERTIES[0],)
    assert table.properties[0].unit == "GPa"
    assert table.labels[:, 0] == pytest.approx([10 ** (1 + row / 10) for row in range(N_CRYSTALS)])
    for ours, given in zip(table.crystals, crystals(N_CRYSTALS), strict=True):
        assert np.array_equal(ours.numbers, given.numbers)
        assert ours.lattice == pytest.approx(given.lattice)
        assert ours.frac == pytest.approx(given.frac)
    assert table.names[3] == "matbench-log-gvrh-3"
    assert not table.published_test.any()


def test_rows_that_cannot_be_used_are_named() -> None:
    given = frame("piezoelectric-tensor", 8).astype({"eij_max": object, "structure": object})
    given.loc[1, "eij_max"] = None
    given.loc[2, "eij_max"] = math.inf
    given.loc[3, "eij_max"] = "na"
    given.loc[4, "structure"] = "Li1 Co1 O2"
    shared = given["structure"][5].copy()
    shared[0] = {"Li": 0.5, "Na": 0.5}
    given.at[5, "structure"] = shared
    table = bulk_table(given, chosen("piezoelectric-tensor"), "0" * 64)
    assert table.names == ("real-0", "real-6", "real-7")
    reasons = dict(table.refused)
    assert list(reasons) == [f"real-{row}" for row in (1, 2, 3, 4, 5)]
    assert reasons["real-1"] == "eij_max is None, expected a number"
    assert "inf" in reasons["real-2"]
    assert "'na'" in reasons["real-3"]
    assert "no structure but str" in reasons["real-4"]
    assert "partial_occupancy" in reasons["real-5"]


def test_a_logarithm_too_large_for_a_number_is_refused() -> None:
    given = frame(SHEAR, 2)
    given.loc[0, "log10(G_VRH)"] = 400.0
    table = bulk_table(given, chosen(SHEAR), "0" * 64)
    assert [name for name, _ in table.refused] == [f"{SHEAR}-0"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (frame(SHEAR, 2).rename(columns={"log10(G_VRH)": "G"}), "no column log10"),
        (frame(SHEAR, 2).assign(structure=None), "none of 2 rows can be used; first: no structure"),
        (frame(SHEAR, 0), "none of 0 rows"),
    ],
    ids=["column", "rows", "empty"],
)
def test_a_table_of_nothing_is_refused(given: pd.DataFrame, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as raised:
        bulk_table(given, chosen(SHEAR), "0" * 64)
    assert raised.value.exit_code == 1


def test_references_fit_a_line() -> None:
    article = """@article{Jain2013,
        author = {Jain, Anubhav and Ong, Shyue Ping
            and Hautier, Geoffroy},
        doi = {10.1063/1.4812323}, journal = {APL Materials}, pages = {011002},
        abstract = {A url={http://other} in {\\textasciitilde}100 words, year={1900}.},
        title = {{The Materials Project}}, volume = {1}, year = {2013} }"""
    assert short_reference(article) == (
        "Jain et al., APL Materials 1 011002 (2013), doi:10.1063/1.4812323"
    )
    alone = "@misc{a, title={Data}, author={One, A.}, year={2018}, url={http://dx.doi.org/10.1/x}}"
    assert short_reference(alone) == "One, Data (2018), doi:10.1/x"
    assert short_reference("no\nBibTeX") == "no BibTeX"


class Store(LoopbackServer):
    """Serves matminer's files."""

    def __init__(self) -> None:
        super().__init__()
        self.content: dict[str, bytes] = {}

    def answer(self, target: str, headers: Mapping[str, str], shuffle: int | None) -> Answer:
        kind = {"Content-Type": "application/octet-stream"}
        return Answer(200, self.content[target.lstrip("/")], kind)


Publish = Callable[[str, pd.DataFrame], None]


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as server:
        yield server


@pytest.fixture
def publish(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Puts a table where matminer, by its own list of sets, downloads the set from."""
    pytest.importorskip("matminer")
    from matminer.datasets import dataset_retrieval, get_available_datasets
    from matminer.utils.io import store_dataframe_as_json

    get_available_datasets(print_format=None)

    def put(name: str, content: pd.DataFrame) -> None:
        matminer_name = chosen(name).matminer_name
        path = tmp_path / f"{matminer_name}.json.gz"
        store_dataframe_as_json(content, str(path), compression="gz", pbar=False)
        store.content[path.name] = path.read_bytes()
        entry = {
            **dataset_retrieval._dataset_dict[matminer_name],
            "url": f"{store.url}{path.name}",
            "hash": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        monkeypatch.setitem(dataset_retrieval._dataset_dict, matminer_name, entry)

    return put


def test_facts_are_those_of_matminer() -> None:
    datasets = pytest.importorskip("matminer.datasets")
    for one in SETS:
        name = one.matminer_name
        assert datasets.get_dataset_num_entries(name) == one.entries
        columns = datasets.get_dataset_columns(name)
        assert {one.column, "structure", one.identifier or "structure"} <= set(columns)
        references = "".join(datasets.get_dataset_citations(name))
        for doi in re.findall(r"doi:([^\s,]+)", f"{one.citation} {one.license}"):
            assert doi in references


def test_fetched_and_trained_on(
    publish: Publish, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(SHEAR, frame(SHEAR))
    assert main(["data", "fetch", SHEAR]) == 0
    out, err = capsys.readouterr()
    path = default_folder() / f"{SHEAR}.h5"
    assert out == f"{SHEAR}  {path}\n"
    assert "licence CC BY 4.0" in err
    assert "Dunn et al., npj Computational Materials 6 138 (2020)" in err
    assert f"{N_CRYSTALS} crystals; next: screen train pretrain --data {path} -o FOLDER" in err
    assert sorted(file.name for file in path.parent.iterdir()) == [
        f"{SHEAR}.h5",
        "matbench_log_gvrh.json.gz",
    ]
    table = load_bulk([find_data(Path(SHEAR))])
    assert table.properties == (PROPERTIES[0],)
    assert table.labels[0, 0] == pytest.approx(10)
    command = shlex.split(err[err.index("next: screen ") :])[2:]
    command[command.index("FOLDER")] = str(tmp_path / "network")
    small = [
        "--epochs",
        "1",
        "--width",
        "8",
        "--alignn-layers",
        "0",
        "--gcn-layers",
        "1",
        "--batch-size",
        "8",
    ]
    assert main([*command, *small]) == 0
    assert (tmp_path / "network").is_dir()


def test_what_is_here_is_not_asked_for_again(
    publish: Publish, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(SHEAR, frame(SHEAR, 4))
    folder = tmp_path / "new" / "folder"
    for output in ([], [], ["-o", str(folder)]):
        assert main(["data", "fetch", SHEAR, "--json", *output]) == 0
    documents = capsys.readouterr().out.replace("]\n[", "]\n\n[").split("\n\n")
    first, again, elsewhere = (json.loads(text)[0] for text in documents)
    assert first["crystals"] == 4
    assert first["left_out"] == []
    assert again == {"file": SHEAR, "path": first["path"]}
    assert elsewhere["path"] == str(folder / f"{SHEAR}.h5")
    assert len(store.requests) == 1
    assert len(load_bulk([folder / f"{SHEAR}.h5"])) == 4
    assert main(["data", "list", "--json"]) == 0
    rows = {row["file"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[SHEAR]["path"] == first["path"]
    assert rows[SHEAR]["installed"] is True
    # Another edition of the set takes the place of both files.
    publish(SHEAR, frame(SHEAR, 6))
    assert main(["data", "fetch", SHEAR, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["crystals"] == 6
    assert len(store.requests) == 2


def test_half_a_file_is_fetched_anew(publish: Publish, store: Store) -> None:
    publish(SHEAR, frame(SHEAR, 4))
    default_folder().mkdir(parents=True)
    half = store.content["matbench_log_gvrh.json.gz"][:100]
    (default_folder() / "matbench_log_gvrh.json.gz").write_bytes(half)
    assert main(["data", "fetch", SHEAR]) == 0
    assert len(store.requests) == 1
    assert len(load_bulk([default_folder() / f"{SHEAR}.h5"])) == 4


def test_a_download_that_fails_leaves_nothing(
    publish: Publish, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(SHEAR, frame(SHEAR, 4))
    store.faults.append(Dropped())
    assert main(["data", "fetch", SHEAR]) == 1
    error = said(capsys)
    assert "ConnectionError" in error
    assert "check the network" in error
    assert list(default_folder().iterdir()) == []


def test_wrong_content_is_refused(
    publish: Publish,
    store: Store,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(SHEAR, frame(SHEAR, 4))
    monkeypatch.setattr("matminer.datasets.utils.time", SimpleNamespace(sleep=lambda seconds: None))
    store.content["matbench_log_gvrh.json.gz"] = b"another set"
    assert main(["data", "fetch", SHEAR, "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "note: matminer: Waiting 60s" in err
    assert "hash validation failures" in err.splitlines()[-1]
    assert len(store.requests) == 4
    assert list(default_folder().iterdir()) == []


def test_rows_left_out_are_named(
    publish: Publish, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = frame("jarvis-dft-2d")
    given.loc[:22, "gap opt"] = math.nan
    publish("jarvis-dft-2d", given)
    assert main(["data", "fetch", "jarvis_dft_2d", "-o", str(tmp_path)]) == 0
    err = capsys.readouterr().err
    assert "left out real-0: gap opt is nan" in err
    assert "left out real-19:" in err
    assert "left out real-20:" not in err
    assert "left out 3 more" in err
    path = tmp_path / "jarvis-dft-2d.h5"
    assert f"screen train finetune --from FOLDER --data {path}:jarvis2d_band_gap" in err
    assert load_bulk([path], ["jarvis2d"]).names == ("real-23",)


def test_a_property_of_its_own_has_to_be_named(
    publish: Publish, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    publish("matbench-dielectric", frame("matbench-dielectric", 4))
    assert main(["data", "fetch", "matbench-dielectric", "-o", str(tmp_path)]) == 0
    assert "--properties refractive_index -o FOLDER" in capsys.readouterr().err
    table = load_bulk([tmp_path / "matbench-dielectric.h5"], ["refractive_index"])
    assert table.labels[:, 0] == pytest.approx([1.0, 1.1, 1.2, 1.3])


def test_a_folder_that_cannot_be_written(
    publish: Publish, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    publish(SHEAR, frame(SHEAR, 4))
    (tmp_path / "file").touch()
    assert main(["data", "fetch", SHEAR, "-o", str(tmp_path / "file")]) == 1
    assert "cannot be written" in said(capsys)
