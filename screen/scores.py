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


def print_parts(what: str, parts: Sequence[Mapping[str, float]] | None) -> None:
    """Error and what else is known of each part, from its lowest on, on stdout."""
    for title, key in (("MAE", "mae_ev"), ("bias", "bias_ev"), ("coverage", "coverage90")):
        if parts and key in parts[0]:
            unit = "" if key == "coverage90" else ", eV"
            numbers = "".join(f"{part[key]:7.3f}" for part in parts)
            print(f"  {f'{title} by {what}{unit}':32}{numbers}")


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
