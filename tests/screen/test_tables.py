"""Tables with columns of any name, and structures in any form."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from jobs.records import Candidate, Failure
from screen.options import RunOptions
from screen.sources import Query, open_source
from screen.sources.documents import Document, chunks
from screen.sources.files import Columns, Files

ANY_MG = Query((), "Mg", max_ehull_ev=None, keep_duplicates=True)
NAMED = Columns("cell", "name", "hull", "gap")


def rock_salt() -> Structure:
    faces = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    frac = np.concatenate([faces, faces + np.array([0.5, 0, 0])])
    return Structure(Lattice.cubic(4.2), ["Mg"] * 4 + ["O"] * 4, frac)


def as_json(structure: Structure) -> dict[str, Any]:
    return {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [site.species_string for site in structure],
        "frac": structure.frac_coords.tolist(),
    }


def plain_dict(structure: Structure) -> dict[str, Any]:
    """Pymatgen's dict in a form that Arrow can hold: without empty objects."""
    value: dict[str, Any] = json.loads(json.dumps(structure.as_dict()))
    for part in (value, *value["sites"]):
        part.pop("properties", None)
    return value


def frame(structure: Structure, keys: str) -> str:
    cell = " ".join(str(x) for x in structure.lattice.matrix.ravel())
    atoms = [f"{site.species_string} {site.x} {site.y} {site.z}" for site in structure]
    return "\n".join([str(len(structure)), f'Lattice="{cell}" {keys}', *atoms]) + "\n"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        keys = [{key: value for key, value in row.items() if key != "cell"} for row in rows]
        texts = [" ".join(f"{key}={value}" for key, value in one.items()) for one in keys]
        path.write_text("".join(frame(rock_salt(), text) for text in texts))
    return path


def read(path: Path, columns: Columns | None = None) -> list[Candidate | Failure]:
    return list(Files([path], columns).candidates(ANY_MG))


def failures(items: Iterable[object]) -> list[tuple[str, str]]:
    return [(item.material_id, item.reason) for item in items if isinstance(item, Failure)]


FORMS: dict[str, Callable[[Structure], Any]] = {
    "own JSON": lambda structure: json.dumps(as_json(structure)),
    "bytes": lambda structure: json.dumps(as_json(structure)).encode(),
    "indented": lambda structure: "\n" + json.dumps(as_json(structure), indent=2),
    "pymatgen's JSON": lambda structure: structure.to_json(),
    "CIF": lambda structure: structure.to(fmt="cif"),
    "symmetrised CIF": lambda structure: structure.to(fmt="cif", symprec=0.01),
    "POSCAR": lambda structure: structure.to(fmt="poscar"),
    "struct": as_json,
    "pymatgen's struct": plain_dict,
}


@pytest.mark.parametrize(
    ("form", "suffix"),
    [
        (form, suffix)
        for form in FORMS
        for suffix in (".parquet", ".jsonl", ".json")
        if form != "bytes" or suffix == ".parquet"
    ],
)
def test_structures_in_any_form(form: str, suffix: str, tmp_path: Path) -> None:
    cell = FORMS[form](rock_salt())
    path = write(tmp_path / f"t{suffix}", [{"cell": cell, "n": n} for n in (7, 8)])
    items = read(path, Columns(structure="cell", material_id="n"))
    assert [item.material_id for item in items] == ["7", "8"]
    for item in items:
        assert isinstance(item, Candidate)
        assert sorted(item.crystal.numbers) == [8] * 4 + [12] * 4
        assert np.linalg.det(item.crystal.lattice) == pytest.approx(4.2**3)


def test_a_bad_structure_costs_its_row(tmp_path: Path) -> None:
    cif = rock_salt().to(fmt="cif")
    mixed = rock_salt()
    mixed[0] = {"Mg": 0.5, "Ca": 0.5}
    cells = [
        cif,
        cif[:200],
        cif + cif.replace("data_", "data_other"),
        mixed.to(fmt="cif"),
        mixed.to_json(),
        "POSCAR\n1.0\nnot numbers\n",
        "neither\nthis\nnor that",
        "",
        None,
        cif,
    ]
    items = read(write(tmp_path / "t.parquet", [{"structure": cell} for cell in cells]))
    assert failures(items) == [
        ("t-2", "unreadable"),
        ("t-3", "unreadable"),
        ("t-4", "partial_occupancy"),
        ("t-5", "partial_occupancy"),
        *((f"t-{n}", "unreadable") for n in range(6, 10)),
    ]
    details = [item.detail for item in items if isinstance(item, Failure)]
    assert all(f"row {n}" in detail for n, detail in enumerate(details, start=2))


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".extxyz"])
def test_named_columns_are_used(suffix: str, tmp_path: Path) -> None:
    cell = json.dumps(as_json(rock_salt()))
    rows = [
        {"cell": cell, "name": "a", "hull": 0.03, "gap": 4.5, "band_gap": 1.0},
        {"cell": cell, "name": "b", "hull": 0.04, "gap": 5.5, "band_gap": 1.0},
    ]
    items = read(write(tmp_path / f"t{suffix}", rows), NAMED)
    found = [
        (item.material_id, item.info["energy_above_hull_ev"], item.info["band_gap_ev"])
        for item in items
        if isinstance(item, Candidate)
    ]
    assert found == [("a", 0.03, 4.5), ("b", 0.04, 5.5)]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".extxyz"])
