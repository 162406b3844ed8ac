"""Scores of a model as lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from screen.errors import UserError

_SCORES = (
    ("mae_ev", "MAE, eV"),
    ("rmse_ev", "RMSE, eV"),
    ("r2", "R2"),
    ("accuracy", "accuracy at 0.65 eV"),
    ("precision_good", "precision, good"),
    ("precision_bad", "precision, bad"),
    ("coverage90", "coverage of the 90 % interval"),
    ("interval_width_ev", "median width of it, eV"),
)


def print_scores(scores: dict[str, Any]) -> None:
    """Scores of barriers, each with its bootstrap interval, on stdout."""
    for key, title in _SCORES:
        value, interval = scores.get(key), scores.get(f"{key}_interval")
        if value is not None and interval is not None:
            print(f"  {title:32}{value:7.3f}  [{interval[0]:.3f}, {interval[1]:.3f}]")


def print_thirds(what: str, thirds: Sequence[Mapping[str, float]] | None) -> None:
    """Error and coverage from the lowest to the highest third of what is named, on stdout."""
    if not thirds:
        return
    for title, key in (
        (f"MAE by {what}, eV", "mae_ev"),
        (f"coverage by {what}", "coverage90"),
    ):
        print(f"  {title:32}" + "".join(f"{third[key]:7.3f}" for third in thirds))


def print_property_scores(properties: dict[str, dict[str, Any]]) -> None:
    """Test errors of bulk properties, each in its unit, on stdout."""
    for name, one in properties.items():
        r2 = "" if one["test_r2"] is None else f"  R2 {one['test_r2']:6.3f}"
        print(
            f"  {name:20} MAE {one['test_mae']:9.4g} {one['unit']:8}"
            f" (median {one['test_mae_of_median']:.4g}){r2}  {one['test']} test labels"
        )


def require_file(path: Path, expected: str = "JSON of labelled bands") -> None:
    """Refuse a ``--data`` that is not there."""
    if not path.is_file():
        raise UserError(f"no file {path}, expected {expected}; check --data")
