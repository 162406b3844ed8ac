import json
from pathlib import Path

import pytest

from jobs import stages as product
from tests.bench import growth, memory, overhead, peers, stages_child
from tests.bench.__main__ import BENCHES, main, measure, table
from tests.bench.child import in_child
from tests.bench.figures import Figure, NotMeasured, best_cpu_s
from tests.bench.picture import draw
from tests.bench.stages import STAGES
from tests.bench.stages_child import StageClocks, timed_functions


def test_prints_and_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    assert main(["--quick", "--only", "hops", "--json", str(out)]) == 0
    (figure,) = json.loads(out.read_text())["figures"]
    assert figure["name"] == "hops"
    assert figure["value"] > 0
    assert figure["peer"] == "DistinctPathFinder"
    assert f"{figure['value']:.3g} ms CPU" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["acquisition", "evidence", "factors", "graph", "forward", "pathways", "pull", "voids"]
)
def test_absent_data_is_said_not_raised(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IONSCREEN_DATA", str(tmp_path))
    figure, *_ = measure(name, quick=True)
    assert figure.value is None
    assert "not measured: no " in figure.note
    assert "IONSCREEN_DATA" in table([figure])


def test_memory_is_read_from_a_whole_run() -> None:
    (figure,) = memory.run(n_candidates=60, engines=("inline",))
    assert figure.value is not None
    assert "60 predictions, 0 failures" in figure.note


def test_absent_model_is_said_not_raised() -> None:
    with pytest.raises(NotMeasured, match="no model 'nowhere'"):
        overhead.run(n_bands=1, engine="inline", model="nowhere")


def test_every_benchmark_can_be_asked_for_alone() -> None:
    with pytest.raises(SystemExit):
        main(["--only", "speed"])
    assert set(BENCHES) == {
        "acquisition",
        "evidence",
        "factors",
        "hops",
        "graph",
        "growth",
        "forward",
        "gpu",
        "overhead",
        "memory",
        "pathways",
        "peers",
        "pull",
        "recall",
        "stages",
        "startup",
        "training",
        "feed",
        "million",
        "voids",
    }


def test_ratio_is_how_many_times_ours_the_peer_takes() -> None:
    assert Figure("a", "", "ms", "", value=2.0, peer="b", peer_value=6.0).ratio == 3.0
    assert Figure("a", "", "ms", "", value=2.0).ratio is None


def test_best_of_turns_is_taken_task_by_task() -> None:
    turns: list[str] = []
    best = best_cpu_s([lambda: turns.append("a"), lambda: turns.append("b")], repeats=2)
    assert turns == ["a", "b"] * 3
    assert all(0 <= seconds < 1 for seconds in best)


def test_stages_of_a_whole_run_add_up_and_are_drawn(tmp_path: Path) -> None:
    whole, *parts = figures = measure("stages", quick=True)
    assert [figure.name.rpartition("-")[2] for figure in parts] == list(STAGES)
    assert all(figure.value and figure.value > 0 for figure in parts[:-1])
    assert whole.value == pytest.approx(sum(figure.value or 0.0 for figure in parts))
    for number, drawn in enumerate((figures, [])):
        picture = tmp_path / f"{number}.png"
        draw(drawn, "1 x processor", picture)
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_stage_inside_another_counts_once() -> None:
    times = iter([0.0, 1.0, 4.0, 10.0])
    clocks = StageClocks()
    inner = clocks.around(lambda: None, "inner", lambda: next(times))
    clocks.around(inner, "outer", lambda: next(times))()
    assert clocks.cpu_s == {"inner": 3.0, "outer": 7.0}


def test_clocks_are_taken_off_again() -> None:
    before = product.enumerate_hops
    with timed_functions(StageClocks()):
        assert product.enumerate_hops is not before
    assert product.enumerate_hops is before


def test_stages_without_the_snapshot_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IONSCREEN_DATA", str(tmp_path))
    assert "set IONSCREEN_DATA" in stages_child.main("ionscreen-1", "snapshot", 1)["lacking"]


def test_power_is_the_slope_of_the_logarithms() -> None:
    assert growth.power([(10, 3.0), (20, 12.0), (80, 192.0)]) == pytest.approx(2.0)


def test_growth_is_measured_at_every_size() -> None:
    figures = measure("growth", quick=True)
    assert [figure.name for figure in figures] == [f"growth-{name}" for name in growth.WORDS]
    for figure in figures:
        sizes, times = zip(*figure.points, strict=True)
        assert sizes[0] < sizes[1]
        assert min(times) > 0


def test_peers_are_measured_or_said_to_be_absent() -> None:
    for figure, module in zip(
        measure("peers", quick=True), ("chgnet", "pymatgen.analysis.diffusion"), strict=True
    ):
        assert figure.value is not None
        assert (figure.ratio is not None) == peers.installed(module)
        assert ("not installed" in figure.note) != peers.installed(module)


def test_a_child_that_takes_too_long_is_not_measured() -> None:
    with pytest.raises(NotMeasured, match=r"ended after 0\.01 s"):
        in_child("peers_child", "migration", 1, 1, limit_s=0.01)
