"""``screen run``: a source, through hops and barriers, into the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from screen.commands import INTERRUPTED, command
from screen.errors import NothingToShow, UserError

if TYPE_CHECKING:
    from screen.campaign import Outcome
    from screen.settings import RunOptions
    from screen.sources import Source
    from screen.sources.base import Query

Many = list[str] | None
Option = typer.Option
_HOW = ("config", "fresh", "dry_run", "as_json")
"""Options that say how to run, not what: the others can stand in a TOML file too."""


@command('screen run --chemsys "Mg-*" --db mg.duckdb')
def run(
    chemsys: Annotated[
        Many, Option(help="Chemical system: Mg-*, Mg-? or Mg-Mn-O; may be repeated.")
    ] = None,
    ion: Annotated[str | None, Option(help="The ion to move. (default: from --chemsys)")] = None,
    source: Annotated[
        Many, Option(help="catalog, or paths to structures; may be repeated. (default: catalog)")
    ] = None,
    db: Annotated[str | None, Option(help="Database. (default: ionscreen.duckdb)")] = None,
    model: Annotated[str | None, Option(help="A model's name or folder. (default: model3)")] = None,
    limit: Annotated[int | None, Option(help="Most candidates. (default: all)")] = None,
    max_ehull: Annotated[
        float | None, Option(help="Most energy above the hull, eV/atom. (default: 0.1)")
    ] = None,
    max_sites: Annotated[int | None, Option(help="Most sites in a cell. (default: 200)")] = None,
    max_elements: Annotated[
        int | None, Option(help="Most elements that * reaches. (default: 6)")
    ] = None,
    max_hops: Annotated[
        int | None, Option(help="Most hops of a material, shortest first. (default: 40)")
    ] = None,
    cutoff: Annotated[
        float | None, Option(help="Longest hop, Å. (default: the least that percolates in 2D)")
    ] = None,
    config: Annotated[
        Path | None, Option(help="TOML file of these options and finer ones.")
    ] = None,
    engine: Annotated[str | None, Option(help="ray or inline. (default: ray)")] = None,
    ray_address: Annotated[
        str | None, Option(help="HOST:PORT of a running Ray. (default: start one here)")
    ] = None,
    num_cpus: Annotated[int | None, Option(help="CPUs to use. (default: all)")] = None,
    num_gpus: Annotated[float | None, Option(help="GPUs to use. (default: all)")] = None,
    fresh: Annotated[bool, Option("--fresh", help="Do again what is done.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Count the candidates and stop.")] = False,
    as_json: Annotated[bool, Option("--json", help="Summary as JSON.")] = False,
) -> None:
    """Screen crystals: every hop of the ion, its migration barrier, the way through each crystal.

    What is done is not done again: the same command goes on where it was interrupted.
    """
    given = {name: value for name, value in locals().items() if name not in _HOW}
    given |= {"chemsys": tuple(chemsys or ()), "source": tuple(source or ())}
    from screen.settings import run_options

    options = run_options(config, given)
    query = options.query()
    source_found = _source(options, query)
    if dry_run:
        _count(source_found, query, as_json)
        return
    _screen(options, query, source_found, fresh, as_json)


def _source(options: RunOptions, query: Query) -> Source:
    """The source, with a word on what the wildcards mean and on the default."""
    import os

    from screen import chemsys
    from screen.output import notice
    from screen.sources import open_source

    meaning = chemsys.notice(query.patterns)
    if meaning:
        notice(meaning)
    if not options.source:
        why = "" if os.environ.get("MP_API_KEY") else " (MP_API_KEY is not set)"
        notice(f"source: the shipped catalog{why}; --source takes paths to structures")
    return open_source(options.source or None)


def _count(source: Source, query: Query, as_json: bool) -> None:
    """``--dry-run``: what a run would begin with."""
    from jobs.records import Candidate
    from screen.output import print_json

    candidates, refused = 0, 0
    for item in source.candidates(query):
        candidates += isinstance(item, Candidate)
        refused += not isinstance(item, Candidate)
    if as_json:
        print_json({"source": source.name, "candidates": candidates, "refused": refused})
    else:
        print(f"{candidates} candidates with {query.ion} in {source.name}, {refused} refused")
    if candidates == 0:
        raise NothingToShow(f"no candidate with {query.ion}; widen --chemsys or pass a --source")


def _screen(options: RunOptions, query: Query, source: Source, fresh: bool, as_json: bool) -> None:
    from screen.campaign import Campaign, run_campaign
    from screen.output import notice, stderr
    from screen.progress import RunProgress
    from screen.store import Store

    settings = options.settings()
    campaign = Campaign(source, query, settings, _model_id(options.model))
    with Store.open(options.db) as store, RunProgress(stderr()) as ticker:
        outcome = run_campaign(campaign, store, fresh=fresh, ticker=ticker, notice=notice)
    _summarise(outcome, options.db, as_json)
    if outcome.interrupted:
        raise UserError(
            f"interrupted: {outcome.funnel.source} candidates are in {options.db}; "
            f"the same command{' without --fresh' if fresh else ''} goes on from there",
            INTERRUPTED,
        )
    if outcome.funnel.source == 0:
        raise NothingToShow(f"no candidate with {query.ion}; widen --chemsys or pass a --source")
    if outcome.funnel.predicted == 0:
        raise NothingToShow(
            "every candidate was refused, for the reasons above; "
            f'`screen sql "select * from failures" --db {options.db}` has them all'
        )


def _model_id(model: str) -> str:
    """The model's id.

    Raises:
        UserError: there is no such model: wrong use, where one that is corrupt is not.
    """
    from models.checkpoint import ModelError, check, find_model, model_id

    try:
        folder = find_model(model)
    except ModelError as error:
        raise UserError(str(error)) from error
    check(folder)
    return model_id(folder)


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
        ("failures", sum(n for _, _, n in funnel.failed), ""),
    ]
    lines = [f"  {name:16}{n:>9,}{note}" for name, n, note in counts]
    return lines + [f"    {stage}: {reason:24}{n:>9,}" for stage, reason, n in funnel.failed]
