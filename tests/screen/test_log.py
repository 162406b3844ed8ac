"""The log of a run: JSON lines, nothing secret."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.records import Progress
from screen import running
from screen.campaign import Ticker
from screen.cli import main
from screen.errors import UserError
from screen.log import log_event, logging_to
from tests.screen.conftest import write_structures


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_run_is_told_from_start_to_end(tmp_path: Path, tiny_model: Path) -> None:
    source = write_structures(tmp_path / "s.jsonl", ["MgO", "MgAl2O4"])
    with source.open("a") as file:
        file.write("no json\n")
    log = tmp_path / "run.log"
    arguments = ["run", "--chemsys", "Mg-*", "--source", source, "--model", tiny_model]
    arguments += ["--engine", "inline", "--db", tmp_path / "x.duckdb", "--log-file", log]
    assert main([str(one) for one in arguments]) == 0
    told = lines(log)
    events = [line["event"] for line in told]
    assert events.index("run_started") < events.index("campaign") < events.index("run_finished")
    assert all(line["time"].endswith("Z") and line["level"] for line in told)
    (failure,) = [line for line in told if line["event"] == "failure"]
    assert (failure["stage"], failure["reason"], failure["level"]) == (
        *("source", "unreadable"),
        "warning",
    )
    (started,) = [line for line in told if line["event"] == "run_started"]
    assert started["options"]["chemsys"] == ["Mg-*"]
    assert started["model_id"].startswith("tiny@")
    (finished,) = [line for line in told if line["event"] == "run_finished"]
    assert finished["candidates"] == 3
    assert finished["predicted"] == finished["hops"] > 0
    assert any("energy above the hull" in line.get("message", "") for line in told)

    n_before = len(told)
    assert main([str(one) for one in arguments]) == 0  # is added to, nothing is lost
    assert lines(log)[:n_before] == told
    assert len(lines(log)) > n_before


def test_the_error_that_ends_a_run_is_in_it(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    arguments = ["run", "--chemsys", "Mg-*", "--source", "none.cif", "--log-file", str(log)]
    assert main(arguments) == 2
    last = lines(log)[-1]
    assert (last["event"], last["level"], last["kind"]) == ("error", "error", "UserError")
    assert "no such file" in last["message"]


def test_secrets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = 'a"long"secret'
    monkeypatch.setenv("MP_API_KEY", secret)
    monkeypatch.setenv("SOME_TOKEN", "t0ken-value")
    log = tmp_path / "run.log"
    with logging_to(log):
        log_event("notice", message=f"the server refused {secret}", where="t0ken-value")
        log_event("notice", message="http://user:word@host/ and mail@host")
        logging.getLogger("elsewhere").warning("with %s", "t0ken-value")
    text = log.read_text()
    for word in ("long", "t0ken", "user:word"):
        assert word not in text
    assert "mail@host" in text
    assert [line["event"] for line in lines(log)] == ["notice", "notice", "log"]


def test_only_warnings_of_others_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    with logging_to(log):
        logging.getLogger("elsewhere").error("broken")
        logging.getLogger("elsewhere").info("chatter")
        logging.getLogger("screen.sources").info("ours")
    log_event("notice", message="too late")
    assert [line["message"] for line in lines(log)] == ["broken", "ours"]


def test_without_a_file_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(None):
        log_event("failure", logging.ERROR, reason="x")
    assert capsys.readouterr() == ("", "")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="cannot be written"),
        logging_to(tmp_path / "none" / "run.log"),
    ):
        pass


def test_progress_comes_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 100, 4))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    ticker = running._LoggedTicker(Ticker())
    with logging_to(tmp_path / "run.log"):
        for written in range(6):
            ticker.update(Progress(written=written))
    monkeypatch.undo()
    told = lines(tmp_path / "run.log")
    assert [line["written"] for line in told] == [0, 3]
