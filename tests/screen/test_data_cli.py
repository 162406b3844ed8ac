"""Public data sets over HTTP: checked, resumed, never half there, and found by name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pathways.band import build_band
from pathways.elements import SYMBOLS
from pathways.hops import HopSettings, enumerate_hops
from screen import datasets
from screen.cli import main
from screen.datasets import EM_BANDS, DataFile, Dataset, default_folder, fetch, find_data
from screen.errors import UserError
from screen.sources.http import Patience, PatientSession
from tests.pathways.crystals import KNOWN
from tests.standins.faults import WEB_PAGE, Answer, Dropped, Status, Truncated
from tests.standins.loopback import LoopbackServer

QUICK = Patience(tries=3, first_wait_s=0.01, longest_wait_s=0.02)
UNAVAILABLE = Status(503, {"message": "busy"})


def published_json() -> bytes:
    """Bands of real crystals in the published format, their length over 8 Å as barrier."""
    entries = []
    for name in ("MgMn2O4 spinel", "LiFePO4 olivine", "MgTi2S4 spinel"):
        known = KNOWN[name]
        network = enumerate_hops(known.crystal(), known.ion, HopSettings(max_hops=4))
        for hop in network.hops:
            cell = build_band(network.crystal, hop).folded
            atoms = {
                "lattice_mat": cell.lattice.tolist(),
                "coords": cell.frac.tolist(),
                "elements": [SYMBOLS[number] for number in cell.numbers],
                "cartesian": False,
            }
            entries.append({"jid": hop.key, "target": hop.length_a / 8, "atoms": atoms})
    return json.dumps(entries).encode()


CONTENT = {"RAW/a.json": published_json() + b"\n" * 600_000, "RAW/b.json": published_json()}
"""Padded to more than two parts; and the same bands in one."""
SMALL = Dataset(
    name="small",
    title="bands of three crystals",
    base_url="http://127.0.0.1:9/never/",
    files=tuple(
        DataFile(f"small-{path[4]}", path, len(body), hashlib.sha256(body).hexdigest())
        for path, body in CONTENT.items()
    ),
    license="MIT",
    citation="nobody",
)


class Mirror(LoopbackServer):
    """Serves files by their path, whole or in ranges."""

    def __init__(self, ranges: bool = True) -> None:
        super().__init__()
        self.content = dict(CONTENT)
        self.ranges = ranges

    def answer(self, target: str, headers: Mapping[str, str], shuffle: int | None) -> Answer:
        body = self.content.get(target.removeprefix("/mirror/"))
        if body is None:
            return Answer(404, b"nothing here", {"Content-Type": "text/plain"})
        kind = {"Content-Type": "application/json"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
        if asked is None or not self.ranges:
            return Answer(200, body, kind)
        first, last = int(asked[1]), min(int(asked[2]), len(body) - 1)
        if first > last:
            return Answer(416, b"", kind)
        place = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        return Answer(206, body[first : last + 1], {**kind, **place})

    def asked(self) -> list[str]:
        return [request.headers.get("range", "") for request in self.requests]


@pytest.fixture
def mirror() -> Any:
    with Mirror() as server:
        yield server


def get(server: Mirror, folder: Path, said: list[str] | None = None) -> list[Path]:
    notice = None if said is None else said.append
    session = PatientSession("the mirror", QUICK, notice)
    return fetch(SMALL, folder, f"{server.url}mirror", session=session)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_whole(folder: Path) -> None:
    assert names(folder) == ["a.json", "b.json"]
    for path, body in CONTENT.items():
        assert (folder / path[4:]).read_bytes() == body


def test_files_come_in_parts_and_once(mirror: Mirror, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    session = PatientSession("the mirror", QUICK)
    paths = fetch(
        SMALL,
        tmp_path / "new" / "data",
        f"{mirror.url}mirror/",
        session=session,
        progress=lambda *now: seen.append(now),
    )
    assert [path.name for path in paths] == ["a.json", "b.json"]
    assert_whole(tmp_path / "new" / "data")
    n_asked = len(mirror.requests)
    assert n_asked >= 4
    assert [done for name, done, _ in seen if name == "small-a"] == sorted(
        {done for name, done, _ in seen if name == "small-a"}
    )
    assert seen[-1] == ("small-b", len(CONTENT["RAW/b.json"]), len(CONTENT["RAW/b.json"]))
    assert get(mirror, tmp_path / "new" / "data") == paths
    assert len(mirror.requests) == n_asked


def test_a_server_without_ranges_will_do(tmp_path: Path) -> None:
    with Mirror(ranges=False) as server:
        get(server, tmp_path)
        assert len(server.requests) == 2
    assert_whole(tmp_path)


def test_passing_faults_are_outlasted(mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults.extend([UNAVAILABLE, Truncated(), None, Dropped(), None, Truncated(0.0)])
    said: list[str] = []
    get(mirror, tmp_path, said)
    assert_whole(tmp_path)
    assert len(said) == 4


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(mirror: Mirror, tmp_path: Path, ranges: bool) -> None:
    mirror.faults.extend([None, None, *[Dropped()] * QUICK.tries])
    with pytest.raises(UserError, match="goes on from here") as raised:
        get(mirror, tmp_path)
    assert "--offline" not in str(raised.value)
    assert names(tmp_path) == [".a.json.part"]
    done = (tmp_path / ".a.json.part").stat().st_size
    assert 0 < done < len(CONTENT["RAW/a.json"])
    mirror.requests.clear()
    mirror.ranges = ranges
    get(mirror, tmp_path)
    assert_whole(tmp_path)
    assert mirror.asked()[0].startswith(f"bytes={done}-")


def test_a_part_of_something_else_is_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    part = tmp_path / ".a.json.part"
    part.write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match="sha256"):
        get(mirror, tmp_path)
    assert names(tmp_path) == []
    part.write_bytes(b"x" * 2_000_000)
    get(mirror, tmp_path)
    assert_whole(tmp_path)


def test_an_altered_file_is_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    get(mirror, tmp_path)
    (tmp_path / "b.json").write_bytes(CONTENT["RAW/b.json"][:-1] + b" ")
    get(mirror, tmp_path)
    assert_whole(tmp_path)


@pytest.mark.parametrize("path", list(CONTENT))
def test_wrong_content_is_refused(mirror: Mirror, tmp_path: Path, path: str) -> None:
    mirror.content[path] = CONTENT[path].replace(b"Mg", b"Ca")
    with pytest.raises(UserError, match="sha256") as raised:
        get(mirror, tmp_path)
    assert raised.value.exit_code == 1
    assert path[4:] not in names(tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Status(404, "nothing"), "no such file"),
        (Status(403, "closed"), "status 403"),
        (Status(416, b""), "shorter file"),
        (WEB_PAGE, "bytes found, expected"),
        (Status(206, b"abc", {"Content-Range": "bytes 0-2/3"}), "range 'bytes 0-2/3'"),
        (Status(206, b"abc"), "range 'none'"),
    ],
)
def test_other_answers_are_refused(mirror: Mirror, tmp_path: Path, fault: Any, said: str) -> None:
    mirror.faults.append(fault)
    with pytest.raises(UserError, match=said) as raised:
        get(mirror, tmp_path)
    assert raised.value.exit_code == 1
    assert "RAW/a.json" in str(raised.value)
    assert len(mirror.requests) == 1
    assert not (tmp_path / "a.json").exists()


def test_facts_of_the_shipped_data_sets() -> None:
    assert EM_BANDS.base_url.startswith("https://")
    assert re.search(r"/[0-9a-f]{40}/$", EM_BANDS.base_url)
    for file in EM_BANDS.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.name.startswith("em-bands-")
        assert file.size > 0


@pytest.fixture
def own_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The program with the small data set beside its own, and an empty cache."""
    monkeypatch.setattr(datasets, "DATASETS", (EM_BANDS, SMALL))
    monkeypatch.setenv("IONSCREEN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_fetched_and_evaluated_by_name(
    mirror: Mirror, own_data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = ["evaluate", "--data", "small-b", "--model", str(tiny_model), "--json"]
    assert main(evaluate) == 2
    assert "screen data fetch small" in capsys.readouterr().err
    mirror.faults.append(UNAVAILABLE)
    assert main(["data", "fetch", "small", "--base-url", f"{mirror.url}mirror"]) == 0
    out, err = capsys.readouterr()
    assert "try 2 of 5" in err
    assert "licence MIT" in err
    assert "nobody" in err
    assert "screen evaluate --data small-b" in err
    assert out.splitlines()[1].endswith("b.json")
    assert main(evaluate) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] >= 4
    assert result["data_sha256"] == SMALL.files[1].sha256
    (default_folder(SMALL) / "b.json").write_text("[]")
    assert main(evaluate) == 2


