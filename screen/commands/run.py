"""``screen run``: a source, through hops and barriers, into the database."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screen.commands import INTERRUPTED, command
from screen.commands.completion import with_completion
from screen.commands.options import with_options
from screen.errors import NothingToShow, UserError
from screen.options import RunOptions

if TYPE_CHECKING:
    from screen.campaign import Outcome
    from screen.running import Wanted


_NO_CANDIDATE = "no candidate with {ion}; widen --chemsys or pass another --source"


@command('screen run --chemsys "Mg-*" --db mg.duckdb')
@with_completion
@with_options(RunOptions)
def run(
    config: Annotated[
        Path | None, typer.Option(help="TOML file of these options and finer ones.")
    ] = None,
    write_config: Annotated[
        Path | None,
        typer.Option(help="Write such a file, with every option and its default, and stop."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do again what is done.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count, estimate time and disk, and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Summary as JSON.")] = False,
    **given: Any,
) -> None:
    """Screen crystals: every hop of the ion, its migration barrier, the way through each crystal.

    What is done is not done again: the same command goes on where it was interrupted.
    """
    from screen.output import notice
    from screen.settings import run_options

    options = run_options(config, given)
    if write_config is not None:
        from screen.config_file import write_config as write

        write(options, write_config)
        if str(write_config) != "-":
            notice(f"options in {write_config}; screen run --config {quote(str(write_config))}")
        return
    from screen.log import logging_to
    from screen.running import wanted

    with logging_to(options.log_file):
        what = wanted(options, notice)
        if dry_run:
            _estimate(what, as_json)
        else:
            _screen(what, fresh, as_json)


def _estimate(what: Wanted, as_json: bool) -> None:
    """``--dry-run``: what a run would come to."""
    from screen.estimate import estimate
    from screen.output import print_json
    from screen.settings import run_settings

    found = estimate(what.source, what.query, run_settings(what.options))
    if as_json:
        print_json(found.record())
    else:
        print("\n".join(found.lines()))
    if found.candidates == 0:
        raise NothingToShow(_NO_CANDIDATE.format(ion=what.query.ion))


def _screen(what: Wanted, fresh: bool, as_json: bool) -> None:
    from screen import running
    from screen.output import stderr
    from screen.progress import RunProgress

    db = what.options.db
    with RunProgress(stderr()) as ticker:
        outcome = running.run(what, ticker, fresh)
    _summarise(outcome, db, as_json)
    if outcome.interrupted:
        raise UserError(
            f"interrupted: {outcome.funnel.source} candidates are in {db}; "
            f"the same command{' without --fresh' if fresh else ''} goes on from there",
            INTERRUPTED,
        )
    if outcome.funnel.source == 0:
        raise NothingToShow(_NO_CANDIDATE.format(ion=what.query.ion))
    if outcome.funnel.predicted == 0:
        raise NothingToShow(
            "every candidate was refused, for the reasons above; "
            f'`screen sql "select * from failures" --db {quote(db)}` has them all'
        )


def _summarise(outcome: Outcome, db: str, as_json: bool) -> None:
    """What came of it, and the next command to type."""
    from screen.output import print_json

    funnel = outcome.funnel
    if as_json:
        print_json(
            {
                "campaign_id": outcome.campaign_id,
                "db": db,
                "interrupted": outcome.interrupted,
                "done_before": outcome.done_before,
                "seconds": round(outcome.seconds, 3),
                **funnel.record(),
            }
        )
        return
    if outcome.done_before and outcome.done_before == funnel.source and not outcome.interrupted:
        print(f"campaign {outcome.campaign_id}: everything is done already")
    else:
        print(f"campaign {outcome.campaign_id}: {outcome.seconds:,.1f} s")
    for line in _lines(outcome):
        print(line)
    if funnel.predicted:
        print(f"next: screen top --db {quote(db)}")


def _lines(outcome: Outcome) -> list[str]:
    funnel = outcome.funnel
    before = f" ({outcome.done_before:,} of them done before)" if outcome.done_before else ""
    counts: list[tuple[str, Any, str]] = [
        ("from the source", funnel.source, before),
        ("after filters", funnel.filtered, ""),
        ("with hops", funnel.enumerated, ""),
        ("hops", funnel.hops, ""),
        ("barriers", funnel.predicted, ""),
        ("failures", funnel.n_failures, ""),
    ]
    lines = [f"  {name:16}{n:>9,}{note}" for name, n, note in counts]
    return lines + [f"    {f'{stage}: {reason}':34}{n:>9,}" for stage, reason, n in funnel.failed]
