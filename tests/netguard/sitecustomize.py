"""Keeps Python on this machine: connections elsewhere, and questions for strangers' names, fail.

The interpreter imports a module of this name when it starts, so a folder on ``PYTHONPATH`` is
enough to bind every child process, Ray's workers among them. What compiled libraries open by
themselves is not seen here.
"""

from __future__ import annotations

import errno
import importlib.machinery
import importlib.util
import ipaddress
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class OutsideError(OSError):
    """Something has tried to leave this machine."""

    def __init__(self, where: object) -> None:
        super().__init__(
            errno.ENETUNREACH,
            f"tests stay on this machine, but something asked for {where}; "
            "serve it on 127.0.0.1, see tests/standins",
        )


def install() -> None:
    """Bind this process; once is enough."""
    if getattr(socket, "is_guarded", False):
        return
    for name, position in (("connect", 0), ("connect_ex", 0), ("sendto", -1), ("sendmsg", 3)):
        original = getattr(socket.socket, name)
        setattr(socket.socket, name, _with_address(original, position))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        setattr(socket, name, _with_host(getattr(socket, name)))
    socket.is_guarded = True  # type: ignore[attr-defined]


def _with_address(original: Callable[..., Any], position: int) -> Callable[..., Any]:
    def guarded(self: socket.socket, *args: Any) -> Any:
        address = next(iter(args[position:]), None)
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            _check(address[0])
        return original(self, *args)

    return guarded


def _with_host(original: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        _check(host)
        return original(host, *args, **kwargs)

    return guarded


def _check(host: object) -> None:
    """Raise ``OutsideError`` for an address or a name of another machine."""
    if isinstance(host, bytes | bytearray):
        host = host.decode("ascii", "replace")
    if host is None or host == "" or host == "localhost" or host == socket.gethostname():
        return
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        raise OutsideError(host) from None
    if not (address.is_loopback or address.is_unspecified or _is_own(address)):
        raise OutsideError(host)


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether this machine has the address: nobody else's can be bound."""
    if address.is_multicast or str(address) == "255.255.255.255":
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _import_the_next() -> None:
    """Import the module of this name that this one hides, where there is one."""
    here = Path(__file__).parent
    others = [folder for folder in sys.path if Path(folder).absolute() != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    install()
    _import_the_next()
