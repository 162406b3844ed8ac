"""The database: what is written is read, and written again changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.records import Failure, MaterialResult
from models.predict import Prediction
from pathways.hops import HopSettings
from screen.cli import main
from screen.errors import UserError
from screen.ranking import rank_material
from screen.reader import open_reader
from screen.store import Store
from tests.screen.conftest import begin, content, make_result, prediction


def test_what_is_written_is_read(store: Store, path: Path) -> None:
    result = make_result("LiFePO4", settings=HopSettings(cutoff_a=6.0), failed=1)
    store.write("c1", "m@1", [result])
    store.close()
    assert result.network is not None
    stored = {row["hop_id"]: row for row in content(path)["hops"]}
    assert len(stored) == len(result.network.hops)
    for hop in result.network.hops:
        row = stored[hop.id_in("LiFePO4")]
        assert (row["material_id"], row["ion"], row["mechanism"]) == ("LiFePO4", "Li", "vacancy")
        assert row["length_a"] == hop.length_a
        assert row["multiplicity"] == hop.multiplicity
        assert row["start_frac"] == hop.start_frac.tolist()
        assert row["end_frac"] == hop.end_frac.tolist()
        assert tuple(row["image"]) == hop.image
        assert tuple(row["flags"]) == hop.flags
    assert [row["supercell"] for row in stored.values()].count(None) == 1  # the one that failed
    (material,) = content(path)["materials"]
    assert material["formula"] == "LiFePO4"
    assert material["space_group"] == "Pnma"
    assert material["structure"].startswith('{"lattice":[[')
    (ledger,) = content(path)["campaign_materials"]
    assert ledger["n_hops"] == ledger["n_predicted"] + 1 == len(result.network.hops)
    assert ledger["n_failed"] == 1


numbers = st.floats(allow_nan=True, allow_infinity=False, width=64)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.tuples(st.floats(0, 9), numbers, numbers, numbers, numbers, numbers),
    name=st.text(min_size=1, max_size=20).filter(lambda text: "\0" not in text),
)
def test_any_number_and_name_come_back(store: Store, values: tuple[float, ...], name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    result = make_result("MgO", material_id=name)
    (scored,) = result.hops
    result = replace(result, hops=(replace(scored, prediction=Prediction(*values)),))
    store.write("c1", "m@1", [result])
    ((hop_id, *found),) = store._rows(
        "select hop_id, em_ev, em_std_ev, em_low_ev, em_high_ev, p_good, applicability "
        "from predictions join hops using (hop_id) where material_id = ?",
        [name],
    )
    assert hop_id == scored.hop_id
    assert found == [None if math.isnan(value) else value for value in values]
    assert (name, "Mg") in store.done("c1")


def test_writing_again_changes_nothing(path: Path) -> None:
    batch = [make_result("LiCoO2"), make_result("MgO"), make_result("LiFePO4", failed=1)]
    with Store.open(path) as store:
        begin(store)
        store.write("c1", "m@1", batch)
    before = content(path)
    with Store.open(path) as store:
        begin(store)
        store.write("c1", "m@1", batch)
        store.write("c1", "m@1", [batch[1], batch[1]])
    assert content(path) == before


def test_a_second_write_replaces_all_of_a_material(store: Store, path: Path) -> None:
    long = make_result("LiFePO4", settings=HopSettings(cutoff_a=6.0))
    short = make_result("LiFePO4", settings=HopSettings(cutoff_a=4.0))
    other = make_result("MgO")
    store.write("c1", "m@1", [long, other])
    store.write("c1", "m@2", [long, other])
    store.write("c2", "m@1", [short])
    store.close()
    with Store.open(path.with_name("expected.duckdb")) as expected:
        expected.write("c1", "m@2", [other])
        expected.write("c2", "m@1", [other, short])
    found, wanted = content(path), content(path.with_name("expected.duckdb"))
    assert found["hops"] == wanted["hops"]
    kept = {row["hop_id"] for row in found["hops"]}
    assert {row["hop_id"] for row in found["predictions"]} == kept
    ranked = {(row["material_id"], row["model_id"]) for row in found["material_ranking"]}
    # What m@2 said of LiFePO4 rested on hops that are gone.
    assert ranked == {("LiFePO4", "m@1"), ("MgO", "m@1"), ("MgO", "m@2")}


def test_a_changed_crystal_ends_what_other_models_said(store: Store, path: Path) -> None:
    result = make_result("MgO")
    (scored,) = result.hops
    longer = replace(scored.hop, length_a=scored.hop.length_a * 1.01)
    assert result.network is not None
    changed = replace(
        result,
        network=replace(result.network, hops=(longer,)),
        hops=(replace(scored, hop=longer),),
    )
    store.write("c1", "m@1", [result])
    store.write("c1", "m@2", [result])
    store.write("c2", "m@2", [changed])
    store.close()
    found = content(path)
    assert [row["length_a"] for row in found["hops"]] == [longer.length_a]
    assert [row["model_id"] for row in found["predictions"]] == ["m@2"]
    assert [row["model_id"] for row in found["material_ranking"]] == ["m@2"]


def test_a_refused_material_keeps_nothing(store: Store, path: Path) -> None:
    good = make_result("MgO")
    refused = replace(
        good, network=None, hops=(), failures=(Failure("MgO", "hops", "no_hops", "none"),)
    )
    store.write("c1", "m@1", [good])
    store.write("c2", "m@1", [refused])
    store.close()
    found = content(path)
    assert found["hops"] == found["predictions"] == found["material_ranking"] == []
    assert [row["reason"] for row in found["failures"]] == ["no_hops"]


def test_a_failure_of_the_source_touches_no_material(store: Store, path: Path) -> None:
    failure = Failure("MgO", "source", "unreadable", "not a CIF")
    store.write("c1", "m@1", [make_result("MgO")])
    store.write("c2", "m@1", [MaterialResult("MgO", "", None, None, failures=(failure,))])
    assert store.done("c2") == {("MgO", "")}
    store.close()
    found = content(path)
    assert len(found["hops"]) == len(found["materials"]) == 1


def test_a_write_that_breaks_leaves_nothing(store: Store, path: Path) -> None:
    good = make_result("MgO")
    bad = make_result("MgAl2O4")
    scored = bad.hops[0]
    nan = replace(scored, prediction=replace(prediction(1.0), em_ev=math.nan))  # em_ev is not null
    with pytest.raises(UserError, match="em_ev"):
        store.write("c1", "m@1", [good, replace(bad, hops=(nan, *bad.hops[1:]))])
    assert store.done("c1") == set()
    store.write("c1", "m@1", [good])
    store.close()
    assert len(content(path)["materials"]) == 1


def test_funnel_counts_every_stage(store: Store) -> None:
    failures = (Failure("bad", "source", "unreadable", "x"),)
    store.write(
        "c1",
        "m@1",
        [
            make_result("LiCoO2"),
            make_result("LiFePO4", failed=1),
            MaterialResult("bad", "", None, None, failures=failures),
        ],
    )
    funnel = store.funnel("c1")
    assert (funnel.source, funnel.filtered, funnel.enumerated) == (3, 2, 2)
    assert funnel.predicted == funnel.hops - 1
    assert sorted(funnel.failed) == [("model", "non_finite", 1), ("source", "unreadable", 1)]


def test_ranking_puts_what_does_not_percolate_last(store: Store, path: Path) -> None:
    lone = make_result("LiFePO4")
    n = len(lone.hops)
    store.write(
        "c1",
        "m@1",
        [
            make_result("MgO", [0.9]),
            replace(lone, hops=()),
            make_result("LiCoO2", settings=HopSettings(cutoff_a=3.0), em_ev=[0.3]),
        ],
    )
    store.close()
    with open_reader(path) as reader:
        found = reader.records("from ranked_materials")
    assert [row["material_id"] for row in found] == ["LiCoO2", "MgO", "LiFePO4"]
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert [row["dimension"] for row in found] == [2, 3, 0]
    assert found[0]["em_3d_ev"] is None
    assert found[0]["p_good"] == 0.5
    assert found[2]["note"] == "no hop could be predicted"
    assert found[2]["n_hops"] == n


def test_ways_and_rates_are_read_as_ranked(store: Store, path: Path) -> None:
    results = [
        make_result("LiCoO2", settings=HopSettings(cutoff_a=3.0)),
        make_result("LiFePO4", settings=HopSettings(cutoff_a=6.0)),
        replace(make_result("MgO"), hops=()),
    ]
    store.write("c1", "m@1", results)
    store.close()
    with open_reader(path) as reader:
        found = {row["material_id"]: row for row in reader.records("from ranked_materials")}
    for result in results:
        ranking, row = rank_material(result), found[result.material_id]
        assert row["dimension_at_065"] == ranking.dimension_at_065
        assert row["plane_2d"] == ranking.passages[1].plane
        for d, passage in enumerate(ranking.passages, start=1):
            ids = row[f"path_{d}d_hop_ids"]
            assert (None if ids is None else tuple(ids)) == passage.hop_ids
            assert row[f"directions_{d}d"] == passage.directions
        assert [row[f"limiting_hop_{end}id"] for end in ("", "2d_", "3d_")] == [
            passage.limiting_hop_id for passage in ranking.passages
        ]
        numbers = [
            ranking.p_good_1d,
            *ranking.log10_d_cm2_s,
            ranking.max_particle_nm,
        ]
        columns = ["p_good_1d"]
        columns += [f"log10_d_300k_{end}cm2_s" for end in ("", "low_", "high_")]
        columns += ["max_particle_nm_c2"]
        assert [row[name] for name in columns] == [
            None if math.isnan(number) else number for number in numbers
        ]
    assert found["LiFePO4"]["directions_1d"] == "[010]"
    assert found["MgO"]["max_particle_nm_c2"] is None


def test_views_show_the_latest_model(store: Store, path: Path) -> None:
    store.write("c1", "m@1", [make_result("MgO", [0.9])])
    store.write("c1", "m@2", [make_result("MgO", [0.4])])
    store.close()
    with open_reader(path) as reader:
        (material,) = reader.records("from ranked_materials")
        (hop,) = reader.records("from ranked_hops")
    assert (material["em_1d_ev"], material["model_id"]) == (0.4, "m@2")
    assert (hop["em_ev"], hop["model_id"]) == (0.4, "m@2")


def test_mechanisms_are_ranked_apart_and_leave_each_other_alone(path: Path) -> None:
    def write(mechanism: str) -> None:
        words = ["--chemsys", "Mg-In-O", "--engine", "inline", "--mechanism", mechanism]
        assert main(["run", *words, "--db", str(path)]) == 0

    def ranked() -> dict[str, float]:
        with open_reader(path) as reader:
            rows = reader.records("select mechanism, em_1d_ev from ranked_materials")
        return {row["mechanism"]: row["em_1d_ev"] for row in rows}

    write("vacancy")
    alone = ranked()
    write("dilute")
    both = ranked()
    assert set(alone) == {"vacancy"}
    assert both["vacancy"] == pytest.approx(alone["vacancy"], abs=1e-9)
    assert abs(both["dilute"] - both["vacancy"]) > 1e-3
    write("both")
    assert ranked() == pytest.approx(both, abs=1e-9)
    with open_reader(path) as reader:
        (row,) = reader.records(
            "select count(*) as hops, count(distinct mechanism) as mechanisms, "
            "count(bond_valence_ev) as known, any_value(charges_source) as charges, "
            "count(p.nearest) as nearest from hops join predictions p using (hop_id)"
        )
    assert row["hops"] == row["known"] == row["nearest"] > 0
    assert (row["mechanisms"], row["charges"]) == (2, "composition")
