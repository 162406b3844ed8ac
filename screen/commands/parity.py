"""``screen parity``: how predictions compare with barriers that came back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screen.commands import command

if TYPE_CHECKING:
    from screen.parity import Record

_SCORES = (("mae_ev", "MAE eV"), ("r2", "R2"), ("accuracy", "accuracy"), ("coverage90", "cover"))


@command("screen parity --db mg.duckdb -o parity.png")
def parity(
    db: Annotated[Path, typer.Option("--db", help="Database.")] = Path("ionscreen.duckdb"),
    model: Annotated[
        str | None, typer.Option(help="Model, by name or id. (default: that of the last run)")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Barriers that have not converged, or do not say, too.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Figure: .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Compare predictions with computed barriers, by method, functional and ion.

    Each score has its 95 % bootstrap interval; accuracy is of calling a hop good at 0.65 eV, cover
    the share of references within the 90 % interval. Bands of a calculator without DFT are
    compared with DFT's of the same hops, too; where five hops or more have both, its barriers are
    shown raw and corrected side by side.
    """
    from screen.mlip_correction import LEAST_POINTS
    from screen.output import notice, print_json
    from screen.parity import read_corrections, read_groups, read_waiting
    from screen.reader import open_reader

    with open_reader(db) as reader:
        if reader.snapshot_age_s is not None:
            notice(f"a run is writing {db}: this is as of {reader.snapshot_age_s:.0f} s ago")
        groups = read_groups(reader, model, all_)
        corrections = read_corrections(reader, all_)
        waiting = read_waiting(reader)
    found = [group.scores() for group in groups]
    for name in dict.fromkeys(one["predicted_by"] for one in found if one["learnt"]):
        notice(f"{name} was fitted with these barriers, so its scores say little of others")
    if output is not None:
        from screen.parity_figure import draw_parity

        draw_parity(groups, output)
        notice(f"drawn in {output}")
    if as_json:
        print_json([{**one, "correction": _correction_of(one, corrections)} for one in found])
        return
    _show(found)
    for correction in corrections:
        _show_correction(correction)
    for one in waiting:
        notice(
            f"{one['method']}: {one['n']} hops have a barrier of {one['functional']}, too; "
            f"its barriers are corrected from {LEAST_POINTS} on"
        )


def _show(found: list[Record]) -> None:
    from screen.output import print_table

    rows: list[list[Any]] = []
    for one in found:
        head = [one["predicted_by"], one["method"], one["functional"]]
        parts = [("all", one)] if len(one["by_ion"]) > 1 else []
        for ion, scores in [*parts, *one["by_ion"].items()]:
            rows.append([*head, ion, scores["n"], *(_with_interval(scores, k) for k, _ in _SCORES)])
    columns = ["predicted by", "against", "functional", "ion", "n", *(name for _, name in _SCORES)]
    print_table(columns, rows, right=("n",))


def _correction_of(scores: Record, corrections: list[Record]) -> Record | None:
    """Of a calculator's barriers to the functional that they stand against."""
    for one in corrections:
        if (one["method"], one["functional"]) == (scores["predicted_by"], scores["functional"]):
            return one
    return None


def _show_correction(found: Record) -> None:
    """What a line makes of a calculator's barriers, each beside what it was."""
    from screen.output import notice, print_table

    print(
        f"\n{found['method']} corrected to {found['functional']}: "
        f"{found['slope']:.3f} Em {found['offset_ev']:+.3f} eV, from {found['n_points']} hops; "
        f"MAE {found['mae_raw_ev']:.3f} eV, corrected {found['mae_corrected_ev']:.3f} eV "
        "(each hop left out of its fit)"
    )
    rows = [
        [
            *(row[name] for name in ("hop_id", "formula", "ion", "em_raw_ev")),
            f"{row['em_corrected_ev']:.3f} ± {found['sigma_ev']:.3f}",
            row["reference_ev"],
        ]
        for row in found["barriers"]
    ]
    columns = ["hop", "formula", "ion", "raw eV", "corrected eV", found["functional"] + " eV"]
    print_table(columns, rows, right=columns[3:])
    if not found["helps"]:
        notice(f"{found['method']}: the correction does not help; go by the raw barriers")


def _with_interval(scores: Record, name: str) -> str:
    """``0.210 [0.150, 0.270]``."""
    value, interval = scores.get(name), scores.get(f"{name}_interval")
    if value is None:
        return "–"
    ends = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    return f"{value:.2f}{ends}"
