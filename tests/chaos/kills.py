"""Rounds of ``kill -9``: a process of a run dies at a random moment, and nothing is lost by it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.campaigns import (
    Acknowledged,
    Campaign,
    Content,
    content,
    differences,
    duplicates,
    first,
)
from tests.chaos.outcome import Outcome
from tests.chaos.processes import POLL_S, Ended, Running, kill, wait_for

RAY_ROLES = ("driver", "feeder", "model", "raylet")
_ENDS_BY_ITSELF = {"feeder": (0,), "model": (0,), "raylet": (0, 1)}
"""Exit codes of a run that has lost one of its processes: a lost worker is replaced, a lost node
may be the end of the run, said in a line."""
_LONGEST_S = 600.0
_ENDS_WITHIN_S = 45.0
"""Of what Ray has started, once the driver is gone."""
_LOOK_S = 0.3
_AGAIN = 0.25
"""Share of rounds in which the run that goes on is killed too."""
_WITH_ROWS = 0.6
"""Share of kills that wait until there are new rows to lose."""
_HOLD_ROWS = ("driver", "raylet")
"""With whom rows can be lost; workers are soon done once there are rows."""


@dataclass
class Whole:
    """A run that nothing disturbed."""

    content: Content
    seconds: float
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    """First and last second at which a process of each role was seen."""
    first_rows_s: float = 0.0
    """When a snapshot first had rows."""


def undisturbed(campaign: Campaign, engine: str, folder: Path) -> Whole:
    """Run a campaign to its end.

    Raises:
        RuntimeError: it does not end well, so that nothing can be compared with it.
    """
    folder.mkdir()
    db = folder / "whole.duckdb"
    running = Running(campaign.command(db, engine), folder)
    spans: dict[str, tuple[float, float]] = {}
    seen, first_rows_s = Acknowledged(db), 0.0
    while running.is_up:
        for role, here in running.by_role().items():
            if here:
                spans[role] = (spans.get(role, (running.seconds, 0.0))[0], running.seconds)
        if not first_rows_s:
            seen.look_at_snapshot()
            first_rows_s = running.seconds if seen.n_materials else 0.0
        time.sleep(POLL_S)
    ended = running.end(_LONGEST_S)
    running.left_over(_ENDS_WITHIN_S)
    if said := ended.complaints([0]):
        raise RuntimeError(f"{campaign.name} on {engine}, undisturbed: {first(said)}")
    return Whole(content(db), ended.seconds, spans, first_rows_s or ended.seconds)


class Kills:
    """Rounds over campaigns and engines, all drawn from one seed."""

    def __init__(self, campaigns: Sequence[Campaign], engines: Sequence[str], folder: Path) -> None:
        """Run every campaign once, undisturbed, on each engine."""
        self._folder = folder
        self.setups = [(campaign, engine) for campaign in campaigns for engine in engines]
        self.wholes = {
            (campaign.name, engine): undisturbed(
                campaign, engine, folder / f"{campaign.name}-{engine}"
            )
            for campaign, engine in self.setups
        }

    def engines_agree(self) -> list[str]:
        """What the undisturbed runs of a campaign do not agree on."""
        said = []
        for campaign, engine in self.setups:
            other = self.wholes[campaign.name, self.setups[0][1]]
            found = self.wholes[campaign.name, engine]
            said += [f"{campaign.name}: {one}" for one in differences(found.content, other.content)]
        return said

    def play(self, rounds: int, seed: int) -> Iterator[Outcome]:
        """That many rounds, in turn over campaigns, engines and, on Ray, what is killed."""
        for number in range(rounds):
            campaign, engine = self.setups[number % len(self.setups)]
            turn = number // len(self.setups)
            role = RAY_ROLES[turn % len(RAY_ROLES)] if engine == "ray" else "driver"
            yield self.round(number, campaign, engine, role, random.Random(f"{seed}-{number}"))

    def round(
        self, number: int, campaign: Campaign, engine: str, role: str, draw: random.Random
    ) -> Outcome:
        """One round: the run, its end, the run that goes on, and what is in the database then."""
        began = time.monotonic()
        folder = self._folder / f"round-{number}"
        folder.mkdir()
        whole = self.wholes[campaign.name, engine]
        db = folder / "x.duckdb"
        seen = Acknowledged(db)
        said: list[str] = []
        told: list[str] = []
        for at in range(1 + (draw.random() < _AGAIN)):
            kept = seen.n_materials
            killed_s, ended = self._kill(campaign, engine, role, whole, db, draw, seen, said)
            if killed_s is None:
                told.append("had ended before")
            else:
                end = f"exit {ended.code}" if ended.code >= 0 else "killed"
                told.append(f"at {killed_s:.1f} s, {seen.n_materials} rows, {end}")
            if at and kept > seen.n_materials:
                said.append(f"{kept} materials before, {seen.n_materials} after")
        again = campaign.run(db, engine, _LONGEST_S)
        said += again.complaints([0])
        if not said:
            found = content(db)
            said += differences(found, whole.content) + seen.missing_in(found) + duplicates(db)
        return Outcome(
            f"{number:02} {campaign.name} {engine}",
            f"kill -9 {role}: {'; again '.join(told)}",
            f"exit {again.code}, tables equal" if not said else first(said),
            time.monotonic() - began,
            said,
        )

    def _kill(
        self,
        campaign: Campaign,
        engine: str,
        role: str,
        whole: Whole,
        db: Path,
        draw: random.Random,
        seen: Acknowledged,
        said: list[str],
    ) -> tuple[float | None, Ended]:
        """Start or go on, and kill one process of the role; when, and how the run ended."""
        share = draw.random()
        running = Running(campaign.command(db, engine), db.parent)
        killed_s = self._strike(running, role, share, whole, draw, seen)
        ended = running.end(_LONGEST_S)
        left = running.left_over(_ENDS_WITHIN_S)
        said += [f"left running: {line}" for line in left]
        codes = (-9,) if role == "driver" else _ENDS_BY_ITSELF[role]
        said += ended.complaints((0,) if killed_s is None else codes)
        seen.look()
        return killed_s, ended

    @staticmethod
    def _strike(
        running: Running,
        role: str,
        share: float,
        whole: Whole,
        draw: random.Random,
        seen: Acknowledged,
    ) -> float | None:
        """Kill one, at a share of such a process's life, or of what is left of it once there are
        rows; None where the run ended before."""
        begins, ends = whole.spans.get(role, (0.0, whole.seconds))
        with_rows = role in _HOLD_ROWS and draw.random() < _WITH_ROWS
        wait_for(lambda: not running.is_up or bool(running.by_role().get(role)), _LONGEST_S)
        strike_at = math.inf if with_rows else running.seconds + share * (ends - begins)
        before = seen.n_materials
        look_at = 0.0
        while running.is_up and running.seconds < strike_at:
            if running.seconds >= look_at:
                seen.look_at_snapshot()
                look_at = running.seconds + _LOOK_S
            if strike_at == math.inf and seen.n_materials > before:
                strike_at = running.seconds + share * max(0.0, ends - whole.first_rows_s)
            time.sleep(min(POLL_S, max(0.0, strike_at - running.seconds)))
        victims = running.by_role().get(role)
        if not victims:
            return None
        kill(draw.choice(victims))
        return running.seconds
