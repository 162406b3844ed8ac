"""``python -m tests.chaos [--rounds 50] [--only NAME]... [--seed N] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from jobs.hardware import describe
from tests.chaos import disk_faults, model_faults
from tests.chaos.campaigns import catalogued, from_files
from tests.chaos.fault import Fault, Scene, play
from tests.chaos.kills import Kills, undisturbed
from tests.chaos.outcome import Outcome, table

FAULTS: dict[str, Fault] = {
    "full-disk": disk_faults.full_disk,
    "read-only": disk_faults.read_only_folder,
    "locked": disk_faults.locked_database,
    "damaged-database": disk_faults.damaged_database,
    "cache-page": disk_faults.corrupt_cache_page,
    "clock": model_faults.clock_jump,
    "truncated-weights": model_faults.truncated_weights,
    "flipped-weights": model_faults.flipped_weights,
    "nan-weights": model_faults.nan_weights,
    "memory": model_faults.out_of_memory_band,
    "hang": model_faults.hanging_model,
}
KILLS = "kills"
ENGINES = ("inline", "ray")


def faults(names: Sequence[str], folder: Path, limit: int = 12) -> Iterator[Outcome]:
    """Play faults, each on a small campaign of its own."""
    campaign = catalogued(limit)
    whole = undisturbed(campaign, "inline", folder / "undisturbed")
    for name in names:
        yield play(name, FAULTS[name], Scene(folder / name, campaign, whole.content))


def kills(rounds: int, seed: int, folder: Path, engines: Sequence[str]) -> Iterator[Outcome]:
    """Kill processes of runs over the catalog and over files with bad entries."""
    began = time.monotonic()
    matrix = Kills([catalogued(), from_files(folder)], engines, folder)
    said = matrix.engines_agree()
    took_s = time.monotonic() - began
    yield Outcome("undisturbed", "every campaign and engine", "tables equal", took_s, said)
    yield from matrix.play(rounds, seed)


def main(arguments: list[str] | None = None) -> int:
    """Play rounds and faults, print the table, write JSON where asked; 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="of kill -9")
    parser.add_argument("--only", action="append", choices=[KILLS, *FAULTS], metavar="NAME",
                        help=f"one of {KILLS}, {', '.join(FAULTS)}; repeats")  # fmt: skip
    parser.add_argument("--engine", action="append", choices=ENGINES, help="of the kills; repeats")
    parser.add_argument("--seed", type=int, default=None, help="of the kills; printed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and outcomes")
    options = parser.parse_args(arguments)
    seed = int(time.time()) if options.seed is None else options.seed
    wanted = options.only or [KILLS, *FAULTS]
    outcomes: list[Outcome] = []
    chosen = [one for one in wanted if one != KILLS]
    # A short name, since the paths of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        if KILLS in wanted:
            engines = options.engine or ENGINES
            outcomes += map(told, kills(options.rounds, seed, folder, engines))
        if chosen:
            outcomes += map(told, faults(chosen, folder))
    violated = sum(bool(one.violations) for one in outcomes)
    print(f"seed {seed}, {describe()['cpu']['count']} x {describe()['cpu']['model']}\n")
    print(table(outcomes))
    print(f"\n{len(outcomes)} rounds and faults, {violated} violations")
    if options.json:
        rows = [{**asdict(one), "verdict": one.verdict} for one in outcomes]
        document = {"machine": describe(), "seed": seed, "outcomes": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return int(violated > 0)


def told(outcome: Outcome) -> Outcome:
    """The same, said on stderr as it comes."""
    line = f"{outcome.name}: {outcome.what}: {outcome.ended} ({outcome.seconds:.0f} s)"
    print(f"{outcome.verdict:9}{line}", file=sys.stderr, flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
