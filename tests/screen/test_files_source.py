from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from jobs.records import Candidate, Failure
from jobs.session import ray_session
from jobs.settings import RunSettings
from screen.chemsys import parse
from screen.errors import UserError
from screen.options import RunOptions
from screen.sources import Query, Source, documents, open_source
from screen.sources.files import Columns, Files
from screen.sources.readers import Parser

ANY_MG = Query((), "Mg", keep_duplicates=True)


def rock_salt(cation: str = "Mg") -> Structure:
    faces = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    frac = np.concatenate([faces, faces + np.array([0.5, 0, 0])])
    return Structure(Lattice.cubic(4.2), [cation] * 4 + ["O"] * 4, frac)


def as_json(structure: Structure) -> dict[str, Any]:
    return {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [site.species_string for site in structure],
        "frac": structure.frac_coords.tolist(),
    }


def row(material_id: str | None = "m-1", cation: str = "Mg", **more: Any) -> dict[str, Any]:
    return {"material_id": material_id, "structure": json.dumps(as_json(rock_salt(cation))), **more}


def write_jsonl(path: Path, *rows: object) -> Path:
    lines = [item if isinstance(item, str) else json.dumps(item) for item in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path, query: Query = ANY_MG) -> list[Candidate | Failure]:
    return list(Files([path]).candidates(query))


def opened(*paths: Path | str) -> Source:
    return open_source(RunOptions(source=tuple(map(str, paths))), pytest.fail)


def reasons(items: list[Candidate | Failure]) -> list[tuple[str, str, str]]:
    return [(f.material_id, f.stage, f.reason) for f in items if isinstance(f, Failure)]


def extxyz(structure: Structure, extra: str = "") -> str:
    cell = " ".join(str(x) for x in structure.lattice.matrix.ravel())
    lines = [str(len(structure)), f'Lattice="{cell}" Properties=id:I:1:species:S:1:pos:R:3 {extra}']
    for n, site in enumerate(structure):
        x, y, z = site.coords
        lines.append(f"{n} {site.species_string} {x} {y} {z}")
    return "\n".join(lines) + "\n"


def write_kind(kind: str, folder: Path) -> Path:
    structure = rock_salt()
    path = folder / kind
    if kind.endswith(".extxyz"):
        path.write_text(extxyz(structure))
    elif kind.endswith(".jsonl"):
        path.write_text(json.dumps(as_json(structure)) + "\n")
    elif kind.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist([{"structure": json.dumps(as_json(structure))}]), path)
    elif kind == "plain.json":
        path.write_text(json.dumps(as_json(structure)))
    else:
        formats = {"x.cif": "cif", "x.json": "json"}
        structure.to(filename=str(path), fmt=formats.get(kind, "poscar"))
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "x.cif",
        "POSCAR",
        "CONTCAR.mp-1",
        "x.vasp",
        "x.json",
        "plain.json",
        "x.extxyz",
        "x.jsonl",
        "x.parquet",
    ],
)
def test_every_kind_of_file_gives_the_same_crystal(kind: str, tmp_path: Path) -> None:
    path = write_kind(kind, tmp_path)
    (candidate,) = opened(path).candidates(ANY_MG)
    assert isinstance(candidate, Candidate)
    assert candidate.material_id == (kind if kind.startswith("CONTCAR") else path.stem)
    assert candidate.info["formula"] == "MgO"
    assert candidate.info["chemsys"] == "Mg-O"
    assert candidate.info["nsites"] == 8
    assert sorted(candidate.crystal.numbers) == [8] * 4 + [12] * 4
    np.testing.assert_allclose(np.linalg.det(candidate.crystal.lattice), 4.2**3)
    magnesium = candidate.crystal.frac[candidate.crystal.numbers == 12] % 1
    np.testing.assert_allclose(np.sort(magnesium.sum(axis=1)), [0, 1, 1, 1], atol=1e-6)


