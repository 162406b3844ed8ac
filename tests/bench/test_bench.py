import json
from pathlib import Path

import pytest

from tests.bench import memory, overhead
from tests.bench.__main__ import BENCHES, main, measure, table
from tests.bench.figures import Figure, NotMeasured, best_cpu_s


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
    "name", ["acquisition", "evidence", "graph", "forward", "pathways", "pull", "voids"]
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
        "hops",
        "graph",
        "forward",
        "gpu",
        "overhead",
        "memory",
        "pathways",
        "pull",
        "recall",
        "startup",
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
