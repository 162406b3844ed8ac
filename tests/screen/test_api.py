"""The Python API: the same results as the commands, for notebooks."""

from __future__ import annotations

import json
import logging
import math
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pyarrow as pa
import pytest
from ase import Atoms
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

import screen
from pathways.convert import structure_from_crystal
from pathways.types import Crystal
from screen import Campaign, Material, RefusedError, Results, open_results, predict
from screen.api.campaign import Options
from screen.cli import main
from screen.errors import UserError
from screen.options import RunOptions
from screen.store import Store
from tests.screen.conftest import begin, environment, make_result, write_structures
from tests.small_crystals import crystal_of


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_structures(
        tmp_path_factory.mktemp("source") / "s.jsonl", ["MgO", "MgAl2O4", "MgMn2O4"]
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Results:
    """A campaign of the shipped model."""
    db = tmp_path_factory.mktemp("run") / "mg.duckdb"
    return Campaign("Mg-*", source=source, db=db).run()


def test_importing_costs_nothing() -> None:
    code = (
        "import sys, screen\n"
        "heavy = {'torch', 'ray', 'duckdb', 'pymatgen', 'numpy', 'pyarrow', 'pandas', 'typer'}\n"
        "assert not heavy & set(sys.modules), sorted(heavy & set(sys.modules))\n"
        "assert set(screen.__all__) <= set(dir(screen))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


def test_every_name_is_there_and_no_other() -> None:
    for name in screen.__all__:
        assert getattr(screen, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        screen.nothing  # noqa: B018


def test_options_are_those_of_the_command() -> None:
    named = set(get_type_hints(Options))
    assert named == {entry.name for entry in fields(RunOptions)} - {"chemsys"}
    for name, hint in get_type_hints(RunOptions).items():
        if name != "chemsys" and type(None) in get_args(hint):
            assert type(None) in get_args(get_type_hints(Options)[name]), name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limt": 3}, "unknown option limt.*did you mean limit?"),
        ({"limit": "three"}, "limit is 'three', expected a whole number"),
        ({"hops": {"min_clearence_a": 1}}, "did you mean hops.min_clearance_a?"),
        ({"chemsys": ["Mgg-*"]}, "unknown element 'Mgg'"),
        ({"source": "none.cif"}, "no such file"),
        ({"model": "none"}, "no model 'none'"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as caught:
        Campaign(**{"chemsys": "Mg-*", "db": tmp_path / "x.duckdb", **options}).run()
    assert "\n" not in str(caught.value)


def test_a_campaign_is_the_commands(results: Results, source: Path, tmp_path: Path) -> None:
    assert results.outcome is not None
    assert results.outcome.funnel.predicted == results.outcome.funnel.hops > 0
    db = tmp_path / "same.duckdb"
    arguments = ["run", "--chemsys", "Mg-*", "--source", source, "--engine", "inline", "--db", db]
    assert main([str(one) for one in arguments]) == 0
    again = Campaign("Mg-*", source=[source], db=str(db)).run()
    assert again.outcome is not None
    assert again.outcome.done_before == results.outcome.funnel.source
    assert again.outcome.campaign_id == results.outcome.campaign_id
    numbers = ["material_id", "em_1d_ev", "em_1d_low_ev", "em_3d_ev"]
    assert again.materials()[numbers].equals(results.materials()[numbers])


def test_a_file_of_options_under_those_given(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('chemsys = ["Mg-?"]\nengine = "ray"\nmax_ehull = 0.2\n[jobs]\nchunk = 3\n')
    options = Campaign(config=file, max_ehull=None, exclude="Pb").options
    assert options.chemsys == ("Mg-?",)
    assert options.engine == "ray"
    assert options.max_ehull is None
    assert options.exclude == ("Pb",)
    assert options.jobs == {"chunk": 3}
    assert Campaign("Mg-*").options.engine == "inline"


def test_silence_unless_wanted(
    source: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign("Mg-*", source=source, db=tmp_path / "x.duckdb", model=tiny_model, limit=1)
    campaign.run()
    assert capsys.readouterr() == ("", "")
    campaign.run(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "have no known energy above the hull" in err


def test_nothing_found_is_an_empty_table(source: Path, tmp_path: Path) -> None:
    results = Campaign("Ca-*", source=source, db=tmp_path / "x.duckdb").run()
    assert results.outcome is not None
    assert results.outcome.funnel.source == 0
    assert len(results.materials()) == len(results.hops()) == len(results.failures()) == 0


def test_estimate_counts(source: Path, tmp_path: Path) -> None:
    db = tmp_path / "x.duckdb"
    assert Campaign("Mg-*", source=source, db=db).estimate().candidates == 3
    assert not db.exists()


def test_tables_and_questions(results: Results) -> None:
    materials = results.materials()
    assert materials["rank"].tolist() == [1, 2, 3]
    assert set(results.hops()["material_id"]) == set(materials["material_id"])
    assert results.funnel().set_index("stage")["n"]["source"] == 3
    assert results.sql("select count(*) as n from hops")["n"].tolist() == [len(results.hops())]
    with pytest.raises(UserError, match="only reads"):
        results.sql("drop table hops")
    arrow = open_results(results.db, as_arrow=True)
    assert isinstance(arrow.materials(), pa.Table)
    assert arrow.materials()["em_1d_ev"].to_pylist() == materials["em_1d_ev"].tolist()


def test_tables_are_arrows_without_pandas(results: Results) -> None:
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from importlib import util\n"
        "import screen.api.frames as frames, pyarrow as pa\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'pandas' else real(name)\n"
        f"table = __import__('screen').open_results({str(results.db)!r}).materials()\n"
        "assert isinstance(table, pa.Table) and table.num_rows == 3, table"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


def test_a_stored_material(results: Results) -> None:
    row = results.materials().iloc[0]
    material = results.material(row["material_id"])
    ways = material.percolation
    assert [way.em_ev for way in (ways.em_1d, ways.em_2d, ways.em_3d)] == [
        row["em_1d_ev"],
        row["em_2d_ev"],
        row["em_3d_ev"],
    ]
    assert ways.em_1d.em_low_ev <= ways.em_1d.em_ev <= ways.em_1d.em_high_ev
    assert ways.em_1d.limiting_hop_id in {hop.hop_id for hop in material.hops}
    assert set(ways.em_3d.hop_ids or ()) <= {hop.hop_id for hop in material.hops}
    assert ways.em_1d.directions
    assert ways.dimension == 3
    em_ev = [hop.em_ev for hop in material.hops]
    assert em_ev == sorted(em_ev)
    assert material.table()["em_ev"].tolist() == em_ev
    assert isinstance(material.to_pymatgen(), Structure)


def test_images_of_a_stored_hop(results: Results) -> None:
    for name in ("MgO-0", "MgAl2O4-0"):
        for hop in results.material(name).hops:
            straight = hop.band.to_ase()
            assert len(straight) == 5
            moved = straight[-1].positions - straight[0].positions
            assert np.linalg.norm(moved[0]) == pytest.approx(hop.length_a, abs=1e-6)
            assert np.abs(moved[1:]).max() < 1e-9
            assert {atoms.info["hop_id"] for atoms in straight} == {hop.hop_id}
            assert {one.symbols[0] for one in straight} == {"Mg"}
            curved = hop.curved(n_images=5)
            assert len(curved.to_pymatgen()) == len(curved) == 5
            assert curved.path_a[-1] >= hop.length_a - 1e-6
            ends = curved.to_ase()
            assert np.allclose(ends[0].positions, straight[0].positions)
            assert np.allclose(ends[-1].positions, straight[-1].positions)
            middle = hop.band.to_pymatgen()[2]
            assert np.allclose(middle.cart_coords[0], straight[2].positions[0])


def test_a_running_campaign_is_read_from_its_snapshot(results: Results) -> None:
    db = results.db
    before = results.hops()
    with Store.open(db) as store:
        store.snapshots.take()
        code = (
            "from screen import open_results\n"
            f"results = open_results({str(db)!r})\n"
            "assert results.age_s() is not None\n"
            "print(len(results.hops()))\n"
            "print(results.material('MgO-0').hops[0].band.path_a[-1] > 0)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment()
        )
    assert done.stdout.split() == [str(len(before)), "True"], done.stderr
    assert results.age_s() is None


def test_what_is_not_there_is_said(results: Results, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such material"):
        results.material("mp-0")
    with pytest.raises(UserError, match="MgO-0: no Ca; there is Mg vacancy ionscreen-1@"):
        results.material("MgO-0", ion="Ca")
    with pytest.raises(UserError, match="no such database"):
        open_results(tmp_path / "none.duckdb")


def test_a_refused_material_is_refused_from_the_database_too(tmp_path: Path, source: Path) -> None:
    results = Campaign("Mg-*", source=source, db=tmp_path / "x.duckdb", max_sites=5).run()
    with pytest.raises(RefusedError, match="too_many_sites") as caught:
        results.material("MgMn2O4-0")
    assert caught.value.stage == "filter"
    assert results.failures()["reason"].tolist() == ["too_many_sites"] * 3


def test_the_last_ranked_mechanism_and_model_count(store: Store, path: Path) -> None:
    begin(store)
    store.write("c1", "m@1", [make_result("MgO", [0.3])])
    store.write("c1", "other@2", [make_result("MgO", [0.5])])
    store.close()
    results = open_results(path)
    assert results.material("MgO").percolation.em_1d.em_ev == 0.5
    assert results.material("MgO", model="m").percolation.em_1d.em_ev == 0.3
    hop = results.material("MgO", model="m@1").hops[0]
    assert (hop.em_ev, hop.nearest, math.isnan(hop.bond_valence_ev)) == (0.3, None, True)


# One crystal


@pytest.fixture(scope="module")
def spinel() -> Structure:
    return structure_from_crystal(crystal_of("MgMn2O4"))


def same(first: Material, second: Material, tolerance: float = 0.0) -> None:
    """Hops, barriers, intervals and percolation agree, ids of materials aside."""
    assert len(first.hops) == len(second.hops)
    for one, other in zip(first.hops, second.hops, strict=True):
        assert one.hop_id.partition(":")[2] == other.hop_id.partition(":")[2]
        for name in ("em_ev", "em_low_ev", "em_high_ev", "p_good", "length_a", "bond_valence_ev"):
            value = getattr(other, name)
            assert getattr(one, name) == pytest.approx(value, abs=tolerance, rel=0, nan_ok=True)
    for name in ("em_1d", "em_2d", "em_3d"):
        way, other_way = getattr(first.percolation, name), getattr(second.percolation, name)
        assert way.em_ev == pytest.approx(other_way.em_ev, abs=tolerance, nan_ok=True)
        assert way.em_high_ev == pytest.approx(other_way.em_high_ev, abs=tolerance, nan_ok=True)
        assert way.directions == other_way.directions


@pytest.mark.parametrize("name", ["MgMn2O4", "LiFePO4", "CaF2"])
def test_a_prediction_is_that_of_a_run(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.cif"
    structure_from_crystal(crystal_of(name)).to(str(file))
    ion = name[:2]
    results = Campaign(ion=ion, source=file, db=tmp_path / "x.duckdb").run()
    same(predict(file, ion=ion), results.material(name))


def test_structures_of_every_library_give_the_same(spinel: Structure, tmp_path: Path) -> None:
    expected = predict(spinel, ion="Mg")
    atoms = AseAtomsAdaptor.get_atoms(spinel)
    assert isinstance(atoms, Atoms)
    same(predict(atoms, ion="Mg"), expected, 1e-9)
    same(predict(crystal_of("MgMn2O4"), ion="Mg"), expected, 1e-9)
    charged = spinel.copy()
    charged.add_oxidation_state_by_element({"Mg": 2, "Mn": 3, "O": -2})
    same(predict(charged, ion="Mg"), expected, 1e-9)
    shifted = spinel.copy()
    shifted.translate_sites(range(len(shifted)), [0.3, 0.1, 0.7])
    found = predict(shifted * (1, 1, 2), ion="Mg")
    assert found.percolation.em_1d.em_ev == pytest.approx(expected.percolation.em_1d.em_ev)
    spinel.to(str(tmp_path / "POSCAR"))
    found = predict(str(tmp_path / "POSCAR"), ion="Mg")
    assert found.percolation.em_1d.em_ev == pytest.approx(expected.percolation.em_1d.em_ev)


def test_predicted_hops_have_bands(spinel: Structure) -> None:
    crystal = predict(spinel, ion="Mg", mechanism="dilute")
    assert crystal.mechanism == "dilute"
    assert crystal.formula == "MgMn2O4"
    hop = crystal.hops[0]
    assert [atoms.symbols.count("Mg") for atoms in hop.band.to_ase()] == [1] * 5
    assert len(hop.curved(3)) == 3
    with pytest.raises(ValueError, match="n_images 2"):
        hop.curved(2)


def test_sites_are_found_where_there_are_none(spinel: Structure) -> None:
    host = spinel.copy()
    host.remove_species(["Mg"])
    with pytest.raises(RefusedError, match="no_mobile_ion"):
        predict(host, ion="Mg")
    filled = predict(host, ion="Mg", sites="ranked")
    assert filled.mechanism == "dilute"
    assert "Mg" in filled.to_pymatgen().symbol_set


def refused() -> Iterator[tuple[str, Any, str]]:
    spinel = structure_from_crystal(crystal_of("MgMn2O4"))
    shared = spinel.copy()
    shared[0] = {"Mg": 0.5}
    yield "partial_occupancy", shared, "source"
    close = spinel.copy()
    close.append("O", close[-1].frac_coords + 0.001)
    yield "overlapping_atoms", close, "check"
    yield "not_periodic", Atoms("MgO", [[0, 0, 0], [0, 0, 2]]), "source"
    flat = Crystal(np.zeros((3, 3)), np.array([12, 8]), np.zeros((2, 3)))
    yield "", flat, "check"
    yield "noble_gas", Structure(spinel.lattice, ["Mg", "Ar"], [[0] * 3, [0.5] * 3]), "filter"


@pytest.mark.parametrize(("reason", "structure", "stage"), list(refused()))
def test_a_bad_crystal_raises_one_thing(reason: str, structure: Any, stage: str) -> None:
    with pytest.raises(RefusedError) as caught:
        predict(structure, ion="Mg")
    error = caught.value
    assert error.stage == stage
    assert error.reason.startswith(reason)
    assert len(str(error).splitlines()) == 1
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


def test_what_is_no_crystal_is_wrong_use(tmp_path: Path, spinel: Structure, source: Path) -> None:
    for structure, said in (
        (3, "int found, expected a pymatgen Structure"),
        (tmp_path / "none.cif", "no such file"),
        (source, "several structures found"),
    ):
        with pytest.raises(UserError, match=said):
            predict(structure, ion="Mg")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"did you mean Mg\?"):
        predict(spinel, ion="mg")
    with pytest.raises(UserError, match="no model 'none'"):
        predict(spinel, ion="Mg", model="none")


def test_a_partly_filled_crystal_of_ase(tmp_path: Path) -> None:
    shared = structure_from_crystal(crystal_of("MgO"))
    shared[0] = {"Mg": 0.5, "Zn": 0.5}
    shared.to(str(tmp_path / "shared.cif"))
    import ase.io

    with pytest.raises(RefusedError, match="partial_occupancy"):
        predict(ase.io.read(tmp_path / "shared.cif"), ion="Mg")


def test_materials_travel_between_processes(spinel: Structure, results: Results) -> None:
    for material in (predict(spinel, ion="Mg"), results.material("MgMn2O4-0")):
        copy = pickle.loads(pickle.dumps(material))
        same(copy, material)
        assert copy.to_pymatgen() == material.to_pymatgen()
        assert np.array_equal(copy.hops[0].band.frac, material.hops[0].band.frac)


def test_an_interrupted_campaign_goes_on(source: Path, tmp_path: Path, tiny_model: Path) -> None:
    campaign = Campaign("Mg-*", source=source, db=tmp_path / "x.duckdb", model=tiny_model)
    interrupter = _InterruptsOnce()
    logger = logging.getLogger("screen")
    logger.addHandler(interrupter)
    logger.setLevel(logging.INFO)
    try:
        with pytest.raises(KeyboardInterrupt):
            campaign.run()
    finally:
        logger.removeHandler(interrupter)
        logger.setLevel(logging.NOTSET)
    results = campaign.run()
    assert results.outcome is not None
    assert not results.outcome.interrupted
    assert len(results.materials()) == 3


class _InterruptsOnce(logging.Handler):
    """Ctrl-C at the first sign of progress."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "progress":
            logging.getLogger("screen").removeHandler(self)
            signal.raise_signal(signal.SIGINT)


def test_a_log_of_a_campaign(source: Path, tmp_path: Path, tiny_model: Path) -> None:
    log = tmp_path / "log.jsonl"
    Campaign(
        "Mg-*", source=source, db=tmp_path / "x.duckdb", model=tiny_model, log_file=log, limit=1
    ).run()
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    started, finished = events.index("run_started"), events.index("run_finished")
    assert started < events.index("campaign") < finished