def test_a_named_column_that_is_not_there_is_one_failure(suffix: str, tmp_path: Path) -> None:
    cell = json.dumps(as_json(rock_salt()))
    rows = [{"cell": cell, "name": f"m-{n}", "hull": 0.01} for n in range(150)]
    path = write(tmp_path / f"t{suffix}", rows)
    other = write(tmp_path / "u.jsonl", [{**rows[0], "gap": 1.0}])
    items = list(Files([path, other], NAMED).candidates(ANY_MG))
    assert failures(items) == [("t", "unreadable")]
    (failure,) = (item for item in items if isinstance(item, Failure))
    assert "no column called gap" in failure.detail
    assert "name, hull" in failure.detail
    assert path.name in failure.detail
    assert [item.material_id for item in items if isinstance(item, Candidate)] == ["m-0"]


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_rows_of_json_may_lack_a_column(suffix: str, tmp_path: Path) -> None:
    cell = json.dumps(as_json(rock_salt()))
    rows = [{"cell": cell}, {"cell": cell, "hull": 0.1}, {"hull": 0.1}]
    columns = Columns(structure="cell", energy_above_hull="hull")
    items = read(write(tmp_path / f"t{suffix}", rows), columns)
    known = [item.info.get("energy_above_hull_ev") for item in items if isinstance(item, Candidate)]
    assert known == [None, 0.1]
    assert failures(items) == [("t-3", "unreadable")]


def test_single_files_have_no_columns(tmp_path: Path) -> None:
    rock_salt().to(filename=str(tmp_path / "x.cif"))
    (item,) = read(tmp_path / "x.cif", NAMED)
    assert isinstance(item, Candidate)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, None], ["1", "t-2"]),
        ([float("nan"), 3.5], ["t-1", "3.5"]),
        (["", "x"], ["t-1", "x"]),
        (["007", None], ["007", "t-2"]),
    ],
)
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_ids_are_text(ids: list[Any], expected: list[str], suffix: str, tmp_path: Path) -> None:
    cell = json.dumps(as_json(rock_salt()))
    rows = [{"material_id": one, "structure": cell} for one in ids]
    items = read(write(tmp_path / f"t{suffix}", rows))
    assert [item.material_id for item in items] == expected


def test_text_that_no_database_can_hold_is_made_fit(tmp_path: Path) -> None:
    structure = json.dumps(as_json(rock_salt()))
    lone = f'{{"material_id": "a\\ud800b", "license": "c\\udfffd", "structure": {structure}}}\n'
    (tmp_path / "t.jsonl").write_text(lone)
    rock_salt().to(filename=str(tmp_path / "x.cif"))
    (tmp_path / "x.cif").rename(tmp_path / "caf\udce9.cif")
    (tmp_path / "\udce9.json").write_text("{")
    items = list(Files([tmp_path]).candidates(ANY_MG))
    assert len(items) == 3
    for item in items:
        texts = [item.material_id]
        texts += [item.detail] if isinstance(item, Failure) else map(str, item.info.values())
        assert "".join(texts).encode()


def test_numbers_may_be_text_or_decimals(tmp_path: Path) -> None:
    cell = json.dumps(as_json(rock_salt()))
    table = pa.table(
        {
            "structure": [cell] * 3,
            "energy_above_hull": ["0.25", "n/a", None],
            "band_gap": pa.array([Decimal("1.0"), Decimal("2.0"), None]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    infos = [item.info for item in read(tmp_path / "t.parquet") if isinstance(item, Candidate)]
    assert [info.get("energy_above_hull_ev") for info in infos] == [0.25, None, None]
    assert [info.get("band_gap_ev") for info in infos] == [1.0, 2.0, None]


def test_the_options_name_the_columns(tmp_path: Path) -> None:
    cell = json.dumps(as_json(rock_salt()))
    path = write(tmp_path / "t.jsonl", [{"cell": cell, "name": "a", "hull": 0.1, "gap": 2.0}])
    options = RunOptions(
        source=(str(path),),
        structure_column="cell",
        id_column="name",
        ehull_column="hull",
        gap_column="gap",
    )
    source = open_source(options, pytest.fail)
    assert [item.material_id for item in source.candidates(ANY_MG)] == ["a"]
    plain = open_source(RunOptions(source=(str(path),)), pytest.fail)
    assert source.settings() != plain.settings()
    assert json.loads(json.dumps(source.settings())) == source.settings()


def large_table(path: Path, n_rows: int) -> Path:
    """About 5 kB a row."""
    cell = json.dumps({**as_json(rock_salt()), "note": "x" * 4500})
    rows = [{"material_id": f"m-{n}", "structure": cell} for n in range(n_rows)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, compression="none", use_dictionary=False)
    elif path.suffix == ".extxyz":
        path.write_text("".join(frame(rock_salt(), f"note={'x' * 4500}") for _ in rows))
    else:
        write(path, rows)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".extxyz"])
def test_a_table_is_streamed(suffix: str, tmp_path: Path) -> None:
    n_rows = 3000
    path = large_table(tmp_path / f"t{suffix}", n_rows)
    size = path.stat().st_size
    assert size > 10e6
    sizes: list[int] = []
    pa_before = pa.total_allocated_bytes()
    pa_most = 0
    list(chunks([str(path)], ["t"], Columns()))  # imports, once
    tracemalloc.start()
    for chunk in chunks([str(path)], ["t"], Columns()):
        sizes.append(sum(map(content_size, chunk)))
        pa_most = max(pa_most, pa.total_allocated_bytes() - pa_before)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most + pa_most < 8e6
    assert sum(sizes) > 0.9 * size
    assert max(sizes) < 600_000
    last = chunk[-1]
    assert n_rows - 40 < last.first <= n_rows


def content_size(document: Document) -> int:
    assert isinstance(document.content, str | bytes)
    return len(document.content)
