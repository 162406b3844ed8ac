"""What a strategy of ``screen shortlist`` is worth: the loop replayed on barriers that are known.

Some literature bands are known at first, the others come back in rounds, those that a strategy asks
for. In each round the shipped kind of model is fitted on what is known. A fixed share of the bands
is never asked for, so that the error on it compares strategies; what is left to ask for does not,
since each strategy leaves other bands. Errors leave out the two extreme labels, either of which
outweighs what a strategy can do.

``python -m tests.bench.acquisition --out FOLDER`` writes the learning curves as CSV and PNG.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from models.blend import Rows, Voters, fit_voters
from models.blend_training import rows_of
from models.calibration import to_ev
from models.metrics import EXTREME_EV, GOOD_EV
from pathways.types import FloatArray, IntArray
from screen.acquisition import SCORES, Barriers
from tests.bench.figures import Figure, labelled_bands

CHANCE = "chance"
WAYS = (*SCORES, CHANCE)
_Z95 = 1.6448536269514722


@dataclass(frozen=True)
class Point:
    """What one way has come to after a round."""

    way: str
    seed: int
    asked: int
    """Bands that came back, beside those known at first."""
    mae_held_out_ev: float
    mae_rest_ev: float
    found: float
    """Share of the hops <= 0.65 eV that are known, of all but the held-out ones."""


def run(
    start: int = 100,
    held_out: int = 100,
    batch: int = 20,
    rounds: int = 10_000,
    seeds: Sequence[int] = (0, 1, 2),
    out: Path | None = None,
) -> list[Figure]:
    """Error and good hops found when half of the bands have come back, each way against chance."""
    rows = labelled_rows()
    points = [
        point
        for seed in seeds
        for way in WAYS
        for point in replay(rows, way, seed, start, held_out, batch, rounds)
    ]
    if out is not None:
        write_csv(points, out / "acquisition.csv")
        draw(points, out / "acquisition.png")
    half = sorted({point.asked for point in points})
    return list(_figures(points, half[len(half) // 2], len(seeds)))


def labelled_rows() -> Rows:
    """The literature's bands as the model reads them.

    Raises:
        NotMeasured: the file is not there.
    """
    return rows_of(labelled_bands())[0]


def replay(
    rows: Rows, way: str, seed: int, start: int, held_out: int, batch: int, rounds: int
) -> Iterator[Point]:
    """One way's rounds, until nothing is left to ask for."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    test, known, left = np.split(order, [held_out, held_out + start])
    usual = rows.em_ev < EXTREME_EV
    test = test[usual[test]]
    chance = np.random.default_rng([seed, 1])
    good = rows.em_ev <= GOOD_EV
    for number in range(rounds + 1):
        voters = fit_voters(rows.take(known.tolist()))
        mean_ev = to_ev(voters(rows.numbers).mean)
        error_ev = np.abs(mean_ev - rows.em_ev)
        yield Point(
            way=way,
            seed=seed,
            asked=number * batch if len(left) else len(known) - start,
            mae_held_out_ev=float(error_ev[test].mean()),
            mae_rest_ev=float(error_ev[left][usual[left]].mean()) if len(left) else float("nan"),
            found=float(good[known].sum() / good[order[held_out:]].sum()),
        )
        if not len(left):
            return
        scores = chance.random(len(left)) if way == CHANCE else _scores(voters, rows, left, way)
        asked = np.argsort(-scores, kind="stable")[:batch]
        known, left = np.concatenate([known, left[asked]]), np.delete(left, asked)


def _scores(voters: Voters, rows: Rows, left: IntArray, way: str) -> FloatArray:
    """How much each band is wanted; its spread is the one that the Gaussian process states."""
    numbers = rows.numbers[left]
    mean, (_, sigma) = voters(numbers).mean, voters.kernel(numbers)
    low_ev, em_ev, high_ev = (to_ev(mean + z * sigma) for z in (-_Z95, 0.0, _Z95))
    score = {str(name): judge for name, judge in SCORES.items()}[way]
    return score(Barriers(em_ev, low_ev, high_ev), GOOD_EV)


def _mean(points: Sequence[Point], way: str, asked: int, name: str) -> float:
    values = [getattr(one, name) for one in points if (one.way, one.asked) == (way, asked)]
    return float(np.mean(values))


def _figures(points: Sequence[Point], asked: int, n_seeds: int) -> Iterator[Figure]:
    for name, what, unit, scale, lower in (
        ("mae_held_out_ev", "MAE on held-out bands", "eV", 1.0, True),
        ("found", "hops <= 0.65 eV known", "%", 100.0, False),
    ):
        random = scale * _mean(points, CHANCE, asked, name)
        for way in SCORES:
            ours = scale * _mean(points, way, asked, name)
            yield Figure(
                name="acquisition",
                what=f"{what}, {asked} asked for by {way}",
                unit=unit,
                target="< chance" if lower else "> chance",
                value=ours,
                met=ours < random if lower else ours > random,
                peer=CHANCE,
                peer_value=random,
                note=f"mean of {n_seeds} seeds",
            )


def write_csv(points: Sequence[Point], path: Path) -> None:
    """All points, one row each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(point) for point in points)


def draw(points: Sequence[Point], path: Path) -> None:
    """Mean curves of all ways, the seeds' range shaded."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(7.5, 3.4), layout="constrained")
    panels = drawing.subplots(1, 2)
    asked = sorted({point.asked for point in points})
    for panel, name, label in zip(
        panels,
        ("mae_held_out_ev", "found"),
        ("MAE on held-out bands (eV)", "share of hops ≤ 0.65 eV known"),
        strict=True,
    ):
        for way, style in zip(WAYS, ("-", "--", "-.", ":"), strict=True):
            by_round = [
                [getattr(p, name) for p in points if (p.way, p.asked) == (way, n)] for n in asked
            ]
            panel.plot(asked, [np.mean(values) for values in by_round], style, label=way)
            panel.fill_between(
                asked, [min(one) for one in by_round], [max(one) for one in by_round], alpha=0.12
            )
        panel.set(xlabel="barriers that came back", ylabel=label)
    panels[1].legend()
    drawing.savefig(path, dpi=150)


def main() -> None:
    """Replay, print the figures and write the curves."""
    from tests.bench.__main__ import table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER")
    print(table(run(out=parser.parse_args().out)))


if __name__ == "__main__":
    main()
