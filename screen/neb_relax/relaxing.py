"""All hops of a shortlist through their workers, on Ray or in this process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jobs.hardware import cpu_count, memory_bytes
from jobs.settings import RunSettings
from screen.neb.run_neb import Limits
from screen.neb_relax.calculators import CalculatorChoice
from screen.neb_relax.hops import PROFILE, BandFolder, band_folders
from screen.neb_relax.worker import HopWorker, write_failure

if TYPE_CHECKING:
    from jobs.outcomes import Outcome

_WAIT_S = 0.5
_BYTES_PER_WORKER = 3 * 2**30
"""Of CHGNet with a hundred atoms, one structure at a time."""


class Ticker(Protocol):
    """Shows how far the hops are."""

    def begin(self, total: int, done_before: int) -> None:
        """Work starts or goes on."""

    def tick(self, done: int, failed: int, under_way: Sequence[BandFolder]) -> None:
        """Hops that are done, of this run, and those that are not."""


@dataclass(frozen=True)
class Plan:
    """How many workers, and what each may use."""

    workers: int
    threads: int
    gpus: float
    """Of each."""

    @property
    def device(self) -> str:
        """``cuda`` or ``cpu``."""
        return "cuda" if self.gpus > 0 else "cpu"


@dataclass
class Relaxed:
    """What a command did."""

    hops: list[BandFolder]
    """All of the shortlist, in its order."""
    unwritten: int
    """Hops of the shortlist that were not written for ASE."""
    done_before: int = 0
    refused: dict[Path, str] = field(default_factory=dict)
    """Calculator that a folder was begun with, where it is another one."""
    failed: set[Path] = field(default_factory=set)
    """Folders of hops that failed in this run."""
    finished: int = 0
    """Hops that were relaxed in this run, or failed."""
    interrupted: bool = False
    undrawn: str = ""
    """Why there are no figures; empty where there are."""


def relax_shortlist(
    shortlist: Path,
    choice: CalculatorChoice,
    limits: Limits,
    settings: RunSettings,
    ticker: Ticker,
    fresh: bool = False,
) -> Relaxed:
    """Relax every hop that is not done; what comes of each stands in its folder.

    Args:
        shortlist: its hops were written for ASE.
        choice: the calculator, which is checked before anything is begun.
        limits: of each hop.
        settings: engine, CPUs and GPUs; nothing else of it is used.
        ticker: shows how far it is.
        fresh: forget what earlier runs left, of this and of other calculators.

    Raises:
        UserError: the shortlist holds no such hop, or the calculator cannot be had.
        EngineError: Ray cannot be used.
    """
    from screen.interrupts import Interrupts

    hops, unwritten = band_folders(shortlist)
    choice.check()
    if fresh:
        for hop in hops:
            hop.clear()
    relaxed = Relaxed(hops, unwritten)
    todo = []
    for hop in hops:
        if other := hop.other_calculator(choice):
            relaxed.refused[hop.folder] = other
        elif hop.is_done(limits):
            relaxed.done_before += 1
            _draw(hop, relaxed)
        else:
            todo.append(hop)
    ticker.begin(len(hops) - len(relaxed.refused), relaxed.done_before)
    if not todo:
        return relaxed
    try:
        with Interrupts():
            _run(todo, _Job(choice, limits, settings), relaxed, ticker)
    except KeyboardInterrupt:
        relaxed.interrupted = True
    return relaxed


@dataclass(frozen=True)
class _Job:
    choice: CalculatorChoice
    limits: Limits
    settings: RunSettings

    def worker(self, plan: Plan) -> tuple[Any, ...]:
        """Arguments of a ``HopWorker``."""
        return self.choice, self.limits, plan.device, plan.threads


def plan_relaxations(n_hops: int, cpus: int, gpus: float, memory: int | None) -> Plan:
    """One hop per worker: a worker per GPU, else per CPU as far as hops and memory go.

    The CPUs are shared out as threads, so that all are used and none is asked for twice.

    Args:
        n_hops: to relax.
        cpus: to use.
        gpus: to use.
        memory: of this machine, bytes; None: not known.
    """
    most = math.ceil(gpus) if gpus > 0 else cpus
    if gpus <= 0 and memory is not None:
        most = min(most, max(1, memory // _BYTES_PER_WORKER))
    workers = max(1, min(n_hops, most, cpus))
    return Plan(workers, max(1, cpus // workers), min(1.0, gpus / workers) if gpus > 0 else 0.0)


def _run(todo: list[BandFolder], job: _Job, relaxed: Relaxed, ticker: Ticker) -> None:
    left = {hop.folder: hop for hop in todo}

    def done(folder: Path) -> None:
        hop = left.pop(folder)
        relaxed.finished += 1
        if hop.failure:
            relaxed.failed.add(folder)
        else:
            _draw(hop, relaxed)
        tick()

    def tick() -> None:
        ticker.tick(relaxed.finished, len(relaxed.failed), list(left.values()))

    run = _run_inline if job.settings.engine == "inline" else _run_on_ray
    run([hop.folder for hop in todo], job, done, tick)


def _run_inline(
    folders: list[Path], job: _Job, done: Callable[[Path], None], tick: Callable[[], None]
) -> None:
    from jobs.inline import inline_device

    cpus = job.settings.num_cpus or cpu_count()
    gpus = 1.0 if inline_device(job.settings) == "cuda" else 0.0
    worker = HopWorker(*job.worker(Plan(1, cpus, gpus)))
    worker.start()
    for folder in folders:
        tick()
        worker.relax([folder])
        done(folder)


def _run_on_ray(
    folders: list[Path], job: _Job, done: Callable[[Path], None], tick: Callable[[], None]
) -> None:
    from jobs.plan import Slot
    from jobs.pool import Pool
    from jobs.session import ray_session

    by_place = {folder.resolve(): folder for folder in folders}
    with ray_session(job.settings) as resources:
        import ray

        plan = plan_relaxations(len(folders), resources.cpus, resources.gpus, memory_bytes())
        here = ray.get_runtime_context().get_node_id()
        remote: Any = ray.remote(HopWorker)

        def create(slot: Slot) -> Any:
            needs = {"num_cpus": slot.cpus, "num_gpus": slot.gpus, "max_restarts": 0}
            return remote.options(**needs).remote(*job.worker(plan))

        pool: Pool[Path] = Pool(
            "band", create, lambda actor, places: [actor.relax.remote(places)], _any_time, depth=1
        )
        try:
            pool.resize([Slot(here, plan.threads, plan.gpus)] * plan.workers)
            for place in by_place:
                pool.submit([place])
            while by_place:
                ready = ray.wait(pool.references, num_returns=1, timeout=_WAIT_S)[0]
                outcomes = [outcome for reference in ready for outcome in pool.collect(reference)]
                for place in _answered([*outcomes, *pool.check()]):
                    done(by_place.pop(place))
                tick()
        finally:
            pool.stop()


def _answered(outcomes: Sequence[Outcome[Path]]) -> Iterator[Path]:
    """Folders that are done with; why, where their worker could not say so itself."""
    from jobs.outcomes import Started, Unanswered

    for outcome in outcomes:
        if isinstance(outcome, Unanswered):
            for place in outcome.items:
                write_failure(place, outcome.reason, outcome.detail)
        if not isinstance(outcome, Started):
            yield from outcome.items


def _any_time(places: Sequence[Path]) -> float:
    """A hop has limits of its own."""
    return math.inf


def _draw(hop: BandFolder, relaxed: Relaxed) -> None:
    """Draw the path of a hop beside it; a figure that cannot be drawn stops nothing."""
    from screen.errors import UserError
    from screen.figures import can_draw
    from screen.profile_figure import draw_profile

    result = hop.result
    path_a, energies_ev = result.get("path_a"), result.get("energies_ev")
    if not path_a or not energies_ev or hop.is_drawn:
        return
    if not can_draw():
        relaxed.undrawn = "no profile.png: matplotlib is not installed (extra plots)"
        return
    predicted = hop.predicted
    try:
        draw_profile(
            path_a,
            energies_ev,
            predicted_ev=predicted["em_ev"],
            low_ev=predicted["em_low_ev"],
            high_ev=predicted["em_high_ev"],
            title=f"{hop.hop_id}\n{result.get('calculator')}",
            file=hop.folder / PROFILE,
        )
    except (UserError, ValueError) as error:
        relaxed.undrawn = str(error)
