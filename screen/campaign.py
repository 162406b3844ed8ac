"""A campaign: candidates of a source through the stages of ``jobs`` into the store, and again.

A campaign is named by a digest of all that decides its results: settings of hops and bands, source,
query, ion and model. The same command is hence the same campaign and goes on where it stopped. How
many candidates are wanted (``--limit``), engine and machines are not part of it, so a trial with a
small limit is the beginning of the campaign without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs import pipeline
from jobs.records import Candidate, Failure, MaterialResult, Progress
from jobs.settings import RunSettings
from screen.funnel import Funnel
from screen.interrupts import Interrupts
from screen.sources.base import Query, Source
from screen.store import Store

if TYPE_CHECKING:
    from jobs.stages import PredictorFactory

Notice = Callable[[str], None]


@dataclass(frozen=True)
class Campaign:
    """What is screened, and how."""

    source: Source
    query: Query
    settings: RunSettings
    model_id: str

    def identity(self) -> dict[str, Any]:
        """All that decides the results, as JSON types."""
        return {
            "science": self.settings.science(),
            "source": {
                "name": self.source.name,
                "version": self.source.version(self.query),
                **self.source.settings(),
            },
            "query": self.query.identity(),
            "ion": self.query.ion,
            "model_id": self.model_id,
        }

    def digest(self) -> str:
        """Twelve hex digits of the sha256 of the identity."""
        text = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Outcome:
    """What a run has come to."""

    campaign_id: str
    funnel: Funnel
    """Of the whole campaign, earlier runs included."""
    done_before: int
    """Items of the source that earlier runs had done."""
    seconds: float
    """This run took."""
    interrupted: bool = False


class Ticker:
    """What a campaign tells while it runs; a progress bar is one."""

    def begin(self, campaign_id: str, done_before: int, expected: int | None) -> None:
        """The campaign starts or goes on."""

    def update(self, progress: Progress) -> None:
        """The counters of this run, a few times per second."""


def run_campaign(
    campaign: Campaign,
    store: Store,
    *,
    fresh: bool = False,
    ticker: Ticker | None = None,
    notice: Notice | None = None,
    predictor_factory: PredictorFactory | None = None,
) -> Outcome:
    """Do what is left of a campaign.

    Args:
        campaign: what to screen.
        store: where it goes.
        fresh: start anew under an id of its own rather than go on.
        ticker: is told how it goes.
        notice: is told what the user should know besides.
        predictor_factory: replaces the model named in the settings, see ``jobs.pipeline.run``.

    Returns:
        What is in the store; ``interrupted`` where Ctrl-C or SIGTERM ended the run, all finished
        materials being in the store then.

    Raises:
        UserError: the store or the source broke.
        jobs.errors.EngineError: the engine cannot start or go on.
    """
    began = time.monotonic()
    ticker = ticker or Ticker()
    campaign_id = _choose_id(campaign.digest(), store.campaign_ids(), fresh)
    done = store.done(campaign_id)
    interrupted = False
    with Interrupts() as interrupts:
        try:
            remaining = _without(campaign.source.candidates(campaign.query), done)
            first = next(remaining, None)
            if first is not None or not store.is_finished(campaign_id):
                expected = campaign.source.count(campaign.query)
                _begin(campaign, campaign_id, store, expected)
                ticker.begin(campaign_id, len(done), expected)
            if first is not None:
                writer = _Writer(store, campaign_id, campaign.model_id, interrupts, notice)
                writer.snapshot()
                pipeline.run(
                    _again(first, remaining),
                    writer,
                    campaign.settings,
                    ticker.update,
                    predictor_factory,
                )
            if not store.is_finished(campaign_id):
                store.finish_campaign(campaign_id)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if campaign_id in store.campaign_ids():
                store.note_left_out(campaign_id, campaign.source.left_out(campaign.query))
    seconds = time.monotonic() - began
    return Outcome(campaign_id, store.funnel(campaign_id), len(done), seconds, interrupted)


def _begin(campaign: Campaign, campaign_id: str, store: Store, expected: int | None) -> None:
    store.begin_campaign(
        campaign_id,
        campaign.identity(),
        campaign.source.name,
        campaign.source.version(campaign.query),
        campaign.model_id,
        expected,
    )


class _Writer:
    """Writes what the pipeline hands over, and a snapshot of the database now and then."""

    def __init__(
        self,
        store: Store,
        campaign_id: str,
        model_id: str,
        interrupts: Interrupts,
        notice: Notice | None,
    ) -> None:
        self._store = store
        self._keys = (campaign_id, model_id)
        self._interrupts = interrupts
        self._notice = notice
        self._snapshots = True
        self._is_first = True

    def __call__(self, results: list[MaterialResult]) -> None:
        with self._interrupts.held():
            self._store.write(*self._keys, results)
            self.snapshot(now=self._is_first)
            self._is_first = False

    def snapshot(self, now: bool = False) -> None:
        """Take a snapshot, now or if one is due. A run does not end for want of one."""
        import duckdb

        if not self._snapshots:
            return
        try:
            if now:
                self._store.snapshots.take()
            else:
                self._store.snapshots.tick()
        except (OSError, duckdb.Error) as error:
            self._snapshots = False
            if self._notice is not None:
                self._notice(f"no live snapshots for `screen status` from here on: {error}")


def _choose_id(digest: str, known: list[str], fresh: bool) -> str:
    """The campaign of a digest to go on with: the latest of its fresh starts, or a new one."""
    family = [name for name in known if name == digest or name.startswith(f"{digest}-")]
    numbers = [int(name[len(digest) + 1 :] or 1) for name in family]
    if not numbers:
        return digest
    number = max(numbers) + int(fresh)
    return digest if number == 1 else f"{digest}-{number}"


def _again(
    first: Candidate | Failure, rest: Generator[Candidate | Failure]
) -> Generator[Candidate | Failure]:
    """A stream whose first item has been looked at; closing it closes the rest."""
    with contextlib.closing(rest):
        yield first
        yield from rest


def _without(
    items: Iterator[Candidate | Failure], done: set[tuple[str, str]]
) -> Generator[Candidate | Failure]:
    """Items that are not done: a candidate by its id and ion, a failure of the source by its id."""
    for item in items:
        ion = item.ion if isinstance(item, Candidate) else ""
        if (item.material_id, ion) not in done:
            yield item
