"""No test, and no process that a test starts, gets off this machine."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netguard.sitecustomize import OutsideError
from tests.standins.loopback import LoopbackServer

DOCUMENTATION_ADDRESS = "198.51.100.7"
"""Reserved for examples: nobody has it."""


@pytest.mark.parametrize(
    "address", [DOCUMENTATION_ADDRESS, "2001:db8::1", "example.org", "8.8.8.8"]
)
def test_no_connection_leaves_the_machine(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as sock, pytest.raises(OutsideError, match="stay on this"):
            sock.connect((address, 80))
        with socket.socket(family, kind) as sock, pytest.raises(OutsideError):
            sock.connect_ex((address, 80))
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        with pytest.raises(OutsideError):
            sock.sendto(b"", (address, 53))
        with pytest.raises(OutsideError):
            sock.sendmsg([b""], [], 0, (address, 53))


def test_no_stranger_is_looked_up() -> None:
    with pytest.raises(OutsideError, match=r"asked for example\.org;"):
        socket.getaddrinfo("example.org", 443)
    for look_up in (socket.gethostbyname, socket.gethostbyname_ex, socket.gethostbyaddr):
        with pytest.raises(OutsideError):
            look_up("example.org")


def test_clients_see_a_network_that_is_down() -> None:
    import requests

    with pytest.raises(requests.ConnectionError, match="stay on this machine"):
        requests.get("https://api.materialsproject.org/heartbeat", timeout=5)

    async def open_connection() -> None:
        await asyncio.open_connection(DOCUMENTATION_ADDRESS, 80)

    with pytest.raises(OSError, match="stay on this machine"):
        asyncio.run(open_connection())


def test_this_machine_can_be_reached() -> None:
    assert socket.getaddrinfo(socket.gethostname(), 80)
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        for name in ("127.0.0.1", "localhost", socket.gethostbyname(socket.gethostname())):
            socket.create_connection((name, port), timeout=5).close()
    here, there = socket.socketpair(socket.AF_UNIX)
    here.send(b"x")
    assert there.recv(1) == b"x"
    here.close()
    there.close()


def child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_child_processes_are_bound() -> None:
    code = "import socket; socket.create_connection(('{}', {}), timeout=5)"
    result = child(code.format(DOCUMENTATION_ADDRESS, 80))
    assert result.returncode == 1
    assert "OutsideError" in result.stderr
    assert f"something asked for {DOCUMENTATION_ADDRESS}" in result.stderr
    with LoopbackServer() as server:
        assert child(code.format("127.0.0.1", server.port)).returncode == 0


def test_another_sitecustomize_is_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the other')\n")
    folders = os.pathsep.join((os.environ["PYTHONPATH"], str(tmp_path)))
    result = child("import socket; print(socket.is_guarded)", PYTHONPATH=folders)
    assert result.stdout.splitlines() == ["the other", "True"]


def test_nothing_of_the_user_is_found() -> None:
    from pymatgen.core import SETTINGS

    assert "PMG_MAPI_KEY" not in SETTINGS
    assert not {"MP_API_KEY", "MP_API_ENDPOINT", "https_proxy", "HTTPS_PROXY"} & set(os.environ)
    assert Path(os.environ["IONSCREEN_CACHE"]).is_dir()