def test_list_says_what_is_here(
    mirror: Mirror, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert "em-bands-test" in out
    assert "MIT" in out
    folder = own_data / "here"
    fetching = ["data", "fetch", "small", "-o", str(folder), "--json"]
    assert main([*fetching, "--base-url", f"{mirror.url}mirror"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(row["path"]).parent for row in found] == [folder, folder]
    get(mirror, default_folder(SMALL))
    assert main(["data", "list", "--json"]) == 0
    rows = {row["file"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["small-a"]["path"] == str(default_folder(SMALL) / "a.json")
    assert rows["em-bands-train"]["path"] is None
    assert rows["em-bands-train"]["bytes"] == 4_054_304


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nothing"], 2, "no data set 'nothing', expected one of: em-bands, small"),
        (["small", "--base-url", "ftp://somewhere"], 2, "expected http://HOST"),
        (["small", "--base-url", "{mirror}elsewhere"], 1, "no such file"),
    ],
)
def test_errors_are_one_line(
    mirror: Mirror,
    own_data: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    given = [word.replace("{mirror}", mirror.url) for word in arguments]
    assert main(["data", "fetch", *given]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert said in errors[0]


def test_a_path_is_taken_before_a_name(own_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own_data)
    (own_data / "small-b").write_text("[]")
    assert find_data(Path("small-b")) == Path("small-b")
    assert find_data(Path("nowhere.json")) == Path("nowhere.json")
    with pytest.raises(UserError, match="not here yet"):
        find_data(Path("small-a"))
    other = replace(SMALL, name="other")
    assert default_folder(other) == own_data / "cache" / "data" / "other"
