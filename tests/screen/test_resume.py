"""Whatever stops a run, and however often: the same command ends with the same rows."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from screen.cli import main
from screen.reader import open_reader
from screen.snapshots import live_folder
from screen.store import Store
from tests.screen.conftest import environment, write_structures

COPIES = 100
DEADLINE_S = 500
"""Nothing takes long by itself, but machines that run tests can be busy."""
TABLES = {
    "materials": "* exclude (fetched_at)",
    "hops": "*",
    "predictions": "* exclude (predicted_at)",
    "material_ranking": "* exclude (ranked_at)",
    "failures": "* exclude (failed_at)",
    "campaign_materials": "* exclude (written_at)",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rocksalts and spinels, and among them two that cannot be read."""
    path = write_structures(
        tmp_path_factory.mktemp("source") / "s.jsonl", ["MgO", "MgAl2O4"], COPIES
    )
    lines = path.read_text().splitlines()
    lines.insert(3, '{"material_id": "bad-1", "structure": 7}')
    lines.append('{"material_id": "bad-2", "structure": {}}')
    path.write_text("\n".join(lines) + "\n")
    return path


def command(source: Path, model: Path, db: Path, engine: str) -> list[str]:
    arguments = ["run", "--chemsys", "Mg-*", "--source", source, "--model", model, "--db", db]
    arguments += ["--keep-duplicates"]
    return [*map(str, arguments), "--engine", engine, "--num-cpus", "1", "--num-gpus", "0"]


def content(db: Path) -> dict[str, list[dict[str, Any]]]:
    with open_reader(db) as reader:
        return {
            table: reader.records(f"select {columns} from {table} order by all")
            for table, columns in TABLES.items()
        }


@pytest.fixture(scope="module")
def uninterrupted(
    source: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    """The rows of a run that nothing stopped."""
    db = tmp_path_factory.mktemp("whole") / "x.duckdb"
    assert main(command(source, tiny_model, db, "inline")) == 0
    return content(db)


def start_and_stop(arguments: list[str], db: Path, number: signal.Signals, batches: int) -> str:
    """Start a run and stop it with a signal when it has begun, or written a batch; its stderr."""
    shutil.rmtree(live_folder(db), ignore_errors=True)  # of the run that was killed before
    process = subprocess.Popen(
        [sys.executable, "-m", "screen.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    # The snapshots of the beginning and of the first batch.
    snapshot = live_folder(db) / "campaign_materials.parquet"
    deadline = time.monotonic() + DEADLINE_S
    seen: set[int] = set()
    while len(seen) <= batches and process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            seen.add(snapshot.stat().st_mtime_ns)
        time.sleep(0.002)
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == (130 if number == signal.SIGTERM else -number), said
    return said


def n_done(db: Path) -> int:
    with Store.open(db) as store:
        (campaign_id,) = store.campaign_ids()
        return len(store.done(campaign_id))


def test_stopped_again_and_again(
    source: Path,
    tiny_model: Path,
    tmp_path: Path,
    uninterrupted: dict[str, list[dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    db = tmp_path / "x.duckdb"
    arguments = command(source, tiny_model, db, "inline")
    start_and_stop(arguments, db, signal.SIGKILL, batches=0)
    counts = [n_done(db)]
    said = start_and_stop(arguments, db, signal.SIGTERM, batches=1)
    counts.append(n_done(db))
    assert f"interrupted: {counts[-1]} candidates are in {db}; the same command" in said
    assert not live_folder(db).exists()
    start_and_stop(arguments, db, signal.SIGKILL, batches=1)
    counts.append(n_done(db))
    assert 0 <= counts[0] < counts[1] < counts[2] < 2 * COPIES + 2

    capsys.readouterr()
    assert main(arguments) == 0
    assert f"({counts[2]} of them done before)" in capsys.readouterr().out
    assert content(db) == uninterrupted


def test_killed_on_ray_and_finished_inline(
    source: Path,
    tiny_model: Path,
    tmp_path: Path,
    uninterrupted: dict[str, list[dict[str, Any]]],
) -> None:
    db, limit = tmp_path / "x.duckdb", ["--limit", "90"]
    start_and_stop([*command(source, tiny_model, db, "ray"), *limit], db, signal.SIGKILL, batches=1)
    assert 0 < n_done(db) < 91
    assert main([*command(source, tiny_model, db, "inline"), *limit]) == 0
    assert n_done(db) == 91  # and one that cannot be read
    found = content(db)
    wanted_ids = {row["material_id"] for row in found["campaign_materials"]}
    for table, rows in uninterrupted.items():
        expected = [
            row
            for row in rows
            if row.get("material_id", str(row.get("hop_id")).partition(":")[0]) in wanted_ids
        ]
        for row, wanted in zip(found[table], expected, strict=True):
            assert row == {
                # Batches differ between the engines, and with them the last digits.
                key: pytest.approx(value, rel=1e-4) if isinstance(value, float) else value
                for key, value in wanted.items()
            }
