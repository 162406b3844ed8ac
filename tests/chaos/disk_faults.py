"""Faults of files and disks: no room, no permission, somebody else's lock, damage."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from screen.sources.structure_json import structure_json
from tests.chaos.campaigns import Campaign, content, differences
from tests.chaos.fault import CannotBeDone, Scene
from tests.chaos.processes import Running, done, kill, screen, wait_for
from tests.small_crystals import crystal_of
from tests.standins.documents import summary_document
from tests.standins.materials_project import MaterialsProject

_DISK_MIB = 48
_ROOMS_KIB = (8, 104)
"""Too little for a database, and for all rows of a few hosts."""


@contextlib.contextmanager
def mounted(where: Path, *options: str) -> Iterator[None]:
    """Something mounted on a folder for the length of the block.

    Raises:
        CannotBeDone: this process may not mount.
    """
    where.mkdir(exist_ok=True)
    tried = subprocess.run(["mount", *options, str(where)], capture_output=True, text=True)
    if tried.returncode:
        raise CannotBeDone(f"no right to mount: {tried.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def full_disk(scene: Scene) -> tuple[str, list[str]]:
    """The disk is full, at once or after the first rows; then there is room."""
    said = []
    for room_kib in _ROOMS_KIB:
        disk = scene.folder / f"disk-{room_kib}"
        with mounted(disk, "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs"):
            ballast = disk / "ballast"
            ballast.write_bytes(bytes((_DISK_MIB * 1024 - room_kib) * 1024))
            ended = done(scene.campaign.command(disk / "x.duckdb", "inline"), scene.folder)
            said += scene.refused(ended, "free some space")
            ballast.unlink()
            said += scene.goes_on(disk / "x.duckdb")
    return "one line, exit 1; with room, tables equal", said


def read_only_folder(scene: Scene) -> tuple[str, list[str]]:
    """The folder is read-only: a new database, and one that is there."""
    disk = scene.folder / "disk"
    said = []
    with mounted(disk, "-t", "tmpfs", "-o", "size=48m", "tmpfs"):
        said += scene.goes_on(disk / "x.duckdb")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for name in ("x.duckdb", "new.duckdb"):
            ended = done(scene.campaign.command(disk / name, "inline"), scene.folder)
            said += scene.refused(ended, "ead-only file system")
        # What is there can be read all the same.
        said += done(screen("top", "--db", disk / "x.duckdb"), scene.folder).complaints([0])
        said += differences(content(disk / "x.duckdb"), scene.whole)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        said += scene.goes_on(disk / "x.duckdb")
    return "one line, exit 1; `top` reads on; writable again, tables equal", said


_HOLDER = """
import sys, time
import duckdb
held = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(600)
"""


def locked_database(scene: Scene) -> tuple[str, list[str]]:
    """Another process holds the database, then lets go."""
    said = scene.goes_on()
    holder = Running(["-c", _HOLDER, str(scene.db)], scene.folder)
    try:
        wait_for(lambda: holder.told() == "held\n", 60)
        for words in (scene.campaign.command(scene.db, "inline"), screen("top", "--db", scene.db)):
            ended = done(words, scene.folder)
            said += scene.refused(ended, f"in use by process {holder.process.pid}")
    finally:
        kill(holder.process.pid)
        holder.end(60)
    said += scene.goes_on()
    return "one line that names the process, exit 1; free again, tables equal", said


def corrupt_cache_page(scene: Scene) -> tuple[str, list[str]]:
    """A page of the cache is damaged, with and without the server at hand."""
    documents = [summary_document(f"mp-{at}", _plain(at)) for at in range(1, 7)]
    cache = scene.folder / "cache"
    with MaterialsProject(documents) as server:
        words = ("--chemsys", "Mg-*", "--source", "mp", "--mp-endpoint", server.url)
        campaign = Campaign("mp", (*words, "--keep-duplicates", "--cache", str(cache)))
        key = {"MP_API_KEY": server.keys[0]}
        said = campaign.run(scene.folder / "whole.duckdb", "inline", **key).complaints([0])
        whole = content(scene.folder / "whole.duckdb")
        pages = sorted(cache.rglob("page-*"))
        for page in pages:
            damaged = bytearray(page.read_bytes())
            damaged[len(damaged) // 2] ^= 0xFF
            page.write_bytes(damaged)
        offline = campaign.command(scene.db, "inline", "--offline")
        said += scene.refused(done(offline, scene.folder, **key), "damaged")
        said += campaign.run(scene.db, "inline", **key).complaints([0])
    if not pages:
        said.append("there was no page to damage")
    return "offline: one line, exit 1; online: asked again, tables equal", said + differences(
        content(scene.db), whole
    )


def _plain(at: int) -> str:
    """A spinel, each a little larger."""
    document = json.loads(structure_json(crystal_of("MgAl2O4")))
    document["lattice"] = [[(1 + 0.01 * at) * x for x in row] for row in document["lattice"]]
    return json.dumps(document)


def damaged_database(scene: Scene) -> tuple[str, list[str]]:
    """The database file is damaged; another one is begun."""
    said = scene.goes_on()
    whole = scene.db.read_bytes()
    scene.db.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    ended = scene.campaign.run(scene.db, "inline")
    said += scene.refused(ended, "restore it from a copy")
    scene.db.write_bytes(whole)
    return "one line, exit 1; restored, tables equal", said + scene.goes_on()
