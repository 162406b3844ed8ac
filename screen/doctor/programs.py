"""What belongs to the program: keys, optional packages, Ray and its cluster, a database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from screen.doctor.findings import Finding

OPTIONAL = (
    ("matplotlib", "pip install 'ionscreen[plots]'", "screen plot, parity -o, figures of models"),
    ("chgnet", "pip install 'ionscreen[mlip]'", "screen neb relax, screen run --sites chgnet"),
    ("ase", "pip install ase", "screen neb relax, to_ase() of the Python API"),
    ("atomate2", "pip install atomate2", "running what `screen neb write --code atomate2` wrote"),
    ("pandas", "pip install pandas", "tables of the Python API; else they are Arrow's"),
)
"""Packages, how to get them, and what they serve."""


def check_key() -> Finding:
    """Whether there is a key of the Materials Project, never which."""
    from screen.sources.mp_client import KEY_LENGTH, KEYS_URL, find_key

    key = find_key()
    if key is None:
        return Finding(
            "Materials Project",
            "warn",
            "no key; the shipped catalog is the default source",
            f"get one from {KEYS_URL} and set MP_API_KEY",
        )
    if len(key) != KEY_LENGTH:
        return Finding(
            "Materials Project",
            "warn",
            f"a key of {len(key)} characters, expected {KEY_LENGTH}",
            f"copy it again from {KEYS_URL}; keys of the legacy site do not work",
        )
    return Finding("Materials Project", "ok", "a key is set")


def check_packages() -> Iterator[Finding]:
    """Optional packages, each with what it serves."""
    for name, install, serves in OPTIONAL:
        if find_spec(name) is None:
            yield Finding(name, "warn", f"not installed; it serves {serves}", install)
        else:
            yield Finding(name, "ok", f"for {serves}")


def check_ray(address: str | None) -> Finding:
    """Whether Ray is there and, with an address, whether its cluster takes this program in."""
    try:
        import ray
    except ImportError as error:
        return Finding(
            "Ray", "fail", f"cannot be imported: {error}", "--engine inline does without"
        )
    if address is None:
        return Finding("Ray", "ok", f"version {ray.__version__}")
    from jobs.errors import EngineError
    from jobs.session import ray_session
    from jobs.settings import RunSettings

    try:
        with ray_session(RunSettings(ray_address=address)) as resources:
            has = f"{resources.cpus} CPUs, {resources.gpus:g} GPUs"
            return Finding("Ray", "ok", f"version {ray.__version__}, {address} has {has}")
    except EngineError as error:
        return Finding(
            "Ray",
            "fail",
            str(error),
            f"here are Ray {ray.__version__} and Python {_python()}; the cluster needs the same, "
            "and HOST:PORT as `ray start --head` prints it, and its token where it asks for one",
        )
    except ValueError as error:
        return Finding("Ray", "fail", str(error), "pass HOST:PORT, or auto")


def check_database(path: Path) -> Finding:
    """The schema of a database, and who holds it; nothing is migrated."""
    from screen.database import LockedError, connect, schema_version
    from screen.errors import UserError
    from screen.schema import LATEST
    from screen.snapshots import snapshot_age_s

    try:
        con = connect(path, read_only=True)
    except LockedError as error:
        age_s = snapshot_age_s(path)
        seen = "no snapshot yet" if age_s is None else f"last snapshot {age_s:.0f} s ago"
        holder = _holder(str(error))
        return Finding(
            "database",
            "warn",
            f"{path}: in use by {holder} ({seen})",
            "top, status and sql read the snapshot; to write, wait until it ends",
        )
    except UserError as error:
        found, _, advice = str(error).partition("; ")
        return Finding("database", "fail", found, advice)
    with con:
        try:
            version = schema_version(con, path)
        except UserError as error:
            found, _, advice = str(error).rpartition("; " if "; " in str(error) else ": ")
            return Finding("database", "fail", found, advice)
    if version < LATEST:
        return Finding(
            "database",
            "warn",
            f"{path}: schema {version}, this version's is {LATEST}",
            "any command that opens it brings it up to date; older versions cannot read it then",
        )
    return Finding("database", "ok", f"{path}: schema {version}, free")


def _holder(message: str) -> str:
    """The process that a message names, with its program and user as far as they can be seen."""
    _, _, rest = message.partition("process ")
    number = rest.partition(";")[0]
    if not number.isdecimal():
        return "another process"
    folder = Path("/proc") / number
    try:
        program, user = (folder / "comm").read_text().strip(), _user(folder.stat().st_uid)
    except OSError:
        return f"process {number}"
    return f"process {number} ({program}, of {user})"


def _user(number: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return f"user {number}"


def _python() -> str:
    import platform

    return platform.python_version()


def keys_set() -> dict[str, bool]:
    """Which environment variables with keys and places are set, never their values."""
    names = (
        *("MP_API_KEY", "MP_API_ENDPOINT", "IONSCREEN_CACHE"),
        *("PMG_VASP_PSP_DIR", "RAY_ADDRESS"),
    )
    return {name: bool(os.environ.get(name)) for name in names}
