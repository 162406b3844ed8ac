"""Pulling the Materials Project: how fast, in how much memory, and killed on the way."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.child import in_child
from tests.bench.figures import Figure, NotMeasured
from tests.standins.materials_project import KEY

TARGET_PER_S = 300
TARGET_GIB = 1.5
_ROOT = Path(__file__).parents[2]


def run(n_documents: int | None = None, n_peer: int = 3000) -> list[Figure]:
    """Every Mg structure of the snapshot, from a stand-in of the server on this machine.

    Args:
        n_documents: Of the snapshot; None for all.
        n_peer: How many the client by itself is given, with its defaults.
    """
    with _server(n_documents) as url, tempfile.TemporaryDirectory() as folder:
        key = {"MP_API_KEY": KEY}
        pulled = in_child("pull_child", "pull", url, folder, n_peer, environment=key)
        campaign = in_child(
            "pull_child", "killed", url, folder, pulled["candidates"], environment=key
        )
    once = campaign["ids"] == campaign["rows"] == pulled["items"]
    return [
        Figure(
            name="pull",
            what=f"one of {pulled['items']:,} materials pulled, kept, filtered and compared with "
            "those before, one process",
            unit="ms",
            target=f"<= {1000 / TARGET_PER_S:.1f} ms ({TARGET_PER_S}/s)",
            value=1000 / pulled["per_s"],
            met=pulled["per_s"] >= TARGET_PER_S,
            peer="mp-api's search into its documents",
            peer_value=1000 / pulled["peer_per_s"],
            note=f"{pulled['per_s']:.0f}/s, {pulled['seconds']:.0f} s in all; again from the cache "
            f"{pulled['again_s']:.0f} s; driver at most {pulled['peak_mib']:.0f} MiB",
        ),
        Figure(
            name="pull-killed",
            what="the same through hops, graphs and store on Ray, killed twice and gone on",
            unit="GiB of the driver",
            target=f"<= {TARGET_GIB} GiB, every id once",
            value=campaign["peak_mib"] / 1024,
            met=once and campaign["peak_mib"] / 1024 <= TARGET_GIB,
            note=f"{campaign['rows']:,} rows, {campaign['ids']:,} ids, {campaign['hops']:,} hops "
            f"in {campaign['seconds']:.0f} s with a model that takes no time; database "
            f"{campaign['db_mb']:.0f} MB",
        ),
    ]


@contextlib.contextmanager
def _server(n_documents: int | None) -> Iterator[str]:
    """The address of a stand-in in a process of its own."""
    folder = os.environ.get("IONSCREEN_DATA") or _ROOT.parent / "shared" / "data"
    path = Path(folder) / "mp_snapshot.parquet"
    if not path.exists():
        raise NotMeasured(f"no {path}; set IONSCREEN_DATA to the folder of mp_snapshot.parquet")
    given = ["--snapshot", str(path), "--elements", "Mg", "--port", "0"]
    given += ["--field", "energy_above_hull=0.05"]
    if n_documents is not None:
        given += ["--limit", str(n_documents)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.standins.materials_project", *given],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
