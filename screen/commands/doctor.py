"""``screen doctor``: what this machine has, what is wrong with it, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screen.commands import command
from screen.errors import FAILED, UserError

if TYPE_CHECKING:
    from screen.doctor.findings import Finding


@command("screen doctor --db mg.duckdb")
def doctor(
    db: Annotated[Path | None, typer.Option("--db", help="Look at this database too.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a running Ray to look at too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Devices, versions, models, keys (never their values); what is wrong, and what to do.

    Ends with 1 where something will not work; what is only slow or missing is a warning.
    """
    from screen.output import print_json

    findings = _findings(db, ray_address)
    report = _report()
    if as_json:
        print_json({**report, "findings": [finding.record() for finding in findings]})
    else:
        for name, value in _flat(report):
            print(f"{name:24}{value}")
        print()
        for finding in findings:
            print(f"{finding.state:6}{finding.check:24}{finding.found}")
            if finding.advice:
                print(f"{'':30}-> {finding.advice}")
    failed = [finding.check for finding in findings if finding.state == "fail"]
    if failed:
        raise UserError(f"{len(failed)} of {len(findings)} checks: {', '.join(failed)}", FAILED)


def _findings(db: Path | None, ray_address: str | None) -> list[Finding]:
    from screen.doctor import machine, programs

    found = [
        programs.check_key(),
        machine.check_gpu(),
        machine.check_kernel(),
        *machine.check_disks(),
        machine.check_shared_memory(),
        programs.check_ray(ray_address),
        programs.check_database(db) if db is not None else None,
        *programs.check_packages(),
    ]
    return [finding for finding in found if finding is not None]


def _report() -> dict[str, Any]:
    """What there is, as JSON types."""
    import shutil

    from jobs import hardware
    from screen.doctor.programs import keys_set
    from screen.store import code_version

    return {
        "ionscreen": code_version(),
        **hardware.describe(),
        "disk_free_gib": round(shutil.disk_usage(".").free / 2**30, 1),
        "models": _models(),
        "keys": keys_set(),
    }


def _models() -> list[str]:
    try:
        from models.checkpoint import list_models
    except (ImportError, OSError):  # torch is broken, which a finding says
        return []
    return [info.model_id for info in list_models()]


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
