"""What every fault is made of: a place to do it in, and what must hold after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.campaigns import Campaign, Content, content, differences, duplicates, first
from tests.chaos.outcome import Outcome
from tests.chaos.processes import Ended


class CannotBeDone(Exception):  # noqa: N818 - nothing went wrong
    """This machine does not allow a fault; says why."""


@dataclass
class Scene:
    """Where a fault is played."""

    folder: Path
    """Empty, and its own."""
    campaign: Campaign
    whole: Content
    """What the campaign leaves where nothing goes wrong."""

    @property
    def db(self) -> Path:
        """The database, where no fault needs it elsewhere."""
        return self.folder / "x.duckdb"

    def refused(self, ended: Ended, said: str, codes: tuple[int, ...] = (1,)) -> list[str]:
        """What breaks the rules where a run has to end with one line that says something."""
        found = ended.complaints(codes)
        if said not in ended.last_line:
            found.append(f"said {ended.last_line!r}, expected {said!r}")
        return found

    def goes_on(self, db: Path | None = None) -> list[str]:
        """What breaks the rules when the same command is given again and nothing is in its way."""
        db = db or self.db
        again = self.campaign.run(db, "inline")
        found = again.complaints([0])
        return found or differences(content(db), self.whole) + duplicates(db)


Fault = Callable[[Scene], tuple[str, list[str]]]
"""Plays a fault: how it ended, and what broke the rules.

Raises:
    CannotBeDone: not on this machine.
"""


def play(name: str, fault: Fault, scene: Scene) -> Outcome:
    """A fault as a line of the table."""
    began = time.monotonic()
    what = " ".join((fault.__doc__ or name).split()).rstrip(".")
    scene.folder.mkdir()
    try:
        ended, said = fault(scene)
    except CannotBeDone as error:
        return Outcome(name, what, str(error), time.monotonic() - began, skipped=True)
    ended = first(said) if said else ended
    return Outcome(name, what, ended, time.monotonic() - began, said)
