"""A run from its options, whoever asks for it: the command line or a notebook."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from screen.campaign import Campaign, Outcome, Ticker, run_campaign
from screen.log import log_event
from screen.options import RunOptions
from screen.settings import query, run_settings
from screen.store import Store

if TYPE_CHECKING:
    from jobs.records import MaterialResult, Progress
    from screen.sources.base import Query, Source

Notice = Callable[[str], None]

LOG_EVERY_S = 10.0
"""How often a log tells of the progress."""


@dataclass(frozen=True)
class Wanted:
    """What is to be screened, from where."""

    options: RunOptions
    query: Query
    source: Source
    notice: Notice
    """Is told what the user should know."""


def wanted(options: RunOptions, notice: Notice) -> Wanted:
    """Look at the options and open their source, with a word on what was not said.

    Args:
        options: of the run.
        notice: is told what the user should know, here and later.

    Raises:
        UserError: an option can never work, or there is no such source.
    """
    from screen import chemsys
    from screen.sources import default_source, open_source

    def tell(message: str) -> None:
        log_event("notice", message=message)
        notice(message)

    of_query = query(options)
    meaning = chemsys.notice(of_query.patterns)
    if meaning:
        tell(meaning)
    if not options.source and default_source(options) == "catalog":
        tell(
            "source: the shipped catalog (MP_API_KEY is not set); `screen sources` lists the others"
        )
    return Wanted(options, of_query, open_source(options, tell), tell)


def run(what: Wanted, ticker: Ticker | None = None, fresh: bool = False) -> Outcome:
    """Carry out a run, or what is left of it; see ``screen.campaign.run_campaign``.

    Args:
        what: to screen.
        ticker: is told how it goes.
        fresh: start anew rather than go on.

    Raises:
        UserError: an option can never work, or the store or the source broke.
        jobs.errors.EngineError: the engine cannot start or go on.
    """
    from screen.model_names import model_id_of

    options = what.options
    settings, model_id = run_settings(options), model_id_of(options.model)
    log_event("run_started", options=asdict(options), model_id=model_id)
    campaign = Campaign(what.source, what.query, settings, model_id)
    with _LoggedStore.open(options.db) as store:
        outcome = run_campaign(
            campaign,
            store,
            fresh=fresh,
            ticker=_LoggedTicker(ticker or Ticker()),
            notice=what.notice,
        )
        n_unknown = store.n_unknown_hull(outcome.campaign_id)
    log_event(
        "run_finished",
        campaign_id=outcome.campaign_id,
        interrupted=outcome.interrupted,
        seconds=round(outcome.seconds, 3),
        **outcome.funnel.record(),
    )
    if n_unknown and options.max_ehull is not None:
        what.notice(
            f"{n_unknown:,} candidates have no known energy above the hull and were kept; "
            "--unknown-ehull reject leaves them out"
        )
    return outcome


class _LoggedStore(Store):
    """A store that logs the failures it writes."""

    def write(self, campaign_id: str, model_id: str, results: Sequence[MaterialResult]) -> None:
        super().write(campaign_id, model_id, results)
        for result in results:
            for failure in result.failures:
                log_event("failure", logging.WARNING, **asdict(failure))


class _LoggedTicker(Ticker):
    """Another ticker, and the log every ``LOG_EVERY_S``."""

    def __init__(self, ticker: Ticker) -> None:
        self._ticker = ticker
        self._due = 0.0

    def begin(self, campaign_id: str, done_before: int, expected: int | None) -> None:
        log_event("campaign", campaign_id=campaign_id, done_before=done_before, expected=expected)
        self._ticker.begin(campaign_id, done_before, expected)

    def update(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + LOG_EVERY_S
            log_event("progress", **asdict(progress))
        self._ticker.update(progress)
