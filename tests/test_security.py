"""Nobody is let in: no code from files, no way out of a query, no open port, no key anywhere."""

from __future__ import annotations

import ast
import contextlib
import ipaddress
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from screen.cli import main
from screen.errors import UserError
from screen.reader import Reader, open_reader
from screen.sources.structure_json import structure_json
from tests.chaos.processes import Running, done, environment, screen, tree, wait_for
from tests.small_crystals import crystal_of
from tests.standins.documents import summary_document
from tests.standins.faults import Status
from tests.standins.materials_project import MaterialsProject
from tests.test_architecture import MODULES, ROOT, name_of

KEY = "s3cr3tK3yOfTheMaterialsProject00"
FROM_OWN_WORKERS = {"jobs.parallel": {"pickle.loads"}}
"""Bytes that came from Ray's workers, which run this code and are trusted as this process is."""
FORBIDDEN_CALLS = {
    *("pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "dill.load"),
    *("joblib.load", "marshal.loads", "marshal.load", "shelve.open", "pandas.read_pickle"),
    *("yaml.load", "yaml.unsafe_load", "os.system", "os.popen", "eval", "exec", "compile"),
    *("torch.jit.load", "torch.package.PackageImporter", "pickle.Unpickler"),
}


def calls(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Every call of a module: its name, by the module that it was imported from, and keywords."""
    tree_of = ast.parse(path.read_text())
    names: dict[str, str] = {}
    for node in ast.walk(tree_of):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            names |= {one.asname: one.name for one in node.names if one.asname}
    for node in ast.walk(tree_of):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            keywords = {word.arg or "**": ast.unparse(word.value) for word in node.keywords}
            yield names.get(first, first) + dot + rest, keywords


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_brings_code(path: Path) -> None:
    for name, keywords in calls(path):
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", path
        if name in ("numpy.load", "np.load"):
            assert keywords.get("allow_pickle", "False") == "False", path
        if name.startswith("subprocess."):
            assert keywords.get("shell", "False") == "False", path
        short = name.removeprefix("ray.")
        if short in FORBIDDEN_CALLS:
            assert short in FROM_OWN_WORKERS.get(name_of(path), set()), f"{path}: {name}"


def test_the_search_for_such_calls_finds_them(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "from pickle import loads as l\nimport numpy as n\nl(b'')\nn.load('x')\neval('1')\n"
    )
    assert {name for name, _ in calls(file)} == {"pickle.loads", "numpy.load", "eval"}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over two catalogued hosts."""
    db = tmp_path_factory.mktemp("sql") / "x.duckdb"
    words = ["--chemsys", "Mg-*", "--source", "catalog", "--limit", "2", "--engine", "inline"]
    assert main(["run", *words, "--db", str(db)]) == 0
    return db


_HOLDER = """
import sys
from pathlib import Path
from screen.store import Store
with Store.open(Path(sys.argv[1])) as store:
    store.snapshots.take()
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module", params=["database", "snapshot"])
def asked(request: pytest.FixtureRequest, database: Path) -> Iterator[Reader]:
    """The database as ``screen sql`` opens it, itself or as it is seen while a run holds it."""
    if request.param == "database":
        with open_reader(database) as reader:
            yield reader
        return
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(database.parent),
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with open_reader(database) as reader:
        assert reader.snapshot_age_s is not None
        yield reader
    holder.communicate("\n")


HOSTILE = (
    "select * from read_csv('/etc/passwd')",
    "select * from read_csv_auto('/etc/passwd', header=false)",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/passwd')",
    "select * from read_json('/etc/passwd')",
    "select * from read_parquet('/etc/passwd')",
    "select * from '/etc/passwd'",
    "select * from sniff_csv('/etc/passwd')",
    "select * from glob('/etc/*')",
    "select * from query('select * from read_text(''/etc/passwd'')')",
    "select * from query_table('/etc/passwd')",
    "select * from 'https://example.org/x.parquet'",
    "from read_csv('/etc/passwd')",
    "attach '/etc/passwd' as other",
    "attach 'OTHER' as other",
    "copy hops to 'OUT.csv'",
    "copy (select 1) to 'OUT.parquet' (format parquet)",
    "copy hops from '/etc/passwd'",
    "explain analyze copy hops to 'OUT.csv'",
    "export database 'OUT'",
    "import database 'OUT'",
    "install httpfs",
    "load httpfs",
    "load 'OUT.so'",
    "set enable_external_access = true",
    "reset enable_external_access",
    "set lock_configuration = false",
    "pragma database_list",
    "pragma enable_profiling",
    "set profiling_output = 'OUT.json'",
    "call enable_logging()",
    "create secret (type s3)",
    "create table stolen as select * from hops",
    "create macro f() as 1",
    "insert into hops select * from hops",
    "update predictions set em_ev = 0",
    "delete from hops",
    "drop table hops",
    "drop view ranked_hops",
    "truncate hops",
    "vacuum",
    "checkpoint",
    "begin",
    "use memory",
    "prepare p as select 1",
    "select 1; drop table hops",
    "select 1; select * from read_text('/etc/passwd')",
    "with gone as (delete from hops returning *) select * from gone",
)


@pytest.mark.parametrize("query", HOSTILE)
def test_a_query_neither_leaves_the_database_nor_changes_it(
    asked: Reader, query: str, tmp_path: Path
) -> None:
    query = query.replace("OUT", str(tmp_path / "out")).replace("OTHER", str(tmp_path / "other.db"))
    before = asked.path.read_bytes()
    with pytest.raises(UserError) as refused:
        asked.ask(query)
    assert refused.value.exit_code in (1, 2)
    assert "root:" not in str(refused.value)
    assert not list(tmp_path.iterdir())
    assert asked.path.read_bytes() == before


def test_a_query_that_reads_is_answered(asked: Reader) -> None:
    ((n,),) = (row.values() for row in asked.ask("select count(*) from hops").to_pylist())
    assert n > 0


@pytest.mark.parametrize("query", ["select * from read_text('/etc/passwd')", "drop table hops"])
def test_the_command_says_so_in_one_line(
    database: Path, query: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sql", query, "--db", str(database)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    *_, line = said.err.splitlines()
    assert line.startswith("error: ")


def listening(pids: set[int]) -> list[str]:
    """``address:port`` of every TCP socket that these processes listen on, and of bound UDP."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes |= set(re.findall(r"socket:\[(\d+)\]", str(entry.readlink())))
    found = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if rest[5] in inodes and (name.startswith("udp") or state == "0A"):
                address, _, port = local.partition(":")
                found.append(f"{_address(address)}:{int(port, 16)}")
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as /proc writes it: words of four bytes, each the wrong way round."""
    packed = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def test_a_socket_on_every_address_is_found() -> None:
    import os
    import socket

    with socket.create_server(("0.0.0.0", 0)) as server:
        assert f"0.0.0.0:{server.getsockname()[1]}" in listening({os.getpid()})


@pytest.fixture(scope="module")
def workspace() -> Iterator[Path]:
    """A folder of a short name, since the paths of Ray's sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="ion-") as name:
        yield Path(name)


def documents() -> list[dict[str, object]]:
    return [
        summary_document(f"mp-{at}", structure_json(crystal_of(name)))
        for at, name in enumerate(("MgO", "MgAl2O4", "MgMn2O4"), 1)
    ]


@pytest.fixture(scope="module")
def ray_run(workspace: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Open sockets and command lines of a run on Ray whose server keeps it waiting, then not."""
    with MaterialsProject(documents(), keys=(KEY,)) as server:
        words = ["--chemsys", "Mg-?", "--chemsys", "Mg-*", "--mp-endpoint", server.url]
        words += ["--db", str(workspace / "x.duckdb"), "--log-file", str(workspace / "log.jsonl")]
        words += ["--num-cpus", "1", "--num-gpus", "0", "--debug"]
        running = Running(screen("run", *words), workspace, {"MP_API_KEY": KEY})
        sockets: list[str] = []
        lines: list[str] = []

        def is_working() -> bool:
            found = tree(running.process.pid)
            lines.extend(found.values())
            sockets.extend(listening({*found, running.process.pid}))
            return not running.is_up

        assert wait_for(is_working, 600)
        ended = running.end(10)
        running.left_over(45)
        assert ended.code == 0, ended.err
        yield sockets, lines


def test_ray_listens_to_this_machine_only(ray_run: tuple[list[str], list[str]]) -> None:
    sockets, lines = ray_run
    assert any("raylet" in line for line in lines)
    hosts = {one.rpartition(":")[0] for one in sockets}
    assert hosts
    assert {host for host in hosts if not ipaddress.ip_address(host).is_loopback} == set()


def test_the_key_is_nowhere(ray_run: tuple[list[str], list[str]], workspace: Path) -> None:
    """Not in the database, cache, logs of ours and Ray's, output, or a command line."""
    assert not [line for line in ray_run[1] if KEY in line]
    files = [path for path in workspace.rglob("*") if path.is_file()]
    assert {"x.duckdb", "log.jsonl", "manifest.json"} <= {path.name for path in files}
    assert any("raylet" in path.name for path in files), "Ray's own logs were not looked at"
    assert [str(path) for path in files if KEY.encode() in path.read_bytes()] == []


def test_the_key_is_in_no_error_and_no_report(workspace: Path) -> None:
    folder = workspace / "errors"
    folder.mkdir()
    key = {"MP_API_KEY": KEY}
    with MaterialsProject(documents(), keys=("another".ljust(32, "0"),)) as server:
        words = ["--chemsys", "Mg-*", "--source", "mp", "--mp-endpoint", server.url, "--debug"]
        words += ["--engine", "inline", "--db", folder / "x.duckdb"]
        refused = done(screen("run", *words), folder, **key)
    unreachable = done(screen("run", *words), folder, **key)
    doctor = done(screen("doctor", "--json"), folder, **key)
    report = done(
        screen("report", "--db", workspace / "x.duckdb", "-o", folder / "r.html"), folder, **key
    )
    for ended in (refused, unreachable):
        assert ended.code == 1
        assert "Traceback" in ended.err  # as --debug asks for
    assert (doctor.code, report.code) == (0, 0), report.err
    for ended in (refused, unreachable, doctor, report):
        assert KEY not in ended.out + ended.err
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if KEY.encode() in path.read_bytes()] == []


TRAVERSALS = (
    *("../../out", "/tmp/out", "..", ".", "a/../../../out", "..\\..\\out", "a\0b", "~root"),
    *("C:\\out", "con", "x" * 300, "line\nbreak", "<script>alert(1)</script>", "=cmd()", "$(id)"),
)


def test_ids_of_a_source_are_no_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    source = inner / "s.jsonl"
    document = json.loads(structure_json(crystal_of("MgMn2O4")))
    rows = [{"material_id": one, "structure": document} for one in TRAVERSALS]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    db = inner / "x.duckdb"
    words = ["--chemsys", "Mg-*", "--source", str(source), "--keep-duplicates"]
    assert main(["run", *words, "--engine", "inline", "--db", str(db)]) == 0
    before = {path for path in tmp_path.rglob("*") if inner not in path.parents}
    listed = inner / "list"
    chosen = ["-n", "100", "--per-framework", "100", "-o", str(listed)]
    assert main(["shortlist", "--db", str(db), *chosen]) == 0
    for code in ("ase", "qe"):
        assert main(["neb", "write", str(listed), "--code", code]) == 0
    assert {path for path in tmp_path.rglob("*") if inner not in path.parents} == before
    assert {path.name for path in inner.iterdir()} == {"s.jsonl", "x.duckdb", "list"}
    ids = {json.loads(path.read_text())["material_id"] for path in listed.rglob("hop.json")}
    assert len(ids) > len(TRAVERSALS) // 2
    assert ids <= set(TRAVERSALS)
    capsys.readouterr()


def test_depth_of_a_document_is_no_way_to_crash(tmp_path: Path) -> None:
    source = tmp_path / "deep.jsonl"
    good = json.dumps(
        {"material_id": "m", "structure": json.loads(structure_json(crystal_of("MgO")))}
    )
    source.write_text("[" * 200_000 + "]" * 200_000 + "\n" + good + "\n")
    words = ["--chemsys", "Mg-*", "--source", source, "--engine", "inline"]
    ended = done(screen("run", *words, "--db", tmp_path / "x.duckdb"), tmp_path)
    assert ended.complaints([0, 1]) == []


def test_the_makefile_audits_what_is_pinned() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\naudit:")[2].partition("\n\n")[0]
    assert "pip-audit --strict" in recipe
    assert "-r constraints.txt" in recipe


def test_a_fault_of_a_server_tells_no_key(workspace: Path) -> None:
    """A page that echoes the request's headers is not repeated."""
    folder = workspace / "echo"
    folder.mkdir()
    with MaterialsProject(documents(), keys=(KEY,)) as server:
        server.heartbeat_faults.extend([Status(400, {"detail": f"x-api-key: {KEY}"})] * 3)
        server.faults.extend([Status(400, {"detail": f"x-api-key: {KEY}"})] * 3)
        words = ["--chemsys", "Mg-*", "--source", "mp", "--mp-endpoint", server.url, "--debug"]
        words += ["--engine", "inline", "--db", folder / "x.duckdb"]
        ended = done(screen("run", *words), folder, MP_API_KEY=KEY)
    assert ended.code == 1
    assert KEY not in ended.out + ended.err
