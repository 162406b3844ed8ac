"""What doctor finds, on this machine and on ones with something missing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from screen.cli import main
from screen.database import connect
from screen.doctor import machine, programs
from screen.schema import LATEST
from screen.store import Store
from tests.screen.conftest import environment

Usage = namedtuple("Usage", "total used free")


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *map(str, arguments)])
    document = json.loads(capsys.readouterr().out)
    return code, {finding["check"]: finding for finding in document["findings"]}


def test_every_finding_that_is_not_right_says_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, found = doctor(capsys)
    assert code == 0
    assert {"Materials Project", "GPU", "Ray", "disk here", "matplotlib"} <= set(found)
    for finding in found.values():
        assert finding["state"] in ("ok", "warn")
        assert bool(finding["advice"]) == (finding["state"] == "warn"), finding
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "-> get one from" in out
    assert "versions duckdb" in out


def test_the_key_is_never_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MP_API_KEY", "s3cret" * 3)
    assert programs.check_key().state == "warn"  # of the wrong length
    monkeypatch.setenv("MP_API_KEY", "s3cret01" * 4)
    assert programs.check_key().state == "ok"
    assert main(["doctor"]) == 0
    assert "s3cret" not in "".join(capsys.readouterr())


def test_little_room_warns_and_none_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    deep = tmp_path / "not" / "there"
    assert machine.check_disk("disk", deep).state in ("ok", "warn")
    for free_gib, state in ((20, "ok"), (5, "warn"), (0.5, "fail")):
        free = int(free_gib * 2**30)
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: Usage(free, 0, free))
        assert machine.check_disk("disk", deep).state == state
    shared = machine.check_shared_memory()
    assert shared is None or shared.state == "warn"
    code, found = doctor(capsys)
    assert code == 1
    assert found["disk here"]["state"] == "fail"


def test_a_driver_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine whose driver is there; this torch, built for CPUs, is the wrong one for it."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch can use a GPU here")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\ncase $1 in *driver*) echo 470.57;; *) echo Tesla;; esac\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(machine, "_DRIVER", tmp_path / "none")
    found = machine.check_gpu()
    assert found.state == "warn"
    assert "Tesla, driver 470.57" in found.found
    assert "CUDA" in found.advice
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "built for CUDA 13.0" in machine.check_gpu().advice
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n")
    monkeypatch.setattr(machine, "_DRIVER", version)
    assert machine.driver_version() == "535.104.05"


def test_no_cluster_at_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code, found = doctor(capsys, "--ray-address", f"127.0.0.1:{port}")
    assert code == 1
    assert found["Ray"]["state"] == "fail"
    assert "Connection refused" in found["Ray"]["found"]
    assert programs.check_ray("nowhere").state == "fail"


def test_a_database_that_is_free_old_or_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = tmp_path / "x.duckdb"
    Store.open(db).close()
    assert programs.check_database(db).state == "ok"
    with connect(db, read_only=False) as con:
        con.execute("delete from schema_version where version = ?", [LATEST])
    before = db.read_bytes()
    old = programs.check_database(db)
    assert (old.state, f"schema {LATEST - 1}" in old.found) == ("warn", True)
    assert db.read_bytes() == before
    (tmp_path / "text.duckdb").write_text("text")
    with connect(tmp_path / "other.duckdb", read_only=False) as con:
        con.execute("create table mine (i integer)")
    for name in ("text", "other", "none"):
        code, found = doctor(capsys, "--db", tmp_path / f"{name}.duckdb")
        assert code == 1
        assert found["database"]["state"] == "fail"
        assert found["database"]["advice"]


def test_who_holds_a_database(tmp_path: Path) -> None:
    db = tmp_path / "x.duckdb"
    Store.open(db).close()
    code = (
        "import sys; from screen.store import Store\n"
        f"store = Store.open({str(db)!r}); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        found = programs.check_database(db)
        assert holder.stdin is not None
        holder.stdin.close()
    assert found.state == "warn"
    assert f"process {holder.pid} (python" in found.found
    assert "no snapshot yet" in found.found


def test_a_broken_torch_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so: cannot open')")
    path = os.pathsep.join((str(tmp_path), environment()["PYTHONPATH"]))
    done = subprocess.run(
        [sys.executable, "-m", "screen.cli", "doctor"],
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "torch cannot be imported: libcudart.so" in done.stdout
    assert done.stderr.endswith("checks: GPU\n")


def test_packages_say_what_they_serve() -> None:
    found = {finding.check: finding for finding in programs.check_packages()}
    assert found["matplotlib"].state == "ok"
    assert "screen plot" in found["matplotlib"].found
    for finding in found.values():
        assert (finding.state == "warn") == finding.advice.startswith("pip install")
