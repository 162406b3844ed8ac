"""``screen run``: a source, through hops and barriers, into the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screen.commands import INTERRUPTED, command
from screen.commands.options import with_options
from screen.errors import NothingToShow, UserError
from screen.options import RunOptions

if TYPE_CHECKING:
    from screen.campaign import Outcome
    from screen.sources import Source
    from screen.sources.base import Query


_NO_CANDIDATE = "no candidate with {ion}; widen --chemsys or pass another --source"


@command('screen run --chemsys "Mg-*" --db mg.duckdb')
@with_options(RunOptions)
def run(
    config: Annotated[
        Path | None, typer.Option(help="TOML file of these options and finer ones.")
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
    from screen.settings import query, run_options

    options = run_options(config, given)
    wanted = query(options)
    source = _source(options, wanted)
    if dry_run:
        _estimate(source, wanted, options, as_json)
        return
    _screen(options, wanted, source, fresh, as_json)


def _source(options: RunOptions, query: Query) -> Source:
    """The source, with a word on what the wildcards mean and on the default."""
    from screen import chemsys
    from screen.output import notice
    from screen.sources import default_source, open_source

    meaning = chemsys.notice(query.patterns)
    if meaning:
        notice(meaning)
    if not options.source and default_source(options) == "catalog":
        notice(
            "source: the shipped catalog (MP_API_KEY is not set); `screen sources` lists the others"
        )
    return open_source(options, notice)


def _estimate(source: Source, query: Query, options: RunOptions, as_json: bool) -> None:
    """``--dry-run``: what a run would come to."""
    from screen.estimate import estimate
    from screen.output import print_json
    from screen.settings import run_settings

    found = estimate(source, query, run_settings(options))
    if as_json:
        print_json(found.record())
    else:
        print("\n".join(found.lines()))
    if found.candidates == 0:
        raise NothingToShow(_NO_CANDIDATE.format(ion=query.ion))


def _screen(options: RunOptions, query: Query, source: Source, fresh: bool, as_json: bool) -> None:
    from screen.campaign import Campaign, run_campaign
    from screen.model_names import model_id_of
    from screen.output import notice, stderr
    from screen.progress import RunProgress
    from screen.settings import run_settings
    from screen.store import Store

    campaign = Campaign(source, query, run_settings(options), model_id_of(options.model))
    with Store.open(options.db) as store, RunProgress(stderr()) as ticker:
        outcome = run_campaign(campaign, store, fresh=fresh, ticker=ticker, notice=notice)
        n_unknown = store.n_unknown_hull(outcome.campaign_id)
    if n_unknown and options.max_ehull is not None:
        notice(
            f"{n_unknown:,} candidates have no known energy above the hull and were kept; "
            "--unknown-ehull reject leaves them out"
        )
    _summarise(outcome, options.db, as_json)
    if outcome.interrupted:
        raise UserError(
            f"interrupted: {outcome.funnel.source} candidates are in {options.db}; "
            f"the same command{' without --fresh' if fresh else ''} goes on from there",
            INTERRUPTED,
        )
    if outcome.funnel.source == 0:
        raise NothingToShow(_NO_CANDIDATE.format(ion=query.ion))
    if outcome.funnel.predicted == 0:
        raise NothingToShow(
            "every candidate was refused, for the reasons above; "
            f'`screen sql "select * from failures" --db {options.db}` has them all'
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
        print(f"next: screen top --db {db}")


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
    return lines + [f"    {stage}: {reason:24}{n:>9,}" for stage, reason, n in funnel.failed]
