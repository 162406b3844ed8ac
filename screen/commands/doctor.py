"""``screen doctor``: what this machine has."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from screen.commands import command

_KEYS = ("MP_API_KEY", "MP_API_ENDPOINT", "PMG_VASP_PSP_DIR", "RAY_ADDRESS")


@command("screen doctor --json")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Devices, versions, models, and which keys are set (never their values)."""
    import shutil

    from jobs import hardware
    from models.checkpoint import list_models
    from screen.output import print_json
    from screen.store import code_version

    report: dict[str, Any] = {
        "ionscreen": code_version(),
        **hardware.describe(),
        "disk_free_gib": round(shutil.disk_usage(".").free / 2**30, 1),
        "models": [info.model_id for info in list_models()],
        "keys": {name: bool(os.environ.get(name)) for name in _KEYS},
    }
    if as_json:
        print_json(report)
        return
    for name, value in _flat(report):
        print(f"{name:24}{value}")


def _flat(report: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The report as lines: nested names joined by a space, lists by a comma."""
    lines: list[tuple[str, str]] = []
    for name, value in report.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{prefix}{name} ")
        elif isinstance(value, list):
            lines.append((prefix + name, ", ".join(map(_word, value)) or "none"))
        else:
            lines.append((prefix + name, _word(value)))
    return lines


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(map(str, value.values()))
    return {True: "yes", False: "no", None: "unknown"}.get(value, str(value))