@pytest.mark.parametrize(
    "kind", ["x.cif", "POSCAR", "CONTCAR.mp-1", "x.json", "x.jsonl", "x.extxyz"]
)
def test_packed_files_are_read_as_what_they_hold(kind: str, tmp_path: Path) -> None:
    path = write_kind(kind, tmp_path)
    [plain] = read(path)
    packed = tmp_path / f"{kind}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for source in (Files([packed]), Files([f"{tmp_path}/*.gz"])):
        [same] = source.candidates(ANY_MG)
        assert isinstance(same, Candidate)
        assert same.material_id == plain.material_id
        np.testing.assert_array_equal(same.crystal.frac, plain.crystal.frac)
    packed.write_bytes(packed.read_bytes()[:-20])
    assert reasons(read(packed))[0][1:] == ("source", "unreadable")


def test_a_packed_file_that_would_fill_the_memory_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_MOST_BYTES", 10_000)
    (tmp_path / "b.cif.gz").write_bytes(gzip.compress(b"#" * 10_000_000))
    [failure] = read(tmp_path / "b.cif.gz")
    assert isinstance(failure, Failure)
    assert "split it" in failure.detail


def test_a_folder_is_read_to_the_bottom_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.cif", "a.cif", "deep/c.cif", "deep/a.cif", ".hidden/d.cif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        rock_salt().to(filename=str(tmp_path / name))
    (tmp_path / "notes.txt").write_text("no structure")
    ids = [item.material_id for item in read(tmp_path)]
    assert ids == ["a.cif", "b", "deep/a.cif", "c"]
    assert Files([tmp_path]).count(ANY_MG) == 4
    assert Files([tmp_path]).count(Query((), "Mg", limit=2)) == 2


def test_several_paths_make_one_source(tmp_path: Path) -> None:
    one = write_jsonl(tmp_path / "one.jsonl", row("m-1"))
    two = write_jsonl(tmp_path / "two.jsonl", row("m-2"), row("m-1"))
    items = list(opened(one, two).candidates(ANY_MG))
    assert [item.material_id for item in items] == ["m-1", "m-2", "m-1#2"]
    assert reasons(items) == [("m-1#2", "source", "duplicate_id")]


def test_bad_files_are_rows_and_the_rest_goes_on(tmp_path: Path) -> None:
    rock_salt().to(filename=str(tmp_path / "good.cif"))
    cif = (tmp_path / "good.cif").read_text()
    (tmp_path / "bad.cif").write_text("no cif\nat all")
    (tmp_path / "cut.cif").write_text(cif[:400])
    (tmp_path / "empty.cif").write_text("")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "gone.cif").symlink_to(tmp_path / "nowhere.cif")
    disordered = rock_salt()
    disordered[0] = {"Mg": 0.5, "Ca": 0.5}
    disordered.to(filename=str(tmp_path / "disordered.cif"))
    source = Files([tmp_path])
    assert len(source.version()) == 12
    items = list(source.candidates(ANY_MG))
    assert [item.material_id for item in items if isinstance(item, Candidate)] == ["good"]
    by_id = {item.material_id: item for item in items if isinstance(item, Failure)}
    assert {f.stage for f in by_id.values()} == {"source"}
    assert by_id.pop("disordered").reason == "partial_occupancy"
    assert {f.reason for f in by_id.values()} == {"unreadable"}
    assert len(by_id) == 6
    assert all("\n" not in f.detail and f.detail for f in by_id.values())


def test_each_block_of_a_cif_is_a_material(tmp_path: Path) -> None:
    rock_salt().to(filename=str(tmp_path / "x.cif"))
    cif = (tmp_path / "x.cif").read_text()
    other = cif.replace("data_", "data_other_")
    (tmp_path / "x.cif").write_text("data_global\n_journal_year 2000\n\n" + cif + other)
    assert [item.material_id for item in read(tmp_path)] == ["x-1", "x-2"]
    broken = other.replace("_cell_length_a", "_cell_length_q")
    (tmp_path / "x.cif").write_text(cif + broken)
    assert reasons(read(tmp_path)) == [("x-2", "source", "unreadable")]


def test_a_poscar_without_symbols_is_not_guessed(tmp_path: Path) -> None:
    lines = rock_salt().to(fmt="poscar").splitlines()
    del lines[5]
    lines = [" ".join(line.split()[:3]) if n > 5 else line for n, line in enumerate(lines)]
    (tmp_path / "POSCAR").write_text("\n".join(["unnamed", *lines[1:]]))
    assert reasons(read(tmp_path)) == [("POSCAR", "source", "unreadable")]


def test_bad_rows_of_a_table_are_rows(tmp_path: Path) -> None:
    good = as_json(rock_salt())
    path = write_jsonl(
        tmp_path / "t.jsonl",
        row("good"),
        "{",
        "3",
        "",
        row(None),
        {"material_id": "no-structure"},
        {"material_id": "null", "structure": None},
        {"material_id": "nan", "structure": {**good, "frac": [[float("nan")] * 3] * 8}},
        {"material_id": "short", "structure": {**good, "frac": good["frac"][:3]}},
        {"material_id": "ragged", "structure": {**good, "lattice": [[1, 2], [3]]}},
        {"material_id": "text", "structure": {**good, "species": "MgO"}},
        {"material_id": "unknown", "structure": {**good, "species": ["Qq"] * 8}},
        {"material_id": "partial", "structure": {**good, "species": [{"Mg": 0.5}] * 8}},
        row("good"),
        row("last"),
    )
    items = read(path)
    candidates = [item.material_id for item in items if isinstance(item, Candidate)]
    assert candidates == ["good", "t-4", "last"]
    assert reasons(items) == [
        ("t-2", "source", "unreadable"),
        ("t-3", "source", "unreadable"),
        ("no-structure", "source", "unreadable"),
        ("null", "source", "unreadable"),
        ("nan", "source", "non_finite"),
        ("short", "source", "bad_shape"),
        ("ragged", "source", "bad_shape"),
        ("text", "source", "bad_shape"),
        ("unknown", "source", "unknown_element"),
        ("partial", "source", "partial_occupancy"),
        ("good#2", "source", "duplicate_id"),
    ]
    assert "line 2" in next(item.detail for item in items if isinstance(item, Failure))


def test_columns_become_info(tmp_path: Path) -> None:
    known = {"energy_above_hull_ev_atom": 0.05, "band_gap_ev": 4.4, "theoretical": True}
    path = tmp_path / "t.parquet"
    rows = [row("a", **known, license="CC-BY-4.0"), row("b"), row("c")]
    rows[2]["energy_above_hull_ev_atom"] = float("nan")
    pq.write_table(pa.Table.from_pylist(rows), path)
    a, b, c = (item for item in read(path) if isinstance(item, Candidate))
    assert a.info["energy_above_hull_ev"] == 0.05
    assert a.info["band_gap_ev"] == 4.4
    assert a.info["theoretical"] is True
    assert a.info["license"] == "CC-BY-4.0"
    assert a.info["source"] == "t.parquet"
    assert "energy_above_hull_ev" not in b.info
    assert "energy_above_hull_ev" not in c.info


def test_filters(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "t.jsonl",
        row("mg"),
        row("ca", "Ca"),
        row("high", energy_above_hull_ev_atom=0.2),
    )
    items = read(path)
    assert reasons(items) == [
        ("ca", "filter", "no_mobile_ion"),
        ("high", "filter", "above_hull"),
    ]
    items = read(path, Query((parse("Mg-*"),), "Mg", max_ehull_ev=None, keep_duplicates=True))
    assert [item.material_id for item in items] == ["mg", "high"]
    items = read(path, Query((parse("Mg-*"),), "Mg", max_sites=7))
    assert ("mg", "filter", "too_many_sites") in reasons(items)


def test_species_may_carry_oxidation_states(tmp_path: Path) -> None:
    structure = rock_salt().add_oxidation_state_by_element({"Mg": 2, "O": -2})
    path = write_jsonl(
        tmp_path / "t.jsonl",
        {"structure": as_json(structure)},
        {"structure": structure.as_dict()},
        {"structure": {**as_json(structure), "species": ["Mg2+,spin=5"] * 4 + ["O"] * 4}},
    )
    items = read(path)
    assert [isinstance(item, Candidate) for item in items] == [True] * 3
    assert {item.info["formula"] for item in items if isinstance(item, Candidate)} == {"MgO"}


def test_extxyz_frames(tmp_path: Path) -> None:
    good = extxyz(rock_salt(), "material_id=m-7 pbc='T T T'")
    slab = extxyz(rock_salt(), 'pbc="T T F"')
    molecule = "1\nno lattice\nMg 0 0 0\n"
    (tmp_path / "t.extxyz").write_text(good + slab + molecule + extxyz(rock_salt()) + "9\nx\n")
    items = read(tmp_path)
    assert [item.material_id for item in items if isinstance(item, Candidate)] == ["m-7", "t-4"]
    assert reasons(items) == [
        ("t-2", "source", "not_periodic"),
        ("t-3", "source", "not_periodic"),
        ("t-5", "source", "unreadable"),
    ]


@pytest.mark.parametrize(("spec", "code"), [("nowhere.cif", 2), ("notes.txt", 2), ("materials", 2)])
def test_paths_that_can_never_work(
    spec: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("no structure")
    with pytest.raises(UserError) as caught:
        opened(spec)
    assert caught.value.exit_code == code
    assert spec in str(caught.value)


def test_an_empty_folder_yields_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    assert Files([tmp_path]).count(ANY_MG) == 0


def test_version_follows_the_content(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "t.jsonl", row("a"))
    file_version, folder_version = Files([path]).version(), Files([tmp_path]).version()
    copy = tmp_path.with_name(tmp_path.name + "-copy") / "t.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert Files([copy]).version() == file_version
    write_jsonl(path, row("b"), row("c"))
    assert Files([path]).version() != file_version
    assert Files([tmp_path]).version() != folder_version


def cifs(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rock_salt().to(filename=str(folder / name), fmt="cif")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("cifs/*.cif", ["a", "b"]),
        ("cifs/[!a].cif", ["b"]),
        ("cifs/?.*", ["a", "b"]),
        ("cifs/**/*.cif", ["a", "b", "c", "d"]),
        ("cifs/**", ["a", "b", "c", "d"]),
        ("cifs/*/deeper/*.cif", ["d"]),
        ("c*/sub", ["c", "d"]),
        ("c*", ["a", "b", "c", "d"]),
    ],
)
def test_patterns(
    pattern: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifs(tmp_path / "cifs", "b.cif", "a.cif", "sub/c.cif", "sub/deeper/d.cif", ".hidden/e.cif")
    (tmp_path / "cifs" / "c.txt").write_text("no structure")
    monkeypatch.chdir(tmp_path)
    for given in (pattern, str(tmp_path / pattern)):
        source = opened(given)
        assert sorted(item.material_id for item in source.candidates(ANY_MG)) == expected
        assert source.count(ANY_MG) == len(expected)
    assert opened("cifs/*.cif").name == "cifs"


def test_a_pattern_is_sorted_and_its_files_are_told_by_their_listing(tmp_path: Path) -> None:
    cifs(tmp_path, *(f"{n}.cif" for n in (10, 9, 1, 2)))
    source = opened(f"{tmp_path}/*.cif")
    assert [item.material_id for item in source.candidates(ANY_MG)] == ["1", "10", "2", "9"]
    assert source.version(ANY_MG) == opened(tmp_path).version(ANY_MG)
    os.utime(tmp_path / "2.cif", ns=(0, 0))
    assert opened(f"{tmp_path}/*.cif").version(ANY_MG) != source.version(ANY_MG)


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    cifs(tmp_path, "a[1].cif", "a1.cif")
    (item,) = opened(tmp_path / "a[1].cif").candidates(ANY_MG)
    assert item.material_id == "a[1]"


@pytest.mark.parametrize("pattern", ["*.cif", "nowhere/*.cif", "**/*.json", "*", "[a.cif"])
def test_a_pattern_that_matches_nothing(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("no structure")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        opened(pattern)
    assert pattern in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_link_keeps_the_name_it_has(tmp_path: Path) -> None:
    cifs(tmp_path, "x.cif")
    (tmp_path / "x.cif").rename(tmp_path / "3f786850e387550f")
    (tmp_path / "y.cif").symlink_to(tmp_path / "3f786850e387550f")
    (item,) = opened(tmp_path / "y.cif").candidates(ANY_MG)
    assert isinstance(item, Candidate)
    assert item.material_id == "y"


def test_a_file_that_vanishes_is_a_row(tmp_path: Path) -> None:
    cifs(tmp_path, "000.cif")
    for n in range(1, 160):
        (tmp_path / f"{n:03d}.cif").write_bytes((tmp_path / "000.cif").read_bytes())
    items = Files([tmp_path]).candidates(ANY_MG)
    assert isinstance(next(items), Candidate)
    (tmp_path / "150.cif").unlink()
    rest = list(items)
    assert reasons(rest) == [("150", "source", "unreadable")]
    assert len(rest) == 159


def test_many_named_files_are_told_by_their_listing(tmp_path: Path) -> None:
    names = [f"{n:03d}.cif" for n in range(101)]
    for name in names:
        (tmp_path / name).write_text("")
    one, few = opened(tmp_path / names[0]), opened(*(tmp_path / name for name in names[:3]))
    many = opened(*(tmp_path / name for name in names))
    before = [source.version(ANY_MG) for source in (one, few, many)]
    os.utime(tmp_path / names[0], ns=(0, 0))
    again = [
        opened(*(tmp_path / name for name in some)).version(ANY_MG)
        for some in (names[:1], names[:3], names)
    ]
    assert [new == old for new, old in zip(again, before, strict=True)] == [True, True, False]


def test_crystals_too_odd_to_compare_are_rows(tmp_path: Path) -> None:
    good = as_json(rock_salt())
    flat = {**good, "lattice": [[4, 0, 0], [0, 4, 0], [0, 0, 0]]}
    path = write_jsonl(tmp_path / "t.jsonl", {"structure": flat}, {"structure": good})
    poscar = rock_salt().to(fmt="poscar").replace("0.5000000000000000", "nan")
    assert "nan" in poscar
    (tmp_path / "POSCAR").write_text(poscar)
    items = list(Files([tmp_path / "POSCAR", path]).candidates(Query((), "Mg")))
    assert reasons(items)[0] == ("POSCAR", "source", "non_finite")
    assert [item.material_id for item in items] == ["POSCAR", "t-1", "t-2"]
    assert isinstance(items[2], Candidate)


def test_a_file_too_large_for_one_structure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_MOST_BYTES", 10_000)
    cifs(tmp_path, "a.cif")
    (tmp_path / "b.cif").write_text("#" * 10_001)
    (tmp_path / "c.json").write_text('{"a": "' + "x" * 10_000 + '"}')
    write_jsonl(tmp_path / "d.jsonl", *(row(f"m-{n}") for n in range(40)))
    items = read(tmp_path)
    assert reasons(items) == [("b", "source", "unreadable"), ("c", "source", "unreadable")]
    assert len(items) == 43


def test_the_first_chunk_is_small_and_none_is_large(tmp_path: Path) -> None:
    cifs(tmp_path, *(f"{n:03d}.cif" for n in range(50)))
    big = "#" * 200_000
    for n in range(5):
        (tmp_path / f"x{n}.cif").write_text(big)
    paths = sorted(map(str, tmp_path.iterdir()))
    found = list(documents.chunks(paths, paths, Columns()))
    assert [document.file_id for chunk in found for document in chunk] == paths
    assert [len(chunk) for chunk in found] == [4, 32, 16, 2, 1]


def test_duplicates_are_found_across_files(tmp_path: Path) -> None:
    cifs(tmp_path, *(f"{n:02d}.cif" for n in range(40)))
    items = list(Files([tmp_path]).candidates(Query((), "Mg")))
    assert [isinstance(item, Candidate) for item in items] == [True] + [False] * 39
    assert {f.reason for f in items if isinstance(f, Failure)} == {"duplicate_structure"}


def test_workers_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifs(tmp_path, *(f"{n:02d}.cif" for n in range(40)))
    (tmp_path / "bad.cif").write_text("no CIF")
    write_jsonl(tmp_path / "a.jsonl", *(row(f"{n:02d}") for n in range(30, 60)), "{")
    table = pa.Table.from_pylist([row(f"p-{n}") for n in range(70)])
    pq.write_table(table, tmp_path / "z.parquet")
    (tmp_path / "f.extxyz").write_text(extxyz(rock_salt()) * 5 + "cut")
    source = Files([tmp_path])
    here = list(map(told, source.candidates(ANY_MG)))
    assert len(here) == 40 + 1 + 31 + 70 + 6

    def refuse(*args: object) -> None:
        raise AssertionError("parsed in the driver")

    with ray_session(RunSettings(num_cpus=2, num_gpus=0)):
        monkeypatch.setattr(Parser, "__call__", refuse)
        assert list(map(told, source.candidates(ANY_MG))) == here


def told(item: Candidate | Failure) -> object:
    """All of an item, to compare."""
    if isinstance(item, Failure):
        return item
    crystal = item.crystal
    arrays = [part.tolist() for part in (crystal.lattice, crystal.numbers, crystal.frac)]
    return item.material_id, item.ion, item.info, arrays


def test_streams_and_stops_at_the_limit(tmp_path: Path) -> None:
    rows = [row(f"m-{n}") for n in range(50)]
    path = write_jsonl(tmp_path / "t.jsonl", "{", *rows)
    query = Query((), "Mg", limit=3, keep_duplicates=True)
    items = read(path, query)
    assert [item.material_id for item in items] == ["t-1", "m-0", "m-1", "m-2"]
    assert Files([path]).count(ANY_MG) is None


def test_the_snapshot_is_streamed_in_good_time(data_dir: Path) -> None:
    source = opened(data_dir / "mp_snapshot.parquet")
    items = source.candidates(Query((parse("Mg-*"),), "Mg", limit=1001))
    assert isinstance(next(items), Candidate)  # pays for the imports
    start = time.process_time()
    n_candidates = sum(isinstance(item, Candidate) for item in items)
    assert n_candidates == 1000
    assert n_candidates / (time.process_time() - start) > 40
